"""Runs picked from those that were found, and those that are not among them."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from degradation.errors import UserError
from degradation.report.curves import models_of
from degradation.report.runs import Run, without_precision


def select(
    runs: Iterable[Run],
    models: Iterable[str],
    schedule: str,
    seeds: Iterable[int] | None = None,
    variant: str = "",
) -> list[Run]:
    """Pick the runs of some networks on one schedule, sorted as `models`, then by seed.

    Without `seeds` all are taken. A run with other overrides than `variant` is another network
    and is never among them. Raises UserError if a network's seed was trained twice.
    """
    models, seeds = list(models), None if seeds is None else set(seeds)
    picked: dict[tuple[int, int], Run] = {}
    for run in runs:
        wanted = (run.model in models, run.schedule == schedule, run.variant == variant)
        if not all(wanted) or (seeds is not None and run.seed not in seeds):
            continue
        place = (models.index(run.model), run.seed)
        if place in picked:
            raise UserError(
                f"{picked[place].path} and {run.path} are both {run.model} with seed={run.seed} "
                f"on schedule={schedule}: allowed: one; move the other elsewhere"
            )
        picked[place] = run
    return [picked[place] for place in sorted(picked)]


def pick(
    runs: list[Run],
    schedule: str,
    seeds: Iterable[int] | None = None,
    variant: str = "",
    precision: str = "auto",
) -> list[Run]:
    """Pick the runs of all networks on one schedule, plain networks first, then by depth.

    `precision` is the one that was asked for. Otherwise as `select`.
    """
    named = [
        # A folder's name has the precision only where `auto` picked another.
        replace(run, variant=variant)
        if run.precision == precision
        and without_precision(run.variant) == without_precision(variant)
        else run
        for run in runs
    ]
    places = {run.model: (run.residual, run.depth or 0, run.model) for run in runs}
    return select(named, sorted(places, key=places.get), schedule, seeds, variant)


def of_any_precision(
    like: Run, runs: Iterable[Run], seeds: Iterable[int] | None = None
) -> list[Run]:
    """Pick the runs that share schedule and overrides with `like`, whatever their precision.

    Without `seeds` all are taken.
    """
    kind = (like.schedule, without_precision(like.variant))
    return [
        run
        for run in runs
        if (run.schedule, without_precision(run.variant)) == kind
        and (seeds is None or run.seed in seeds)
    ]


def missing(
    spec: dict[str, Any], runs: Iterable[Run], seeds: Iterable[int]
) -> list[tuple[str, int]]:
    """List the (model, seed) pairs that a figure needs and `runs` lacks, seed by seed.

    `runs` are of one schedule and one set of overrides, as `select` picks them.
    """
    present = {(run.model, run.seed) for run in runs}
    pairs = product(seeds, models_of(spec))
    return [(model, seed) for seed, model in pairs if (model, seed) not in present]


def schedule_folder(folder: Path, runs: list[Run]) -> Path:
    """Folder of the runs' schedule: in `folder`, or `folder` itself if runs lie right in it."""
    schedule = runs[0].schedule
    inside = folder.name == schedule and any(run.path.parents[1] == folder for run in runs)
    return folder if inside else folder / schedule
