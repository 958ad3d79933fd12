"""The runs in results/recorded/: whole, from committed code, and what the README quotes."""

import csv
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

from degradation.records import METRIC_COLUMNS
from degradation.report import (
    build_figure,
    compare_precisions,
    final_errors,
    find_runs,
    judge,
    select,
)
from degradation.report.formats import interval, points

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "results" / "recorded"
FIGURE1 = yaml.safe_load((ROOT / "conf/figure/figure1.yaml").read_text())


def recorded_runs():
    return find_runs(RECORDED)


@pytest.fixture
def all_committed():
    """Skip where `make record` has trained what README and reports do not have yet."""
    ask = ["git", "status", "--porcelain", str(RECORDED)]
    if subprocess.run(ask, cwd=ROOT, capture_output=True).stdout:
        pytest.skip("results/recorded has changes that are not committed")


def test_every_recorded_run_can_be_read():
    """But for those that `make record` has begun."""
    skipped = []
    assert find_runs(RECORDED, lambda path, reason: skipped.append((path.name, reason)))
    begun = ("running", "interrupted")
    assert [(name, reason) for name, reason in skipped if not reason.startswith(begun)] == []


def test_the_recorded_runs_are_whole(subtests):
    for run in recorded_runs():
        with subtests.test(run.path.relative_to(RECORDED).as_posix()):
            check_whole(run)


def check_whole(run):
    """Complete, from commits without local changes, a row for every evaluation of its schedule."""
    manifest, schedule = run.manifest, run.config["schedule"]
    assert manifest["status"] == "complete" and run.code
    for state in run.code:
        assert re.fullmatch(r"[0-9a-f]{40}", state["git_commit"]) and state["git_dirty"] is False
    assert run.config["data"]["name"] == "cifar10" and run.dataset.startswith("CIFAR-10")
    expected = range(
        schedule["evaluate_every"], schedule["iterations"] + 1, schedule["evaluate_every"]
    )
    assert list(run.rows["iteration"]) == list(expected)
    assert list(run.rows.columns) == [c for c in METRIC_COLUMNS if not c.startswith("val_")]
    assert manifest["final"]["test_error"] == run.rows["test_error"].iloc[-1]
    assert manifest["best"]["test_error"] == run.rows["test_error"].min()
    # 10,000 test images: every error is a whole number of them.
    wrong = run.rows["test_error"] * 100
    np.testing.assert_allclose(wrong, wrong.round(), rtol=1e-12)


def test_the_figure_draws_from_the_recorded_rows():
    """Each line holds the numbers of a column of metrics.csv, as a spreadsheet would read them."""
    runs = select(recorded_runs(), ["plain20", "plain56"], "short", seeds=[0])
    (axes,) = build_figure(FIGURE1, runs).axes
    lines = {line.get_gid(): line for line in axes.lines}
    for model in ("plain20", "plain56"):
        with (RECORDED / "short" / model / "seed0" / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        for column in ("train_error", "test_error"):
            drawn = lines[f"{model}-{column}"].get_ydata()
            assert drawn.tolist() == [float(row[column]) for row in rows]


def test_the_readme_quotes_the_recorded_errors(all_committed):
    """Figure 1's final errors and their differences, to a tenth; the tables; the pictures."""
    text = (ROOT / "README.md").read_text()
    readme = " ".join(text.split())
    short, medium = (
        [run for run in recorded_runs() if run.schedule == schedule and not run.variant]
        for schedule in ("short", "medium")
    )
    for row in [*final_errors(short).itertuples(), *final_errors(medium).itertuples()]:
        numbers = f"{row.train_error:.2f} | {row.test_error:.2f}"
        assert f"| {row.network} | {row.parameters:,} | {row.seeds} | {numbers} |" in text
    ends = {row.network: row for row in final_errors(short).itertuples()}
    deep, shallow = ends["plain-56"], ends["plain-20"]
    assert f"{deep.train_error:.1f} / {deep.test_error:.1f} % (training / test)" in readme
    assert f"against {shallow.train_error:.1f} / {shallow.test_error:.1f} %" in readme
    training, test = (finding.differences[0] for finding in judge(short)[:2])
    assert (
        f"by {training.points:.1f} points of training error (95 % interval over the seeds: "
        f"{training.low:.1f} to {training.high:.1f}) and {test.points:.1f} of test error "
        f"({test.low:.1f} to {test.high:.1f})"
    ) in readme
    training, test = (finding.differences[0] for finding in judge(medium)[:2])
    assert f"{training.points:.1f} points of training error and {test.points:.1f} of" in readme
    (train, test), (train20, test20), (residual, residual_test), (shallow, shallow_test) = (
        (f"{row.train_error:.1f}", f"{row.test_error:.1f} %")
        for network in ("plain-56", "plain-20", "ResNet-56", "ResNet-20")
        for row in final_errors(medium).itertuples()
        if row.network == network
    )
    assert (
        f"{train} and {test} for plain-56 against {train20} and {test20} for plain-20, at "
        f"{residual} and {residual_test} for ResNet-56 against {shallow} and {shallow_test} for "
        "ResNet-20."
    ) in readme
    (paper,) = final_errors(
        [run for run in recorded_runs() if run.schedule == "paper"]
    ).itertuples()
    assert f"{paper.network} ends at **{paper.test_error:.2f} %** test error" in readme
    assert f"Table 6 has {paper.paper:.2f} %" in readme
    for picture in re.findall(r"!\[.*?\]\((.+?)\)", readme):
        assert (ROOT / picture).is_file()


@pytest.mark.parametrize("page", sorted(RECORDED.glob("*/report*.md")), ids=lambda p: p.parent.name)
def test_a_recorded_report_has_every_run_of_its_schedule(page, all_committed):
    """Its claims too are those that the runs lead to now."""
    overrides = page.stem.partition(",")[2]
    runs = [
        run
        for run in recorded_runs()
        if run.schedule == page.parent.name and run.variant == overrides
    ]
    text = page.read_text()
    for row in final_errors(runs).itertuples():
        assert f"| {row.network} | {row.parameters:,} | {row.seeds} |" in text
    for finding in judge(runs):
        assert f"| {finding.number} | {finding.statement} | **{finding.verdict}** |" in text


def test_performance_has_the_recorded_pairs_of_float32_and_bfloat16():
    text = (ROOT / "results" / "performance.md").read_text()
    agreements = compare_precisions([run for run in recorded_runs() if run.schedule == "short"])
    assert agreements
    for pair in agreements:
        errors = f"{pair.float32:.2f} | {pair.bfloat16:.2f} | {points(pair.points)}"
        row = f"| {pair.network} | {pair.seeds} | {errors} | {interval(pair)} | {pair.verdict} |"
        assert row in text
