"""Train the runs recorded with this repository that are missing, in the order of their plan.

`python -m experiments.record` goes on where it stopped: finished runs are left alone, and so are
those that another such command is training. The plan is `conf/record.yaml`; `out=FOLDER` trains all
of it again elsewhere.
"""

import sys
from itertools import product

from degradation.config import ROOT, folder_of, validate
from experiments.command import command
from experiments.compose import Job
from experiments.launch import run_alone
from experiments.planned import PlannedRun, all_complete, plan_run, train_missing


def runtime(job: Job) -> list[str]:
    """Overrides of how the runs are computed, which the command hands on to them."""
    return [override for override in job.overrides if override.startswith("runtime")]


def planned(job: Job) -> list[list[PlannedRun]]:
    """List the runs of each part of the plan; raises `UserError` for one that there cannot be."""
    return [
        [
            plan_run(
                [
                    *runtime(job),
                    *(f"schedule={part.schedule}", f"model={model}", f"seed={seed}"),
                    *part.overrides,
                ],
                "choose another folder with out=",
                folder_of("out", job.config.out, ROOT),
                job.launcher,
            )
            for seed, model in product(part.seeds, part.models)
        ]
        for part in job.config.plan
    ]


def check(job: Job) -> None:
    """Check the plan, and each of its runs."""
    validate(job.config)
    planned(job)


def start(job: Job) -> int:
    """Train what is missing; when a part of the plan is complete, write its report.

    Reports of earlier parts on its schedule are written again, for they set their runs beside it. A
    launcher gets the runs of all parts at once.
    """
    plan, parts = job.config.plan, planned(job)
    batches = [range(len(plan))] if job.launcher else [[number] for number in range(len(plan))]
    for batch in batches:
        runs = [run for number in batch for run in parts[number]]
        if code := train_missing(runs, job.launcher):
            return code
        if not all_complete(runs):
            continue
        schedules = {plan[number].schedule for number in batch}
        known = [part for part in plan[: batch[-1] + 1] if part.schedule in schedules]
        for schedule, *overrides in dict.fromkeys((p.schedule, *p.overrides) for p in known):
            words = [f"schedule={schedule}", f"runs={job.config.out}", *runtime(job), *overrides]
            if code := run_alone("experiments.report", words):
                return code
    return 0


if __name__ == "__main__":
    sys.exit(command("record", check, start, launches=True))
