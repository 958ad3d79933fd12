"""Train one network: `python -m experiments.run model=plain56`, or several with `-m`."""

import os
import sys
from pathlib import Path
from types import ModuleType

from degradation.config import RUNS, folder_of, options, shown
from degradation.data.archives import FOLDER, find_files
from degradation.errors import UserError
from degradation.records.run_folder import RunFolder
from degradation.training.identity import ELSEWHERE, check_same_run
from experiments.command import command, import_quietly
from experiments.compose import Job, key_of


def check(job: Job) -> None:
    """Check a job's configuration, as `check_run` does, and what is in its folder."""
    check_run(job)
    run_folder(job)  # raises if another run is there


def check_run(job: Job) -> None:
    """Check the configuration of a run, and what is at the places that it names.

    What is on this machine does not matter to a run that a launcher may take to another.
    """
    config = job.config
    _ = job.setting  # raises for a value that is not allowed
    if config.run_dir is not None:
        path = folder_of("run_dir", config.run_dir)
        if stranger := RunFolder(path).stranger():
            raise UserError(
                f"run_dir={path}: its {stranger} is not a run's; allowed: a run's folder, or one "
                "without such a file"
            )
        # Reports look no further where a run lies: they would miss those below.
        levels = () if (path / "manifest.json").exists() else range(1, 6)
        if below := [file for n in levels for file in path.glob("*/" * n + "manifest.json")]:
            place = min(below).parent.relative_to(path)
            raise UserError(
                f"run_dir={path}: holds the run {place}; allowed: a folder without runs"
            )
    if job.launcher:
        return
    if config.runtime.name == "gpu":
        devices().list_gpus()
    place = config.data.get("dir")  # synthetic data have none
    if place is not None and not find_files(folder_of("data.dir", place)):
        raise UserError(f"data.dir={place}: no CIFAR-10 there; allowed: {FOLDER}")


def run_folder(job: Job, root: Path = RUNS, remedy: str = ELSEWHERE) -> RunFolder:
    """Return the folder of a run: its own, or its place in `root`.

    Raises `UserError` if it holds another run, unless `overwrite` is set; `remedy` is what the
    user can do then.
    """
    own = job.config.run_dir and folder_of("run_dir", job.config.run_dir)
    folder = RunFolder(own or job.setting.folder(root))
    if not job.config.overwrite:
        check_same_run(folder, job.setting, remedy=remedy)
    return folder


def check_together(jobs: list[Job]) -> None:
    """Raise `UserError` if two jobs of a sweep would have one folder."""
    taken = set()
    for job in jobs:
        path = run_folder(job).path
        if path in taken:
            raise UserError(
                f"{' '.join(job.overrides)}: its folder, {shown(path)}, is that of another job; "
                "allowed: one for each job, as by run_dir='FOLDER/seed${seed}'"
            )
        taken.add(path)


def start(job: Job) -> None:
    """Train the network of a job, unless that is done already."""
    gpu = job.config.runtime.name == "gpu"
    # After everything that may be refused: importing TensorFlow takes seconds.
    # A run on the processor that is half on a GPU would not be the run it says it is.
    module = import_quietly("degradation.training.run", gpus=gpu)
    module.train(job.config, job.setting, run_folder(job), devices().take_gpu() if gpu else None)


def devices() -> ModuleType:
    """Import the one way to know what TensorFlow will see, with this driver and these libraries."""
    return import_quietly("degradation.training.devices", gpus=True)


def imply_tracking(overrides: list[str]) -> list[str]:
    """Take W&B's own switch, WANDB_MODE, where `overrides` do not say how to track.

    Raises `UserError` for a mode that there is not here.
    """
    mode = os.environ.get("WANDB_MODE", "").replace("dryrun", "offline")
    if not mode or {"tracking", "tracking.mode"} & set(map(key_of, overrides)):
        return []
    if mode not in options("tracking"):
        raise UserError(f"WANDB_MODE={mode}: allowed: {', '.join(options('tracking'))}")
    return [f"tracking={mode}"]


if __name__ == "__main__":
    sys.exit(command("config", check, start, imply=imply_tracking, together=check_together))
