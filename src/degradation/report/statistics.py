"""Differences over seeds and their 95 % intervals, by Student's t."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
# One of 10,000 test images, in percentage points. Seeds that happen to agree more closely are not
# surer: a smaller standard deviation counts as this one.
IMAGE = 0.01
USUAL_SPREAD = 0.2  # points: standard deviation over seeds of the paper's networks, about


@dataclass(frozen=True)
class Difference:
    """A difference of mean errors over seeds, in percentage points.

    `low` and `high` bound its 95 % confidence interval, `p` is the two-sided p-value of the same
    test. With a single seed there is no interval: `low` and `high` are None, and `p` is 1.
    """

    points: float
    low: float | None = None
    high: float | None = None
    p: float = 1.0


def contrast(groups: Sequence[Sequence[float]], weights: Sequence[float]) -> Difference:
    """Estimate a weighted sum of the means of `groups`, each the errors of one network over seeds.

    The interval is Welch's, for any number of groups: variances are those of each group, degrees of
    freedom by Satterthwaite. There is none if a group has a single seed.
    """
    means, sizes = np.array([np.mean(group) for group in groups]), np.array([*map(len, groups)])
    points = float(np.dot(weights, means))
    if min(sizes) < 2:
        return Difference(points)
    deviations = np.maximum([np.std(group, ddof=1) for group in groups], IMAGE)
    variances = (np.asarray(weights) * deviations) ** 2 / sizes
    error = math.sqrt(variances.sum())
    t = stats.t(variances.sum() ** 2 / (variances**2 / (sizes - 1)).sum())
    half = float(t.ppf((1 + CONFIDENCE) / 2)) * error
    return Difference(points, points - half, points + half, float(2 * t.sf(abs(points) / error)))


def welch(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Estimate the mean of `a` minus that of `b`, the errors of two architectures over seeds.

    Never paired: a seed shares nothing but the order of the data between two architectures.
    """
    return contrast([a, b], [1, -1])


def holds(differences: Sequence[Difference], sign: int) -> bool | None:
    """Whether all of a claim's differences have `sign` (1 or -1); None if that is undecided.

    True if every 95 % interval lies on that side of 0 (an intersection-union test needs no
    adjustment). False if one of k lies on the other side at the level 1 - 0.05 / k.
    """
    level = 1 - CONFIDENCE
    if any(d.points * sign < 0 and d.p < level / len(differences) for d in differences):
        return False
    return all(d.points * sign > 0 and d.p < level for d in differences) or None


def z_score(errors: Sequence[float], paper: float, runs: int = 1) -> float | None:
    """How far the mean error is from the paper's, a mean over `runs` of the same network.

    Both in percent. The difference in units of its standard deviation, if the two networks are the
    same. None for a single seed.
    """
    if len(errors) < 2:
        return None
    deviation = max(float(np.std(errors, ddof=1)), USUAL_SPREAD)
    return (float(np.mean(errors)) - paper) / (deviation * math.sqrt(1 / runs + 1 / len(errors)))
