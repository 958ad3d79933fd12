"""The paper's own numbers, and how near runs come to them: made-up curves with known answers."""

import math

import pandas as pd
import pytest
from ended_runs import PAPER, as_in_paper, ended_runs
from report_samples import write_run

from degradation.report import find_runs, paper
from degradation.report.paper import compare_with_paper, curve, final_error
from degradation.report.statistics import z_score

TABLE6, FIGURE6 = "He et al. 2015, Table 6", "He et al. 2015, Figure 6 (digitised)"
KNOWN = {m: (e[1], TABLE6 if m.startswith("resnet") else FIGURE6) for m, e in PAPER.items()}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        *KNOWN.items(),
        ("resnet110", (6.61, f"{TABLE6} (mean of five runs, the best of them 6.43)")),
        ("resnet1202", (7.93, TABLE6)),  # of which there is no curve
        *dict.fromkeys(["plain110", "vgg16", "plain26", "nonsense"]).items(),
    ],
)
def test_final_errors_and_where_they_stand(model, expected):
    assert final_error(model) == expected
    assert (curve(model, "test_error") is None) == (model not in {*KNOWN, "resnet110"})


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
        assert curve(model, "test_error").iloc[-1] == pytest.approx(final_error(model)[0], abs=0.05)


def write_curve(root, error, every=800, seed=0, model="resnet20", **options):
    """A run on the paper's schedule whose test error is a function of the iteration."""
    rows = [
        {"iteration": i, "train_error": 5.0, "test_error": error(i)}
        for i in range(every, 64_001, every)
    ]
    return write_run(root, model, seed, schedule="paper", rows=rows, **options)


def falling(iteration):
    return 16 - iteration / 10_000


@pytest.fixture
def zigzag(monkeypatch):
    """A paper whose points lie half a point above and below `falling`, from 3,000 to 32,000."""
    points = {1000 * k: falling(1000 * k) + 0.5 * (-1) ** k for k in range(3, 33)}
    known = pd.Series({2_000: 99.0, **points, 33_000: 0.0})
    monkeypatch.setattr(paper, "paper_curve", lambda runs, column: known)


def test_a_straight_line_between_the_papers_points(tmp_path, zigzag):
    write_curve(tmp_path, falling)
    (row,) = compare_with_paper(find_runs(tmp_path))
    assert (row["network"], row["seeds"]) == ("ResNet-20", "0")
    assert row["distance"] == pytest.approx(0.5)
    assert row["swing"] == pytest.approx(0, abs=1e-9)
    # Twelve differences, by turns a point above and below their mean.
    assert row["paper_swing"] == pytest.approx(math.sqrt(12 / 11) / math.sqrt(2))
    assert row["test_error"] == pytest.approx(9.6)
    assert row["difference"] == pytest.approx(9.6 - 8.75) and row["z"] is None


def test_swing_is_that_of_the_rows_not_of_what_lies_between_them(tmp_path, zigzag):
    """From 20,000 to 32,000 there are 16 rows; their 15 differences are by turns -2 and 2."""
    write_curve(tmp_path, lambda i: 10 + 2 * (i // 800 % 2) + 50 * (i < 20_000) + 50 * (i > 32_000))
    (row,) = compare_with_paper(find_runs(tmp_path))
    variance = (15 * 2**2 - 15 * (2 / 15) ** 2) / 14
    assert row["swing"] == pytest.approx(math.sqrt(variance / 2))


def test_several_seeds_are_means_of_what_each_has(tmp_path, zigzag):
    """Two on either side of the paper are not on it."""
    write_curve(tmp_path, lambda i: falling(i) + 3, seed=0)
    write_curve(tmp_path, lambda i: falling(i) - 3, seed=1)
    (row,) = compare_with_paper(find_runs(tmp_path))
    assert row["seeds"] == "0, 1"
    assert row["distance"] == pytest.approx(3)
    assert row["test_error"] == pytest.approx(9.6)


def test_the_papers_own_points_moved_are_that_far_from_it(tmp_path):
    points = curve("plain20", "test_error")
    write_curve(tmp_path, lambda i: points.get(i, 50.0) + 0.7, every=1000, model="plain20")
    (row,) = compare_with_paper(find_runs(tmp_path))
    assert row["distance"] == pytest.approx(0.7)
    assert row["swing"] == pytest.approx(row["paper_swing"])
    assert row["difference"] == pytest.approx(0.7)


def test_runs_that_are_not_the_papers_are_not_compared_with_it(tmp_path):
    write_curve(tmp_path, falling, variant="decay=all", settings={"optimizer.decay": "all"})
    write_curve(tmp_path, falling, model="vgg13")
    assert compare_with_paper(find_runs(tmp_path)) == []


def test_z_is_over_the_seeds_of_each_network():
    runs = ended_runs("paper", as_in_paper("plain56", "resnet20", spread=(0.0, 0.5, 1.0)))
    plain, residual = compare_with_paper(runs)
    assert (plain["paper"], residual["paper"]) == (13.26, 8.75)
    assert plain["difference"] == pytest.approx(0.5)
    assert plain["z"] == pytest.approx(z_score([13.26, 13.76, 14.26], 13.26))
