"""Draw a figure from runs that are there: `python -m experiments.report figure=figure1`.

From your own runs, or with `runs=results/recorded` from the recorded ones; nothing is trained.
Overrides that the runs were trained with (`data=synthetic`) name them here too.
"""

import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from degradation.config import ROOT, check_values, relative, show, variant
from degradation.errors import UserError
from degradation.report import draw_figure, find_runs, missing, select, summary_text
from degradation.report.curves import models_of
from experiments.command import Job, command
from experiments.run import precisions

DECIDED = ("model", "seed", "run_dir")


def report(config: DictConfig, folder: Path) -> Path:
    """Draw `config.figure` from runs below `folder`, print how they ended, return the PNG's path.

    The runs are those of the schedule, the seeds (null: all) and the overrides of `config`. Raises
    `UserError`, and says which command trains them, if there are none.
    """
    figure, schedule = OmegaConf.to_container(config.figure), config.schedule.name
    overrides = ",".join(variant(config, *precisions(config)))
    seeds = None if config.seeds is None else list(config.seeds)

    runs = find_runs(folder, lambda path, why: print(f"left out  {relative(path)}: {why}"))
    chosen = select(runs, models_of(figure), schedule, seeds, overrides)
    wanted = seeds or sorted({run.seed for run in chosen}) or [0]
    if absent := missing(figure, chosen, schedule, wanted, overrides):
        lacking = ", ".join(f"{model} seed {seed}" for model, seed in absent)
        raise UserError(
            f"figure={figure['name']}: no finished run of {lacking} on schedule={schedule}"
            f"{' with ' if overrides else ''}{overrides} in {relative(folder)}; to train them: "
            f"python -m experiments.reproduce figure={figure['name']} schedule={schedule} "
            f"seeds={show(wanted)}{' and the same overrides' if overrides else ''}"
        )
    name = ",".join(filter(None, [figure["name"], overrides]))
    png, svg = draw_figure({**figure, "name": name}, chosen, folder / schedule)
    print(f"\n{summary_text(figure, chosen)}\n\nfigure    {relative(png)} and {svg.name}")
    return png


def refuse_decided(overrides: list[str]) -> None:
    """Raise `UserError` for an override of what the figure decides: networks, seeds, folders."""
    for override in overrides:
        if override.lstrip("+~").split("=")[0].split(".")[0] in DECIDED:
            raise UserError(f"{override}: decided by the figure; allowed: figure= and seeds=")


def start(job: Job) -> None:
    """Draw the figure of a job."""
    refuse_decided(job.overrides)
    report(job.config, ROOT / job.config.runs)


if __name__ == "__main__":
    sys.exit(command("report", check_values, start))
