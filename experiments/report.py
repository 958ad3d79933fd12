"""Report on runs that are there, figures, tables and verdict: `python -m experiments.report`.

From your own runs, or with `runs=results/recorded` from the recorded ones; of those on
`schedule=paper` the README's section is filled then. Nothing is trained.
Overrides that the runs were trained with (`data=synthetic`) name them here too.
"""

import contextlib
import sys
from pathlib import Path

from degradation.config import ROOT, folder_of, option_values, options, read_figures
from degradation.errors import UserError
from degradation.report import Request, check_claims, models_of, write_report
from experiments.command import command
from experiments.compose import Job, compose, key_of

DECIDED = ("model", "model.depth", "seed", "run_dir")


def request(job: Job, folder: Path) -> Request:
    """Say what a job asks of a report on the runs below `folder`."""
    # Of several values for a key the last counts, as Hydra has it.
    drawing = {key_of(o): o for o in job.overrides if key_of(o).startswith("figure.")}
    return Request(
        job.setting,
        folder,
        job.checked.seeds,
        job.checked.figure and job.checked.figure.model_dump(),
        figure_overrides=[*drawing.values()],
        runtime=job.checked.runtime.name,
    )


def refuse_decided(overrides: list[str]) -> None:
    """Raise `UserError` for an override of what figures decide: networks, seeds, folders."""
    for override in overrides:
        if key_of(override) in DECIDED:
            raise UserError(f"{override}: decided by the figure; allowed: figure= and seeds=")


def imply_network(overrides: list[str]) -> list[str]:
    """Choose a network for `model.KEY=`: of figure= the first; else one changed by every key.

    If they change none, it is one that has them.
    """
    changes = [override for override in overrides if key_of(override).startswith("model.")]
    keys = {key_of(override) for override in changes}
    if not keys:
        return []
    figure = next((o.partition("=")[2] for o in reversed(overrides) if o.startswith("figure=")), "")
    if figure in options("figure"):
        return [f"model={models_of(read_figures()[figure])[0]}"]
    default, having = compose("config", []).model.name, []
    for name in (default, *options("model")):
        if keys <= option_values("model", name).keys():
            with contextlib.suppress(UserError):  # of values that do not go with this network's
                words = [f"model={name}", *changes]
                if keys <= Job(compose("config", words), words).setting.changes.keys():
                    return words[:1]
                having.append(words[0])
    return having[:1]


def check(job: Job) -> None:
    """Check the values of a report, and the figures there are."""
    figure = job.config.figure is not None
    refuse_decided([o for o in job.overrides if figure or key_of(o) != "model.depth"])
    read_figures()
    if (folder_of("runs", job.checked.runs, ROOT) / "manifest.json").exists():
        raise UserError(f"runs={job.config.runs}: is a run; allowed: a folder that holds runs")


def start(job: Job) -> None:
    """Write the report of a job; with `strict=true` a claim that did not come out ends it."""
    asked = request(job, folder_of("runs", job.config.runs, ROOT))
    page = write_report(asked)
    if job.config.strict:
        check_claims(page, asked.figure)


if __name__ == "__main__":
    sys.exit(command("report", check, start, imply=imply_network))
