"""Runs that a command needs: all composed and checked before the first starts."""

from dataclasses import dataclass
from pathlib import Path

from degradation.config import RUNS, relative, validate
from degradation.errors import IN_USE, UserError
from degradation.output import complain, say
from degradation.records import RunFolder
from degradation.setting import Setting
from experiments.command import run_alone
from experiments.compose import compose
from experiments.run import check_run, run_folder


@dataclass(frozen=True)
class PlannedRun:
    """A run to be trained: what it is, its folder, and the overrides that train it there."""

    setting: Setting
    folder: RunFolder
    overrides: list[str]


def plan_run(overrides: list[str], remedy: str, root: Path = RUNS) -> PlannedRun:
    """Plan the run of some overrides, in its place below `root`.

    Raises `UserError` for a run that there cannot be, for one with a place of its own, and for one
    in whose place there is another: `remedy` is what the user can do then.
    """
    config = compose("config", overrides)
    if config.run_dir is not None:
        raise UserError(f"run_dir={config.run_dir}: a planned run's folder follows from the plan")
    check_run(config)
    folder = run_folder(config, root, remedy)
    if root != RUNS:
        overrides = [*overrides, f"run_dir={folder.path}"]
    return PlannedRun(Setting.of(validate(config)), folder, overrides)


def train_missing(runs: list[PlannedRun], overwrite: bool = False) -> int:
    """Train what is not complete, each in a process of its own; the first that fails ends it.

    A run that another process is writing is skipped, after a line that says so: commands can share
    a plan. With `overwrite` complete runs are trained again. Gives the exit code.
    """
    for number, run in enumerate(runs, 1):
        if run.folder.status == "complete" and not overwrite:
            say(f"{relative(run.folder.path)} is complete")
            continue
        say(f"\n{relative(run.folder.path)}")
        code = run_alone("experiments.run", run.overrides)
        if code not in (0, IN_USE):
            left = [r for r in runs[number:] if overwrite and r.folder.status == "complete"]
            if left:
                folders = ", ".join(relative(r.folder.path) for r in left)
                complain(f"warning: still as they were before overwrite=true: {folders}")
            return code
    return 0


def all_complete(runs: list[PlannedRun]) -> bool:
    """Say whether all runs are there; if not, in a line, what becomes of their report."""
    unfinished = [run for run in runs if run.folder.status != "complete"]
    if unfinished:
        names = ", ".join(relative(run.folder.path) for run in unfinished)
        say(f"no report before all runs are complete; another process is writing {names}")
    return not unfinished
