"""What He et al. 2015 report, as numbers, and how near runs come to it.

Table 6, and curves that were read off the vector graphics of arXiv:1512.03385v1: Figure 6, a point
every 1,000 iterations, to about 0.05 points; its axis ends at 20 %, points above are not there.
Figure 7, to about 0.01; flat stretches were drawn without their inner points, which are not there.
"""

import math
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from degradation.report.provenance import named, seeds_of
from degradation.report.runs import Run
from degradation.report.statistics import z_score

FIGURE6 = Path(__file__).with_name("paper_figure6.csv")
FIGURE7 = Path(__file__).with_name("paper_figure7.csv")
DIGITISED = "He et al. 2015, Figure {} (digitised)"
TEST_ERRORS = {"resnet20": 8.75, "resnet32": 7.51, "resnet44": 7.17, "resnet56": 6.97}  # percent
TEST_ERRORS |= {"resnet110": 6.61, "resnet1202": 7.93}  # Table 6; the best run of 110 layers: 6.43
AVERAGED = {"resnet110": 5}  # how many runs a number is the mean of; others are of one, presumably
ORDERS = ("original", "sorted")  # of the layers in Figure 7
# Iterations: at the first learning rate all but the start, and where the curve is about level; and
# what is left after the first drop.
DISTANCE_OVER, SWING_OVER, LATER_OVER = (3_000, 32_000), (20_000, 32_000), (34_000, 64_000)


def final_error(model: str) -> float | None:
    """Return the paper's test error of a model after 64k iterations, in percent.

    Table 6 has it or, of plain networks, Figure 6; None for a model that the paper does not report.
    `model` is a name in conf/model/.
    """
    errors = curve(model, "test_error")
    return TEST_ERRORS.get(model) or (None if errors is None else float(errors.iloc[-1]))


def curve(model: str, column: str) -> pd.Series | None:
    """Return a curve of Figure 6 (left: plain, middle: residual networks) or 7, or None.

    `column` is train_error or test_error: in percent, indexed by iteration, without the points
    above 20 %. Or it is one of `ORDERS`: standard deviations, indexed by layer.
    """
    return _curves().get((model, column))


def paper_curve(runs: list[Run], column: str) -> pd.Series | None:
    """The paper's own curve of one network, as `curve` has it; None where it has none.

    None as well if a run differs from the paper's in schedule or settings: the two could not agree.
    """
    return curve(runs[0].model, column) if all(run.faithful for run in runs) else None


def response_distance(runs: list[Run]) -> float | None:
    """Mean of |ours ÷ paper − 1| over one network's seeds and the layers that Figure 7 has.

    Of the standard deviations of responses, in the order of the network. None as for `paper_curve`.
    """
    paper = paper_curve(runs, "original")
    if paper is None:
        return None
    return fmean((run.responses / paper - 1).abs().mean() for run in runs)


def compare_with_paper(runs: list[Run]) -> list[dict[str, Any]]:
    """Set each network that follows the paper against its Table 6 and Figures 6 and 7.

    A row a network, in the order of `runs`; networks without a curve in Figure 6 have none. Values
    are means over the seeds; the report says under its table what they are. `distance` and `later`
    are taken at the paper's points, with straight lines between our rows.
    """
    rows = []
    for network, group in named(runs).items():
        points = paper_curve(group, "test_error")
        if points is None:
            continue
        curves = [run.rows.set_index("iteration")["test_error"] for run in group]
        errors, paper = [run.final("test_error") for run in group], final_error(group[0].model)
        rows.append(
            {
                "network": network,
                "seeds": seeds_of(group),
                "test_error": fmean(errors),
                "difference": fmean(errors) - paper,
                "z": z_score(errors, paper, AVERAGED.get(group[0].model, 1)),
                "points": len(points.loc[slice(*DISTANCE_OVER)]),
                "distance": fmean(_minus(c, points, DISTANCE_OVER).abs().mean() for c in curves),
                "later": fmean(_minus(c, points, LATER_OVER).mean() for c in curves),
                "swing": fmean(_swing(c.loc[slice(*SWING_OVER)]) for c in curves),
                "paper_swing": _swing(points.loc[slice(*SWING_OVER)]),
                "responses": response_distance(group),
            }
        )
    return rows


@cache
def _curves() -> dict[tuple[str, str], pd.Series]:
    errors = pd.read_csv(FIGURE6).rename(columns={"iteration": "x", "error_percent": "y"})
    errors = errors[errors["panel"] != "right"]  # which shows the 110 layers of the middle again
    errors = errors.assign(series=errors["series"] + "_error")
    stds = pd.read_csv(FIGURE7).rename(columns={"order": "series", "layer": "x", "std": "y"})
    groups = pd.concat([errors, stds]).groupby(["network", "series"])
    return {key: points.set_index("x")["y"] for key, points in groups}


def _minus(curve: pd.Series, points: pd.Series, over: tuple[int, int]) -> pd.Series:
    """Our curve minus the paper's points, at those."""
    points = points.loc[slice(*over)]
    return np.interp(points.index, curve.index, curve) - points


def _swing(curve: pd.Series) -> float:
    return float(curve.diff().std() / math.sqrt(2))
