"""float32 against bfloat16: which runs are paired, and what the table says of them."""

import dataclasses

import pytest
from ended_runs import ended_runs

from degradation.report.comparison import compare_precisions
from degradation.report.statistics import contrast


def both(schedule, model, single, half, variant=""):
    """Runs of one network in float32, named so by its folder, and in bfloat16, as auto picks."""
    named = ",".join(filter(None, ["precision=float32", variant]))
    return [
        *with_precision("float32", ended_runs(schedule, {model: single}, variant=named)),
        *with_precision("bfloat16", ended_runs(schedule, {model: half}, variant=variant)),
    ]


def with_precision(precision, runs):
    return [dataclasses.replace(run, precision=precision) for run in runs]


def with_data(fingerprint, runs):
    told = {"dataset": {"fingerprint": fingerprint}}
    return [dataclasses.replace(run, manifest=run.manifest | told) for run in runs]


def test_errors_and_interval_are_of_the_seeds_that_both_have():
    single, half = {0: 19.0, 1: 20.0, 5: 50.0}, {1: 20.2, 0: 19.0, 7: 90.0}
    (found,) = compare_precisions(both("short", "plain20", single, half))
    assert (found.network, found.verdict) == ("plain-20", "no difference shown")
    assert found.float32.to_dict() == {0: 19.0, 1: 20.0}
    assert found.bfloat16.to_dict() == {0: 19.0, 1: 20.2}
    assert found.difference == contrast([found.bfloat16 - found.float32], [1])
    assert found.unlike == ""


def test_machines_that_differ_are_named():
    cpus = {"float32": "Xeon", "bfloat16": "EPYC"}
    runs = [
        dataclasses.replace(run, manifest=run.manifest | {"cpu": cpus[run.precision]})
        for run in both("short", "plain20", [19.0, 19.1], [19.2, 19.3])
    ]
    (agreement,) = compare_precisions(runs)
    assert agreement.unlike == "Xeon against EPYC"


@pytest.mark.parametrize(
    ("half", "expected"),
    [
        ([19.1, 18.9, 19.05], "agree"),
        ([19.3, 19.32, 19.31], "agree, differ"),  # within half a point, and surely above
        ([19.7, 19.72, 19.71], "differ"),
        ([19.7, 18.9, 19.2], "no difference shown"),  # wide
        ([19.1], "no difference shown"),
    ],
)
def test_the_interval_decides(half, expected):
    single = [19.0] * len(half)
    (agreement,) = compare_precisions(both("short", "plain20", single, half))
    assert agreement.verdict == expected


def test_nothing_but_the_precision_may_differ():
    runs = [
        *with_precision("float32", ended_runs("short", {"plain20": [19.0], "plain56": [55.0]})),
        *with_precision("bfloat16", ended_runs("paper", {"plain20": [9.0]})),
        *with_precision("bfloat16", ended_runs("short", {"plain20": [9.0]}, variant="rate=0.05")),
        *with_precision("bfloat16", ended_runs("medium", {"plain56": [9.0]})),
        *with_data("other", with_precision("bfloat16", ended_runs("short", {"plain56": [9.0]}))),
    ]
    assert compare_precisions(runs) == []


def test_networks_in_the_order_of_the_runs_with_their_overrides():
    runs = both("short", "resnet20", [17.0], [17.1])
    runs += both("short", "plain20", [19.0], [19.1], variant="rate=0.05")
    assert [agreement.network for agreement in compare_precisions(runs)] == [
        "ResNet-20",
        "plain-20 (rate=0.05)",
    ]


def test_of_a_seed_that_is_there_twice_the_first_counts():
    runs = both("short", "plain20", [19.0], [19.1]) + both("short", "plain20", [1.0], [2.0])
    (agreement,) = compare_precisions(runs)
    assert (agreement.float32[0], agreement.bfloat16[0]) == (19.0, 19.1)
