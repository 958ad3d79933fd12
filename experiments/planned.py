"""Runs that a command needs: all composed and checked before the first starts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from degradation.config import RUNS, shown
from degradation.errors import IN_USE, UserError
from degradation.output import complain, say
from degradation.records.run_folder import RunFolder
from degradation.setting import Setting
from experiments.compose import Job, compose, quote_path
from experiments.launch import launch, run_alone
from experiments.run import check_run, run_folder

ENDED = ("complete", "diverged")  # training a diverged run again gives the same


@dataclass(frozen=True)
class PlannedRun:
    """A run to be trained: what it is, its folder, and the overrides that train it there."""

    setting: Setting
    folder: RunFolder
    overrides: list[str]

    @property
    def name(self) -> str:
        """Its folder, as messages name it."""
        return shown(self.folder.path)

    @property
    def diverged(self) -> bool:
        """Whether its loss ceased to be finite: an outcome, which has no place in a report."""
        return self.folder.status == "diverged"


def plan_runs(
    models: Sequence[str],
    seeds: Sequence[int],
    overrides: list[str],
    launcher: list[str],
    remedy: str,
    root: Path = RUNS,
) -> list[PlannedRun]:
    """Plan runs with some overrides, seed by seed all networks, each in its place below `root`.

    `models` and `seeds` count, whatever the overrides say of them.

    Raises `UserError` for a run that there cannot be, for one with a place of its own, and for one
    in whose place there is another: `remedy` is what the user can do then.
    """
    runs = []
    for seed, model in product(seeds, models):
        words = [*overrides, f"model={model}", f"seed={seed}"]
        config = compose("config", words)
        if config.run_dir is not None:
            raise UserError(
                f"run_dir={config.run_dir}: a planned run's folder follows from the plan"
            )
        job = Job(config, words, launcher)
        check_run(job)
        folder = run_folder(job, root, remedy)
        place = [quote_path(f"run_dir={folder.path}")] if root != RUNS else []
        runs.append(PlannedRun(job.setting, folder, [*words, *place]))
    return runs


def train_missing(runs: list[PlannedRun], launcher: list[str], overwrite: bool = False) -> int:
    """Train what has not ended; the first that fails ends it. Gives the exit code.

    Each has a process of its own, one after the other, or with `launcher` as that has them. A run
    that another process is writing is skipped, after a line that says so: commands can share a
    plan. One that diverges is an outcome like completion. With `overwrite` runs that have ended
    are trained again.
    """
    missing = []
    for run in runs:
        if overwrite or run.folder.status not in ENDED:  # the status of one may be damaged
            missing.append(run)
        elif run.diverged:
            say(f"{run.name} has diverged at iteration {run.folder.manifest()['diverged_at']:,}")
        else:
            say(f"{run.name} is complete")
    if launcher and missing:
        codes = launch("experiments.run", [run.overrides for run in missing], launcher)
        faults = [_fault(run, code) for run, code in zip(missing, codes, strict=True)]
        _tell_old((r for r, fault in zip(missing, faults, strict=True) if fault), overwrite)
        return max(faults)
    for number, run in enumerate(missing, 1):
        say(f"\n{run.name}")
        if code := _fault(run, run_alone("experiments.run", run.overrides)):
            _tell_old(missing[number:], overwrite)
            return code
    return 0


def _tell_old(runs: Iterable[PlannedRun], overwrite: bool) -> None:
    """Of runs that `overwrite` was to train again, and did not, name those that had ended."""
    if old := [run.name for run in runs if overwrite and run.folder.status in ENDED]:
        complain(f"warning: still as they were before overwrite=true: {', '.join(old)}")


def _fault(run: PlannedRun, code: int) -> int:
    """The exit code of a run, 0 if the next may begin: others write it, or it has diverged."""
    return 0 if code == IN_USE or code == 1 and run.diverged else code


def reportable(runs: list[PlannedRun]) -> bool:
    """Say whether all runs have ended, and one is complete; if not, in a line, why no report is."""
    if open_runs := [run.name for run in runs if run.folder.status not in ENDED]:
        others = f"another process is writing {', '.join(open_runs)}"
        say(f"no report before all runs have ended; {others}")
        return False
    if all(run.diverged for run in runs):
        say(f"no report, for all runs diverged: {', '.join(run.name for run in runs)}")
        return False
    return True
