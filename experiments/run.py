"""Train one network: `python -m experiments.run model=plain56`, or several with `-m`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from degradation.config import RUNS, folder_of, relative, validate
from degradation.data.archives import FOLDER, find_files
from degradation.errors import UserError
from degradation.records import RunFolder, cpu_has_bf16
from degradation.setting import Setting
from degradation.training.identity import ELSEWHERE, check_same_run
from experiments.command import command, import_quietly
from experiments.compose import Job

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
    if config.runtime.name == "gpu":
        first_gpu()
    place = config.data.get("dir")
    if place is not None and not find_files(folder_of("data.dir", place)):
        raise UserError(f"data.dir={place}: no CIFAR-10 there; allowed: {FOLDER}")


def run_folder(config: DictConfig, root: Path = RUNS, remedy: str = ELSEWHERE) -> RunFolder:
    """Return the folder of a run whose configuration is checked: its own, or its place in `root`.

    Raises `UserError` if it holds another run, unless `overwrite` is set; `remedy` is what the
    user can do then.
    """
    setting = Setting.of(validate(config))
    own = config.run_dir and folder_of("run_dir", config.run_dir)
    folder = RunFolder(own or setting.folder(root))
    if not config.overwrite:
        check_same_run(folder, setting, remedy=remedy)
    return folder


def check_together(jobs: list[Job]) -> None:
    """Raise `UserError` if two jobs of a sweep would have one folder."""
    taken = set()
    for job in jobs:
        path = run_folder(job.config).path
        if path in taken:
            raise UserError(
                f"{' '.join(job.overrides)}: its folder, {relative(path)}, is that of another job; "
                "allowed: one for each job, as by run_dir='FOLDER/seed${seed}'"
            )
        taken.add(path)


def start(job: Job) -> None:
    """Train the network of a job, unless that is done already."""
    gpu = job.config.runtime.name == "gpu"
    # After everything that may be refused: importing TensorFlow takes seconds.
    # A run on the processor that is half on a GPU would not be the run it says it is.
    module = import_quietly("degradation.training.run", gpus=gpu)
    module.train(job.config, run_folder(job.config), first_gpu() if gpu else None)


def cpu_precision(config: DictConfig) -> str:
    """Return the precision that runs train in on this processor."""
    auto = "bfloat16" if cpu_has_bf16() else "float32"
    return auto if config.runtime.precision == "auto" else config.runtime.precision


def first_gpu() -> "Gpu":
    """Return the GPU that runs with runtime=gpu train on; raises `UserError` if there is none."""
    # The one way to know what TensorFlow will see, with this driver and these libraries.
    return import_quietly("degradation.training.devices", gpus=True).first_gpu()


if __name__ == "__main__":
    sys.exit(command("config", check, start, together=check_together))
