"""What the paper reports, as numbers: He et al. 2015, Table 6, the curves of Figures 6 and 7.

The curves were read off the vector graphics of Figure 6 in arXiv:1512.03385v1, a point every 1,000
iterations, to about 0.05 points. The figure's axis ends at 20 %: points above are not there.
The standard deviations were read off Figure 7 in the same way, to about 0.01; flat stretches were
drawn without their inner points: some layers are not there.
"""

from functools import cache
from pathlib import Path

import pandas as pd

FIGURE6 = Path(__file__).with_name("paper_figure6.csv")
FIGURE7 = Path(__file__).with_name("paper_figure7.csv")
DIGITISED = "He et al. 2015, Figure 6 (digitised)"
DIGITISED_RESPONSES = "He et al. 2015, Figure 7 (digitised)"
TABLE6 = "He et al. 2015, Table 6"
NETWORKS = {  # model -> its name in text
    f"{kind}{depth}": f"{name}-{depth}"
    for kind, name in (("plain", "plain"), ("resnet", "ResNet"))
    for depth in (20, 32, 44, 56, 110)
} | {"resnet1202": "ResNet-1202"}
TEST_ERRORS = {  # percent, and where they stand
    "resnet20": (8.75, TABLE6),
    "resnet32": (7.51, TABLE6),
    "resnet44": (7.17, TABLE6),
    "resnet56": (6.97, TABLE6),
    "resnet110": (6.61, f"{TABLE6} (mean of five runs, the best of them 6.43)"),
    "resnet1202": (7.93, TABLE6),
}
SERIES = {"train_error": "train", "test_error": "test"}
ORDERS = ("original", "sorted")  # of the layers in Figure 7


def final_error(model: str) -> tuple[float, str] | None:
    """Return the paper's test error of a model after 64k iterations, in percent, and its source.

    None for a model that the paper does not report. `model` is a name in conf/model/.
    """
    if model in TEST_ERRORS:
        return TEST_ERRORS[model]
    errors = curve(model, "test_error")
    return None if errors is None else (float(errors.iloc[-1]), DIGITISED)


def curve(model: str, column: str) -> pd.Series | None:
    """Return a curve of Figure 6 (left: plain, middle: residual networks) or 7, or None.

    `column` is train_error or test_error: in percent, indexed by iteration, without the points
    above 20 %. Or it is one of `ORDERS`: standard deviations, indexed by layer.
    """
    points = _points()
    chosen = (points["network"] == model) & (points["series"] == SERIES.get(column, column))
    if not chosen.any():
        return None
    axis = "layer" if column in ORDERS else "iteration"
    return points[chosen].set_index("x")["y"].rename(column).rename_axis(axis)


@cache
def _points() -> pd.DataFrame:
    errors = pd.read_csv(FIGURE6).rename(columns={"iteration": "x", "error_percent": "y"})
    errors = errors[errors["panel"] != "right"]  # which shows the 110 layers of the middle again
    stds = pd.read_csv(FIGURE7).rename(columns={"order": "series", "layer": "x", "std": "y"})
    return pd.concat([errors, stds])
