"""Train the runs recorded with this repository that are missing, in the order of their plan.

`python -m experiments.record` goes on where it stopped: finished runs are left alone, and so are
those that another such command is training. The plan is `conf/record.yaml`; `out=FOLDER` trains all
of it again elsewhere, and `only=why` what the plan has in the folder of that name.
"""

import sys
from itertools import product
from pathlib import Path

from degradation.config import ROOT, folder_of, validate
from degradation.errors import UserError
from degradation.schema import Part
from experiments.command import command
from experiments.compose import Job, key_of
from experiments.launch import run_alone
from experiments.planned import PlannedRun, plan_run, reportable, train_missing


def runtime(job: Job) -> list[str]:
    """Overrides of how the runs are computed, which the command hands on to them."""
    return [override for override in job.overrides if override.startswith("runtime")]


def parts_of(job: Job) -> list[Part]:
    """List the parts of the plan, or with `only` those of one folder; `UserError` if none is."""
    plan, only = validate(job.config).plan, job.config.only
    folders = [Path(part.out or job.config.out).name for part in plan]
    if only is not None and only not in folders:
        raise UserError(f"only={only}: allowed: {', '.join(dict.fromkeys(folders))}, or null")
    return [part for part, folder in zip(plan, folders, strict=True) if only in (None, folder)]


def planned(job: Job) -> list[list[PlannedRun]]:
    """List the runs of each part of the plan; raises `UserError` for one that there cannot be."""
    return [
        [
            plan_run(
                [
                    *runtime(job),
                    *(f"schedule={part.schedule}", f"model={model}"),
                    *part.overrides,
                ],
                seed,
                "choose another folder with out=",
                folder_of("out", part.out or job.config.out, ROOT),
                job.launcher,
            )
            for seed, model in product(part.seeds, part.models)
        ]
        for part in parts_of(job)
    ]


def check(job: Job) -> None:
    """Check the plan, and each of its runs."""
    planned(job)


def place(job: Job, part: Part) -> tuple[str, str]:
    """What reports share that set their runs side by side, as their overrides."""
    return f"schedule={part.schedule}", f"runs={part.out or job.config.out}"


def start(job: Job) -> int:
    """Train what is missing; when a part of the plan has ended, write its report.

    Reports of earlier parts on its schedule, and in its folder, are written again, for they set
    their runs beside it. A launcher gets the runs of all parts at once.
    """
    plan, parts = parts_of(job), planned(job)
    batches = [range(len(plan))] if job.launcher else [[number] for number in range(len(plan))]
    for batch in batches:
        if code := train_missing([run for n in batch for run in parts[n]], job.launcher):
            return code
        places, reports = {place(job, plan[n]) for n in batch}, {}
        for part, runs in zip(plan[: batch[-1] + 1], parts, strict=False):
            if (words := place(job, part)) in places:
                # A probe changes no run, and a report asks for none.
                decisive = [o for o in part.overrides if key_of(o) != "probe"]
                reports.setdefault((*words, *runtime(job), *decisive), []).extend(runs)
        for words, runs in reports.items():
            if reportable(runs) and (code := run_alone("experiments.report", [*words])):
                return code
    return 0


if __name__ == "__main__":
    sys.exit(command("record", check, start, launches=True))
