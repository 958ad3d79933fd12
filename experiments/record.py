"""Train the runs recorded with this repository that are missing, in the order of their plan.

`python -m experiments.record` goes on where it stopped: finished runs are left alone, and so are
those that another such command is training. The plan is `conf/record.yaml`; `out=FOLDER` trains all
of it again elsewhere, and `only=why` what the plan has in the folder of that name.
"""

import sys
from functools import cache
from pathlib import Path

from degradation.config import ROOT, folder_of
from degradation.errors import UserError
from degradation.schema import Part
from experiments.command import command
from experiments.compose import Job, key_of
from experiments.launch import run_alone
from experiments.planned import PlannedRun, plan_runs, reportable, train_missing
from experiments.run import imply_tracking


def parts_of(job: Job) -> list[Part]:
    """List the parts of the plan, or with `only` those of one folder; `UserError` if none is."""
    plan, only = job.checked.plan, job.checked.only
    folders = [Path(part.out or job.config.out).name for part in plan]
    if only is not None and only not in folders:
        raise UserError(f"only={only}: allowed: {', '.join(dict.fromkeys(folders))}, or null")
    return [part for part, folder in zip(plan, folders, strict=True) if only in (None, folder)]


@cache  # Hydra takes its time
def planned(job: Job) -> list[tuple[tuple[str, ...], list[PlannedRun]]]:
    """Pair the arguments of each part's report with its runs; raises `UserError` as `plan_runs`."""
    runtime = [o for o in job.overrides if o.startswith("runtime")]  # handed on to the runs
    plan = []
    for part in parts_of(job):
        kind, folder = f"schedule={part.schedule}", part.out or job.config.out
        decisive = [o for o in part.overrides if key_of(o) != "probe"]  # which changes no run
        runs = plan_runs(
            part.models,
            part.seeds,
            [*runtime, kind, *part.overrides],
            job.launcher,
            remedy="choose another folder with out=",
            root=folder_of("out", folder, ROOT),
        )
        plan.append(((kind, f"runs={folder}", *runtime, *decisive), runs))
    return plan


def check(job: Job) -> None:
    """Check the plan, each of its runs, and how they will be tracked."""
    imply_tracking([])
    planned(job)


def start(job: Job) -> int:
    """Train what is missing; when a part of the plan has ended, write its report.

    Reports of earlier parts on its schedule, and in its folder, are written again, for they set
    their runs beside it; at the end all are, since those in `why` set schedules beside each other.
    A launcher gets the runs of all parts at once.
    """
    plan = planned(job)
    batches = [plan] if job.launcher else [[part] for part in plan]
    reports: dict[tuple[str, ...], list[PlannedRun]] = {}  # each one's runs, by its arguments
    for batch in batches:
        if code := train_missing([run for _, runs in batch for run in runs], job.launcher):
            return code
        for words, runs in batch:
            reports.setdefault(words, []).extend(runs)
        places = {words[:2] for words, _ in batch}
        for words, runs in reports.items():
            due = words[:2] in places or batch is batches[-1]
            if due and reportable(runs) and (code := run_alone("experiments.report", [*words])):
                return code
    return 0


if __name__ == "__main__":
    sys.exit(command("record", check, start, launches=True))
