"""The runs in results/recorded/: whole, from committed code, and what README and reports quote."""

import re
from itertools import product

import numpy as np
import pandas as pd
import pytest
import recompute
from report_samples import SCHEDULES, write_run

from degradation.config import RECORDED, ROOT
from degradation.records.run_folder import RunFolder
from degradation.report import find_runs, judge, select
from degradation.report.comparison import compare_precisions
from degradation.report.page import END, START, Page, interval, points, section, write_page
from degradation.report.runs import read_runs
from degradation.training.probe import UPDATES

WHY = RECORDED / "why"
BENCHMARK = RECORDED / "benchmark"
MACHINES = {"AMD EPYC": BENCHMARK, "Intel Xeon": BENCHMARK / "xeon_amx"}
README = (ROOT / "README.md").read_text()
TOLD = README.partition(START)[2].partition(END)[0]
METRICS = re.search(r"`(iteration, [\w,\s]+)`", (ROOT / "docs" / "report.md").read_text())[1]
METRICS = re.split(r",\s+", METRICS)


@pytest.fixture
def runs():
    """The recorded runs, those for why among them; without any the test is skipped."""
    runs = [*find_runs(RECORDED), *find_runs(WHY)]
    if not runs:
        pytest.skip("no run is recorded yet")
    return runs


def test_every_recorded_run_can_be_read():
    """But for those that `make record` has begun; diverging is an outcome of an intervention."""
    for folder, known in ((RECORDED, ()), (WHY, ("diverged",))):
        known += ("running", "interrupted")
        _, others = read_runs(folder)
        assert [reason for _, reason, _ in others if not reason.startswith(known)] == []


def test_the_recorded_runs_are_whole(runs, subtests):
    for run in runs:
        with subtests.test(run.path.relative_to(RECORDED).as_posix()):
            check_whole(run)


def check_whole(run):
    """Complete, from commits without local changes, a row for every evaluation of its schedule."""
    manifest, schedule = run.manifest, run.config["schedule"]
    assert manifest["status"] == "complete" and run.code
    for commit, changed in run.code:
        assert re.fullmatch(r"[0-9a-f]{40}", commit) and changed is False
    assert run.config["data"]["name"] == "cifar10" and run.dataset.startswith("CIFAR-10")
    expected = range(
        schedule["evaluate_every"], schedule["iterations"] + 1, schedule["evaluate_every"]
    )
    assert list(run.rows["iteration"]) == list(expected)
    assert list(run.rows.columns) == METRICS
    assert manifest["final"]["test_error"] == run.rows["test_error"].iloc[-1]
    assert manifest["best"]["test_error"] == run.rows["test_error"].min()
    # 10,000 test images: every error is a whole number of them.
    wrong = run.rows["test_error"] * 100
    np.testing.assert_allclose(wrong, wrong.round(), rtol=1e-12)
    # A row a convolution: of its layers, option A's shortcuts have none, and one is dense.
    assert len(RunFolder(run.path).table("layers")) == run.depth - 1
    if WHY in run.path.parents:
        assert run.probe["update"].iloc[-1] == max(u for u in UPDATES if u <= expected[-1])
    if (run.schedule, run.variant, run.seed) == ("paper", "", 0):  # tracked with their runs
        assert all((run.path / name).is_file() for name in ("model.keras", "mean.npy"))


def test_the_readme_says_what_is_recorded(all_committed):
    """Between its markers; a report on the recorded runs writes it."""
    again = "python -m experiments.report runs=results/recorded schedule=paper"
    assert section(select(find_runs(RECORDED), "paper")) == TOLD, again
    assert re.findall(r"<!--.*?-->", README) == [START.strip(), END]


def test_our_errors_stand_beside_the_papers(all_committed):
    """Those of seed 0, or a dash, in the table of docs/faithful.md."""
    told, runs = (ROOT / "docs" / "faithful.md").read_text(), recompute.load("paper")
    for model in [*recompute.PLAIN, *recompute.RESIDUAL]:
        train, test = (
            f"{runs[model][0][column].iloc[-1]:.2f}" if model in runs else "–"
            for column in ("train_error", "test_error")
        )
        row = rf"\| {recompute.name(model)} \| [\d.]+ \| {train} \| [\d.]+ \| {test} \|"
        assert len(re.findall(row, told)) == 1, model


def test_docs_and_readme_quote_the_recorded_speeds():
    told, ratios = (ROOT / "docs" / "performance.md").read_text().replace("**", ""), []
    for folder, kind in zip(MACHINES.values(), ("", ", AMX"), strict=True):
        measured = pd.read_csv(folder / "benchmark.csv").set_index(["network", "contender"])
        for network in ("resnet20", "resnet56"):
            stock = measured.loc[(network, "stock Keras, float32"), "images_per_second_median"]
            row = f"| ResNet-{network[6:]}{kind}, images/s | {stock:,.0f} |"
            for contender in ("this repository, float32", "this repository, bfloat16"):
                found = measured.loc[(network, contender)]
                low, ratio, high = (found[f"ratio_{name}"] for name in ("min", "median", "max"))
                row += f" {found['images_per_second_median']:,.0f}, {ratio:.2f} times"
                row += f" ({low:.2f}–{high:.2f}) |"
            ratios.append(ratio)
            assert row in told
    assert "](../results/recorded/benchmark/benchmark.png)" in told
    assert f"[{min(ratios):.1f} to {max(ratios):.1f} times as fast]" in README.replace("\n", " ")


def test_the_readme_quotes_the_hours_reckoned_from_them():
    hours = [
        pd.read_csv(folder / "hours.csv").set_index(["schedule", "figure"])["hours"]
        for folder in MACHINES.values()
    ]
    for schedule in ("short", "medium", "paper"):
        told = " | ".join(
            f"{of[schedule, 'Figure 1']:.1f} / {of[schedule, 'Figure 6']:.1f}" for of in hours
        )
        (row,) = [line for line in README.splitlines() if line.startswith(f"| `{schedule}`")]
        assert row.endswith(f" | {SCHEDULES[schedule]['iterations']:,} | {told} |")


@pytest.mark.parametrize("report", sorted(RECORDED.glob("*/report.md")), ids=lambda p: p.parts[-2])
def test_report_and_readme_say_what_the_rows_say(report, all_committed):
    """Recomputed without the package: each row is there, and no other network or claim."""
    schedule = report.parts[-2]
    judged, final_errors, headline = check_rows(report)
    if schedule == "paper":
        for line in [*judged, *final_errors]:
            start, _, end = line.partition("…")
            assert re.search(re.escape(start) + ".*" + re.escape(end) + "\n", TOLD), line
        assert headline in TOLD


def check_rows(report):
    """A report and its model card have the recomputed rows; those of claims, errors, a headline."""
    schedule, page = report.parts[-2], report.read_text()
    runs = recompute.load(schedule)
    claims = [*recompute.claim_rows(runs, schedule)]
    headline = recompute.headline([verdict for _, verdict in claims])
    final_errors = [*recompute.error_rows(runs, schedule)]
    sections = {
        title: rest.partition("\n## ")[0]
        for text in (page, report.with_name("model_card.md").read_text())
        for title, _, rest in (part.partition("\n") for part in text.split("\n## "))
    }
    expected = {
        page.partition("\n")[0]: [line for line, _ in claims],
        "Final errors": final_errors,
        "Errors per class": [*recompute.class_rows(runs, schedule)],
    }
    if schedule == "paper":
        expected["Beside the paper's numbers"] = [*recompute.paper_rows(runs)]
    for title, lines in expected.items():
        rows = [line for line in sections[title].splitlines() if line.startswith("|")][2:]
        assert len(rows) == len(lines)
        for found, line in zip(rows, lines, strict=True):
            start, _, end = line.partition("…")
            assert found.startswith(start) and found.endswith(end), line
    assert headline in page
    judged = [line for line, verdict in claims if verdict not in ("", "runs missing")]
    return judged, final_errors, headline


def test_a_report_on_all_that_is_planned_says_what_the_rows_say(tmp_path, monkeypatch):
    """On the paper's schedule: six networks, three seeds, made up."""
    monkeypatch.setattr(recompute, "RECORDED", tmp_path)
    for model, seed in product([*recompute.PLAIN, *recompute.RESIDUAL], range(3)):
        depth = recompute.depth(model)
        parameters = int(recompute.PARAMETERS[depth].replace(",", ""))
        folder = RunFolder(write_run(tmp_path, model, seed, "paper", parameters=parameters))
        layers = [f"conv{number}" for number in range(1, depth)]
        stds = {"response_std": 1 + seed, "kernel_norm": 5.0}
        folder.write_table("layers", [{"layer": layer, **stds} for layer in layers])
        folder.write_table("classes", [{"class": "cat", "images": 1000, "error": 9.5 + seed}])
    runs = select(find_runs(tmp_path), "paper")
    report = write_page(Page(runs, judge(runs), [], [], []), tmp_path / "paper")[1]
    judged, _, _ = check_rows(report)
    assert len(judged) == 7 and "The paper's schedule has" not in report.read_text()


def test_the_report_for_why_says_what_the_rows_say(all_committed):
    effects, probed = [*recompute.effect_rows()], [*recompute.probe_rows()]
    if not probed:
        pytest.skip("no probe is recorded yet")
    page = (RECORDED / "why" / "short" / "report.md").read_text()
    for title, rows in {
        "What interventions do": [*effects, *recompute.gap_rows()] if effects else [],
        "What the probes measured": probed,
    }.items():
        told = page.partition(f"## {title}")[2].partition("\n## ")[0].splitlines()
        assert [line for line in told if line in rows] == rows


def test_why_quotes_the_rows_of_its_report(all_committed):
    told = (ROOT / "docs" / "why.md").read_text().partition("## What came out")[2]
    quoted = [line for line in told.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    rows = [line for line in quoted if not line.startswith(("| network ", "| schedule "))]
    page = (RECORDED / "why" / "short" / "report.md").read_text().splitlines()
    assert rows and [row for row in rows if row not in page] == []


def test_performance_has_the_recorded_pairs_of_float32_and_bfloat16():
    text = (ROOT / "docs" / "performance.md").read_text()
    agreements = compare_precisions(run for run in find_runs(RECORDED) if run.schedule == "short")
    if not agreements:
        pytest.skip("no network is recorded in both precisions yet")
    for pair in agreements:
        seeds = ", ".join(map(str, pair.float32.index))
        errors = f"{pair.float32.mean():.2f} | {pair.bfloat16.mean():.2f}"
        told = f"{points(pair.difference.points)} | {interval(pair.difference)} | {pair.verdict}"
        assert f"| {pair.network} | {seeds} | {errors} | {told} |" in text
