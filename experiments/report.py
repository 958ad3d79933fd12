"""Report on runs that are there, figures, tables and verdict: `python -m experiments.report`.

From your own runs, or with `runs=results/recorded` from the recorded ones; nothing is trained.
Overrides that the runs were trained with (`data=synthetic`) name them here too.
"""

import shlex
import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from degradation.config import (
    CONF,
    PLACES,
    RESULT_GROUPS,
    ROOT,
    check_values,
    options,
    relative,
    show,
    variant,
)
from degradation.errors import UserError
from degradation.report import (
    Page,
    Run,
    compare,
    draw_pictures,
    drawn,
    find_runs,
    judge,
    missing,
    models_of,
    select,
    summary_text,
    write_export,
    write_page,
)
from degradation.report.verdict import GOOD
from experiments.command import Job, command
from experiments.run import precisions

DECIDED = ("model", "model.name", "model.depth", "seed", "run_dir")
RECORDED = ROOT / "results" / "recorded"


def report(config: DictConfig, folder: Path, overrides: list[str]) -> Page:
    """Write the report on runs below `folder`, print how they ended, return what it tells.

    The runs are those of the schedule, the seeds (null: all) and the overrides of `config`; each
    figure whose networks have runs is drawn. Raises `UserError`, and says which command trains
    them, if there are none, or if some are missing that `config.figure` needs.
    """
    changes = ",".join(variant(config, *precisions(config)))
    suffix = f",{changes}" if changes else ""
    runs = _find(config, folder, changes)
    out_dir = folder / config.schedule.name

    known = {run.model for run in runs}
    figures = [spec for spec in _figures(config) if known.issuperset(models_of(spec))]
    page = Page(
        runs=runs,
        findings=judge(runs),
        pictures=draw_pictures(figures, runs, out_dir, suffix),
        comparisons=compare(runs, find_runs(RECORDED)),
        commands=_commands(config, folder, overrides, figures, runs),
    )
    paths = [*write_page(page, out_dir, f"report{suffix}"), *write_export(runs, out_dir, suffix)]
    print(f"\n{summary_text(runs, page.findings)}\n")
    for picture in page.pictures:
        print(f"figure    {relative(picture.png)} and {picture.svg.name}")
    print(f"report    {relative(paths[0])}, {', '.join(path.name for path in paths[1:])}")
    return page


def _find(config: DictConfig, folder: Path, changes: str) -> list[Run]:
    """Read the runs to report on, plain networks first, and name unfinished ones of their kind.

    Raises `UserError` as `report` does. `changes` is the variant that the runs must be.
    """
    figure = OmegaConf.to_container(config.figure) if config.figure else None
    left_out: list[tuple[Path, str]] = []
    found = find_runs(folder, lambda *skipped: left_out.append(skipped))
    places = {run.model: (run.residual, run.depth or 0, run.model) for run in found}
    models, schedule = sorted(places, key=places.get), config.schedule.name
    runs = select(found, models, schedule, config.seeds and list(config.seeds), changes)
    _check_found(config, folder, changes, runs, figure)

    for path, why in left_out:
        place, (model, _, overrides) = path.parent.parent, path.parent.name.partition(",")
        alike = place == folder / schedule and overrides == changes
        if alike and (figure is None or model in drawn(figure)):
            print(f"left out  {relative(path)}: {why}")
    return runs


def _check_found(
    config: DictConfig, folder: Path, changes: str, runs: list[Run], figure: dict[str, Any] | None
) -> None:
    """Raise `UserError` if there are no runs, or not all that `figure` needs."""
    schedule, needed = config.schedule.name, models_of(figure) if figure else []
    known = sorted({run.seed for run in runs if run.model in needed})
    seeds = list(config.seeds) if config.seeds else known or [0]
    absent = missing(figure, runs, schedule, seeds, changes) if figure else []
    if absent or not runs:
        name = figure["name"] if figure else "figure1"
        start = f"figure={name}: no finished run of " if figure else "no finished run"
        raise UserError(
            f"{start}{', '.join(f'{model} seed {seed}' for model, seed in absent)} on "
            f"schedule={schedule}{' with ' if changes else ''}{changes} in {relative(folder)}; "
            f"to train them: python -m experiments.reproduce figure={name} schedule={schedule} "
            f"seeds={show(seeds)}{' and the same overrides' if changes else ''}"
        )


def _figures(config: DictConfig) -> list[dict[str, Any]]:
    """Read the figures of conf/figure/; of `config.figure` what the command line made of it."""
    specs = {name: OmegaConf.load(CONF / "figure" / f"{name}.yaml") for name in options("figure")}
    if config.figure:
        specs[config.figure.name] = config.figure
    return [OmegaConf.to_container(specs[name]) for name in sorted(specs)]


def _commands(
    config: DictConfig,
    folder: Path,
    overrides: list[str],
    figures: list[dict[str, Any]],
    runs: list[Run],
) -> list[tuple[str, str]]:
    """Pair each figure, and the report alone, with the command that makes it."""
    changed = sorted(filter(_changes_result, overrides))

    def line(name: str, models: list[str], *words: str) -> str:
        seeds = show(sorted({run.seed for run in runs if run.model in models}))
        words = (*words, f"schedule={config.schedule.name}", f"seeds={seeds}", *changed)
        return f".venv/bin/python -m experiments.{name} {shlex.join(words)}"

    commands = [
        (spec["title"], line("reproduce", models_of(spec), f"figure={spec['name']}"))
        for spec in figures
    ]
    words = [f"runs={relative(folder)}"]
    if config.figure and any(override.startswith("model.") for override in changed):
        words.insert(0, f"figure={config.figure.name}")  # says which networks have such a key
    alone = line("report", [run.model for run in runs], *words)
    return [*commands, ("This report, without training", alone)]


def _changes_result(override: str) -> bool:
    """Whether an override makes other runs; schedule= and places of the data do not count."""
    key = override.lstrip("+~").split("=")[0]
    group, _, name = key.partition(".")
    return key in ("runtime", "runtime.precision") or (
        group in RESULT_GROUPS and key != "schedule" and name not in PLACES
    )


def refuse_decided(overrides: list[str]) -> None:
    """Raise `UserError` for an override of what figures decide: networks, seeds, folders."""
    for override in overrides:
        if override.lstrip("+~").split("=")[0] in DECIDED:
            raise UserError(f"{override}: decided by the figure; allowed: figure= and seeds=")


def imply_network(overrides: list[str]) -> list[str]:
    """Choose the first network of figure= where there is `model.KEY=`: other ones may lack KEY."""
    figure = next((o.partition("=")[2] for o in reversed(overrides) if o.startswith("figure=")), "")
    if figure not in options("figure") or not any(o.startswith("model.") for o in overrides):
        return []
    return [f"model={models_of(OmegaConf.load(CONF / 'figure' / f'{figure}.yaml'))[0]}"]


def check(config: DictConfig) -> None:
    """Check the values of a report, which may do without `figure`."""
    keys = [key for key in config if key != "figure" or config.figure is not None]
    check_values(OmegaConf.masked_copy(config, keys))


def start(job: Job) -> None:
    """Write the report of a job; with `strict=true` a claim that did not come out ends it."""
    refuse_decided(job.overrides)
    page = report(job.config, ROOT / job.config.runs, job.overrides)
    failed = [f for f in page.findings if f.verdict not in (*GOOD, "not asked")]
    if job.config.strict and failed:
        told = ", ".join(f"{finding.number} ({finding.verdict})" for finding in failed)
        raise UserError(f"strict=true: claims that did not come out: {told}", exit_code=1)


if __name__ == "__main__":
    sys.exit(command("report", check, start, imply_network))
