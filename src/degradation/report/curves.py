"""What a figure shows of the runs that there are, and their curves over the seeds."""

from collections.abc import Iterable
from itertools import product
from typing import Any

import pandas as pd

from degradation.config import command_line
from degradation.errors import UserError
from degradation.report.paper import ORDERS
from degradation.report.runs import Run


def models_of(spec: dict[str, Any]) -> list[str]:
    """List the networks that a figure needs, each once, in the order of its panels."""
    return list(dict.fromkeys(model for panel in spec["panels"] for model in panel["models"]))


def draws_responses(spec: dict[str, Any]) -> bool:
    """Whether a figure shows responses against layers, not errors against iterations."""
    return spec.get("draws") == "responses"


def drawn(spec: dict[str, Any]) -> list[str]:
    """List the networks that a figure shows: `models_of`, and `also` those that have runs."""
    return list(dict.fromkeys(model for panel in spec["panels"] for model in panel_models(panel)))


def panel_models(panel: dict[str, Any]) -> list[str]:
    """List the networks that a panel shows: `models`, which it needs, and `also` if they ran."""
    return [*panel["models"], *panel.get("also", [])]


def drawable(
    specs: Iterable[dict[str, Any]], runs: Iterable[Run]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """List the figures whose networks all have runs; and parts of others, for what is left.

    A part is a figure without the panels and networks that have no runs. It is there only if it
    shows errors, or responses, of a network of which nothing before it shows them.
    """
    specs, runs = list(specs), list(runs)
    known = [{run.model for run in runs if _shows(spec, run)} for spec in specs]
    whole = [s for s, models in zip(specs, known, strict=True) if models >= set(models_of(s))]
    shown = {(draws_responses(spec), model) for spec in whole for model in drawn(spec)}
    parts = []
    for spec, models in zip(specs, known, strict=True):
        shows = {(draws_responses(spec), model) for model in models}
        if spec not in whole and shows - shown:
            parts.append(_part(spec, models))
            shown |= shows
    return whole, parts


def _shows(spec: dict[str, Any], run: Run) -> bool:
    return run.model in drawn(spec) and not (draws_responses(spec) and run.responses.empty)


def _part(spec: dict[str, Any], known: set[str]) -> dict[str, Any]:
    panels = [
        {"title": panel["title"], "models": [m for m in panel_models(panel) if m in known]}
        for panel in spec["panels"]
    ]
    panels = [panel for panel in panels if panel["models"]]
    # A panel by itself has no title but the figure's.
    title = panels[0]["title"].capitalize() if len(panels) == 1 else spec["title"]
    return {**spec, "title": title, "source": f"{spec['source']}, in part", "panels": panels}


def comparable(spec: dict[str, Any], runs: Iterable[Run]) -> list[Run]:
    """Pick the runs of a figure's networks, and make sure that they can stand side by side.

    Raises UserError if a network that the figure needs has no run, or as `check_alike` does.
    """
    runs = [run for run in runs if _shows(spec, run)]
    absent = [model for model in models_of(spec) if model not in {run.model for run in runs}]
    if absent:
        raise UserError(
            f"figure={spec['name']}: no finished run of {', '.join(absent)}; "
            f"`{command_line('reproduce', 'figure=' + spec['name'])}` with the same schedule "
            "trains it"
        )
    check_alike(f"figure={spec['name']}", runs)
    return runs


def check_alike(what: str, runs: Iterable[Run]) -> None:
    """Raise UserError, which begins with `what`, for runs that cannot stand side by side.

    Those are runs that differ in schedule, overrides, in what their errors were measured on (test
    or held-out images) or, of one network, in its depth; and two of one network with one seed.
    """
    twins: dict[tuple[str, int], Run] = {}
    seen: dict[str, tuple[Any, Run]] = {}
    for run in runs:
        for key, value in _traits(run).items():
            expected, first = seen.setdefault(key, (value, run))
            if value != expected:
                raise UserError(
                    f"{what}: runs must not differ in {key}, but {first.path} has {expected} and "
                    f"{run.path} has {value}"
                )
        twin = twins.setdefault((run.model, run.seed), run)
        if twin is not run:
            raise UserError(
                f"{what}: {twin.path} and {run.path} are both {run.model} with seed={run.seed}; "
                "allowed: one of them"
            )


def error_curve(runs: list[Run], column: str) -> pd.DataFrame:
    """Mean, low and high of one error over the seeds of one network, by iteration, in percent.

    For one of `ORDERS`, of the standard deviations of its responses, by layer.
    """
    columns = [_values(run, column) for run in runs]
    seeds = pd.concat(columns, axis=1, join="inner")
    return pd.DataFrame(
        {"mean": seeds.mean(axis=1), "low": seeds.min(axis=1), "high": seeds.max(axis=1)}
    )


def _values(run: Run, column: str) -> pd.Series:
    if column == "sorted":
        stds = run.responses.sort_values(ascending=False)
        return stds.set_axis(range(1, len(stds) + 1))
    return run.responses if column in ORDERS else run.rows.set_index("iteration")[column]


def _traits(run: Run) -> dict[str, Any]:
    """What a run must share with every other run of its figure that has the same key."""
    return {
        "schedule.name": run.schedule,
        **{f"schedule.{key}": value for key, value in run.config["schedule"].items()},
        "data.holdout": run.config["data"]["holdout"],
        "overrides": run.variant or "none",
        f"depth of {run.model}": run.depth,
    }


def missing(
    spec: dict[str, Any], runs: Iterable[Run], seeds: Iterable[int]
) -> list[tuple[str, int]]:
    """List the (model, seed) pairs that a figure needs and `runs` lacks, seed by seed.

    `runs` are of one schedule and one set of overrides, as `select` picks them.
    """
    present = {(run.model, run.seed) for run in runs}
    pairs = product(seeds, models_of(spec))
    return [(model, seed) for seed, model in pairs if (model, seed) not in present]
