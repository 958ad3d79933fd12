"""Train the runs recorded with this repository that are missing, in the order of their plan.

`python -m experiments.record` goes on where it stopped: finished runs are left alone. The plan is
`conf/record.yaml`; `out=FOLDER` trains all of it again elsewhere.
"""

import sys
from itertools import product

from omegaconf import DictConfig

from degradation.config import ROOT, check_values
from experiments.command import Job, command, run_alone
from experiments.planned import Planned, plan, train_missing


def planned(config: DictConfig) -> list[Planned]:
    """List the runs of the plan; raises `UserError` for one that there cannot be."""
    return [
        plan(
            [f"schedule={part.schedule}", f"model={model}", f"seed={seed}", *part.overrides],
            root=ROOT / config.out,
        )
        for part in config.plan
        for seed, model in product(part.seeds, part.models)
    ]


def check(config: DictConfig) -> None:
    """Check the plan, and each of its runs."""
    check_values(config)
    planned(config)


def start(job: Job) -> int:
    """Train what is missing, then write the report of each part of the plan."""
    if code := train_missing(planned(job.config)):
        return code
    for part in job.config.plan:
        where = [f"schedule={part.schedule}", f"runs={job.config.out}"]
        if code := run_alone("experiments.report", [*where, *part.overrides]):
            return code
    return 0


if __name__ == "__main__":
    sys.exit(command("record", check, start))
