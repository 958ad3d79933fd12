"""Speed, side by side, in one script: `python -m experiments.benchmark`, `make benchmark`."""

import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from degradation.benchmark import results
from degradation.benchmark.measure import STOCK, Contender, contenders, measure
from degradation.config import check_models, option_values, options, relative, validate
from degradation.errors import UserError
from degradation.records import describe_machine, replace_file
from experiments.command import Job, command
from experiments.refusals import compose_again
from experiments.run import precisions

FIGURES = {"Figure 1": (20, 56), "Figure 6": (20, 32, 56, 20, 32, 56)}


def check(config: DictConfig) -> None:
    """Check the configuration, and that there are such networks."""
    validate(config)
    if config.runtime.name != "cpu":
        raise UserError(f"runtime={config.runtime.name}: the benchmark allows runtime=cpu alone")
    check_models("benchmark.networks", config.benchmark.networks)
    for name in config.benchmark.networks:
        if name not in comparable():
            raise UserError(
                f"benchmark.networks: {name}: allowed: {', '.join(comparable())}; `python -m "
                f"experiments.models models=[{name}] speed=true` measures it alone"
            )


def comparable() -> list[str]:
    """Name the networks of section 4.2: the other contenders build them, and figures need them."""
    values = {name: option_values("model", name) for name in options("model")}
    return [
        name
        for name, known in values.items()
        if known["model.builder"] == "cifar_resnet" and "model.block" not in known
    ]


def start(job: Job) -> None:
    """Measure, print, and write the table and the chart."""
    settings, machine = job.config.benchmark, describe_machine()
    threads = job.config.runtime.threads or machine["cores"]
    _, precision, *_ = precisions(job.config)
    shared = [o for o in job.overrides if not o.startswith("benchmark")]
    configs = {
        name: OmegaConf.to_container(
            compose_again("config", [*shared, f"model={name}"]), resolve=True
        )
        for name in settings.networks
    }
    chosen = contenders(precision)
    speeds, facts = measure(
        configs, chosen, threads, settings.repeats, settings.seconds, lambda t: print(t, flush=True)
    )
    table = results.summarize(speeds, facts, STOCK.label)
    device = f"{machine['cpu']}, {threads} threads"
    _print_table(table, device)
    _print_overhead(speeds, precision, list(configs))
    _print_times(table, configs, Contender("this repository", precision).label)

    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    with replace_file(out / "benchmark.csv") as path:
        table.to_csv(path, index=False)
    caption = (
        f"{device}; {settings.repeats} measurements of {settings.seconds} s each, interleaved; in "
        "brackets the median of the ratios within each round"
    )
    results.draw(table, "Training speed, side by side", caption, out / "benchmark.png")
    print(f"\nwritten   {relative(out)}/benchmark.csv, benchmark.png")


def _print_table(table, device: str) -> None:
    print(f"\n{device}; median (range) of images per second, ratio to {STOCK.label}")
    for row in table.itertuples():
        print(
            f"{row.network:<10}{row.contender:<30}{row.images_per_second_median:>7,.0f} "
            f"({row.images_per_second_min:,.0f}–{row.images_per_second_max:,.0f})   "
            f"{row.ratio_median:.2f}× ({row.ratio_min:.2f}–{row.ratio_max:.2f})   "
            f"first update after {row.first_update_seconds:.1f} s, "
            f"peak {row.peak_bytes / results.GIB:.2f} GiB"
        )


def _print_overhead(speeds, precision: str, networks: list[str]) -> None:
    ours = Contender("this repository", precision).label
    bare = Contender("constant batch", precision).label
    print("\ninput pipeline and counting, as a part of the update: median (range)")
    for network in networks:
        ratio = 100 * (1 - results.paired_ratio(speeds, network, ours, bare))
        print(f"{network:<10}{ratio['median']:.1f} % ({ratio['max']:.1f} to {ratio['min']:.1f})")


def _print_times(table, configs: dict[str, dict], ours: str) -> None:
    rows = table[table.contender == ours]
    depth = {name: config["model"]["depth"] for name, config in configs.items()}
    per_image = {depth[r.network]: 1 / r.images_per_second_median for r in rows.itertuples()}
    pause = {
        depth[r.network]: r.evaluation_seconds + r.checkpoint_seconds for r in rows.itertuples()
    }
    batch = next(iter(configs.values()))["optimizer"]["batch"]
    print("\nhours on this machine, one seed (part of it in evaluations and checkpoints)")
    for name in ("short", "medium", "paper"):
        values = option_values("schedule", name)
        schedule = {key.split(".")[1]: value for key, value in values.items()}
        texts = []
        for figure, depths in FIGURES.items():
            total = sum(
                results.training_hours(d, per_image, pause, schedule, batch) for d in depths
            )
            bare = sum(
                results.training_hours(d, per_image, dict.fromkeys(pause, 0.0), schedule, batch)
                for d in depths
            )
            texts.append(f"{figure}: {total:.1f} ({100 * (1 - bare / total):.0f} %)")
        print(f"{name:<10}{'   '.join(texts)}")


if __name__ == "__main__":
    sys.exit(command("benchmark", check, start))
