"""A table of the networks: `python -m experiments.models`, `make models`.

Layers, trainable parameters and multiply-adds as `degradation.models.summary` counts them, the last
for one 32×32 image; with `speed=true` the training images per second here, on generated images.
"""

import re
import sys

from omegaconf import OmegaConf

from degradation.benchmark.measure import OURS, Contender, measure
from degradation.config import check_models, options, validate
from degradation.errors import UserError
from degradation.records.machine import cpu_precision, describe_machine
from experiments.command import command, import_quietly
from experiments.compose import Job, compose

SECONDS = 4  # of updates, for each network


def check(job: Job) -> None:
    """Check the configuration, and that there are such networks."""
    config = job.config
    validate(config)
    check_models("models", config.models or [])
    if config.speed and config.runtime.name != "cpu":
        raise UserError(f"runtime={config.runtime.name}: speed=true allows runtime=cpu alone")


def start(job: Job) -> None:
    """Count, measure if asked, and print a row as soon as it is known."""
    config = job.config
    names = config.models or sorted(options("model"), key=_by_number)
    width = max(map(len, names))
    heading = f"{'network':<{width}}  layers  parameters  multiply-adds"
    print(heading + ("  images/s" if config.speed else ""), flush=True)
    models, summary = map(import_quietly, ("degradation.models", "degradation.models.summary"))
    for name in names:
        size = summary.summarize(models.build_model(name))
        counts = f"{size.layers:>6,}  {size.parameters:>10,}  {size.multiply_adds:>13,}"
        print(f"{name:<{width}}  {counts}", end="", flush=True)
        print(f"  {_speed(name, job):>8,.0f}" if config.speed else "", flush=True)


def _by_number(name: str) -> list[str | int]:
    """Sort key by which plain20 comes before plain110."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _speed(name: str, job: Job) -> float:
    """Images per second of this repository's own update, after the first ones."""
    runtime = [override for override in job.overrides if override.startswith("runtime")]
    config = compose("config", [*runtime, f"model={name}", "data=synthetic"])
    precision = cpu_precision(config.runtime.precision)
    threads = config.runtime.threads or describe_machine()["cores"]
    chosen = [Contender(OURS, precision)]
    configs = {name: OmegaConf.to_container(config, resolve=True)}
    speeds, _ = measure(configs, chosen, threads, 1, SECONDS, lambda text: None)
    return speeds.images_per_second.item()


if __name__ == "__main__":
    sys.exit(command("models", check, start))
