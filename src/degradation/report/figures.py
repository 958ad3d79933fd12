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

from degradation.records.files import faults_as_user_errors, replace_file
from degradation.report.curves import check_alike, comparable, draws_responses
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
from degradation.report.provenance import caveats, how_made, not_comparable, seeds_by_network
from degradation.report.runs import WORDS, Run

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
DEPTH_TITLE = "Final error against depth"
BESIDE = 0.55  # inches to the right of its axes, for the names


@matplotlib.style.context(STYLE)
def draw_figure(spec: dict[str, Any], runs: list[Run], out_dir: Path) -> list[Path]:
    """Draw a figure and write it to `out_dir` as `<name>.png` and `<name>.svg`.

    `spec` is a file of conf/figure/, `runs` come from `selection.select`. The same runs give the
    same bytes. Raises UserError if a network has no run, the runs cannot stand in one figure, or
    (exit code 1) a file cannot be written.
    """
    description = caption(spec, comparable(spec, runs))
    return _write(build_figure(spec, runs), out_dir, spec["name"], spec["title"], description)


def draw_depth(runs: list[Run], out_dir: Path, name: str = "depth") -> list[Path]:
    """Draw final errors against depth and write `<name>.png` and `<name>.svg` to `out_dir`.

    Returns their paths; none if `build_depth` finds nothing to draw. Raises UserError as it does,
    or (exit code 1) if a file cannot be written.
    """
    figure = build_depth(runs)
    if figure is None:
        return []
    with matplotlib.style.context(STYLE):
        return _write(figure, out_dir, name, DEPTH_TITLE, depth_caption(_counted(runs)))


@matplotlib.style.context(STYLE)
def build_depth(runs: list[Run]) -> Figure | None:
    """Lay out two panels, test and training error, with every seed as a dot over its depth.

    Of `runs`, which are of one schedule and of one set of overrides, networks as section 4.2 has
    them count. None if neither plain nor residual ones have two depths. Raises UserError if the
    runs cannot stand side by side.
    """
    runs = _counted(runs)
    check_alike(DEPTH_TITLE.lower(), runs)
    if max((len({r.depth for r in runs if r.family == f}) for f in FAMILIES), default=0) < 2:
        return None
    columns = [runs[0].measured, "train_error"]
    tables = {column: _final(runs, column) for column in columns}
    limit = 1.08 * max(table[["error", "paper"]].max(axis=None) for table in tables.values())
    key = DIGITISED if any(table["paper"].notna().any() for table in tables.values()) else ""

    width, axes_height = FULL_PAGE
    figure = _empty_figure(width)
    head = line_height(TEXT) + 0.05
    text = depth_caption(runs)
    row = _lay_out(figure, DEPTH_TITLE, text, columns, axes_height, BESIDE, head, key)
    for axes, (column, table) in zip(row, tables.items(), strict=True):
        draw_ends(axes, table, column, limit)
        axes.set_title(f"{WORDS[column]} error", fontsize=TEXT, loc="left")
    _label_axis(row, "final error (%)")
    return figure


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
    figures: list[dict[str, Any]], runs: list[Run], out_dir: Path, suffix: str
) -> list[Picture]:
    """Draw error against depth, if there are two depths, then each of `figures`, to `out_dir`.

    Files are called `<name><suffix>.png` and `.svg`. Raises `UserError` as `draw_figure` does.
    """
    pictures = []
    if files := draw_depth(runs, out_dir, f"depth{suffix}"):
        shown = _counted(runs)
        text = depth_caption(shown).split("\n")[0]
        pictures.append(Picture(text, _alt(DEPTH_TITLE, shown), *files))
    for spec in figures:
        shown = comparable(spec, runs)
        files = draw_figure({**spec, "name": f"{spec['name']}{suffix}"}, runs, out_dir)
        text = caption(spec, shown).split("\n")[0]
        pictures.append(Picture(text, _alt(spec["title"], shown), *files))
    return pictures


def _write(figure: Figure, out_dir: Path, name: str, title: str, description: str) -> list[Path]:
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


def _counted(runs: list[Run]) -> list[Run]:
    return sorted(
        (run for run in runs if run.of_section_4_2),
        key=lambda run: (list(FAMILIES).index(run.family), run.depth, run.seed),
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


def caption(spec: dict[str, Any], runs: list[Run]) -> str:
    """Describe a figure's lines, runs and data; on a new line, what the schedule cannot show."""
    start = f"After {spec['source']}."
    if draws_responses(spec):
        limits = "" if runs[0].on_paper_schedule else not_comparable("responses")
        facts = [start, *_responses(runs), how_made(runs)]
    else:
        limits = caveats(runs)
        facts = [start, *_errors(runs), how_made(runs)]
    return "\n".join(filter(None, [" ".join(facts), limits]))


def depth_caption(runs: list[Run]) -> str:
    """Describe the figure of final errors against depth, as `caption` does the curves."""
    facts = ["After He et al. 2015, section 4.2.", "A dot is the last evaluation of one seed."]
    if _several(runs):
        facts.append("Seeds of one network stand side by side; lines join their means.")
    if _beside_paper(runs):
        facts.append(f"Faint diamonds: the last points of {DIGITISED}.")
    facts += [_seeds(runs), how_made(runs)]
    return "\n".join(filter(None, [" ".join(facts), caveats(runs)]))


def _errors(runs: list[Run]) -> list[str]:
    unseen = "test error"
    if runs[0].measured == "val_error":
        held_out = runs[0].config["data"]["holdout"]
        unseen = f"validation error, on {held_out:,} training images held out"
    lines = f"Thin dashed lines: training error, on augmented images; thick lines: {unseen}."
    faint = f"Faint lines: {DIGITISED}; its axis ends at 20 %, and some points could not be read."
    return [lines, *_means(runs), *[faint] * _beside_paper(runs)]


def _responses(runs: list[Run]) -> list[str]:
    lines = (
        "Standard deviation of each convolution's responses, after batch normalisation and before "
        "addition and ReLU: √(mean γ² + Var β), from the weights alone."
    )
    known = {name: response_distance(group) for name, group in _networks(runs)}
    told = [f"{name} {value:.2f}" for name, value in known.items() if value is not None]
    faint = (
        f"Faint lines: {DIGITISED_RESPONSES}, straight over layers that it leaves out. Mean "
        f"over its layers of |ours ÷ paper − 1|: {', '.join(told)}."
    )
    return [lines, *_means(runs), *[faint] * bool(told)]


def _means(runs: list[Run]) -> list[str]:
    """Name the seeds; of several of one network, say how they are drawn."""
    lines = "Lines are means over the seeds, and bands reach from the lowest seed to the highest."
    return [_seeds(runs), *[lines] * _several(runs)]


def _several(runs: list[Run]) -> bool:
    """Whether a network has more than one seed."""
    return len(runs) > len({run.model for run in runs})


def _beside_paper(runs: list[Run]) -> bool:
    """Whether a run has a curve of the paper's beside it."""
    return any(paper_curve([run], "train_error") is not None for run in runs)


def _seeds(runs: list[Run]) -> str:
    networks: dict[str, list[str]] = {}
    for network, numbers in seeds_by_network(runs).items():
        networks.setdefault(numbers, []).append(network)
    known = next(iter(networks))
    if len(networks) > 1:
        known = "; ".join(f"{numbers} ({', '.join(of)})" for numbers, of in networks.items())
    return f"{'Seeds' if len({run.seed for run in runs}) > 1 else 'Seed'} {known}."


def _alt(title: str, runs: list[Run]) -> str:
    """Name a figure and its networks; where they end is in the tables."""
    return f"{title}: {', '.join(name for name, _ in _networks(runs))}"


def _networks(runs: list[Run]) -> Iterable[tuple[str, list[Run]]]:
    networks: dict[str, list[Run]] = {}
    for run in runs:
        networks.setdefault(run.network, []).append(run)
    return networks.items()
