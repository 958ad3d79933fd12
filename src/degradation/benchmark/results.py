"""From measurements to a table, a chart, and the time that figures take."""

from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from degradation.records import replace_file

GIB = 2**30


def summarize(speeds: pd.DataFrame, facts: pd.DataFrame, stock: str) -> pd.DataFrame:
    """Put a row together for each network and contender.

    `ratio` is to the contender `stock`, repeat by repeat; of speeds and ratios the columns give
    median, minimum and maximum.
    """
    wide = speeds.pivot_table(
        index=["network", "repeat"], columns="contender", values="images_per_second"
    )
    ratios = wide.div(wide[stock], axis=0).melt(ignore_index=False, value_name="ratio")
    keys = ["network", "contender"]
    parts = []
    for frame, column in ((speeds, "images_per_second"), (ratios.reset_index(), "ratio")):
        spread = frame.groupby(keys, sort=False)[column].agg(["median", "min", "max"])
        parts.append(spread.add_prefix(f"{column}_"))
    table = pd.concat(parts, axis=1).reset_index()
    return facts.merge(table, on=keys, how="left")


def paired_ratio(speeds: pd.DataFrame, network: str, over: str, under: str) -> pd.Series:
    """Median, minimum and maximum of the ratio of two contenders' speeds, repeat by repeat."""
    wide = speeds[speeds.network == network].pivot_table(
        index="repeat", columns="contender", values="images_per_second"
    )
    return (wide[over] / wide[under]).agg(["median", "min", "max"])


def training_hours(
    depth: int,
    per_image: dict[int, float],
    evaluation: dict[int, float],
    schedule: dict,
    batch: int,
) -> float:
    """Estimate the hours of one run from seconds per image and per evaluation, by depth.

    Depths that were not measured lie on the line through those that were.
    """
    evaluations = schedule["iterations"] / schedule["evaluate_every"]
    images = schedule["iterations"] * batch
    return (images * _line(per_image, depth) + evaluations * _line(evaluation, depth)) / 3600


def _line(values: dict[int, float], depth: int) -> float:
    if depth in values or len(values) == 1:
        return values.get(depth, next(iter(values.values())))
    low, high = min(values), max(values)
    return values[low] + (values[high] - values[low]) * (depth - low) / (high - low)


def draw(table: pd.DataFrame, title: str, caption: str, path: Path) -> None:
    """Draw a bar a contender, grouped by network, with the range of its measurements."""
    figure = Figure(figsize=(7.0, 0.7 + 0.42 * len(table)), layout="constrained")
    FigureCanvasAgg(figure)
    networks = table.network.unique()
    panels = figure.subplots(len(networks), squeeze=False)[:, 0]
    for axes, network in zip(panels, networks, strict=True):
        rows = table[table.network == network][::-1]
        middle = rows.images_per_second_median
        spread = [middle - rows.images_per_second_min, rows.images_per_second_max - middle]
        ours = ["#0072B2" if "repository" in c else "#BBBBBB" for c in rows.contender]
        axes.barh(rows.contender, middle, xerr=spread, color=ours, ecolor="#333333", capsize=2)
        for place, (speed, ratio) in enumerate(zip(middle, rows.ratio_median, strict=True)):
            text = f" {speed:,.0f} ({ratio:.2f}×) "
            inside = speed > 0.75 * rows.images_per_second_max.max()
            axes.text(
                0 if inside else rows.images_per_second_max.iloc[place],
                place,
                text,
                va="center",
                color="white" if inside and "repository" in rows.contender.iloc[place] else "black",
                fontsize=8,
            )
        axes.set_title(network, loc="left", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("training images per second: median and range", fontsize=8)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    figure.text(0.01, -0.02, caption, fontsize=7, va="top")
    with replace_file(path) as temporary:
        figure.savefig(temporary, dpi=200, bbox_inches="tight")
