"""How near runs come to the paper's test curves: made-up curves with known answers."""

import math

import pandas as pd
import pytest
from report_samples import write_run

from degradation.records import RunFolder
from degradation.report import find_runs, paper_check
from degradation.report.paper import curve
from degradation.report.paper_check import check_against_paper


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
    paper = pd.Series({2_000: 99.0, **points, 33_000: 0.0})
    monkeypatch.setattr(paper_check, "paper_curve", lambda runs, column: paper)


def test_a_straight_line_between_the_papers_points(tmp_path, zigzag):
    write_curve(tmp_path, falling)
    (row,) = check_against_paper(find_runs(tmp_path)).itertuples()
    assert (row.network, row.seeds) == ("ResNet-20", "0")
    assert row.distance == pytest.approx(0.5)
    assert row.swing == pytest.approx(0, abs=1e-9)
    # Twelve differences, by turns a point above and below their mean.
    assert row.paper_swing == pytest.approx(math.sqrt(12 / 11) / math.sqrt(2))
    assert row.test_error == pytest.approx(9.6)
    assert row.offset == pytest.approx(9.6 - 8.75)


def test_swing_is_that_of_the_rows_not_of_what_lies_between_them(tmp_path, zigzag):
    """From 20,000 to 32,000 there are 16 rows; their 15 differences are by turns -2 and 2."""
    write_curve(tmp_path, lambda i: 10 + 2 * (i // 800 % 2) + 50 * (i < 20_000) + 50 * (i > 32_000))
    (row,) = check_against_paper(find_runs(tmp_path)).itertuples()
    variance = (15 * 2**2 - 15 * (2 / 15) ** 2) / 14
    assert row.swing == pytest.approx(math.sqrt(variance / 2))


def test_several_seeds_are_means_of_what_each_has(tmp_path, zigzag):
    """Two on either side of the paper are not on it."""
    write_curve(tmp_path, lambda i: falling(i) + 3, seed=0)
    write_curve(tmp_path, lambda i: falling(i) - 3, seed=1)
    (row,) = check_against_paper(find_runs(tmp_path)).itertuples()
    assert row.seeds == "0, 1"
    assert row.distance == pytest.approx(3)
    assert row.test_error == pytest.approx(9.6)


def test_the_papers_own_points_moved_are_that_far_from_it(tmp_path):
    paper = curve("plain20", "test_error")
    write_curve(tmp_path, lambda i: paper.get(i, 50.0) + 0.7, every=1000, model="plain20")
    (row,) = check_against_paper(find_runs(tmp_path)).itertuples()
    assert row.distance == pytest.approx(0.7)
    assert row.swing == pytest.approx(row.paper_swing)
    assert row.offset == pytest.approx(0.7)


def test_runs_that_are_not_the_papers_are_not_compared_with_it(tmp_path):
    write_curve(tmp_path, falling, variant="decay=all", settings={"optimizer.decay": "all"})
    write_curve(tmp_path, falling, model="vgg13")
    write_run(tmp_path, "plain20", schedule="short")
    assert check_against_paper(find_runs(tmp_path)).empty


def test_responses_are_set_against_figure_7(tmp_path):
    """Each 1.1 times what the paper has, in the layers that it has."""
    folder = write_curve(tmp_path, falling)
    paper = curve("resnet20", "original")
    stds = {number: 1.1 * paper.get(number, 1.0) for number in range(1, 20)}
    rows = [
        {"layer": f"conv{number}", "response_std": std, "kernel_norm": 1.0}
        for number, std in stds.items()
    ]
    RunFolder(folder).write_layers(rows)
    (row,) = check_against_paper(find_runs(tmp_path)).itertuples()
    assert row.responses == pytest.approx(0.1)
