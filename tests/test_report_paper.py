"""The paper's own numbers, and how near runs come to them: made-up curves with known answers."""

import math

import pandas as pd
import pytest
from ended_runs import PAPER, as_in_paper, ended_runs
from report_samples import write_run

from degradation.report import find_runs
from degradation.report.paper import compare_with_paper, curve, final_error


def test_final_errors():
    drawn = {model: test for model, (_, test) in PAPER.items()} | {"resnet110": 6.61}
    others = {"resnet1202": 7.93, **dict.fromkeys(["plain110", "vgg16", "plain26", "nonsense"])}
    assert {model: final_error(model) for model in drawn | others} == drawn | others
    assert [m for m in drawn | others if curve(m, "test_error") is not None] == [*drawn]


def test_of_resnet110_the_papers_number_is_the_mean_of_five_runs():
    one, five = compare_with_paper(
        ended_runs("paper", dict.fromkeys(["resnet56", "resnet110"], [7.0, 8.0]))
    )
    assert one["z"] == pytest.approx((7.5 - 6.97) / math.sqrt(0.5 * (1 + 1 / 2)))
    assert five["z"] == pytest.approx((7.5 - 6.61) / math.sqrt(0.5 * (1 / 5 + 1 / 2)))


def test_a_curve_is_in_percent_by_iteration():
    test = curve("plain20", "test_error")
    assert isinstance(test, pd.Series)
    assert test.index.is_monotonic_increasing
    assert test.index.is_unique and test.index[-1] == 64_000
    assert test.loc[64_000] == 9.69 and test.max() < 21
    train = curve("plain20", "train_error")
    assert train.loc[64_000] == 1.44
    assert curve("plain20", "val_error") is None


def test_curves_of_residual_networks_end_where_table_6_says():
    """Digitised to about 0.05 points; the table has single runs for all but 110 layers."""
    for model in ("resnet20", "resnet32", "resnet44", "resnet56"):
        assert curve(model, "test_error").iloc[-1] == pytest.approx(final_error(model), abs=0.05)


def test_the_papers_own_points_moved_are_that_far_from_it(tmp_path):
    """Means of what each seed has: two on either side of the paper are not on it."""
    points = curve("plain20", "test_error")
    for seed, shift in enumerate((0.7, -0.7)):
        rows = [
            {"iteration": i, "train_error": 5.0, "test_error": points.get(i, 50.0) + shift}
            for i in range(1000, 64_001, 1000)
        ]
        write_run(tmp_path, "plain20", seed, "paper", rows=rows)
    (row,) = compare_with_paper(find_runs(tmp_path))
    assert row["distance"] == pytest.approx(0.7)
    assert row["swing"] == pytest.approx(row["paper_swing"])
    assert row["difference"] == pytest.approx(0, abs=1e-9)


def test_runs_that_are_not_the_papers_are_not_compared_with_it():
    others = ended_runs("paper", {"resnet20": [9.0]}, {"optimizer.decay": "all"})
    assert compare_with_paper([*others, *ended_runs("paper", {"vgg13": [9.0]})]) == []


def test_z_is_over_the_seeds_of_each_network():
    runs = ended_runs("paper", as_in_paper("plain56", "resnet20", spread=(0.0, 0.5, 1.0)))
    plain, residual = compare_with_paper(runs)
    assert plain["difference"] == residual["difference"] == pytest.approx(0.5)
    assert plain["z"] == pytest.approx(0.5 / (0.5 * math.sqrt(4 / 3)))
