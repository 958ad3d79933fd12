"""The final errors of a figure's networks, and what they say about its claim, in words."""

import textwrap
from typing import Any

import pandas as pd

from degradation.report.caption import caveats, provenance, seeds_by_network
from degradation.report.curves import Run, comparable, models_of
from degradation.report.panel import WORDS


def final_errors(spec: dict[str, Any], runs: list[Run]) -> pd.DataFrame:
    """Tabulate the last errors of each network of a figure, in percent, as means over its seeds.

    Columns: `network`, `seeds` (text), `train_error` and `test_error`, or `val_error` for runs
    with a held-out set. Raises UserError if a network has no run or the runs are not comparable.
    """
    runs = comparable(spec, runs)
    seeds = seeds_by_network(runs)
    rows = []
    for model in models_of(spec):
        group = [run for run in runs if run.model == model]
        errors = {column: _last(group, column).mean() for column in _columns(runs)}
        rows.append({"network": group[0].network, "seeds": seeds[group[0].network], **errors})
    return pd.DataFrame(rows)


def summary_text(spec: dict[str, Any], runs: list[Run]) -> str:
    """Say in a few lines how the figure's networks ended, and whether depth did what it should.

    For each panel the deepest network is set against the shallowest, in percentage points:
    without shortcuts the deeper one should have the higher errors, with them the lower ones.
    """
    runs = comparable(spec, runs)
    table = final_errors(spec, runs)
    names = {"network": "network", "seeds": "seeds"}
    names |= {column: f"{WORDS[column]} error %" for column in _columns(runs)}
    lines = [
        f"{spec['title']}: final errors",
        textwrap.fill(provenance(runs), 100),
        table.rename(columns=names).to_string(index=False, float_format="{:.2f}".format),
    ]
    for panel in spec["panels"]:
        networks = [[run for run in runs if run.model == model] for model in panel["models"]]
        shallow = min(networks, key=lambda group: group[0].depth)
        deep = max(networks, key=lambda group: group[0].depth)
        if shallow is not deep:
            lines += [_comparison(shallow, deep, column) for column in _columns(runs)]
    return "\n".join(filter(None, [*lines, textwrap.fill(caveats(runs), 100)]))


def _comparison(shallow: list[Run], deep: list[Run], column: str) -> str:
    """One line: the difference of two networks in one error, and the word for it."""
    difference = _last(deep, column).mean() - _last(shallow, column).mean()
    return (
        f"{deep[0].network} minus {shallow[0].network}, {WORDS[column]} error: "
        f"{round(difference, 2) + 0.0:+.2f} points, {_verdict(shallow, deep, column)}"
    )


def _verdict(shallow: list[Run], deep: list[Run], column: str) -> str:
    """Name the outcome: it needs every seed of one network above every seed of the other.

    *Reproduced* and *not reproduced* are kept for runs that follow the paper in all settings.
    """
    sign = -1 if deep[0].residual else 1
    low, high = sign * _last(shallow, column), sign * _last(deep, column)
    faithful = all(run.on_paper_schedule and not run.departures for run in shallow + deep)
    if high.min() > low.max():
        word = "reproduced" if faithful else "same direction"
    elif high.max() < low.min():
        word = "not reproduced" if faithful else "opposite direction"
    else:
        word = "undecided"
    counts = sorted({len(shallow), len(deep)})
    seeds = "one seed" if counts == [1] else f"{' and '.join(map(str, counts))} seeds"
    return f"{word} ({seeds}, no interval)"


def _columns(runs: list[Run]) -> list[str]:
    return ["train_error", runs[0].measured]


def _last(runs: list[Run], column: str) -> pd.Series:
    """The error in the last row of each run, in percent."""
    return pd.Series([run.rows[column].iloc[-1] for run in runs])
