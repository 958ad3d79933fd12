"""float32 against bfloat16: whether the precision changes how the same networks end."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from degradation.report.runs import Run, without_precision
from degradation.report.statements import EARLY
from degradation.report.statistics import Estimate, difference

NEAR = 0.5  # percentage points
FEWEST = 3  # seeds: the interval of two is so wide that almost every difference would agree
RULE = (
    f"From {FEWEST} seeds on they agree if the 95 % interval of the difference, paired by seed, "
    f"includes 0 and the mean is under {NEAR} points, and differ if it excludes 0; plain-56, "
    f"far from converged before {EARLY:,} iterations, agrees there if the interval includes 0. To "
    "agree is to show no difference: a wide interval does not exclude one."
)


@dataclass(frozen=True)
class Agreement:
    """One network's final error in float32 and in bfloat16, over the seeds that both have.

    `network` is plain-56 or, with overrides, plain-56 (rate=0.05). `float32` and `bfloat16` are
    means of the last evaluation, in percent; `points` is bfloat16 minus float32, in percentage
    points, and `low` and `high` bound its 95 % interval, paired by seed (None with one seed).
    `verdict` is *differ* if the interval excludes 0, *agree* if it includes 0 and the mean is under
    0.5 points, else *undecided*, as with fewer than three seeds. A plain-56 of fewer than 7,000
    iterations, far from converged and noisy, agrees if the interval includes 0.
    """

    network: str
    schedule: str
    seeds: str
    float32: float
    bfloat16: float
    points: float
    low: float | None
    high: float | None
    verdict: str


def compare_precisions(runs: Iterable[Run]) -> list[Agreement]:
    """Set bfloat16 against float32 for each network that has a seed in both, in order of `runs`.

    Runs on other files of the data are not compared. Of runs that share network, schedule, data,
    overrides, precision and seed the first counts.
    """
    groups: dict[tuple[str | None, ...], dict[str, dict[int, Run]]] = {}
    for run in runs:
        data = run.manifest.get("dataset", {}).get("fingerprint")
        kind = (run.model, run.schedule, data, without_precision(run.variant))
        by_precision = groups.setdefault(kind, {})
        by_precision.setdefault(run.precision, {}).setdefault(run.seed, run)
    agreements = []
    for precisions in groups.values():
        known = [precisions.get(name, {}) for name in ("float32", "bfloat16")]
        if seeds := sorted(set.intersection(*map(set, known))):
            agreements.append(_agreement(*({seed: of[seed] for seed in seeds} for of in known)))
    return agreements


def _agreement(float32: dict[int, Run], bfloat16: dict[int, Run]) -> Agreement:
    first = next(iter(float32.values()))
    float32_errors, bfloat16_errors = (
        {seed: run.final(first.measured) for seed, run in of.items()} for of in (float32, bfloat16)
    )
    estimate = difference(bfloat16_errors, float32_errors)
    overrides = without_precision(first.variant)
    early = first.config["schedule"]["iterations"] < EARLY
    return Agreement(
        network=f"{first.network} ({overrides})" if overrides else first.network,
        schedule=first.schedule,
        seeds=", ".join(map(str, float32)),
        float32=fmean(float32_errors.values()),
        bfloat16=fmean(bfloat16_errors.values()),
        points=estimate.points,
        low=estimate.low,
        high=estimate.high,
        verdict=_verdict(estimate, noisy=early and first.network == "plain-56"),
    )


def _verdict(estimate: Estimate, noisy: bool) -> str:
    if estimate.seeds < FEWEST:
        return "undecided"
    if not estimate.low <= 0 <= estimate.high:
        return "differ"
    return "agree" if noisy or abs(estimate.points) < NEAR else "undecided"
