"""Runs beside others of their kind: a user's beside the recorded ones, bfloat16 beside float32."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from degradation.report.provenance import UNKNOWN
from degradation.report.runs import Run
from degradation.report.statistics import Difference, contrast

NEAR = 0.5  # percentage points
TIMING = ["images_per_second", "wall_seconds"]


@dataclass(frozen=True)
class Comparison:
    """One network in a user's runs and in the recorded runs of the same setting.

    `own` and `recorded` are final errors on unseen images, in percent by seed. `unlike` names
    precision and data where the two sides differ in them. `identical` has the seeds whose
    evaluations agree in every digit.
    """

    network: str
    own: pd.Series
    recorded: pd.Series
    unlike: str
    identical: list[int]


@dataclass(frozen=True)
class Agreement:
    """One network's final errors on unseen images in both precisions, in percent by seed.

    The seeds are those that both have. `network` is plain-56 or, with overrides, plain-56
    (rate=0.05). `difference` is bfloat16 minus float32, paired by seed. `unlike` names the
    processors or GPUs where the two sides differ in them, float32's first; or it is "".
    """

    network: str
    float32: pd.Series
    bfloat16: pd.Series
    difference: Difference
    unlike: str

    @property
    def verdict(self) -> str:
        """*Agree*: the interval lies within half a point of 0. *Differ*: it excludes 0. Or both."""
        low, high = self.difference.low, self.difference.high
        words = []
        if low is not None:
            words += ["agree"] * (low >= -NEAR and high <= NEAR)
            words += ["differ"] * (low > 0 or high < 0)
        return ", ".join(words) or "no difference shown"


def compare(runs: list[Run], recorded: list[Run]) -> list[Comparison]:
    """Set each network of `runs` against its recorded runs, in the order of `runs`.

    The two are of one setting. Precision and data files may differ, since they follow from the
    machine; recorded runs that agree in them are preferred. Networks without a recorded
    counterpart, and recorded runs that are among `runs` themselves, are left out.
    """
    known, candidates = {run.path.resolve() for run in recorded}, _groups(recorded)
    comparisons = []
    for key, own in _groups(run for run in runs if run.path.resolve() not in known).items():
        same = [(_unlike(key, other), g) for other, g in candidates.items() if other[0] == key[0]]
        if not same:
            continue
        unlike, there = min(same, key=lambda pair: [word != "" for word in pair[0]])
        comparisons.append(
            Comparison(
                network=next(iter(own.values())).network,
                own=_errors(own),
                recorded=_errors(there),
                unlike="; ".join(filter(None, unlike)),
                identical=[s for s in sorted(own) if s in there and _same_rows(own[s], there[s])],
            )
        )
    return comparisons


def compare_precisions(runs: Iterable[Run]) -> list[Agreement]:
    """Set bfloat16 against float32 for each network that has a seed in both, in order of `runs`.

    The two are of one setting, but for the precision that it asks for, and on the same files of the
    data. Of runs that share all of that, and the seed, the first counts.
    """
    groups = _groups(runs)
    agreements = []
    for kind, data in dict.fromkeys((kind, data) for kind, _, data in groups):
        single, half = (groups.get((kind, p, data), {}) for p in ("float32", "bfloat16"))
        seeds = sorted(single.keys() & half.keys())
        if not seeds:
            continue
        first, errors, others = single[seeds[0]], _errors(single)[seeds], _errors(half)[seeds]
        overrides = first.setting.variant_without("precision")
        network = f"{first.network} ({overrides})" if overrides else first.network
        difference = contrast([others - errors], [1])
        devices = [_devices(group[seed] for seed in seeds) for group in (single, half)]
        unlike = "" if devices[0] == devices[1] else " against ".join(devices)
        agreements.append(Agreement(network, errors, others, difference, unlike))
    return agreements


def _devices(runs: Iterable[Run]) -> str:
    """Name what runs were trained on."""
    found = {run.manifest.get("gpu") or run.manifest.get("cpu") or UNKNOWN for run in runs}
    return " and ".join(sorted(found))


def _groups(runs: Iterable[Run]) -> dict[tuple[Any, str, tuple], dict[int, Run]]:
    """Collect by seed the runs that differ in nothing else.

    A key has what decides the result, and what the machine decides: the precision, and the data's
    label and fingerprint. Of two runs with the same seed the first counts.
    """
    groups: dict[tuple, dict[int, Run]] = {}
    for run in runs:
        data = run.dataset, run.manifest.get("dataset", {}).get("fingerprint")
        key = run.setting.but_for("seed", "precision"), run.precision, data
        groups.setdefault(key, {}).setdefault(run.seed, run)
    return groups


def _unlike(key: tuple, other: tuple) -> tuple[str, str]:
    """Say how two groups differ in precision, which matters more, and in data; "" if not."""
    (_, precision, data), (_, their_precision, their_data) = key, other
    files = f"other files of {data[0]}"
    if data[0] != their_data[0]:
        files = f"{data[0]} against {their_data[0]}"
    return (
        f"{precision} against {their_precision}" if precision != their_precision else "",
        files if data != their_data else "",
    )


def _errors(group: dict[int, Run]) -> pd.Series:
    return pd.Series({seed: run.final(run.measured) for seed, run in sorted(group.items())})


def _same_rows(run: Run, other: Run) -> bool:
    rows, others = (each.rows.drop(columns=TIMING, errors="ignore") for each in (run, other))
    return rows.equals(others)
