"""Final error against depth, plain and residual: the degradation problem at a glance."""

from pathlib import Path

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from degradation.report.caption import depth_caption
from degradation.report.curves import check_alike, paper_curve
from degradation.report.figures import (
    FULL_PAGE,
    STYLE,
    empty_figure,
    label_errors,
    lay_out,
    write_figure,
)
from degradation.report.panel import PAPER_LINE, style_axes
from degradation.report.paper import DIGITISED
from degradation.report.runs import WORDS, Run
from degradation.report.typesetting import SMALL, TEXT, line_height, spread

TITLE_TEXT = "Final error against depth"
# Lighter and darker, for greyscale print, and no colour that stands for a depth elsewhere; 70 apart
# in CIE Lab for normal sight, protanopia, deuteranopia and tritanopia.
COLOURS = {"plain": "#E4572E", "ResNet": "#17618F"}
LABELS = {"plain": "plain", "ResNet": "residual"}
BESIDE = 0.55  # inches to the right of the axes, for the names


def draw_depth(runs: list[Run], out_dir: Path, name: str = "depth") -> list[Path]:
    """Draw final errors against depth and write `<name>.png` and `<name>.svg` to `out_dir`.

    Returns their paths; none if `build_depth` finds nothing to draw. Raises UserError as it does,
    or (exit code 1) if a file cannot be written.
    """
    figure = build_depth(runs)
    if figure is None:
        return []
    with matplotlib.style.context(STYLE):
        return write_figure(figure, out_dir, name, TITLE_TEXT, depth_caption(_counted(runs)))


@matplotlib.style.context(STYLE)
def build_depth(runs: list[Run]) -> Figure | None:
    """Lay out two panels, test and training error, with every seed as a dot over its depth.

    Of `runs`, which are of one schedule and of one set of overrides, networks as section 4.2 has
    them count. None if neither plain nor residual ones have two depths. Raises UserError if the
    runs cannot stand side by side.
    """
    runs = _counted(runs)
    check_alike(TITLE_TEXT.lower(), runs)
    if max((len({r.depth for r in runs if r.family == f}) for f in COLOURS), default=0) < 2:
        return None
    columns = [runs[0].measured, "train_error"]
    tables = {column: _final(runs, column) for column in columns}
    limit = 1.08 * max(table[["error", "paper"]].max(axis=None) for table in tables.values())
    key = DIGITISED if any(table["paper"].notna().any() for table in tables.values()) else ""

    width, axes_height = FULL_PAGE
    figure = empty_figure(width)
    head = line_height(TEXT) + 0.05
    text = depth_caption(runs)
    row = lay_out(figure, TITLE_TEXT, text, columns, axes_height, BESIDE, head, key)
    for axes, (column, table) in zip(row, tables.items(), strict=True):
        _draw(axes, table, column, limit)
        axes.set_title(f"{WORDS[column]} error", fontsize=TEXT, loc="left")
    label_errors(row, "final error (%)")
    return figure


def _counted(runs: list[Run]) -> list[Run]:
    return sorted(
        (run for run in runs if run.of_section_4_2),
        key=lambda run: (list(COLOURS).index(run.family), run.depth, run.seed),
    )


def _final(runs: list[Run], column: str) -> pd.DataFrame:
    """Tabulate each run's last error and the paper's (NaN if there is none), in percent."""
    rows = []
    for run in runs:
        paper = paper_curve([run], column)
        last = None if paper is None else paper.iloc[-1]
        rows.append((run.family, run.depth, run.final(column), last))
    table = pd.DataFrame(rows, columns=["family", "depth", "error", "paper"])
    return table.astype({"error": float, "paper": float})


def _draw(axes: Axes, table: pd.DataFrame, column: str, limit: float) -> None:
    """Draw one error of all runs: dots, their means, and the paper's under them."""
    depths = sorted(table["depth"].unique())
    span = depths[-1] - depths[0]
    margin = 0.08 * span
    axes.set(xlim=(depths[0] - margin, depths[-1] + margin), ylim=(-0.015 * limit, limit))
    style_axes(axes)
    axes.set_xticks(depths)
    axes.set_xlabel("layers", fontsize=TEXT)
    ends = {}
    for family, colour in COLOURS.items():
        group = table[table["family"] == family]
        if group.empty:
            continue
        style, gid = {"color": colour}, f"{LABELS[family]}-{column}"
        means = group.groupby("depth")[["error", "paper"]].mean()
        ends[family] = means["error"]
        if means["paper"].notna().any():
            paper = {"marker": "D", "markersize": 8, "markerfacecolor": "none", **PAPER_LINE}
            axes.plot(means["paper"], gid=f"paper-{gid}", **paper, **style)
        axes.plot(means["error"], linewidth=1.6, zorder=3, gid=gid, **style)
        axes.plot(
            group["depth"] + span * _aside(group["depth"]),
            group["error"],
            marker="o",
            linestyle="none",
            markersize=5,
            markeredgecolor="white",
            markeredgewidth=0.6,
            zorder=4,
            gid=f"{gid}-seeds",
            **style,
        )
    _label(axes, ends, limit)


def _aside(depths: pd.Series) -> pd.Series:
    """How far to the right each seed stands, so that those of one depth do not hide each other."""
    seeds = depths.groupby(depths)
    counts = seeds.transform("size")
    return (seeds.cumcount() - (counts - 1) / 2) * np.minimum(0.022, 0.09 / counts)


def _label(axes: Axes, ends: dict[str, pd.Series], limit: float) -> None:
    """Name each line to the right of its last dot; names beside one another move apart."""
    height = axes.get_position().height * axes.figure.get_figheight()
    together = len({means.index[-1] for means in ends.values()}) == 1
    gap = line_height(SMALL) / height * limit if together else 0
    places = spread([means.iloc[-1] for means in ends.values()], gap, 0, limit)
    for (family, means), place in zip(ends.items(), places, strict=True):
        axes.annotate(
            LABELS[family],
            (means.index[-1], place),
            xytext=(10, 0),
            textcoords="offset points",
            va="center_baseline",
            fontsize=SMALL,
            weight="bold",
            color=COLOURS[family],
            annotation_clip=False,
        )
