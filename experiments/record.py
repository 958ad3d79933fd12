"""Train the runs recorded with this repository that are missing, in the order of their plan.

`python -m experiments.record` goes on where it stopped: finished runs are left alone, and so are
those that another such command is training. The plan is `conf/record.yaml`; `out=FOLDER` trains all
of it again elsewhere.
"""

import sys
from itertools import product

from degradation.config import ROOT, folder_of, validate
from experiments.command import command, run_alone
from experiments.compose import Job
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

    Reports of earlier parts on its schedule are written again, for they set their runs beside it.
    """
    parts = job.config.plan
    for number, runs in enumerate(planned(job)):
        if code := train_missing(runs):
            return code
        if not all_complete(runs):
            continue
        for part in parts[: number + 1]:
            if part.schedule != parts[number].schedule:
                continue
            words = [f"schedule={part.schedule}", f"runs={job.config.out}"]
            words += [*runtime(job), *part.overrides]
            if code := run_alone("experiments.report", words):
                return code
    return 0


if __name__ == "__main__":
    sys.exit(command("record", check, start))
