"""Loss and errors of a saved network: `python -m experiments.evaluate run_dir=FOLDER`."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from degradation.config import relative, show
from degradation.errors import UserError
from degradation.records import RunFolder
from experiments.command import Job, command, import_quietly


def check(config: DictConfig) -> None:
    """Check that there is a folder to evaluate."""
    if not isinstance(config.run_dir, str) or not Path(config.run_dir).expanduser().is_dir():
        raise UserError(f"run_dir={show(config.run_dir)}: allowed: the folder of a finished run")


def start(job: Job) -> None:
    """Evaluate the network of a run and print the result."""
    config = job.config
    folder = RunFolder(Path(config.run_dir).expanduser())
    module = import_quietly("degradation.training.evaluation")
    result = module.evaluate(folder, config.data.dir)
    print(f"network   {folder.manifest()['model']}, {relative(folder.path)}")
    print(f"data      {result.data}: {result.images:,} images")
    if not result.same_data:
        print("warning: these are not the data that the run was trained on")
    print(f"loss      {result.loss:.4f}\nerror     {result.error:.2f} %\nper class")
    for name, error in result.class_errors.items():
        print(f"  {name:<12}{error:6.2f} %")


if __name__ == "__main__":
    sys.exit(command("evaluate", check, start))
