"""Draw a figure from runs that are there: `python -m experiments.report figure=figure1`.

From your own runs, or with `runs=results/recorded` from the recorded ones; nothing is trained.
"""

import sys
from pathlib import Path

from omegaconf import OmegaConf

from degradation.config import check_values, relative, show
from degradation.errors import UserError
from degradation.report import draw_figure, find_runs, missing, select, summary_text
from degradation.report.curves import models_of
from experiments.command import Job, command


def report(
    figure: dict, folder: Path, schedule: str, seeds: list[int] | None = None, variant: str = ""
) -> Path:
    """Draw `figure` from the runs below `folder`, print how they ended, and return the PNG's path.

    `seeds` are those to show, all by default; `variant` names the overrides that the runs share.
    Raises `UserError`, and says which command trains them, if runs are missing.
    """
    runs = find_runs(folder, lambda path, why: print(f"left out  {relative(path)}: {why}"))
    chosen = select(runs, models_of(figure), schedule, seeds, variant)
    wanted = seeds or sorted({run.seed for run in chosen}) or [0]
    if absent := missing(figure, chosen, schedule, wanted, variant):
        runs_lacking = ", ".join(f"{model} seed {seed}" for model, seed in absent)
        raise UserError(
            f"figure={figure['name']}: no finished run of {runs_lacking} on schedule={schedule} in "
            f"{relative(folder)}; to train them: python -m experiments.reproduce "
            f"figure={figure['name']} schedule={schedule} seeds={show(wanted)}"
        )
    name = ",".join(filter(None, [figure["name"], variant]))
    png, svg = draw_figure({**figure, "name": name}, chosen, folder / schedule)
    print(f"\n{summary_text(figure, chosen)}\n\nfigure    {relative(png)} and {svg.name}")
    return png


def start(job: Job) -> None:
    """Draw the figure of a job."""
    config = job.config
    report(
        OmegaConf.to_container(config.figure),
        Path(config.runs),
        config.schedule.name,
        OmegaConf.to_object(config.seeds) if config.seeds is not None else None,
    )


if __name__ == "__main__":
    sys.exit(command("report", check_values, start))
