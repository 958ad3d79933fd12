"""From measurements to a table, a chart, and the time that figures take."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from degradation.benchmark.measure import OURS
from degradation.config import option_values
from degradation.records.files import replace_file
from degradation.setting import PAPER_NETWORKS

# Depths of the networks of a figure; Figure 6 has them plain and residual.
FIGURES = {"Figure 1": (20, 56), "Figure 6": (20, 32, 56, 20, 32, 56)}
HOURS = ["schedule", "figure", "hours", "paused_percent"]


def summarize(speeds: pd.DataFrame, facts: pd.DataFrame, stock: str, ours: str) -> pd.DataFrame:
    """Put a row together for each network and contender: what `measure` gives, over the repeats.

    To the facts come median, minimum and maximum (`_median`, `_min`, `_max`) of
    `images_per_second`; of `ratio`, which is the contender's speed over that of `stock`; and of
    `ours_over`, the speed of `ours` over the contender's. Each ratio is of one repeat.
    """
    wide = speeds.pivot(
        index=["network", "repeat"], columns="contender", values="images_per_second"
    )
    columns = {
        "images_per_second": wide,
        "ratio": wide.div(wide[stock], axis=0),
        "ours_over": wide.rdiv(wide[ours], axis=0),
    }
    keys = ["network", "contender"]
    parts = []
    for name, values in columns.items():
        groups = values.melt(ignore_index=False).groupby(keys)["value"]
        parts.append(groups.agg(["median", "min", "max"]).add_prefix(f"{name}_"))
    return facts.merge(pd.concat(parts, axis=1).reset_index(), on=keys, how="left")


def as_text(table: pd.DataFrame) -> str:
    """Lay the rows of `summarize` out to be read: medians, with ranges in brackets."""

    def spread(name: str, number: str, unit: str = "") -> pd.Series:
        columns = (table[f"{name}_{part}"].map(number.format) for part in ("median", "min", "max"))
        middle, low, high = columns
        return middle + unit + " (" + low + "–" + high + ")"

    columns = {
        "network": table.network,
        "contender": table.contender,
        "images/s": spread("images_per_second", "{:,.0f}"),
        "over stock Keras": spread("ratio", "{:.2f}", "×"),
        "ours over it": spread("ours_over", "{:.2f}", "×"),
        "first update, s": table.first_update_seconds.map("{:.1f}".format),
        "peak, GiB": (table.peak_bytes / 2**30).map("{:.2f}".format),
    }
    return pd.DataFrame(columns).to_string(index=False)


def training_hours(table: pd.DataFrame, ours: str, batch: int) -> pd.DataFrame:
    """Estimate how long the networks of each figure train on each schedule, one seed.

    `table` is of measurements on CIFAR-10: the evaluations of other data have other lengths.
    Gives `schedule, figure, hours` and `paused_percent`, the part of it in evaluations, each with
    its checkpoint. Seconds an image and an evaluation lie on the least-squares line over depth
    through the medians of contender `ours`: two depths fix it, and a plain and a residual network
    of one depth count as their mean. Networks of other sections do not count. One depth fixes no
    line: no rows.
    """
    rows = table[(table.contender == ours) & table.network.isin(PAPER_NETWORKS)]
    depth = rows.network.map(lambda name: option_values("model", name)["model.depth"])
    if depth.nunique() < 2:
        return pd.DataFrame(columns=HOURS)
    fit = np.polynomial.Polynomial.fit
    image = fit(depth, 1 / rows.images_per_second_median, deg=1)
    pause = fit(depth, rows.evaluation_seconds + rows.checkpoint_seconds, deg=1)
    estimates = []
    for name in ("short", "medium", "paper"):
        schedule = option_values("schedule", name)
        updates, every = schedule["schedule.iterations"], schedule["schedule.evaluate_every"]
        for figure, depths in FIGURES.items():
            training = updates * batch * image(np.array(depths)).sum()
            paused = updates / every * pause(np.array(depths)).sum()
            total = training + paused
            estimates.append((name, figure, total / 3600, 100 * paused / total))
    return pd.DataFrame(estimates, columns=HOURS)


def write(table: pd.DataFrame, hours: pd.DataFrame, caption: str, folder: Path) -> list[str]:
    """Write benchmark.csv, hours.csv and the chart benchmark.png; return their names."""
    tables = {"benchmark.csv": table, "hours.csv": hours}
    for name, rows in tables.items():
        with replace_file(folder / name) as path:
            rows.to_csv(path, index=False)
    draw(table, caption, folder / "benchmark.png")
    return [*tables, "benchmark.png"]


def draw(table: pd.DataFrame, caption: str, path: Path) -> None:
    """Draw a bar a contender, grouped by network, with the range of its measurements."""
    figure = Figure(figsize=(7.0, 0.7 + 0.42 * len(table)), layout="constrained")
    networks = table.network.unique()
    panels = figure.subplots(len(networks), squeeze=False)[:, 0]
    for axes, network in zip(panels, networks, strict=True):
        rows = table[table.network == network][::-1]
        middle = rows.images_per_second_median
        spread = [middle - rows.images_per_second_min, rows.images_per_second_max - middle]
        ours = rows.contender.str.startswith(OURS)
        bars = axes.barh(
            rows.contender,
            middle,
            xerr=spread,
            color=ours.map({True: "#0072B2", False: "#BBBBBB"}),
            ecolor="#333333",
            capsize=2,
        )
        pairs = zip(middle, rows.ratio_median, strict=True)
        labels = [f"{speed:,.0f} ({ratio:.2f}×)" for speed, ratio in pairs]
        axes.bar_label(bars, labels, padding=3, fontsize=8)
        axes.margins(x=0.2)  # for the labels
        axes.set_title(network, loc="left", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("training images per second: median and range", fontsize=8)
    figure.suptitle("Training speed, side by side", fontsize=10, x=0.01, ha="left")
    figure.text(0.01, -0.02, caption, fontsize=7, va="top")
    with replace_file(path) as temporary:
        figure.savefig(temporary, dpi=200, bbox_inches="tight")
