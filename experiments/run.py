"""Train one network: `python -m experiments.run model=plain56`, or several with `-m`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from omegaconf import DictConfig

from degradation.config import folder_of, relative, run_path, validate
from degradation.data.cifar10 import FOLDER
from degradation.data.layouts import find_layout
from degradation.errors import UserError
from degradation.records import RunFolder, cpu_has_bf16
from degradation.training.identity import ELSEWHERE, check_same_run, identity
from experiments.command import Job, command, import_quietly

if TYPE_CHECKING:
    from degradation.training.devices import Gpu


def check(job: Job) -> None:
    """Check a job's configuration, as `check_run` does, and what is in its folder."""
    check_run(job.config)
    run_folder(job.config)


def check_run(config: DictConfig) -> None:
    """Check the configuration of a run, and what is at the places that it names."""
    validate(config)
    if config.run_dir is not None:
        path = folder_of("run_dir", config.run_dir)
        if path.is_file():
            raise UserError(f"run_dir={path}: is a file; allowed: a folder, there or not")
        if stranger := RunFolder(path).stranger():
            raise UserError(
                f"run_dir={path}: its {stranger} is not a run's; allowed: a run's folder, or one "
                "without such a file"
            )
    place = config.data.get("dir")
    if place is not None and not find_layout(folder_of("data.dir", place)):
        raise UserError(f"data.dir={place}: no CIFAR-10 there; allowed: {FOLDER}")


def run_folder(config: DictConfig, root: Path | None = None, instead: str = ELSEWHERE) -> RunFolder:
    """Return the folder of a run whose configuration is checked: below `root`, or its own.

    Raises `UserError` if it holds another run, unless `overwrite` is set; `instead` is what the
    user can do then.
    """
    device = device_of(config)
    folder = RunFolder(place_of(config, device, root))
    if not config.overwrite:
        check_same_run(folder, identity(config, device.precision), instead=instead)
    return folder


def place_of(config: DictConfig, device: "Device", root: Path | None = None) -> Path:
    """Path of the folder of a run on `device`, as `run_path` has it."""
    return run_path(config, device.precision, device.auto, root)


def check_together(jobs: list[Job]) -> None:
    """Raise `UserError` if two jobs of a sweep would have one folder."""
    taken = set()
    for job in jobs:
        path = place_of(job.config, device_of(job.config))
        if path in taken:
            raise UserError(
                f"{' '.join(job.overrides)}: its folder, {relative(path)}, is that of another job; "
                "allowed: one for each job, as by run_dir='FOLDER/seed${seed}'"
            )
        taken.add(path)


class Device(NamedTuple):
    """What a run computes on: its precision, the one that `auto` picks here, and its GPU, if any.

    A run's folder is named after it, beside its configuration.
    """

    precision: str
    auto: str
    gpu: "Gpu | None"


def device_of(config: DictConfig) -> Device:
    """Find what a run computes on: with runtime=gpu the first GPU that TensorFlow sees.

    Raises `UserError` if there is none.
    """
    if config.runtime.name == "gpu":
        # The one way to know what TensorFlow will see, with this driver and these libraries.
        gpu = import_quietly("degradation.training.devices", gpus=True).first_gpu()
        auto = gpu.precision
    else:
        gpu, auto = None, "bfloat16" if cpu_has_bf16() else "float32"
    chosen = config.runtime.precision
    return Device(auto if chosen == "auto" else chosen, auto, gpu)


def start(job: Job) -> None:
    """Train the network of a job, unless that is done already."""
    device = device_of(job.config)
    folder = RunFolder(place_of(job.config, device))

    # After everything that may be refused: importing TensorFlow takes seconds.
    # A run on the processor that is half on a GPU would not be the run it says it is.
    module = import_quietly("degradation.training.run", gpus=device.gpu is not None)
    module.train(job.config, folder, device.precision, device.gpu)


if __name__ == "__main__":
    sys.exit(command("config", check, start, together=check_together))
