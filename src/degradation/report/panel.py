"""What stands in a panel: curves or dots, drops of the learning rate, names; how text fits."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import MaxNLocator
from scipy.optimize import isotonic_regression

from degradation.report.paper import ORDERS, paper_curve
from degradation.report.runs import WORDS, Run, panel_models

TITLE, TEXT, SMALL = 10, 8, 7.5  # points
# Deeper is darker: about ten or more CIE L* apart for greyscale print, and at least 26 apart in
# CIE Lab for normal sight, protanopia, deuteranopia and tritanopia.
COLOURS = {20: "#D97700", 32: "#0A8A86", 44: "#A32A2A", 56: "#15306F", 110: "#000000"}
# For other depths: those that differ most first, then five that are at least 19 apart from all.
PALETTE = [COLOURS[depth] for depth in (20, 56, 32, 44, 110)]
PALETTE += ["#AA00FF", "#8877CC", "#AA8866", "#7733BB", "#CC0000"]
# Lighter and darker, for greyscale print, and no colour that stands for a depth elsewhere; 70 apart
# in CIE Lab for normal sight, protanopia, deuteranopia and tritanopia.
FAMILIES = {"plain": "#E4572E", "ResNet": "#17618F"}
LABELS = {"plain": "plain", "ResNet": "residual"}
GREY = "#555555"
LEADER = 0.16  # inches from the axes to the names
LINES = {  # column -> how its curve is drawn
    "train_error": {"linewidth": 0.9, "linestyle": (0, (4, 1.6)), "zorder": 4},
    "test_error": {"linewidth": 2.0, "linestyle": "-", "zorder": 3},
    "val_error": {"linewidth": 2.0, "linestyle": "-", "zorder": 3},
    **dict.fromkeys(ORDERS, {"linewidth": 1.4, "linestyle": "-", "zorder": 3}),
}
PAPER_LINE = {"linewidth": 0.8, "alpha": 0.55, "zorder": 2.5}  # over bands, under all lines


@dataclass(frozen=True)
class Curve:
    """One line of a panel: a network's training or test error, or its responses, over its seeds."""

    model: str
    column: str
    label: str
    colour: str
    errors: pd.DataFrame  # mean, low, high by iteration; of responses by layer
    paper: pd.Series | None = None  # the paper's own, where the two can be compared

    @property
    def end(self) -> float:
        """Where the line ends, in percent."""
        return self.errors["mean"].iloc[-1]

    @property
    def top(self) -> float:
        """The largest value that is drawn, the paper's included."""
        return max(self.errors["high"].max(), -np.inf if self.paper is None else self.paper.max())


def figure_curves(
    panels: list[dict[str, Any]], runs: list[Run], columns: tuple[str, ...] = ()
) -> list[list[Curve]]:
    """Average the runs of a figure into the curves of each panel, for each network with runs.

    They are of `columns`; without, of training and unseen error. Networks of known depth come by
    depth. A curve is labelled by its depth where that tells the networks of a panel apart, by its
    network elsewhere; curves with one label have one colour in all panels.
    """
    named = []
    for panel in panels:
        groups = [[run for run in runs if run.model == model] for model in panel_models(panel)]
        named.append(_named(sorted(filter(None, groups), key=lambda group: group[0].depth or 0)))
    colours = _colours({name: runs[0].depth for panel in named for name, runs in panel.items()})
    return [
        [
            Curve(
                model=group[0].model,
                column=column,
                label=" ".join([name, *filter(None, [WORDS.get(column)])]),
                colour=colours[name],
                errors=_average(group, column),
                paper=paper_curve(group, column),
            )
            for name, group in panel.items()
            for column in columns or ("train_error", group[0].measured)
        ]
        for panel in named
    ]


def draw_panel(axes: Axes, curves: list[Curve], limit: float, schedule: dict[str, Any]) -> None:
    """Draw curves against iterations up to an error of `limit` percent, with the drops marked."""
    total = schedule["iterations"]
    unit, name = (1000, "iter. (1e3)") if total >= 1000 else (1, "iter.")
    for drop in schedule["drops"]:
        _mark_drop(axes, drop, unit)
    for curve in curves:
        _draw_curve(axes, curve, unit)
    axes.set(xlim=(0, total / unit), ylim=(-0.015 * limit, limit))  # an error of 0 is seen whole
    axes.set_xlabel(name, fontsize=TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    style_axes(axes)
    _label_ends(axes, curves, limit)


def draw_responses(axes: Axes, curves: list[Curve], limit: float, layers: int) -> None:
    """Draw standard deviations, up to `limit`, against the numbers of the layers."""
    for curve in curves:
        _draw_curve(axes, curve, 1)
    axes.set(xlim=(0, layers + 1), ylim=(0, limit))
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], integer=True))
    style_axes(axes)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def draw_ends(axes: Axes, table: pd.DataFrame, column: str, limit: float) -> None:
    """Draw the last errors of all runs over their depths: dots, means, the paper's under them."""
    depths = sorted(table["depth"].unique())
    span = depths[-1] - depths[0]
    margin = 0.08 * span
    axes.set(xlim=(depths[0] - margin, depths[-1] + margin), ylim=(-0.015 * limit, limit))
    style_axes(axes)
    axes.set_xticks(depths)
    axes.set_xlabel("layers", fontsize=TEXT)
    ends = {}
    for family, colour in FAMILIES.items():
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
    _label_families(axes, ends, limit)


def name_curves(axes: Axes) -> None:
    """Name the curves in a line above the axes, each in its colour."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=len(axes.lines),
        fontsize=SMALL,
        labelcolor="linecolor",
        frameon=False,
        borderpad=0,
        borderaxespad=0.3,
        handlelength=0.6,
        handletextpad=0.4,
        columnspacing=0.7,
    )


def style_axes(axes: Axes) -> None:
    """Draw what frames the curves of every figure: quiet axes, and a grid for the errors."""
    axes.tick_params(labelsize=SMALL, width=0.6, color=GREY)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10], integer=True))
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=GREY, linewidth=0.6)


def line_height(size: float) -> float:
    """Distance of two lines of `size` points, in inches."""
    return 1.3 * size / 72


def text_width(figure: Figure, text: str, size: float, weight: str = "normal") -> float:
    """Width of a line of text of `size` points, in inches."""
    font = FontProperties(size=size, weight=weight)
    pixels, _, _ = figure.canvas.get_renderer().get_text_width_height_descent(text, font, False)
    return pixels / figure.dpi


def wrap(figure: Figure, text: str, size: float, width: float) -> list[str]:
    """Break each line of text where it would become wider than `width` inches."""
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and text_width(figure, longer, size) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


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


def _average(runs: list[Run], column: str) -> pd.DataFrame:
    """Mean, low and high of an error by iteration, or of a response by layer, over the seeds."""
    seeds = pd.concat([_values(run, column) for run in runs], axis=1, join="inner")
    return pd.DataFrame(
        {"mean": seeds.mean(axis=1), "low": seeds.min(axis=1), "high": seeds.max(axis=1)}
    )


def _values(run: Run, column: str) -> pd.Series:
    if column == "sorted":
        stds = run.responses.sort_values(ascending=False)
        return stds.set_axis(range(1, len(stds) + 1))
    return run.responses if column in ORDERS else run.rows.set_index("iteration")[column]


def _named(groups: list[list[Run]]) -> dict[str, list[Run]]:
    """Name the networks of a panel, each given by its runs."""
    firsts = [group[0] for group in groups]
    of_a_kind = len({run.family for run in firsts}) == 1 and firsts[0].family is not None
    depth_tells = of_a_kind and len({run.depth for run in firsts}) == len(firsts)
    names = [f"{run.depth}-layer" if depth_tells else run.network for run in firsts]
    return dict(zip(names, groups, strict=True))


def _colours(depths: dict[str, int | None]) -> dict[str, str]:
    """Give each name a colour: that of its depth, the same in every figure, or one that is free."""
    colours: dict[str, str] = {}
    for name, depth in depths.items():
        if COLOURS.get(depth) not in (None, *colours.values()):
            colours[name] = COLOURS[depth]
    free = [colour for colour in PALETTE if colour not in colours.values()]
    others = [name for name in depths if name not in colours]
    return colours | dict(zip(others, cycle([*free, *PALETTE]), strict=False))


def _mark_drop(axes: Axes, drop: int, unit: int) -> None:
    """Mark where the learning rate is divided, and say so above the axes, clear of the curves."""
    axes.axvline(drop / unit, color="#BBBBBB", linewidth=0.8, zorder=1, gid=f"drop-{drop}")
    axes.annotate(
        "lr ÷10",
        (drop / unit, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 2),
        textcoords="offset points",
        ha="center",
        fontsize=SMALL - 0.5,
        color=GREY,
    )


def _draw_curve(axes: Axes, curve: Curve, unit: int) -> None:
    """Draw the mean of the seeds and, if there are several, the band that they span."""
    x, errors = curve.errors.index / unit, curve.errors
    style = {"color": curve.colour, "gid": f"{curve.model}-{curve.column}"}
    if curve.paper is not None:
        _draw_paper(axes, curve, unit)
    marker = "." if len(x) == 1 else None  # a line of one point would not be seen
    axes.plot(x, errors["mean"], label=curve.label, marker=marker, **style, **LINES[curve.column])
    if (errors["high"] > errors["low"]).any():
        style["gid"] += "-band"
        axes.fill_between(
            x, errors["low"], errors["high"], alpha=0.2, linewidth=0, zorder=2, **style
        )


def _draw_paper(axes: Axes, curve: Curve, unit: int) -> None:
    """Draw the paper's own curve, of errors broken where its figure does not show it."""
    grid = known = curve.paper.index
    if curve.column not in ORDERS:
        grid = range(known.min(), known.max() + 1, int(min(np.diff(known))))
    axes.plot(
        np.array(grid) / unit,
        curve.paper.reindex(grid),
        color=curve.colour,
        linestyle=LINES[curve.column]["linestyle"],
        gid=f"paper-{curve.model}-{curve.column}",
        **PAPER_LINE,
    )


def _label_ends(axes: Axes, curves: list[Curve], limit: float) -> None:
    """Name each curve to the right of its end; crowded names move apart. A leader joins the two."""
    width, height = axes.get_position().size * axes.figure.get_size_inches()
    gap = line_height(SMALL) / height * limit
    for curve, place in zip(
        curves, spread([curve.end for curve in curves], gap, 0, limit), strict=True
    ):
        axes.annotate(
            curve.label,
            (1, curve.end),
            xycoords=("axes fraction", "data"),
            xytext=(1 + LEADER / width, place),
            textcoords=("axes fraction", "data"),
            va="center_baseline",
            fontsize=SMALL,
            color=curve.colour,
            weight="normal" if curve.column == "train_error" else "bold",
            arrowprops={
                "arrowstyle": "-",
                "color": curve.colour,
                "linewidth": 0.6,
                "shrinkA": 0,
                "shrinkB": 1.5,
                "relpos": (0, 0.5),
            },
            annotation_clip=False,
        )


def _aside(depths: pd.Series) -> pd.Series:
    """How far to the right each seed stands, so that those of one depth do not hide each other."""
    seeds = depths.groupby(depths)
    counts = seeds.transform("size")
    return (seeds.cumcount() - (counts - 1) / 2) * np.minimum(0.022, 0.09 / counts)


def _label_families(axes: Axes, ends: dict[str, pd.Series], limit: float) -> None:
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
            color=FAMILIES[family],
            annotation_clip=False,
        )
