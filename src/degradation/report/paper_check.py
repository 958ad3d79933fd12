"""How near runs come to the paper's own curves, in numbers."""

import math
from collections.abc import Iterable
from statistics import fmean

import numpy as np
import pandas as pd

from degradation.report.caption import seeds_by_network
from degradation.report.curves import paper_curve, response_distance
from degradation.report.paper import final_error
from degradation.report.runs import Run, mean_final

# Iterations, at the first learning rate: all but the start, and where the curve is about level.
DISTANCE_OVER, SWING_OVER = (3_000, 32_000), (20_000, 32_000)
COLUMNS = ["network", "seeds", "distance", "swing", "paper_swing"]
COLUMNS += ["test_error", "offset", "responses"]


def check_against_paper(runs: Iterable[Run]) -> pd.DataFrame:
    """Set each network that follows the paper against the paper's own curves, Figures 6 and 7.

    A row a network, in the order of `runs`; networks without a curve in Figure 6 have none. Errors
    are in percent, the rest in percentage points, means over the seeds of what each run has:

    - `distance`: the mean absolute distance from the paper's points from 3,000 to 32,000
      iterations. The paper has one every 1,000 (none above 20 %, where its axis ends), runs have a
      row every 800: between their rows, their curve is a straight line.
    - `swing` and `paper_swing`: the standard deviation of the differences between neighbours,
      divided by √2, of the run's own rows and of the paper's points, 20,000 to 32,000.
    - `test_error`, and `offset`: how far it ends above the paper's Table 6 or Figure 6.
    - `responses`: `response_distance`, a ratio; None for networks that are not in Figure 7.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.model, []).append(run)
    rows = []
    for model, group in groups.items():
        paper = paper_curve(group, "test_error")
        if paper is None:
            continue
        curves = [run.rows.set_index("iteration")["test_error"] for run in group]
        error = mean_final(group, "test_error")
        rows.append(
            {
                "network": group[0].network,
                "seeds": seeds_by_network(group)[group[0].network],
                "distance": fmean(_distance(c, paper.loc[slice(*DISTANCE_OVER)]) for c in curves),
                "swing": fmean(_swing(c.loc[slice(*SWING_OVER)]) for c in curves),
                "paper_swing": _swing(paper.loc[slice(*SWING_OVER)]),
                "test_error": error,
                "offset": error - final_error(model)[0],
                "responses": response_distance(group),
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def _distance(curve: pd.Series, points: pd.Series) -> float:
    return float(np.abs(np.interp(points.index, curve.index, curve) - points).mean())


def _swing(curve: pd.Series) -> float:
    return float(curve.diff().std() / math.sqrt(2))
