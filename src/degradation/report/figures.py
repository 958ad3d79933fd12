"""Figures with their captions: errors against iterations or depth, responses against layers."""

import textwrap
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from degradation.errors import UserError
from degradation.records.files import replace_file
from degradation.report.panel import (
    GREY,
    PAPER_LINE,
    SMALL,
    Curve,
    depth_curves,
    draw_ends,
    draw_errors,
    draw_responses,
    figure_curves,
)
from degradation.report.paper import DIGITISED, ORDERS, paper_curve, response_distance
from degradation.report.provenance import caveats, how_made, named, not_comparable, seeds_of, shared
from degradation.report.runs import WORDS, Run, check_alike, drawn, models_of, panel_models

TITLE, TEXT = 10, 8  # points
LINE = 1.3 * SMALL / 72  # inches from one small line of text to the next

# The look of all figures, whatever matplotlibrc the user has; and neither dates, versions nor
# random ids in the files, so that a figure drawn again differs only where its curves do.
STYLE = [
    "default",
    {"svg.fonttype": "path", "svg.hashsalt": "degradation"},
    {"font.size": SMALL, "axes.labelsize": TEXT, "axes.titlesize": TEXT},
    {"axes.titlelocation": "left", "axes.titlepad": 15},
    {"axes.spines.top": False, "axes.spines.right": False},
    {"axes.edgecolor": GREY, "xtick.color": GREY, "ytick.color": GREY},
    {"xtick.labelcolor": "black", "ytick.labelcolor": "black"},
    {"axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6},
    {"axes.grid": True, "axes.grid.axis": "y", "axes.axisbelow": True},
    {"grid.color": "#E6E6E6", "grid.linewidth": 0.6},
    {"legend.frameon": False, "legend.borderpad": 0},
]
UNDATED = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}

DPI = 300
# All in inches. One panel takes 1.5 columns of a journal, several the width of the page, or more
# where long names would leave the axes less than NARROWEST.
ONE_PANEL, FULL_PAGE, NARROWEST, HEIGHT, MARGIN = 5.5, 7.2, 1.6, 3.0, 0.1
SHEET = (16, 8)  # on which a figure is laid out before it has its size
TEXT_PER_INCH, TITLE_PER_INCH = 17, 10  # characters that fit
PAPER_AXIS = 20  # percent, where the axes of the paper's Figures 1 and 6 end
DEPTH = {  # made of all networks of section 4.2, if there are two depths of a family
    "name": "depth",
    "title": "Final error against depth",
    "source": "He et al. 2015, section 4.2",
    "draws": "depth",
    "panels": [],
}


def drawable(specs: Collection[dict[str, Any]], runs: list[Run]) -> list[dict[str, Any]]:
    """List the figures whose networks all have runs; after them parts of others, for what is left.

    A part is a figure without the panels and networks that have no runs. It is there only if it
    shows errors, or responses, of a network of which nothing before it shows them.
    """
    whole = [spec for spec in specs if not _lacking(spec, runs)]
    figures, seen = [*whole], set()
    for spec in [*whole, *specs]:
        shows = {(spec["draws"], run.model) for run in _shown(spec, runs)}
        if spec not in whole and shows - seen:
            figures.append(_part(spec, {model for _, model in shows}))
        seen |= shows
    return figures


def _shown(spec: dict[str, Any], runs: list[Run]) -> list[Run]:
    """Pick the runs that a figure shows."""
    if spec["draws"] == "depth":
        return [run for run in runs if run.of_section_4_2]
    known = [run for run in runs if run.model in drawn(spec)]
    return [run for run in known if spec["draws"] == "errors" or not run.responses.empty]


def _lacking(spec: dict[str, Any], runs: list[Run]) -> list[str]:
    """List the networks that a figure needs and that have no run to show."""
    known = {run.model for run in _shown(spec, runs)}
    return [model for model in models_of(spec) if model not in known]


def _part(spec: dict[str, Any], known: set[str]) -> dict[str, Any]:
    panels = [
        panel | {"models": [m for m in panel_models(panel) if m in known], "also": []}
        for panel in spec["panels"]
    ]
    panels = [panel for panel in panels if panel["models"]]
    # A panel by itself has no title but the figure's.
    first = panels[0]["title"]
    title = first[0].upper() + first[1:] if len(panels) == 1 else spec["title"]
    source = spec["source"] and f"{spec['source']}, of networks that have runs"
    return spec | {"title": title, "source": source, "panels": panels}


class Drawing(NamedTuple):
    """A figure that is laid out; the first line of `text` is its caption."""

    figure: Figure
    title: str
    text: str
    alt: str


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

    `figures` are as `read_figures` gives them. Pictures are called `<name><suffix>.png` and
    `.svg`; the same runs give the same bytes. Raises `UserError` as `build_figure` does, or (exit
    code 1) if a file cannot be written.
    """
    depths = {(run.family, run.depth) for run in _shown(DEPTH, runs)}
    if len(depths) > len({family for family, _ in depths}):
        figures = [DEPTH, *figures]
    pictures = []
    for spec in figures:
        shown, title = _shown(spec, runs), spec["title"]
        alt = f"{title}: {', '.join(named(shown))}"
        drawing = Drawing(build_figure(spec, shown), title, caption(spec, shown), alt)
        pictures.append(write_picture(drawing, out_dir / f"{spec['name']}{suffix}"))
    return pictures


@matplotlib.style.context(STYLE)
def write_picture(drawing: Drawing, path: Path) -> Picture:
    """Write a figure to `path`, with either suffix; raises `UserError` as `replace_file` does."""
    about, files = {"Title": drawing.title, "Description": drawing.text}, []
    for kind, undated in UNDATED.items():
        files.append(path.with_name(f"{path.name}.{kind}"))
        with replace_file(files[-1]) as temporary:
            drawing.figure.savefig(temporary, format=kind, metadata=about | undated)
    return Picture(drawing.text.split("\n")[0], drawing.alt, *files)


def build_figure(spec: dict[str, Any], runs: list[Run]) -> Figure:
    """Lay out a figure: title, panels on the same axes, caption.

    `spec` is as `read_figures` gives it, or `DEPTH`. Raises UserError if a network that it needs
    has no run, or if the runs cannot stand side by side.
    """
    runs = _shown(spec, runs)
    if absent := _lacking(spec, runs):
        raise UserError(f"figure={spec['name']}: no finished run of {', '.join(absent)}")
    check_alike(runs)
    build = {"errors": _build_errors, "responses": _build_responses, "depth": _build_depth}
    return build[spec["draws"]](spec, runs, caption(spec, runs), _beside(spec, runs))


def _build_errors(spec: dict[str, Any], runs: list[Run], text: str, beside: str) -> Figure:
    panels = figure_curves(spec["panels"], runs, ("train_error", runs[0].measured))
    names = [panel["title"] for panel in spec["panels"]]
    schedule = runs[0].config["schedule"]
    limit, cut = _error_limit(sum(panels, []), schedule["iterations"])
    height = max(HEIGHT, LINE * max(map(len, panels)))  # all names fit
    draw = partial(draw_errors, limit=limit, gap=limit * LINE / height, schedule=schedule)
    text = "\n".join([text, *cut])
    rows = [("error (%)", [partial(draw, curves=curves) for curves in panels])]
    return lay_out(spec["title"], names, text, rows, height, beside)


def _build_depth(spec: dict[str, Any], runs: list[Run], text: str, beside: str) -> Figure:
    """Lay out two panels: test and training error."""
    columns = [runs[0].measured, "train_error"]
    panels = [depth_curves(runs, column) for column in columns]
    names = [f"{WORDS[column]} error" for column in columns]
    limit = 1.08 * max(1.0, *(curve.top for curve in sum(panels, [])))
    draw = partial(draw_ends, limit=limit, gap=limit * LINE / HEIGHT)
    rows = [("final error (%)", [partial(draw, curves=curves) for curves in panels])]
    return lay_out(spec["title"], names, text, rows, HEIGHT, beside)


def _build_responses(spec: dict[str, Any], runs: list[Run], text: str, beside: str) -> Figure:
    """Lay out two rows of panels: the layers in the order of the network, and sorted by size."""
    grid = [figure_curves(spec["panels"], runs, (order,)) for order in ORDERS]
    names = [panel["title"] for panel in spec["panels"]]
    curves = [curve for panels in grid for curve in sum(panels, [])]
    limit = 1.05 * max(curve.top for curve in curves)
    layers = max(curve.seeds.index.max() for curve in curves)
    draw, label = partial(draw_responses, limit=limit, layers=layers), "standard deviation"
    rows = [(label, [partial(draw, curves=curves) for curves in panels]) for panels in grid]
    return lay_out(spec["title"], names, text, rows, 0.6 * HEIGHT, beside)


def _beside(spec: dict[str, Any], runs: list[Run]) -> str:
    """Name what of the paper's lies faint under the curves; "" if nothing does."""
    responses = spec["draws"] == "responses"
    column = "original" if responses else "train_error"
    known = any(paper_curve([run], column) is not None for run in runs)
    return f"{DIGITISED.format(7 if responses else 6)}: faint, in our colours" * known


@matplotlib.style.context(STYLE)
def lay_out(
    title: str,
    names: list[str],
    text: str,
    grid: list[tuple[str, list[Callable[[Axes], None]]]],
    height: float,
    beside: str = "",
    sharey: str | bool = "row",
    narrowest: float = NARROWEST,
) -> Figure:
    """Put rows of panels, their axes `height` inches high, between the title and `text`.

    `names` are those of the columns, and `grid` has of each row the label of its axis, and what
    draws its panels. `beside` names the paper's faint lines, if any. The figure is wider than the
    page where the axes would be less than `narrowest`.
    """
    page = ONE_PANEL if len(names) == 1 else FULL_PAGE
    layout = ConstrainedLayoutEngine(w_pad=MARGIN, h_pad=MARGIN, wspace=0, hspace=0)
    figure = Figure(figsize=SHEET, dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(grid), len(names), sharey=sharey, squeeze=False)
    for row, (label, panels) in zip(rows, grid, strict=True):
        row[0].set_ylabel(label)
        for axes, draw in zip(row, panels, strict=True):
            draw(axes)
    if len(names) > 1:
        for axes, name in zip(rows[0], names, strict=True):
            axes.set_title(name, parse_math=False)

    title = _wrap(title, TITLE_PER_INCH * page)
    style = {"x": MARGIN / page, "ha": "left", "parse_math": False}
    figure.suptitle(title, fontsize=TITLE, weight="bold", **style)
    figure.supxlabel(_wrap(text, TEXT_PER_INCH * page), fontsize=SMALL, linespacing=1.3, **style)
    if beside:
        figure.legend(
            [Line2D([], [], color="black", **PAPER_LINE)],
            [beside],
            loc="outside upper left",
            title="\n".join(" " for _ in title.splitlines()),  # the figure's title stands there
            title_fontsize=TITLE,
            labelspacing=0.2,
            borderaxespad=72 * MARGIN / SMALL,
        )
    # Now that the room for all texts is known, the sheet is cut to the size that leaves the axes
    # their height, and their width what is left of the page.
    figure.draw_without_rendering()
    count = np.array([len(names), len(grid)])
    around = figure.get_size_inches() * (1 - count * rows[0, 0].get_position().size)
    least = around + count * (narrowest, height)
    figure.set_size_inches(max(least[0], page), least[1])
    return figure


def _wrap(text: str, characters: float) -> str:
    lines = text.split("\n")
    return "\n".join(textwrap.fill(line, int(characters), break_on_hyphens=False) for line in lines)


def _error_limit(curves: list[Curve], total: int) -> tuple[float, list[str]]:
    """Choose the top of the error axis, and say what it cuts off, if anything.

    The second half of training, after the first drop of the paper's schedules, is always whole, and
    so is the axis of the paper's own figures, 20 %. The rest, where errors fall from 90 %, is shown
    as well unless that would leave less than two thirds of the height to what must be seen.
    """
    highs = pd.concat([curve.seeds.max(axis=1) for curve in curves])
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


MEANS = "Lines are means over the seeds, and bands reach from the lowest seed to the highest."
SENTENCES = {  # of captions: what is drawn; of several seeds; of the paper's values
    "errors": (
        "Thin dashed lines: training error, on augmented images; thick lines: {unseen}.",
        MEANS,
        "The paper's axis ends at 20 %, and some points could not be read.",
    ),
    "depth": (
        "A dot is the last evaluation of one seed.",
        "Seeds of one network stand side by side; lines join their means.",
        "Diamonds: the last points of the paper's curves.",
    ),
    "responses": (
        "Standard deviation of each convolution's responses, after batch normalisation and before "
        "addition and ReLU: √(mean γ² + Var β), from the weights alone.",
        MEANS,
        "The paper's lines are straight over layers that it leaves out. Mean over its layers of "
        "|ours ÷ paper − 1|: {distances}.",
    ),
}


def caption(spec: dict[str, Any], runs: list[Run]) -> str:
    """Describe a figure's lines, runs and data; on a new line, what the schedule cannot show."""
    kind, seeds = spec["draws"], {name: seeds_of(group) for name, group in named(runs).items()}
    lines, several, paper = SENTENCES[kind]
    unseen, distances, limits = "test error", "", caveats(runs)
    if runs[0].measured == "val_error":
        held_out = runs[0].config["data"]["holdout"]
        unseen = f"validation error, on {held_out:,} training images held out"
    if kind == "responses":
        known = {name: response_distance(group) for name, group in named(runs).items()}
        distances = ", ".join(f"{n} {value:.2f}" for n, value in known.items() if value is not None)
        limits = "" if runs[0].on_paper_schedule else not_comparable(runs[0], "responses")
    source = [f"After {spec['source']}."] if spec["source"] else []
    told = [*source, lines.format(unseen=unseen), shared("Seeds", seeds)]
    if len(runs) > len(seeds):
        told.append(several)
    if _beside(spec, runs):
        told.append(paper.format(distances=distances))
    return "\n".join(filter(None, [" ".join([*told, how_made(runs)]), limits]))
