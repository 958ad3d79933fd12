"""Differences over seeds: their 95 % intervals, joint decisions, and the seeds that these need."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
MOST_SEEDS = 100
# Errors on 10,000 test images come in steps of this, in percentage points. Seeds that happen to
# agree more closely are not surer: a smaller standard deviation counts as one step.
STEP = 0.01


@dataclass(frozen=True)
class Estimate:
    """A difference of means over seeds, in percentage points, and how sure it is.

    `low` and `high` bound its 95 % confidence interval; both are None where a network has one seed.
    `p` is the two-sided p-value against no difference, 1 without an interval. `basis` names the
    method and the seeds. With n seeds for each network, `deviation` / sqrt(n) is the standard
    error, with `freedom` (n - 1) degrees of freedom; `seeds` is the n that is there.
    """

    points: float
    basis: str
    seeds: int
    low: float | None = None
    high: float | None = None
    p: float = 1.0
    deviation: float = 0.0
    freedom: float = 1.0

    @property
    def sure(self) -> bool:
        """Whether there are seeds enough for an interval."""
        return self.low is not None

    def with_seeds(self, seeds: int) -> "Estimate":
        """What it would be if `seeds` seeds showed the same mean and the same spread."""
        error, degrees = self.deviation / math.sqrt(seeds), self.freedom * (seeds - 1)
        return _estimate(
            self.points, self.basis, seeds, error, degrees, self.deviation, self.freedom
        )


def difference(a: Mapping[int, float], b: Mapping[int, float]) -> Estimate:
    """Estimate the mean of `a` minus that of `b`, both by seed, in percent.

    Paired by seed where both have the same seeds, by Welch's t-test where they do not. Without an
    interval if one of them has a single seed.
    """
    if len(a) > 1 and a.keys() == b.keys():
        return _one_sample({seed: a[seed] - b[seed] for seed in sorted(a)}, "paired, seeds")
    x, y = _tidy(a.values()), _tidy(b.values())
    points, fewest = float(_tidy([x.mean() - y.mean()])[0]), min(len(x), len(y))
    if fewest == 1:
        both = len(x) == len(y)
        return Estimate(points, "one seed each" if both else f"{len(x)} and {len(y)} seeds", 1)
    basis = f"Welch, {len(x)} and {len(y)} seeds"
    counts = np.array([len(x), len(y)])
    variances = np.maximum([x.var(ddof=1), y.var(ddof=1)], STEP**2)
    error, deviation = (math.sqrt(part.sum()) for part in (variances / counts, variances))
    degrees = error**4 / ((variances / counts) ** 2 / (counts - 1)).sum()
    freedom = deviation**4 / (variances**2).sum()
    return _estimate(points, basis, fewest, error, degrees, deviation, freedom)


def offset(values: Mapping[int, float], reference: float) -> Estimate:
    """Estimate the mean of `values`, by seed, minus a number that is taken as exact."""
    by_seed = {seed: values[seed] - reference for seed in sorted(values)}
    if len(by_seed) == 1:
        return Estimate(float(_tidy(by_seed.values())[0]), "one seed", seeds=1)
    return _one_sample(by_seed, "seeds")


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p-values by Holm's step-down method, so that all hold at once; in the order of `p`."""
    order = np.argsort(p, kind="stable")
    steps = np.asarray(p)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted.tolist()


def directions(estimates: Sequence[Estimate]) -> list[int]:
    """Tell for each difference whether it is above zero (1), below (-1), or not settled (0).

    Settled is what lies beyond the 5 % level after Holm's adjustment over all of them.
    """
    adjusted = holm([estimate.p for estimate in estimates])
    return [
        int(np.sign(estimate.points)) if value < 1 - CONFIDENCE else 0
        for estimate, value in zip(estimates, adjusted, strict=True)
    ]


def decide(estimates: Sequence[Estimate], sign: int) -> bool | None:
    """Tell whether every difference has `sign` (1 or -1), by `directions`.

    True if all of them do, False if one has the other sign, None if neither is settled.
    """
    found = directions(estimates)
    if -sign in found:
        return False
    return None if 0 in found else True


def seeds_to_decide(
    estimates: Sequence[Estimate], decided: Callable[[Sequence[Estimate]], bool | None]
) -> tuple[int, bool] | None:
    """How many seeds of each network would decide, if more showed the same means and spreads; how.

    `decided` gives None for estimates that leave it open. None if even `MOST_SEEDS` would not do.
    Every estimate must have an interval.
    """
    have = min(estimate.seeds for estimate in estimates)
    for seeds in range(have + 1, MOST_SEEDS + 1):
        more = [e if e.seeds >= seeds else e.with_seeds(seeds) for e in estimates]
        if (answer := decided(more)) is not None:
            return seeds, answer
    return None


def _one_sample(by_seed: Mapping[int, float], prefix: str) -> Estimate:
    values, basis = _tidy(by_seed.values()), f"{prefix} {', '.join(map(str, by_seed))}"
    count, deviation = len(values), max(float(values.std(ddof=1)), STEP)
    error = deviation / math.sqrt(count)
    return _estimate(float(values.mean()), basis, count, error, count - 1, deviation, 1.0)


def _estimate(
    points: float,
    basis: str,
    seeds: int,
    error: float,
    degrees: float,
    deviation: float,
    freedom: float,
) -> Estimate:
    """Put an estimate together from its standard `error`, which has `degrees` of freedom."""
    low, high = stats.t.interval(CONFIDENCE, degrees, loc=points, scale=error)
    p = 2 * stats.t.sf(abs(points) / error, degrees)
    return Estimate(points, basis, seeds, float(low), float(high), float(p), deviation, freedom)


def _tidy(values) -> np.ndarray:
    """Round away what subtraction leaves behind: equal differences are to be equal."""
    return np.round(np.fromiter(values, float), 9) + 0.0
