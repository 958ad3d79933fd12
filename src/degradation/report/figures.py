"""Errors against iterations, responses against layers: Figures 1, 6 and 7, from run folders."""

from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from degradation.records.files import faults_as_user_errors, replace_file
from degradation.report.caption import caption
from degradation.report.curves import comparable, draws_responses
from degradation.report.panel import (
    LEADER,
    PAPER_LINE,
    Curve,
    draw_panel,
    draw_responses,
    figure_curves,
    name_curves,
)
from degradation.report.paper import DIGITISED, DIGITISED_RESPONSES, ORDERS
from degradation.report.runs import Run
from degradation.report.typesetting import SMALL, TEXT, TITLE, line_height, text_width, wrap

# Whatever matplotlibrc the user has; and neither dates, versions nor random ids in the files, so
# that a figure drawn again differs only where its curves do.
STYLE = ["default", {"svg.fonttype": "path", "svg.hashsalt": "degradation"}]
UNDATED = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}

DPI = 300
# All in inches. One panel takes 1.5 columns of a journal, several the width of the page.
ONE_PANEL, FULL_PAGE = (5.5, 2.9), (7.2, 3.0)  # width of the figure, height of its axes
LEFT, BELOW, GAP, MARGIN = 0.55, 0.5, 0.2, 0.1
PAPER_AXIS = 20  # percent, where the axes of the paper's Figures 1 and 6 end
NARROWEST = 1.6  # axes, before the figure grows beyond the page


@matplotlib.style.context(STYLE)
def draw_figure(spec: dict[str, Any], runs: list[Run], out_dir: Path) -> list[Path]:
    """Draw a figure and write it to `out_dir` as `<name>.png` and `<name>.svg`.

    `spec` is a file of conf/figure/, `runs` come from `selection.select`. The same runs give the
    same bytes. Raises UserError if a network has no run, the runs cannot stand in one figure, or
    (exit code 1) a file cannot be written.
    """
    description = caption(spec, comparable(spec, runs))
    return write_figure(build_figure(spec, runs), out_dir, spec["name"], spec["title"], description)


def write_figure(
    figure: Figure, out_dir: Path, name: str, title: str, description: str
) -> list[Path]:
    """Write a figure to `out_dir` as `<name>.png` and `<name>.svg`, and return their paths."""
    about = {"Title": title, "Description": description}
    with faults_as_user_errors(f"cannot make the folder {out_dir}"):
        out_dir.mkdir(parents=True, exist_ok=True)
    paths = [out_dir / f"{name}.{suffix}" for suffix in UNDATED]
    for path, undated in zip(paths, UNDATED.values(), strict=True):
        with replace_file(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], metadata=about | undated)
    return paths


@matplotlib.style.context(STYLE)
def build_figure(spec: dict[str, Any], runs: list[Run]) -> Figure:
    """Lay out a figure: title, panels on the same axes, caption. See `draw_figure`."""
    runs = comparable(spec, runs)
    return _build_responses(spec, runs) if draws_responses(spec) else _build_curves(spec, runs)


def _build_curves(spec: dict[str, Any], runs: list[Run]) -> Figure:
    panels = figure_curves(spec["panels"], runs)
    everything = [curve for panel in panels for curve in panel]
    total = runs[0].config["schedule"]["iterations"]
    limit, cut = _error_limit(everything, total)

    count = len(panels)
    width, axes_height = ONE_PANEL if count == 1 else FULL_PAGE
    axes_height = max(axes_height, line_height(SMALL) * max(map(len, panels)))  # all names fit
    figure = empty_figure(width)
    names = max(text_width(figure, curve.label, SMALL, "bold") for curve in everything)
    row = lay_out(
        figure,
        spec["title"],
        "\n".join([caption(spec, runs), *cut]),
        [panel["title"] for panel in spec["panels"]],
        axes_height,
        beside=LEADER + names + MARGIN / 2,
        head=(count > 1) * line_height(TEXT) + 0.2,
        key=DIGITISED if any(curve.paper is not None for curve in everything) else "",
    )
    for axes, curves in zip(row, panels, strict=True):
        draw_panel(axes, curves, limit, runs[0].config["schedule"])
        if count > 1:
            axes.set_title(axes.get_label(), fontsize=TEXT, loc="left", pad=15)
    label_errors(row, "error (%)")
    return figure


def _build_responses(spec: dict[str, Any], runs: list[Run]) -> Figure:
    """Lay out two rows of panels: the layers in the order of the network, and sorted by size."""
    panels = [
        curves for order in ORDERS for curves in figure_curves(spec["panels"], runs, (order,))
    ]
    everything = [curve for panel in panels for curve in panel]
    count = len(spec["panels"])
    width, height = ONE_PANEL if count == 1 else FULL_PAGE
    figure = empty_figure(width)
    grid = lay_out(
        figure,
        spec["title"],
        caption(spec, runs),
        [panel["title"] for panel in spec["panels"]],
        0.6 * height,
        beside=MARGIN,
        head=(count > 1) * line_height(TEXT) + line_height(SMALL) + 0.1,
        key=DIGITISED_RESPONSES if any(curve.paper is not None for curve in everything) else "",
        rows=len(ORDERS),
    )
    limit = 1.05 * max(curve.top for curve in everything)
    layers = max(curve.errors.index.max() for curve in everything)
    for axes, curves in zip(grid, panels, strict=True):
        draw_responses(axes, curves, limit, layers)
    for axes in grid[:count]:
        axes.set_xlabel("layers, in the order of the network", fontsize=TEXT)
        name_curves(axes)
        if count > 1:
            axes.set_title(axes.get_label(), fontsize=TEXT, loc="left", pad=15)
    for axes in grid[count:]:
        axes.set_xlabel("layers, the largest response first", fontsize=TEXT)
    for row in (grid[:count], grid[count:]):
        label_errors(row, "standard deviation")
    return figure


def lay_out(
    figure: Figure,
    title: str,
    text: str,
    labels: list[str],
    axes_height: float,
    beside: float,
    head: float,
    key: str = "",
    rows: int = 1,
) -> list[Axes]:
    """Give a figure its size, its title, the text under it and rows of axes, one for each label.

    In inches: `axes_height`, the room `beside` each axes to its right, and the `head` above them.
    `key` says whose the faint lines are. Returns the axes row by row, from the top.
    """
    count, width = len(labels), figure.get_figwidth()
    axes_width = max((width - LEFT - (count - 1) * GAP) / count - beside, NARROWEST)
    width = LEFT + count * (axes_width + beside) + (count - 1) * GAP
    lines = wrap(figure, text, SMALL, width - 2 * MARGIN)
    below = BELOW + len(lines) * line_height(SMALL) + MARGIN
    above = MARGIN + line_height(TITLE) + head + bool(key) * line_height(SMALL)
    height = below + rows * axes_height + (rows - 1) * BELOW + above
    figure.set_size_inches(width, height)
    lefts = [LEFT + number * (axes_width + beside + GAP) for number in range(count)]
    bottoms = [below + number * (axes_height + BELOW) for number in reversed(range(rows))]
    grid = [
        figure.add_axes(
            (left / width, bottom / height, axes_width / width, axes_height / height), label=label
        )
        for bottom in bottoms
        for left, label in zip(lefts, labels, strict=True)
    ]
    _write_text(figure, title, LEFT, height - MARGIN, TITLE, weight="bold")
    _write_text(figure, "\n".join(lines), MARGIN, below - BELOW, SMALL, linespacing=1.3)
    if key:
        _draw_key(figure, key, LEFT, height - MARGIN - line_height(TITLE))
    return grid


def label_errors(row: list[Axes], text: str) -> None:
    """Name the upright axis, which the axes of a row share, once: at its left end."""
    for number, axes in enumerate(row):
        axes.set_ylabel("" if number else text, fontsize=TEXT)
        axes.tick_params(labelleft=number == 0)


def empty_figure(width: float) -> Figure:
    """Return a figure that measures text, `width` inches wide; it gets its height at the end."""
    figure = Figure(figsize=(width, width), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def _draw_key(figure: Figure, text: str, x: float, y: float) -> None:
    """Say whose the faint lines are; the top left corner of the text is at (x, y) inches."""
    width, height = figure.get_size_inches()
    middle, length = (y - 0.45 * line_height(SMALL)) / height, 0.25
    ends = [x / width, (x + length) / width]
    figure.add_artist(Line2D(ends, [middle, middle], color="black", gid="paper-key", **PAPER_LINE))
    _write_text(figure, text, x + length + 0.06, y, SMALL)


def _write_text(figure: Figure, text: str, x: float, y: float, size: float, **style: Any) -> None:
    """Write text whose top left corner is at (x, y) inches."""
    x, y = x / figure.get_figwidth(), y / figure.get_figheight()
    figure.text(x, y, text, fontsize=size, va="top", parse_math=False, **style)


def _error_limit(curves: list[Curve], total: int) -> tuple[float, list[str]]:
    """Choose the top of the error axis, and say what it cuts off, if anything.

    The second half of training, after the first drop of the paper's schedules, is always whole, and
    so is the axis of the paper's own figures, 20 %. The rest, where errors fall from 90 %, is shown
    as well unless that would leave less than two thirds of the height to what must be seen.
    """
    highs = pd.concat([curve.errors["high"] for curve in curves])
    top = max(highs[highs.index > total / 2].max(), PAPER_AXIS)
    if highs.max() <= 1.5 * top:
        top = highs.max()
    limit = min(max(5 * np.ceil(1.02 * top / 5), 5), 100)
    cut = highs[highs > limit]
    if cut.empty:
        return limit, []
    return limit, [
        f"The axis cuts off the start: until iteration {cut.index.max():,} there are errors of up "
        f"to {cut.max():.0f} %."
    ]
