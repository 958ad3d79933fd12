"""Train the runs that a figure needs and that are missing, then report.

`python -m experiments.reproduce figure=figure1 schedule=short seeds=[0,1,2]`; every other override
goes to the runs.
"""

import sys
from dataclasses import replace
from functools import cache

from degradation.config import RUNS, check_models, read_figures, recorded, shown
from degradation.errors import UserError
from degradation.report import Request, drawn, find_runs, models_of, select, write_report
from degradation.training.tracking import Tracker, run_id
from experiments.command import command
from experiments.compose import Job, key_of
from experiments.planned import PlannedRun, plan_runs, reportable, train_missing
from experiments.report import imply_network, refuse_decided, request
from experiments.run import imply_tracking


def check(job: Job) -> None:
    """Check a reproduction's own values, and all runs that it will take."""
    refuse_decided(job.overrides)
    read_figures()  # those that the report will draw
    if job.checked.seeds is None:
        raise UserError("seeds=null: allowed: a list such as [0,1,2]")
    check_models("figure.panels", drawn(job.checked.figure.model_dump()))
    runs = planned(job)  # not every network has every key
    check_one_kind(runs)
    check_alone(runs, request(job, RUNS))


@cache  # Hydra takes its time
def planned(job: Job) -> list[PlannedRun]:
    """List the runs that the figure needs, seed by seed; raises `UserError` as `plan_runs` does."""
    figure = job.config.figure
    shared = [o for o in job.overrides if key_of(o).split(".")[0] not in ("figure", "seeds")]
    shared.insert(0, f"tracking.group={figure.name}")  # unless another is asked for
    remedy = "move it elsewhere; overwrite=true trains all runs of the figure again"
    return plan_runs(models_of(figure), job.config.seeds, shared, job.launcher, remedy)


def check_one_kind(runs: list[PlannedRun]) -> None:
    """Raise `UserError` if overrides change some networks, and are what others have anyway."""
    names = {run.setting.variant: run.folder.path.parent.name for run in runs}
    if len(names) > 1:
        raise UserError(
            f"the runs would be of different kinds: {', '.join(names.values())}; allowed: "
            "overrides that change all networks of the figure alike"
        )


def check_alone(runs: list[PlannedRun], asked: Request) -> None:
    """Raise `UserError` if a run of the report is twice in `RUNS`: the report would not choose."""
    places = {run.setting: run.folder.path for run in runs}
    found = asked.wanted(find_runs(RUNS))
    select(found, asked.setting.schedule, asked.setting.variant)  # raises for other networks, too
    for run in found:
        place = places.get(run.setting, run.path)
        if run.path.resolve() != place.resolve():
            raise UserError(
                f"{shown(run.path)} is the run whose place is {shown(place)}: allowed: one; "
                "move it elsewhere"
            )


def imply(overrides: list[str]) -> list[str]:
    """Imply what `run` and `report` do."""
    return [*imply_tracking(overrides), *imply_network(overrides)]


def start(job: Job) -> int:
    """Train what is missing, then write the report; the first run that fails ends it.

    If runs diverged, the figure is drawn as far as the others go, as its file has it.
    """
    config, figure, runs = job.checked, job.checked.figure, planned(job)
    if code := train_missing(runs, job.launcher, config.overwrite):
        return code
    if not reportable(runs):
        return 0

    asked = request(job, RUNS)
    if any(run.diverged for run in runs):
        asked = replace(asked, figure=None, figure_overrides=[])
    page = write_report(asked)
    pictures = {picture.png.stem.partition(",")[0]: picture.png for picture in page.pictures}
    picture = pictures.get(figure.name)
    if picture is None:
        return 0
    folder = picture.with_suffix("")
    tracker = Tracker(
        mode=config.tracking.mode,
        project=config.tracking.project,
        folder=folder,
        run_id=run_id(folder),
        name=f"{folder.name} {config.schedule.name}",
        group=config.tracking.group or figure.name,
        tags=[figure.name, config.schedule.name],
        config=recorded(job.config),
        resumed=False,
        job_type="report",
    )
    tracker.image(figure.name, picture, figure.title)
    tracker.finish()
    return 0


if __name__ == "__main__":
    sys.exit(command("reproduce", check, start, imply, launches=True))
