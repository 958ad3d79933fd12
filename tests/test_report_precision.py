"""float32 against bfloat16: which runs are paired, and what the table says of them."""

import pytest
from ended_runs import ended_runs

from degradation.report.comparison import compare_precisions
from degradation.report.statistics import contrast

FLOAT32 = {"runtime.precision": "float32"}
RATE = {"optimizer.rate": 0.05}


def in_float32(ends, settings=FLOAT32, **manifest):
    return ended_runs("short", ends, settings, precision="float32", **manifest)


def both(model, single, half, **settings):
    """Runs of one network in float32, which is asked for, and in bfloat16, as auto picks."""
    ours = in_float32({model: single}, FLOAT32 | settings)
    return [*ours, *ended_runs("short", {model: half}, settings)]


def test_errors_and_interval_are_of_the_seeds_that_both_have():
    single, half = {0: 19.0, 1: 20.0, 5: 50.0}, {1: 20.2, 0: 19.0, 7: 90.0}
    (found,) = compare_precisions(both("plain20", single, half))
    assert (found.network, found.verdict) == ("plain-20", "no difference shown")
    assert found.float32.to_dict() == {0: 19.0, 1: 20.0}
    assert found.bfloat16.to_dict() == {0: 19.0, 1: 20.2}
    assert found.difference == contrast([found.bfloat16 - found.float32], [1])
    assert found.unlike == ""


def test_machines_that_differ_are_named():
    runs = in_float32({"plain20": [19.0]}, cpu="Xeon")
    runs += ended_runs("short", {"plain20": [19.2]}, cpu="EPYC")
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
    (agreement,) = compare_precisions(both("plain20", [19.0] * len(half), half))
    assert agreement.verdict == expected


def test_nothing_but_the_precision_may_differ():
    runs = [
        *in_float32({"plain20": [19.0], "plain56": [55.0]}, {}),
        *ended_runs("paper", {"plain20": [9.0]}),
        *ended_runs("short", {"plain20": [9.0]}, RATE),
        *ended_runs("medium", {"plain56": [9.0]}),
        *ended_runs("short", {"plain56": [9.0]}, dataset={"fingerprint": "other"}),
    ]
    assert compare_precisions(runs) == []


def test_networks_in_the_order_of_the_runs_with_their_overrides():
    runs = both("resnet20", [17.0], [17.1]) + both("plain20", [19.0], [19.1], **RATE)
    found = [agreement.network for agreement in compare_precisions(runs)]
    assert found == ["ResNet-20", "plain-20 (rate=0.05)"]


def test_of_a_seed_that_is_there_twice_the_first_counts():
    runs = both("plain20", [19.0], [19.1]) + both("plain20", [1.0], [2.0])
    (agreement,) = compare_precisions(runs)
    assert (agreement.float32[0], agreement.bfloat16[0]) == (19.0, 19.1)
