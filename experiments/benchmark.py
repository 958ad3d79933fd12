"""Speed, side by side, in one script: `python -m experiments.benchmark`, `make benchmark`."""

import sys
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from degradation.benchmark import BARE, OURS, results
from degradation.benchmark.measure import STOCK, Contender, contenders, measure
from degradation.config import check_models, folder_of, option_values, options, relative
from degradation.errors import UserError
from degradation.records import describe_machine
from degradation.records.files import faults_as_user_errors
from experiments.command import command
from experiments.compose import Job, compose
from experiments.run import check_run, cpu_precision


def check(job: Job) -> None:
    """Check the configuration, and that there are such networks."""
    config = job.config
    if config.runtime.get("name") == "gpu":
        raise UserError("runtime=gpu: the benchmark allows runtime=cpu alone")
    check_run(config)
    if given := next((o for o in job.overrides if o.startswith("model")), None):
        raise UserError(f"{given}: allowed: benchmark.networks alone, as conf/model/ has them")
    if folder_of("benchmark.out", config.benchmark.out).is_file():
        raise UserError(
            f"benchmark.out={config.benchmark.out}: is a file; allowed: a folder, there or not"
        )
    check_models("benchmark.networks", config.benchmark.networks)
    for name in config.benchmark.networks:
        if name not in of_section_4_2():
            raise UserError(
                f"benchmark.networks: {name}: allowed: {', '.join(of_section_4_2())}; `python -m "
                f"experiments.models models=[{name}] speed=true` measures it alone"
            )


def of_section_4_2() -> list[str]:
    """Name the networks of section 4.2: the other contenders build them, and figures need them."""
    values = {name: option_values("model", name) for name in options("model")}
    return [
        name
        for name, known in values.items()
        if known["model.builder"] == "cifar_resnet" and "model.block" not in known
    ]


def start(job: Job) -> None:
    """Measure, write the tables and the chart, and print what they say."""
    settings, machine = job.config.benchmark, describe_machine()
    threads = job.config.runtime.threads or machine["cores"]
    precision = cpu_precision(job.config)
    ours, bare = (Contender(name, precision).label for name in (OURS, BARE))
    configs = _configs(job)
    out = folder_of("benchmark.out", settings.out)
    with faults_as_user_errors(f"cannot make {relative(out)}"):
        out.mkdir(parents=True, exist_ok=True)  # now, not when all is measured

    data, batch = job.config.data.name, job.config.optimizer.batch
    conditions = results.conditions(data, batch, threads, settings.repeats, settings.seconds)
    chosen = contenders(precision)
    speeds, facts = measure(
        configs, chosen, threads, settings.repeats, settings.seconds, lambda t: print(t, flush=True)
    )
    table = results.summarize(speeds, facts, STOCK.label, ours).assign(**conditions)
    hours = results.training_hours(table if data == "cifar10" else table[:0], ours, batch)
    device = f"{machine['cpu']}, {threads} threads"
    caption = (
        f"{device}; data={data}, batches of {batch}; {settings.repeats} measurements of "
        f"{settings.seconds} s each, interleaved; in brackets the median of the ratios within each "
        "round"
    )
    written = results.write(table, hours, caption, out)

    _print_table(table, device)
    _print_overhead(table[table.contender == bare])
    _print_pytorch(results.fastest(table, "PyTorch"), ours)
    _print_hours(hours)
    print(f"\nwritten   {relative(out)}/{', '.join(written)}")


def _configs(job: Job) -> dict[str, dict[str, Any]]:
    """Compose the configuration of a run of each network that is to be measured."""
    shared = [o for o in job.overrides if not o.startswith("benchmark")]
    configs = {}
    for name in job.config.benchmark.networks:
        config = compose("config", [*shared, f"model={name}"])
        configs[name] = OmegaConf.to_container(config, resolve=True)
    return configs


def _print_table(table: pd.DataFrame, device: str) -> None:
    print(f"\n{device}; median (range) of images per second, ratio to {STOCK.label}")
    for row in table.itertuples():
        print(
            f"{row.network:<10}{row.contender:<30}{row.images_per_second_median:>7,.0f} "
            f"({row.images_per_second_min:,.0f}–{row.images_per_second_max:,.0f})   "
            f"{row.ratio_median:.2f}× ({row.ratio_min:.2f}–{row.ratio_max:.2f})   "
            f"first update after {row.first_update_seconds:.1f} s, "
            f"peak {row.peak_bytes / results.GIB:.2f} GiB"
        )


def _print_overhead(rows: pd.DataFrame) -> None:
    print("\ninput pipeline and counting, as a part of the update: median (range)")
    for row in rows.itertuples():
        cost = [100 * (1 - x) for x in (row.ours_over_median, row.ours_over_max, row.ours_over_min)]
        print(f"{row.network:<10}{cost[0]:.1f} % ({cost[1]:.1f} to {cost[2]:.1f})")


def _print_pytorch(rows: pd.DataFrame, ours: str) -> None:
    if rows.empty:
        return
    print(f"\n{ours}, over the better of PyTorch's: median (range) of the ratio")
    for row in rows.itertuples():
        print(
            f"{row.network:<10}{row.contender:<30}{row.ours_over_median:.2f}× "
            f"({row.ours_over_min:.2f}–{row.ours_over_max:.2f})"
        )


def _print_hours(hours: pd.DataFrame) -> None:
    if hours.empty:
        print("\nhours of the figures: not estimated, which takes data=cifar10 and two depths")
        return
    print("\nhours on this machine, one seed (part of it in evaluations and checkpoints)")
    for schedule, rows in hours.groupby("schedule", sort=False):
        texts = (f"{r.figure}: {r.hours:.1f} ({r.paused_percent:.0f} %)" for r in rows.itertuples())
        print(f"{schedule:<10}{'   '.join(texts)}")


if __name__ == "__main__":
    sys.exit(command("benchmark", check, start))
