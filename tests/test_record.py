"""The runs recorded with the repository: their plan, and training what is missing of it, once."""

import os
from pathlib import Path

import pytest
from command_line import files
from processes import run
from report_samples import SYNTHETIC, write_run

from degradation.config import RECORDED
from degradation.processor import cpu_precision
from degradation.records.run_folder import RunFolder
from degradation.report import find_runs
from experiments import planned, record
from experiments.compose import Job, compose

SIZES = {"optimizer.batch": 20, "optimizer.ghost_batch": 10}
SIZES |= {"data.train_images": 100, "data.test_images": 50, "model.depth": 8}
SMALL = (*(f"{key}={size}" for key, size in SIZES.items()), "tracking=disabled")
KIND = "batch=20,data=synthetic,depth=8,ghost_batch=10,test_images=50,train_images=100"


def part(*overrides: str, models: str = "plain20", seeds: str = "0", out: str = "") -> str:
    """A part of a plan, on synthetic data."""
    words = ", ".join(f"'{override}'" for override in ("data=synthetic", *overrides))
    chosen = f"models: [{models}], seeds: [{seeds}], overrides: [{words}]"
    return f"{{schedule: smoke, {chosen}{f', out: {out}' if out else ''}}}"


def plan(*parts: str) -> str:
    return f"plan=[{','.join(parts)}]"


def write_synthetic(out: Path, **options) -> Path:
    """Write a finished run of plain-20 on synthetic data, in the precision that `auto` picks."""
    options["settings"] = {"data.name": "synthetic", **options.get("settings", {})}
    return write_run(out, schedule="smoke", dataset=SYNTHETIC, precision=cpu_precision(), **options)


def test_every_recorded_run_is_planned_and_taken_for_what_it_is():
    recorded = [*find_runs(RECORDED), *find_runs(RECORDED / "why")]
    if not recorded:
        pytest.skip("no run is recorded yet")
    parts = record.planned(Job(compose("record", []), []))
    planned = {run.folder.path for _, runs in parts for run in runs}
    assert {run.path for run in recorded} <= planned


def test_what_is_missing_is_trained_in_the_precision_of_those_there_and_reported(tree):
    """If these share one; else in that which this processor is fastest in. What is there stays."""
    out = tree / "results" / "recorded"
    there = write_synthetic(out, settings=SIZES)
    other = {"float32": "bfloat16", "bfloat16": "float32"}[cpu_precision()]
    RunFolder(there).update_manifest(precision=other)
    before = files(there)
    for seed, precision in ((1, other), (2, cpu_precision())):
        ended = run(plan(part(*SMALL, seeds=f"0, {seed}")), name="record", tree=tree)
        assert ended.code == 0 and "seed0 is complete" in ended.out
        made = RunFolder(there.with_name(f"seed{seed}"))
        assert (made.status, made.manifest()["precision"]) == ("complete", precision)
        assert made.manifest()["emulated"] is (precision == "bfloat16" != cpu_precision())
        told = f"seed{seed} trains in {other}, as the runs beside it"
        assert (told in ended.err) is (precision == other)
        assert ended.err.count("\n") == (precision == other)
        made.update_manifest(precision=cpu_precision())
    assert files(there) == before and not (tree / "results" / "runs").exists()
    page = (out / "smoke" / f"report,{KIND}.md").read_text()
    assert "| plain20 |" in page and "| 0, 1, 2 |" in page


def test_a_run_that_another_process_is_writing_is_skipped(tree):
    """In one line; the next one is trained, and the report is left to whoever ends last."""
    out = tree / "results" / "recorded" / "smoke"
    both = plan(part(*SMALL, models="plain20,resnet20"))
    with RunFolder(out / f"plain20,{KIND}" / "seed0").lock():
        ended = run(both, "runtime.threads=1", name="record", tree=tree)
    assert ended.code == 0
    (line,) = ended.err.splitlines()
    assert f"seed0 is being written by process {os.getpid()} on " in line
    made = RunFolder(out / f"resnet20,{KIND}" / "seed0")
    assert (made.status, made.manifest()["threads"]) == ("complete", 1)
    assert not list(out.glob("report*"))
    assert "no report before all runs have ended" in ended.out
    write_synthetic(out.parent, settings=SIZES)
    assert run(both, name="record", tree=tree).code == 0
    assert (out / f"report,{KIND}.html").exists()


def test_a_part_is_reported_before_a_later_one_is_trained(tmp_path, monkeypatch):
    """The second part fails, and ends the command; the first has its report."""
    started = []

    def note(module, overrides):
        started.append(module.rpartition(".")[2])
        if started == ["run"]:
            write_synthetic(tmp_path)
        return int(started[-2:] == ["report", "run"])

    for module in (planned, record):
        monkeypatch.setattr(module, "run_alone", note)
    given = [plan(part(), part(models="plain32")), f"out={tmp_path}"]
    assert record.start(Job(compose("record", given), given, [])) == 1
    assert started == ["run", "report", "run"]


def test_a_part_may_have_a_folder_of_its_own_for_runs_and_report(tree):
    """Its baselines are not the recorded ones again; a probe is no part of what a run is.

    The first report is written again at the end.
    """
    out = tree / "results" / "recorded"
    for root in (out, out / "why"):
        write_synthetic(root)
    own = part("probe=layers", out="'${out}/why'")
    told = run(plan(part(), own), name="record", tree=tree).output()
    assert told.count("seed0 is complete") == 2
    reports = [line.split()[1] for line in told.splitlines() if line.startswith("report ")]
    places = [Path(report).parents[1].name for report in reports]
    assert places == ["recorded", "recorded", "why"]
    for root in (out, out / "why"):
        assert "| plain-20 |" in (root / "smoke" / "report,data=synthetic.md").read_text()


def test_the_parts_of_one_folder_may_be_had_alone(tmp_path):
    """As `make reproduce-why` has them, in results/runs."""
    chosen = compose("record", ["only=why", f"out={tmp_path}"])
    found = {part.out for part in record.parts_of(Job(chosen, []))}
    assert found == {f"{tmp_path}/why"}


def test_a_run_that_diverged_is_an_outcome_and_not_trained_again(tree):
    """Nor does it end the command; a report leaves it out, and there is none without others."""
    out = tree / "results" / "recorded"
    failure = "the loss is nan at iteration 5; the last learning rate was 0.1"
    diverged = {"status": "diverged", "diverged_at": 5, "failure": failure}
    write_synthetic(out, seed=0)
    write_synthetic(out, seed=1, **diverged)
    alone = write_synthetic(out, settings={"model.norm": "none"}, **diverged)
    before = files(alone)
    parts = part(seeds="0, 1"), part("model.norm=none")
    told = run(plan(*parts), name="record", tree=tree).output()
    kind = "results/recorded/smoke/plain20,data=synthetic"
    assert f"{kind}/seed1 has diverged at iteration 5\n" in told
    assert f"no report, for all runs diverged: {kind},norm=none/seed0\n" in told
    assert files(alone) == before
    page = (out / "smoke" / "report,data=synthetic.md").read_text()
    assert "seed1`: diverged at iteration 5" in page


@pytest.mark.parametrize("launcher", [[], ["hydra/launcher=joblib"]])
def test_after_a_run_that_diverges_the_next_one_is_trained(tmp_path, monkeypatch, launcher):
    """By a launcher, too, which gets the runs of all parts at once; one report has both parts."""

    def train(module, overrides):
        config = compose("config", overrides)
        model = config.model.name
        assert module == "experiments.run"
        assert config.run_dir == f"{tmp_path}/smoke/{model},data=synthetic/seed0"
        ended = {"status": "diverged", "diverged_at": 5} if model == "plain20" else {}
        write_synthetic(tmp_path, model=model, **ended)
        return 1 if ended else 0

    def launch(module, jobs, chosen):
        assert (len(jobs), chosen) == (2, launcher)
        return [train(module, job) for job in jobs]

    reports = []
    monkeypatch.setattr(planned, "run_alone", train)
    monkeypatch.setattr(planned, "launch", launch)
    monkeypatch.setattr(record, "run_alone", lambda *words: reports.append(words) or 0)
    given = [plan(part(), part(models="resnet20")), f"out={tmp_path}"]
    assert record.start(Job(compose("record", given), given, launcher)) == 0
    report = ["schedule=smoke", f"runs={tmp_path}", "data=synthetic"]
    assert reports == [("experiments.report", report)]
