"""What stands in a panel: curves or dots, drops of the learning rate, names at their ends."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator
from scipy.optimize import isotonic_regression

from degradation.report.paper import ORDERS, paper_curve
from degradation.report.runs import WORDS, Run, panel_models

SMALL = 7.5  # points
# Deeper is darker: about ten or more CIE L* apart for greyscale print, and at least 26 apart in
# CIE Lab for normal sight, protanopia, deuteranopia and tritanopia.
COLOURS = {20: "#D97700", 32: "#0A8A86", 44: "#A32A2A", 56: "#15306F", 110: "#000000"}
# For other depths: those that differ most first, then five that are at least 19 apart from all.
PALETTE = [COLOURS[depth] for depth in (20, 56, 32, 44, 110)]
PALETTE += ["#AA00FF", "#8877CC", "#AA8866", "#7733BB", "#CC0000"]
# What a family is called in a figure of all depths, and its colour: lighter and darker, for
# greyscale print, and no colour that stands for a depth elsewhere; 70 apart in CIE Lab for normal
# sight, protanopia, deuteranopia and tritanopia.
FAMILY_STYLES = {"plain": ("plain", "#E4572E"), "ResNet": ("residual", "#17618F")}
GREY = "#555555"
DASHES = (0, (4, 1.6))
THICK = {"linewidth": 2.0, "linestyle": "-", "zorder": 3}
LINES = {  # column -> how its curve is drawn
    "train_error": {"linewidth": 0.9, "linestyle": DASHES, "zorder": 4},
    **dict.fromkeys(("test_error", "val_error"), THICK),
    **dict.fromkeys(ORDERS, THICK | {"linewidth": 1.4}),
}
DOT = {"marker": "o", "markeredgecolor": "white", "markeredgewidth": 0.6}
DOT |= {"linestyle": "none", "zorder": 4}
PAPER_LINE = {"linewidth": 0.8, "alpha": 0.55, "zorder": 2.5}  # over bands, under all lines


@dataclass(frozen=True)
class Curve:
    """One line of a panel: a network's errors or responses, or a family's last errors.

    `seeds` has a column a seed, by iteration, layer or depth. `paper` is the paper's own curve,
    where the two can be compared.
    """

    model: str
    column: str
    label: str
    colour: str
    seeds: pd.DataFrame
    paper: pd.Series | None

    @property
    def mean(self) -> pd.Series:
        """The mean over the seeds: what the line shows."""
        return self.seeds.mean(axis=1)

    @property
    def top(self) -> float:
        """The largest value that is drawn, the paper's included."""
        return max(self.seeds.max(axis=None), -np.inf if self.paper is None else self.paper.max())

    @property
    def gid(self) -> str:
        """The id of its line in an SVG."""
        return f"{self.model}-{self.column}"


def figure_curves(
    panels: list[dict[str, Any]], runs: list[Run], columns: Iterable[str]
) -> list[list[Curve]]:
    """Make the curves of each panel, one a column, for each network with runs.

    Networks of known depth come by depth. A curve is labelled by its depth where that tells the
    networks of a panel apart, by its network elsewhere; curves with one label have one colour in
    all panels.
    """
    panels = [_labelled(panel_models(panel), runs) for panel in panels]
    colours = _colours({name: group[0].depth for panel in panels for name, group in panel.items()})
    return [
        [
            Curve(
                model=group[0].model,
                column=column,
                label=f"{name} {WORDS.get(column, '')}".strip(),
                colour=colours[name],
                seeds=pd.concat([_values(run, column) for run in group], axis=1, join="inner"),
                paper=paper_curve(group, column),
            )
            for name, group in panel.items()
            for column in columns
        ]
        for panel in panels
    ]


def depth_curves(runs: list[Run], column: str) -> list[Curve]:
    """Make a curve of each family, plain and residual: the last errors of its runs by depth."""
    curves = []
    for family, (label, colour) in FAMILY_STYLES.items():
        group = [run for run in runs if run.family == family]
        ends = {(run.depth, run.seed): run.final(column) for run in group}
        known = {run.depth: paper_curve([run], column) for run in group}
        paper = {depth: curve.iloc[-1] for depth, curve in known.items() if curve is not None}
        if group:
            beside = pd.Series(paper).sort_index() if paper else None
            curves.append(Curve(label, column, label, colour, pd.Series(ends).unstack(), beside))
    return curves


def draw_errors(axes: Axes, curves: list[Curve], limit: float, gap: float, schedule: dict) -> None:
    """Draw curves against iterations, with the drops of the learning rate marked.

    The axis ends at `limit` percent. `gap`, in percent as well, is the least from name to name.
    """
    for drop in schedule["drops"]:
        axes.axvline(drop, color="#BBBBBB", linewidth=0.8, zorder=1, gid=f"drop-{drop}")
        style = {"ha": "center", "fontsize": SMALL - 0.5, "color": GREY}
        axes.text(drop, 1.01, "lr ÷10", transform=axes.get_xaxis_transform(), **style)
    total = schedule["iterations"]
    unit, name = (1000, "iter. (1e3)") if total >= 1000 else (1, "iter.")
    _draw_curves(axes, curves, limit, total)
    axes.xaxis.set_major_formatter(lambda iteration, _: f"{iteration / unit:g}")
    axes.set_xlabel(name)
    _name_ends(axes, curves, limit, gap)


def draw_responses(axes: Axes, curves: list[Curve], limit: float, layers: int) -> None:
    """Draw standard deviations, up to `limit`, against the numbers of the layers.

    The curves in the order of the network are named in a line above the axes.
    """
    _draw_curves(axes, curves, limit, layers + 1)
    if curves[0].column == "original":
        axes.set_xlabel("layers, in the order of the network")
        _name_above(axes, handlelength=0.6)
    else:
        axes.set_xlabel("layers, the largest response first")


def draw_ends(axes: Axes, curves: list[Curve], limit: float, gap: float) -> None:
    """Draw last errors against depth: every seed a dot, lines through means, the paper's beneath.

    `limit` and `gap` are as for `draw_errors`.
    """
    depths = sorted({depth for curve in curves for depth in curve.seeds.index})
    span = depths[-1] - depths[0]
    diamond = {"marker": "D", "markersize": 8, "markerfacecolor": "none"}
    for curve in curves:
        colour, gid = curve.colour, curve.gid
        if curve.paper is not None:
            axes.plot(curve.paper, color=colour, gid=f"paper-{gid}", **diamond, **PAPER_LINE)
        axes.plot(curve.mean, color=colour, gid=gid, linewidth=1.6, zorder=3)
        # Seeds stand to the left and right of their depth, so that they do not hide each other.
        dots = curve.seeds.stack().dropna()
        seeds = dots.groupby(level=0)
        counts = seeds.transform("size")
        aside = (seeds.cumcount() - (counts - 1) / 2) * np.minimum(0.022, 0.09 / counts)
        x = dots.index.get_level_values(0) + span * aside
        axes.plot(x, dots, color=colour, gid=f"{gid}-seeds", markersize=5, **DOT)
    _frame(axes, limit)
    axes.set(xlim=(depths[0] - 0.08 * span, depths[-1] + 0.08 * span), xticks=depths)
    axes.set_xlabel("layers")
    _name_ends(axes, curves, limit, gap)


def draw_layers(
    axes: Axes, table: pd.DataFrame, colours: dict[int, str], limits: tuple[float, float]
) -> None:
    """Draw what a probe measured of each convolution against its number, a line an update.

    `table` has a row an update and a column a layer; `colours` are by update, and the last panel of
    the first row explains them. The axis has `limits`; if both are above 0 it is logarithmic.
    """
    for update, values in table.iterrows():
        width, above = (2, 4) if update == 0 else (1.1, 3)  # the first is before training
        style = {"color": colours[update], "linewidth": width, "zorder": above}
        axes.plot(values, gid=f"update-{update}", **style)
    axes.set_ylim(limits)  # before the scale, which warns where nothing is above 0
    axes.set_yscale("log" if limits[0] > 0 else "linear")
    if limits[1] < 100 * limits[0]:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.minorticks_off()
    axes.set(xlim=(0, table.columns[-1] + 1), xlabel="layers")
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], integer=True))
    axes.label_outer()
    place = axes.get_subplotspec()
    if place.is_first_row() and place.is_last_col():
        lines = [Line2D([], [], color=colour, label=f"{u:,}") for u, colour in colours.items()]
        space = {"handlelength": 1, "labelspacing": 0.25, "alignment": "left"}
        beside = {"loc": "upper left", "bbox_to_anchor": (1.03, 1.02), "borderaxespad": 0}
        axes.legend(handles=lines, title="update", **space, **beside)


def draw_interventions(axes: Axes, rows: list[Curve], beside: list[Curve], limit: float) -> None:
    """Draw final errors, a row an intervention from the top: every seed a dot, a bar at the mean.

    Networks `beside` are lines from top to bottom, in the band that their seeds span. A row may be
    without errors. The axis ends at `limit` percent.
    """
    for curve, dashes in zip(beside, ("-", DASHES), strict=False):
        errors = curve.seeds.to_numpy()
        axes.axvspan(errors.min(), errors.max(), color=curve.colour, alpha=0.2, linewidth=0)
        style = {"color": curve.colour, "linewidth": 1.4, "linestyle": dashes}
        axes.axvline(errors.mean(), gid=curve.gid, label=curve.label, **style)
    if beside:
        _name_above(axes, handlelength=1.5)
    for place, curve in enumerate(rows):
        errors = curve.seeds.to_numpy().ravel()
        if errors.size:
            # Seeds stand one above the other, so that they do not hide each other.
            aside = 0.16 * (np.arange(errors.size) - (errors.size - 1) / 2)
            style = {"color": curve.colour, "gid": curve.gid, "markersize": 4.5}
            axes.plot(errors, place + aside, **style, **DOT)
            bar = {"color": curve.colour, "linewidth": 1.4, "zorder": 3}
            axes.vlines(errors.mean(), place - 0.36, place + 0.36, **bar)
    axes.set(xlim=(0, limit), ylim=(len(rows) - 0.5, -0.5), xlabel="final error (%)")
    axes.set_yticks(range(len(rows)), [curve.label for curve in rows])
    axes.tick_params(axis="y", length=0, labelleft=axes.get_subplotspec().is_first_col())
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axes.grid(False, axis="y")
    axes.grid(True, axis="x")


def draw_gaps(axes: Axes, gaps: pd.DataFrame) -> None:
    """Draw differences of errors against the length of training.

    A row a difference: `column` of `Run.rows`, `iterations`, `points`, and `low` and `high`, the
    ends of an interval or NaN.
    """
    _, colour = FAMILY_STYLES["plain"]
    axes.axhline(0, color=GREY, linewidth=0.8)
    for side, (column, table) in zip((-1, 1), gaps.groupby("column", sort=False), strict=True):
        # Side by side, so that the intervals of one length do not hide each other.
        x = table["iterations"] * (1 + 0.075 * side)
        style = LINES[column] | {"color": colour, "marker": "o", "markersize": 4}
        axes.plot(x, table["points"], label=WORDS[column], gid=f"gap-{column}", **style)
        axes.vlines(x, table["low"], table["high"], color=colour, linewidth=1)
    lengths = sorted(set(gaps["iterations"]))
    _name_above(axes, handlelength=1.8)
    axes.set(xscale="log", xlim=(lengths[0] / 1.6, lengths[-1] * 1.6))
    axes.set_xticks(lengths, [f"{length / 1000:g}" for length in lengths])
    axes.xaxis.minorticks_off()
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.set(xlabel="iter. (1e3)", ylabel="percentage points")


def spread(wanted: Iterable[float], gap: float, low: float, high: float) -> list[float]:
    """Move places apart to at least `gap`, each group about its own mean, within [low, high].

    The order stays: this is the isotonic (least-squares) fit.
    """
    wanted = np.asarray(list(wanted), dtype=float)
    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(len(wanted))
    level = isotonic_regression(wanted[order] - steps).x
    places = np.empty_like(wanted)
    places[order] = np.clip(level, low, high - steps[-1]) + steps
    return places.tolist()


def _values(run: Run, column: str) -> pd.Series:
    if column == "sorted":
        stds = run.responses.sort_values(ascending=False)
        return stds.set_axis(range(1, len(stds) + 1))
    return run.responses if column in ORDERS else run.rows.set_index("iteration")[column]


def _labelled(models: list[str], runs: list[Run]) -> dict[str, list[Run]]:
    """The runs of each network of a panel, by its label."""
    groups = [[run for run in runs if run.model == model] for model in models]
    groups = sorted(filter(None, groups), key=lambda group: group[0].depth or 0)
    firsts = [group[0] for group in groups]
    of_a_kind = len({run.family for run in firsts}) == 1 and firsts[0].family is not None
    depth_tells = of_a_kind and len({run.depth for run in firsts}) == len(firsts)
    names = [f"{run.depth}-layer" if depth_tells else run.network for run in firsts]
    return dict(zip(names, groups, strict=True))


def _colours(depths: dict[str, int | None]) -> dict[str, str]:
    """Give each name a colour: that of its depth, the same in every figure, or one that is free."""
    # Of several names with one depth the first has its colour.
    owners = {COLOURS[d]: name for name, d in reversed(depths.items()) if d in COLOURS}
    free = cycle([colour for colour in PALETTE if colour not in owners])
    own = {name: colour for colour, name in owners.items()}
    return {name: own.get(name) or next(free) for name in depths}


def _draw_curves(axes: Axes, curves: list[Curve], limit: float, end: int) -> None:
    """Draw curves from 0 to `end`: means, bands that several seeds span, the paper's beneath."""
    for curve in curves:
        colour, gid, line = curve.colour, curve.gid, LINES[curve.column]
        if curve.paper is not None:
            paper = curve.paper
            if curve.column not in ORDERS:  # broken where the paper's figure does not show it
                known = paper.index
                paper = paper.reindex(range(known.min(), known.max() + 1, min(np.diff(known))))
            axes.plot(paper, color=colour, gid=f"paper-{gid}", **line | PAPER_LINE)
        marker = "." if len(curve.seeds) == 1 else None  # a line of one point would not be seen
        axes.plot(curve.mean, color=colour, gid=gid, label=curve.label, marker=marker, **line)
        low, high = curve.seeds.min(axis=1), curve.seeds.max(axis=1)
        if (high > low).any():
            band = {"gid": f"{gid}-band", "alpha": 0.2, "linewidth": 0, "zorder": 2}
            axes.fill_between(curve.seeds.index, low, high, color=colour, **band)
    _frame(axes, limit)
    axes.set_xlim(0, end)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], integer=True))


def _frame(axes: Axes, limit: float) -> None:
    """Let the error axis end at `limit`, with ticks at round numbers."""
    axes.set_ylim(-0.015 * limit, limit)  # a curve at 0 is seen whole
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10], integer=limit > 5))


def _name_above(axes: Axes, handlelength: float) -> None:
    """Name the lines that have labels, in their colours, in a line above the axes."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=len(axes.lines),
        labelcolor="linecolor",
        borderaxespad=0.3,
        handlelength=handlelength,
        handletextpad=0.4,
        columnspacing=0.7,
    )


def _name_ends(axes: Axes, curves: list[Curve], limit: float, gap: float) -> None:
    """Name each curve to the right of its end; crowded names move apart. A leader joins the two."""
    ends = [curve.mean.iloc[-1] for curve in curves]
    leader = {"arrowstyle": "-", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 1.5, "relpos": (0, 0.5)}
    for curve, end, place in zip(curves, ends, spread(ends, gap, 0, limit), strict=True):
        axes.annotate(
            curve.label,
            (curve.seeds.index[-1], end),
            xytext=(11.5, place),
            textcoords=("offset points", "data"),
            va="center_baseline",
            color=curve.colour,
            weight="normal" if curve.column == "train_error" else "bold",
            arrowprops=leader | {"color": curve.colour},
            annotation_clip=False,
        )
