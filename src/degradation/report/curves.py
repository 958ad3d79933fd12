"""What a figure shows of the runs that there are, and their errors over the seeds."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from degradation.config import command_line
from degradation.errors import UserError
from degradation.report.paper import curve
from degradation.report.runs import Run


def models_of(spec: dict[str, Any]) -> list[str]:
    """List the networks that a figure needs, each once, in the order of its panels."""
    return list(dict.fromkeys(model for panel in spec["panels"] for model in panel["models"]))


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
    shows a network that nothing before it shows.
    """
    specs, known = list(specs), {run.model for run in runs}
    whole = [spec for spec in specs if known.issuperset(models_of(spec))]
    shown = {model for spec in whole for model in drawn(spec)}
    parts = []
    for spec in specs:
        if spec not in whole and (known & set(drawn(spec))) - shown:
            parts.append(_part(spec, known))
            shown |= set(drawn(spec))
    return whole, parts


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
    runs = [run for run in runs if run.model in drawn(spec)]
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
    """Mean, low and high of one error over the seeds of one network, by iteration, in percent."""
    columns = [run.rows.set_index("iteration")[column] for run in runs]
    seeds = pd.concat(columns, axis=1, join="inner")
    return pd.DataFrame(
        {"mean": seeds.mean(axis=1), "low": seeds.min(axis=1), "high": seeds.max(axis=1)}
    )


def paper_curve(runs: list[Run], column: str) -> pd.Series | None:
    """The paper's own curve of one network, in percent by iteration; None where it has none.

    None as well if a run differs from the paper's in schedule or settings: the two could not agree.
    """
    return curve(runs[0].model, column) if all(run.faithful for run in runs) else None


def _traits(run: Run) -> dict[str, Any]:
    """What a run must share with every other run of its figure that has the same key."""
    return {
        "schedule.name": run.schedule,
        **{f"schedule.{key}": value for key, value in run.config["schedule"].items()},
        "data.holdout": run.config["data"]["holdout"],
        "overrides": run.variant or "none",
        f"depth of {run.model}": run.depth,
    }
