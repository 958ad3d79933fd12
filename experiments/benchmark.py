"""Speed, side by side, in one script: `python -m experiments.benchmark`, `make benchmark`."""

import sys
from functools import cache

from omegaconf import OmegaConf

from degradation.benchmark import results
from degradation.benchmark.measure import OURS, STOCK, Contender, contenders, measure
from degradation.config import ROOT, check_models, folder_of, shown
from degradation.data import load_dataset
from degradation.errors import UserError
from degradation.output import say
from degradation.processor import cpu_precision
from degradation.records.files import faults_as_user_errors
from degradation.records.machine import describe_machine, git_state, package_versions
from experiments.command import command
from experiments.compose import Job, compose
from experiments.run import check_run


def check(job: Job) -> None:
    """Check the configuration, and that there are such networks."""
    config = job.checked
    if config.runtime.name == "gpu":
        raise UserError("runtime=gpu: the benchmark allows runtime=cpu alone")
    folder_of("benchmark.out", config.benchmark.out)
    check_models("benchmark.networks", config.benchmark.networks)
    for run in runs_of(job):
        check_run(run)
    if job.launcher:
        raise UserError(f"{job.launcher[0]}: allowed: none; jobs side by side slow each other")


@cache  # Hydra takes its time
def runs_of(job: Job) -> list[Job]:
    """A run of each network, with all overrides but the benchmark's own."""
    shared = [o for o in job.overrides if not o.startswith("benchmark")]
    words = [[*shared, f"model={name}"] for name in job.checked.benchmark.networks]
    return [Job(compose("config", each), each) for each in words]


def check_together(jobs: list[Job]) -> None:
    """Raise `UserError` if two jobs of a sweep would have one folder."""
    if len({job.config.benchmark.out for job in jobs}) < len(jobs):
        raise UserError(
            "-m: jobs would write to one folder; allowed: one for each, as by "
            "benchmark.out='FOLDER/${optimizer.batch}'"
        )


def start(job: Job) -> None:
    """Measure, write the tables and the chart, and print what they say."""
    settings, machine = job.config.benchmark, describe_machine()
    threads = job.config.runtime.threads or machine["cores"]
    precision = cpu_precision(job.config.runtime.precision)
    ours = Contender(OURS, precision).label
    out = folder_of("benchmark.out", settings.out)
    load_dataset(**OmegaConf.to_container(job.config.data), root=ROOT)  # or says what is wrong
    with faults_as_user_errors(f"cannot make {shown(out)}"):
        out.mkdir(parents=True, exist_ok=True)  # now, not when all is measured

    configs = {run.config.model.name: run.config for run in runs_of(job)}
    repeats, seconds = settings.repeats, settings.seconds
    speeds, facts = measure(configs, contenders(precision), threads, repeats, seconds)
    data, batch = job.config.data.name, job.config.optimizer.batch
    table = results.summarize(speeds, facts, STOCK.label, ours).assign(
        data=data,
        batch=batch,
        cpu=machine["cpu"],
        threads=threads,
        repeats=repeats,
        seconds=seconds,
        tensorflow=package_versions()["tensorflow"],
        **git_state(ROOT),
    )
    hours = results.training_hours(table if data == "cifar10" else table[:0], ours, batch)
    device = f"{machine['cpu']}, {threads} thread{'s' * (threads > 1)}"
    caption = (
        f"{device}; data={data}, batches of {batch}; {repeats} measurements of {seconds} s each, "
        "interleaved; in brackets the median of the ratios within each round"
    )
    written = results.write(table, hours, caption, out)

    say(f"\n{device}; medians (ranges)\n{results.as_text(table)}")
    if hours.empty:
        say("\nhours of the figures: not estimated, which takes data=cifar10 and two depths")
    else:
        say(f"\none seed on this machine\n{hours.round(1).to_string(index=False)}")
    say(f"\nwritten   {shown(out)}/{', '.join(written)}")


if __name__ == "__main__":
    sys.exit(command("benchmark", check, start, together=check_together))
