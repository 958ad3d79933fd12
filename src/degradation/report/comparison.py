"""Runs beside others of their kind: a user's beside the recorded ones, bfloat16 beside float32."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pandas as pd

from degradation.report.runs import Run
from degradation.report.statistics import Difference, paired

NEAR = 0.5  # percentage points
NOTHING_SHOWN = "no difference shown"
TIMING = ["images_per_second", "wall_seconds"]


@dataclass(frozen=True)
class Comparison:
    """One network's final error on unseen images in a user's runs and in the recorded runs.

    `setting` names schedule, overrides, and precision and data where the two sides differ in them.
    `own` and `recorded` are means over the seeds in percent, each with its standard deviation (NaN
    for one seed); `difference` is `own` minus `recorded`, in percentage points. `identical` has the
    seeds whose evaluations agree in every digit.
    """

    network: str
    setting: str
    own: float
    own_std: float
    own_seeds: str
    recorded: float
    recorded_std: float
    recorded_seeds: str
    difference: float
    identical: str


def compare(runs: list[Run], recorded: list[Run]) -> list[Comparison]:
    """Set each network of `runs` against its recorded runs, in the order of `runs`.

    The two are of one setting. Precision and data files may differ, since they follow from the
    machine; recorded runs that agree in them are preferred. Networks without a recorded
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
    return run.precision, run.manifest.get("dataset", {}).get("fingerprint", run.dataset)


def _unlike(run: Run, other: Run) -> tuple[bool, ...]:
    """Whether two runs differ in precision, which matters more, and in their data."""
    return tuple(a != b for a, b in zip(_circumstances(run), _circumstances(other), strict=True))


def _comparison(own: list[Run], recorded: list[Run]) -> Comparison:
    ours, theirs = (
        pd.Series([run.final(run.measured) for run in group]) for group in (own, recorded)
    )
    by_seed = {run.seed: run for run in recorded}
    identical = [r for r in own if r.seed in by_seed and _same_rows(r, by_seed[r.seed])]
    return Comparison(
        network=own[0].network,
        setting=_setting(own[0], recorded[0]),
        own=ours.mean(),
        own_std=ours.std(),
        own_seeds=_seeds(own),
        recorded=theirs.mean(),
        recorded_std=theirs.std(),
        recorded_seeds=_seeds(recorded),
        difference=ours.mean() - theirs.mean(),
        identical=_seeds(identical),
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


def _same_rows(run: Run, other: Run) -> bool:
    rows, others = (each.rows.drop(columns=TIMING, errors="ignore") for each in (run, other))
    return rows.equals(others)


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

    The two are of one setting, but for the precision that it asks for, and on the same files of the
    data. Of runs that share all of that, and the seed, the first counts.
    """
    groups: dict[Any, dict[str, dict[int, Run]]] = {}
    for run in runs:
        precision, data = _circumstances(run)
        group = groups.setdefault((_kind(run), data), {"float32": {}, "bfloat16": {}})
        group[precision].setdefault(run.seed, run)
    pairs = [(group["float32"], group["bfloat16"]) for group in groups.values()]
    return [_agreement(*pair) for pair in pairs if pair[0].keys() & pair[1].keys()]


def _agreement(float32: dict[int, Run], bfloat16: dict[int, Run]) -> Agreement:
    seeds = sorted(float32.keys() & bfloat16.keys())
    single, half = (
        {seed: runs[seed].final(runs[seed].measured) for seed in seeds}
        for runs in (float32, bfloat16)
    )
    difference, first = paired(half, single), float32[seeds[0]]
    overrides = first.setting.variant_without("precision")
    return Agreement(
        network=f"{first.network} ({overrides})" if overrides else first.network,
        seeds=", ".join(map(str, seeds)),
        float32=fmean(single.values()),
        bfloat16=fmean(half.values()),
        difference=difference,
        verdict=_verdict(difference),
    )


def _verdict(difference: Difference) -> str:
    if difference.low is None:
        return NOTHING_SHOWN
    words = ["agree"] * (difference.low >= -NEAR and difference.high <= NEAR)
    words += ["differ"] * (difference.low > 0 or difference.high < 0)
    return ", ".join(words) or NOTHING_SHOWN
