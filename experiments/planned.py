"""Runs that a command needs: all composed and checked before the first starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from degradation.config import RUNS, relative
from degradation.errors import IN_USE, UserError
from degradation.output import complain, say
from degradation.records import RunFolder
from degradation.setting import Setting
from experiments.compose import Job, compose, quote_path
from experiments.launch import launch, run_alone
from experiments.run import check_run, run_folder


@dataclass(frozen=True)
class PlannedRun:
    """A run to be trained: what it is, its folder, and the overrides that train it there."""

    setting: Setting
    folder: RunFolder
    overrides: list[str]


def plan_run(
    overrides: list[str], remedy: str, root: Path = RUNS, launcher: Sequence[str] = ()
) -> PlannedRun:
    """Plan the run of some overrides, in its place below `root`.

    Raises `UserError` for a run that there cannot be, for one with a place of its own, and for one
    in whose place there is another: `remedy` is what the user can do then.
    """
    job = Job(compose("config", overrides), overrides, [*launcher])
    if job.config.run_dir is not None:
        raise UserError(
            f"run_dir={job.config.run_dir}: a planned run's folder follows from the plan"
        )
    check_run(job)
    folder = run_folder(job, root, remedy)
    if root != RUNS:
        overrides = [*overrides, quote_path(f"run_dir={folder.path}")]
    return PlannedRun(job.setting, folder, overrides)


def train_missing(
    runs: list[PlannedRun], launcher: Sequence[str] = (), overwrite: bool = False
) -> int:
    """Train what is not complete; the first that fails ends it. Gives the exit code.

    Each has a process of its own, one after the other, or with `launcher` as that has them. A run
    that another process is writing is skipped, after a line that says so: commands can share a
    plan. With `overwrite` complete runs are trained again.
    """
    missing = []
    for run in runs:
        if run.folder.status == "complete" and not overwrite:
            say(f"{relative(run.folder.path)} is complete")
        else:
            missing.append(run)
    if launcher and missing:
        return launch("experiments.run", [run.overrides for run in missing], [*launcher])
    for number, run in enumerate(missing, 1):
        say(f"\n{relative(run.folder.path)}")
        code = run_alone("experiments.run", run.overrides)
        if code not in (0, IN_USE):
            if left := [r for r in missing[number:] if r.folder.status == "complete"]:
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
