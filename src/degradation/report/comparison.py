"""Runs beside others of their kind: a user's beside the recorded ones, bfloat16 beside float32."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from degradation.report.runs import WORDS, Run
from degradation.report.statistics import Difference, paired

NEAR = 0.5  # percentage points
NOTHING_SHOWN = "no difference shown"
TIMING = ["images_per_second", "wall_seconds"]


@dataclass(frozen=True)
class Comparison:
    """One network's final error in a user's runs and in the recorded runs.

    `network` is plain-56 or ResNet-56; `setting` names the schedule, the overrides, and precision
    and data where the two sides differ in them. `error` says what was measured: test error, or
    validation error with a held-out set. `own` and `recorded` are means over the seeds of the last
    evaluation, in percent; `difference` is `own` minus `recorded`, in percentage points. `within`
    says in words how far that is: inside or outside the range of the recorded seeds, and which
    seeds agree in every digit.
    """

    network: str
    setting: str
    error: str
    own: float
    own_seeds: str
    recorded: float
    recorded_seeds: str
    difference: float
    within: str


def compare(runs: list[Run], recorded: list[Run]) -> list[Comparison]:
    """Set each network of `runs` against its recorded runs, in the order of `runs`.

    Same configuration means the same model, data, schedule and optimiser, in every setting that
    changes the result. Precision and data files may differ, since they follow
    from the machine; recorded runs that agree in them are preferred. Networks without a recorded
    counterpart, and recorded runs that are among `runs` themselves, are left out.
    """
    known = {run.path.resolve() for run in recorded}
    candidates = _groups(recorded)
    comparisons = []
    for own in _groups(run for run in runs if run.path.resolve() not in known):
        if same := [group for group in candidates if _kind(group[0]) == _kind(own[0])]:
            nearest = min(same, key=lambda group: _unlike(group[0], own[0]))
            comparisons.append(_comparison(own, nearest))
    return comparisons


def _groups(runs: Iterable[Run]) -> list[list[Run]]:
    """Collect the runs that differ in nothing but the seed, ordered by it."""
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        groups.setdefault((_kind(run), *_circumstances(run)), []).append(run)
    return [sorted(group, key=lambda run: run.seed) for group in groups.values()]


def _kind(run: Run) -> frozenset[tuple[str, Any]]:
    """Whatever in a run's setting decides its result, but the seed; the precision is apart."""
    return run.setting.but_for("seed", "precision")


def _circumstances(run: Run) -> tuple[str, str]:
    """What the machine decides: the precision it computes in, and the copy of the data it has."""
    return run.precision, run.manifest["dataset"].get("fingerprint", run.dataset)


def _unlike(run: Run, other: Run) -> tuple[bool, ...]:
    """Whether two runs differ in precision, which matters more, and in their data."""
    return tuple(a != b for a, b in zip(_circumstances(run), _circumstances(other), strict=True))


def _comparison(own: list[Run], recorded: list[Run]) -> Comparison:
    ours, theirs = ([run.final(run.measured) for run in group] for group in (own, recorded))
    mean, reference = fmean(ours), fmean(theirs)
    return Comparison(
        network=own[0].network,
        setting=_setting(own[0], recorded[0]),
        error=f"{WORDS[own[0].measured]} error",
        own=mean,
        own_seeds=_seeds(own),
        recorded=reference,
        recorded_seeds=_seeds(recorded),
        difference=mean - reference,
        within="; ".join(filter(None, [_identical(own, recorded), _spread(mean, theirs)])),
    )


def _setting(own: Run, recorded: Run) -> str:
    """Name the schedule, the overrides, and what differs all the same: precision and data."""
    words = [own.schedule, *filter(None, own.setting.variant_without("precision").split(","))]
    other_precision, other_data = _unlike(own, recorded)
    if other_precision:
        words.append(f"{own.precision} against {recorded.precision}")
    if other_data and own.dataset == recorded.dataset:
        words.append(f"other files of {own.dataset}")
    elif other_data:
        words.append(f"{own.dataset} against {recorded.dataset}")
    return "; ".join(words)


def _identical(own: list[Run], recorded: list[Run]) -> str:
    """Name the seeds whose rows agree bit for bit, timing columns aside; "" if there are none."""
    theirs = {run.seed: run for run in recorded}
    equal = [run for run in own if run.seed in theirs and _same_rows(run, theirs[run.seed])]
    if not equal:
        return ""
    if len(equal) == len(own) == len(recorded):
        return "identical to the last digit"
    return f"seed {_seeds(equal)} identical to the last digit"


def _same_rows(run: Run, other: Run) -> bool:
    rows, others = (each.rows.drop(columns=TIMING, errors="ignore") for each in (run, other))
    return rows.equals(others)


def _spread(mean: float, recorded: list[float]) -> str:
    if len(recorded) == 1:
        return "one recorded seed has no range: that takes two"
    low, high = min(recorded), max(recorded)
    place = "within" if low <= mean <= high else "outside"
    return f"{place} the recorded seeds' range ({low:.2f} to {high:.2f} %)"


def _seeds(runs: list[Run]) -> str:
    return ", ".join(str(run.seed) for run in runs)


# ---------------------------------------------------------------- float32 and bfloat16


@dataclass(frozen=True)
class Agreement:
    """One network's final error in float32 and in bfloat16, over the seeds that both have.

    `network` is plain-56 or, with overrides, plain-56 (rate=0.05). `float32` and `bfloat16` are
    means of the last evaluation, in percent; `difference` is bfloat16 minus float32, paired by
    seed. `verdict` is *agree* if its interval lies within half a point of 0, *differ* if it
    excludes 0, both if both are so, and else *no difference shown*.
    """

    network: str
    seeds: str
    float32: float
    bfloat16: float
    difference: Difference
    verdict: str


def compare_precisions(runs: Iterable[Run]) -> list[Agreement]:
    """Set bfloat16 against float32 for each network that has a seed in both, in order of `runs`.

    Runs on other files of the data are not compared. Of runs that share network, schedule, data,
    overrides, precision and seed the first counts.
    """
    groups: dict[tuple[str | None, ...], dict[str, dict[int, Run]]] = {}
    for run in runs:
        data = run.manifest.get("dataset", {}).get("fingerprint")
        kind = (run.model, run.schedule, data, run.setting.variant_without("precision"))
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
    difference = paired(bfloat16_errors, float32_errors)
    overrides = first.setting.variant_without("precision")
    return Agreement(
        network=f"{first.network} ({overrides})" if overrides else first.network,
        seeds=", ".join(map(str, float32)),
        float32=fmean(float32_errors.values()),
        bfloat16=fmean(bfloat16_errors.values()),
        difference=difference,
        verdict=_verdict(difference),
    )


def _verdict(difference: Difference) -> str:
    if difference.low is None:
        return NOTHING_SHOWN
    words = ["agree"] * (difference.low >= -NEAR and difference.high <= NEAR)
    words += ["differ"] * (difference.low > 0 or difference.high < 0)
    return ", ".join(words) or NOTHING_SHOWN
