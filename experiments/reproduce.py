"""Train the runs that a figure needs and that are missing, then report.

`python -m experiments.reproduce figure=figure1 schedule=short seeds=[0,1,2]`; every other override
goes to the runs.
"""

import sys
from itertools import product

from omegaconf import DictConfig, OmegaConf

from degradation.config import (
    RUNS,
    check_models,
    check_values,
    recorded,
    relative,
    run_path,
)
from degradation.errors import UserError
from degradation.records import RunFolder
from degradation.report.curves import models_of
from degradation.rules import SEEDS
from degradation.training.tracking import Tracker, run_id
from experiments.command import Job, command, run_alone
from experiments.refusals import compose_again
from experiments.report import refuse_decided, report
from experiments.run import check as check_run
from experiments.run import precisions


def run_config(config: DictConfig) -> DictConfig:
    """Return the part of a reproduction's configuration that its runs have too."""
    return OmegaConf.masked_copy(config, [key for key in config if key not in ("figure", "seeds")])


def check(config: DictConfig) -> None:
    """Check a reproduction's own values, and those that its runs will take."""
    check_values(config)
    if config.seeds is None:
        raise UserError(f"seeds=null: allowed: {SEEDS.allowed}")
    check_models("figure.panels", models_of(config.figure))
    check_run(run_config(config))


def start(job: Job) -> int:
    """Train what is missing, seed by seed, then draw; the first run that fails ends it."""
    refuse_decided(job.overrides)
    config, figure = job.config, OmegaConf.to_container(job.config.figure)
    shared = [o for o in job.overrides if o.split("=")[0].split(".")[0] not in ("figure", "seeds")]
    shared.append(f"tracking.group={figure['name']}")

    for seed, model in product(config.seeds, models_of(figure)):
        overrides = [*shared, f"model={model}", f"seed={seed}"]
        run = compose_again("config", overrides)
        folder = RunFolder(run_path(run, *precisions(run)))
        if folder.status == "complete" and not config.overwrite:
            print(f"{relative(folder.path)} is complete")
            continue
        print(f"\n{model}, seed {seed}", flush=True)
        if code := run_alone("experiments.run", overrides):
            return code

    picture = report(config, RUNS)
    folder = picture.with_suffix("")
    tracker = Tracker(
        mode=config.tracking.mode,
        project=config.tracking.project,
        folder=folder,
        run_id=run_id(relative(folder)),
        name=f"{folder.name} {config.schedule.name}",
        group=figure["name"],
        tags=[figure["name"], config.schedule.name],
        config=recorded(config),
        resumed=False,
        job_type="report",
    )
    tracker.image(figure["name"], picture, figure["title"])
    tracker.finish()
    return 0


if __name__ == "__main__":
    sys.exit(command("reproduce", check, start))
