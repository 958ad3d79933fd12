"""Loss and errors of a saved network: `python -m experiments.evaluate run_dir=FOLDER`."""

import sys

from degradation.config import folder_of, shown
from degradation.errors import UserError
from degradation.output import complain
from degradation.records.run_folder import RunFolder
from degradation.schema import show
from experiments.command import command, import_quietly
from experiments.compose import Job


def check(job: Job) -> None:
    """Check that there is a folder to evaluate."""
    given = job.config.run_dir
    if not isinstance(given, str) or not folder_of("run_dir", given).is_dir():
        raise UserError(f"run_dir={show(given)}: allowed: the folder of a finished run")


def start(job: Job) -> None:
    """Evaluate the network of a run and print the result."""
    config = job.config
    folder = RunFolder(folder_of("run_dir", config.run_dir))
    module = import_quietly("degradation.training.evaluation")
    result = module.evaluate(folder, config.data.dir)
    print(f"network   {folder.manifest()['model']}, {shown(folder.path)}")
    print(f"data      {result.data}: {result.images:,} images")
    if not result.same_data:
        complain("warning: these are not the data that the run was trained on")
    print(f"loss      {result.loss:.4f}\nerror     {result.error:.2f} %\nper class")
    for row in result.classes:
        error = f"{row['error']:6.2f} %" if row["images"] else "no images"
        print(f"  {row['class']:<12}{error}")


if __name__ == "__main__":
    sys.exit(command("evaluate", check, start))
