"""Figures with their captions: errors against iterations or depth, responses against layers."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from degradation.errors import UserError
from degradation.records.files import replace_file
from degradation.report.panel import (
    FAMILIES,
    LEADER,
    PAPER_LINE,
    SMALL,
    TEXT,
    TITLE,
    Curve,
    draw_ends,
    draw_panel,
    draw_responses,
    figure_curves,
    line_height,
    name_curves,
    text_width,
    wrap,
)
from degradation.report.paper import (
    DIGITISED,
    DIGITISED_RESPONSES,
    ORDERS,
    paper_curve,
    response_distance,
)
from degradation.report.provenance import (
    caveats,
    how_made,
    not_comparable,
    seeds_by_network,
    shared,
)
from degradation.report.runs import (
    WORDS,
    Run,
    by_network,
    check_alike,
    drawn,
    models_of,
    panel_models,
)

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
DEPTH = {  # made of all networks of section 4.2, if there are two depths of a family
    "name": "depth",
    "title": "Final error against depth",
    "source": "He et al. 2015, section 4.2",
    "draws": "depth",
    "panels": [],
}
BESIDE = 0.55  # inches to the right of its axes, for the names


def drawable(
    specs: Iterable[dict[str, Any]], runs: Iterable[Run]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """List the figures whose networks all have runs; and parts of others, for what is left.

    A part is a figure without the panels and networks that have no runs. It is there only if it
    shows errors, or responses, of a network of which nothing before it shows them.
    """
    specs, runs = list(specs), list(runs)
    known = [{run.model for run in _shown(spec, runs)} for spec in specs]
    whole = [s for s, models in zip(specs, known, strict=True) if models >= set(models_of(s))]
    seen = {(_draws(spec), model) for spec in whole for model in drawn(spec)}
    parts = []
    for spec, models in zip(specs, known, strict=True):
        shows = {(_draws(spec), model) for model in models}
        if spec not in whole and shows - seen:
            parts.append(_part(spec, models))
            seen |= shows
    return whole, parts


def _draws(spec: dict[str, Any]) -> str:
    """What a figure draws: errors against iterations or depth, or responses against layers."""
    return spec.get("draws", "errors")


def _shown(spec: dict[str, Any], runs: Iterable[Run]) -> list[Run]:
    """Pick the runs that a figure shows."""
    if _draws(spec) == "depth":
        families = list(FAMILIES)
        known = [run for run in runs if run.of_section_4_2]
        return sorted(known, key=lambda run: (families.index(run.family), run.depth, run.seed))
    known = [run for run in runs if run.model in drawn(spec)]
    return [run for run in known if _draws(spec) == "errors" or not run.responses.empty]


def _part(spec: dict[str, Any], known: set[str]) -> dict[str, Any]:
    panels = [
        {"title": panel["title"], "models": [m for m in panel_models(panel) if m in known]}
        for panel in spec["panels"]
    ]
    panels = [panel for panel in panels if panel["models"]]
    # A panel by itself has no title but the figure's.
    title = panels[0]["title"].capitalize() if len(panels) == 1 else spec["title"]
    return {**spec, "title": title, "source": f"{spec['source']}, in part", "panels": panels}


@dataclass(frozen=True)
class Picture:
    """A drawn figure: the text under it, what it shows in short, its files.

    The text is without the caveats of the schedule: the report has them once, at its beginning.
    """

    caption: str
    alt: str
    png: Path
    svg: Path


def draw_pictures(
    figures: list[dict[str, Any]], runs: list[Run], out_dir: Path, suffix: str = ""
) -> list[Picture]:
    """Draw error against depth, if there are two depths, then each of `figures`, to `out_dir`.

    `figures` are as the files of `conf/figure/`. Pictures are called `<name><suffix>.png` and
    `.svg`; the same runs give the same bytes. Raises `UserError` as `build_figure` does, or (exit
    code 1) if a file cannot be written.
    """
    depths = {(run.family, run.depth) for run in _shown(DEPTH, runs)}
    if len(depths) > len({family for family, _ in depths}):
        figures = [DEPTH, *figures]
    return [_draw(spec, runs, out_dir / f"{spec['name']}{suffix}") for spec in figures]


@matplotlib.style.context(STYLE)
def _draw(spec: dict[str, Any], runs: list[Run], path: Path) -> Picture:
    """Draw a figure and write it to `path`, with either suffix."""
    figure, runs = build_figure(spec, runs), _shown(spec, runs)
    text, title = caption(spec, runs), spec["title"]
    files = [path.with_name(f"{path.name}.{suffix}") for suffix in UNDATED]
    for file, undated in zip(files, UNDATED.values(), strict=True):
        about = {"Title": title, "Description": text} | undated
        with replace_file(file) as temporary:
            figure.savefig(temporary, format=file.suffix[1:], metadata=about)
    return Picture(text.split("\n")[0], f"{title}: {', '.join(by_network(runs))}", *files)


@matplotlib.style.context(STYLE)
def build_figure(spec: dict[str, Any], runs: list[Run]) -> Figure:
    """Lay out a figure: title, panels on the same axes, caption.

    `spec` is as a file of `conf/figure/`, or `DEPTH`. Raises UserError if a network that it needs
    has no run, or if the runs cannot stand side by side.
    """
    runs = _shown(spec, runs)
    known = {run.model for run in runs}
    if absent := [model for model in models_of(spec) if model not in known]:
        raise UserError(f"figure={spec['name']}: no finished run of {', '.join(absent)}")
    check_alike(runs)
    build = {"errors": _build_curves, "responses": _build_responses, "depth": _build_depth}
    return build[_draws(spec)](spec, runs)


def _build_depth(spec: dict[str, Any], runs: list[Run]) -> Figure:
    """Lay out two panels, test and training error, with every seed as a dot over its depth."""
    columns = [runs[0].measured, "train_error"]
    tables = {column: _final(runs, column) for column in columns}
    limit = 1.08 * max(table[["error", "paper"]].max(axis=None) for table in tables.values())
    key = DIGITISED if any(table["paper"].notna().any() for table in tables.values()) else ""

    width, axes_height = FULL_PAGE
    figure = _empty_figure(width)
    head, text = line_height(TEXT) + 0.05, caption(spec, runs)
    row = _lay_out(figure, spec["title"], text, columns, axes_height, BESIDE, head, key)
    for axes, (column, table) in zip(row, tables.items(), strict=True):
        draw_ends(axes, table, column, limit)
        axes.set_title(f"{WORDS[column]} error", fontsize=TEXT, loc="left")
    _label_axis(row, "final error (%)")
    return figure


def _build_curves(spec: dict[str, Any], runs: list[Run]) -> Figure:
    panels = figure_curves(spec["panels"], runs)
    everything = [curve for panel in panels for curve in panel]
    total = runs[0].config["schedule"]["iterations"]
    limit, cut = _error_limit(everything, total)

    count = len(panels)
    width, axes_height = ONE_PANEL if count == 1 else FULL_PAGE
    axes_height = max(axes_height, line_height(SMALL) * max(map(len, panels)))  # all names fit
    figure = _empty_figure(width)
    names = max(text_width(figure, curve.label, SMALL, "bold") for curve in everything)
    row = _lay_out(
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
    _label_axis(row, "error (%)")
    return figure


def _build_responses(spec: dict[str, Any], runs: list[Run]) -> Figure:
    """Lay out two rows of panels: the layers in the order of the network, and sorted by size."""
    panels = [
        curves for order in ORDERS for curves in figure_curves(spec["panels"], runs, (order,))
    ]
    everything = [curve for panel in panels for curve in panel]
    count = len(spec["panels"])
    width, height = ONE_PANEL if count == 1 else FULL_PAGE
    figure = _empty_figure(width)
    grid = _lay_out(
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
        _label_axis(row, "standard deviation")
    return figure


def _lay_out(
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


def _label_axis(row: list[Axes], text: str) -> None:
    """Name the upright axis, which the axes of a row share, once: at its left end."""
    for number, axes in enumerate(row):
        axes.set_ylabel("" if number else text, fontsize=TEXT)
        axes.tick_params(labelleft=number == 0)


def _empty_figure(width: float) -> Figure:
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


def _final(runs: list[Run], column: str) -> pd.DataFrame:
    """Tabulate each run's last error and the paper's (NaN if there is none), in percent."""
    rows = []
    for run in runs:
        paper = paper_curve([run], column)
        last = None if paper is None else paper.iloc[-1]
        rows.append((run.family, run.depth, run.final(column), last))
    table = pd.DataFrame(rows, columns=["family", "depth", "error", "paper"])
    return table.astype({"error": float, "paper": float})


MEANS = "Lines are means over the seeds, and bands reach from the lowest seed to the highest."
SENTENCES = {  # of captions: what is drawn; of several seeds; of the paper's values
    "errors": (
        "Thin dashed lines: training error, on augmented images; thick lines: {unseen}.",
        MEANS,
        f"Faint lines: {DIGITISED}; its axis ends at 20 %, and some points could not be read.",
    ),
    "depth": (
        "A dot is the last evaluation of one seed.",
        "Seeds of one network stand side by side; lines join their means.",
        f"Faint diamonds: the last points of {DIGITISED}.",
    ),
    "responses": (
        "Standard deviation of each convolution's responses, after batch normalisation and before "
        "addition and ReLU: √(mean γ² + Var β), from the weights alone.",
        MEANS,
        f"Faint lines: {DIGITISED_RESPONSES}, straight over layers that it leaves out. Mean over "
        "its layers of |ours ÷ paper − 1|: {distances}.",
    ),
}


def caption(spec: dict[str, Any], runs: list[Run]) -> str:
    """Describe a figure's lines, runs and data; on a new line, what the schedule cannot show."""
    lines, several, paper = SENTENCES[_draws(spec)]
    unseen, limits = "test error", caveats(runs)
    if runs[0].measured == "val_error":
        held_out = runs[0].config["data"]["holdout"]
        unseen = f"validation error, on {held_out:,} training images held out"
    beside = any(paper_curve([run], "train_error") is not None for run in runs)
    distances = ""
    if _draws(spec) == "responses":
        known = {name: response_distance(group) for name, group in by_network(runs).items()}
        distances = ", ".join(f"{n} {value:.2f}" for n, value in known.items() if value is not None)
        beside, limits = bool(distances), ""
        if not runs[0].on_paper_schedule:
            limits = not_comparable("responses")
    seeds = seeds_by_network(runs)
    told = [f"After {spec['source']}.", lines.format(unseen=unseen)]
    told.append(shared("Seeds", lambda run: seeds[run.network], runs))
    if len(runs) > len(seeds):
        told.append(several)
    if beside:
        told.append(paper.format(distances=distances))
    return "\n".join(filter(None, [" ".join([*told, how_made(runs)]), limits]))
