"""Figure 1 with one command, from training to report; and reports on runs that are there."""

import shlex
import signal
from functools import partial
from pathlib import Path

import pytest
from command_line import Ended, files, make_tree
from command_line import run as run_cold
from ended_runs import WIDTHS
from processes import QUICK, SYNTHETIC, run
from report_samples import SYNTHETIC as SYNTHETIC_DATA
from report_samples import write_run, write_runs
from sabotage import at_rename, send

from degradation.config import shown
from degradation.processor import cpu_precision
from degradation.records.run_folder import RunFolder
from experiments import planned as planning
from experiments import reproduce
from experiments.compose import Job, compose

SETTINGS = ("figure=figure1", *QUICK, *SYNTHETIC)
SIZES = {"optimizer.batch": 16, "optimizer.ghost_batch": 8}
SIZES |= {"data.name": "synthetic", "data.train_images": 100, "data.test_images": 30}
VARIANT = "batch=16,data=synthetic,ghost_batch=8,test_images=30,train_images=100"
RATE = {"optimizer.rate": 0.05}
HELD = "holds another run, which is left as it is: optimizer.rate is 0.05 there and 0.1 here"
MODELS = ("plain20", "plain56")
OTHERS = "figure.panels=[{title: deep, models: [plain20, plain44]}]"
NAMED = f"figure=figure1 '{OTHERS}' schedule=short"
RUNS = Path("results", "runs", "smoke")
PICTURE = f"figure1,{VARIANT}.png"
DRAWING = f"figure1,{VARIANT}.svg"
REPORTS = {  # what a report on Figure 1 leaves beside the runs
    *("depth.png", "depth.svg", "figure1.png", "figure1.svg"),
    *("report.html", "report.md", "model_card.md", "curves.csv", "summary.csv"),
}
RESPONSES = {"figure7.png", "figure7.svg"}  # of runs that were trained: a written one has no layers


def named(variant: str) -> set[str]:
    return {name.replace(".", f",{variant}.") for name in REPORTS | RESPONSES}


def folder_of(tree: Path, model: str) -> Path:
    return tree / RUNS / f"{model},{VARIANT}" / "seed0"


def report(tree: Path, *overrides: str) -> Ended:
    return run(*overrides, name="report", tree=tree)


def reported(tree: Path, *overrides: str) -> str:
    return report(tree, *overrides).output()


def page(tree: Path, name: str = "report", runs: str = "runs") -> str:
    return (tree / "results" / runs / "short" / f"{name}.md").read_text()


def refused(tree: Path, *overrides: str, name: str = "report") -> str:
    """Return the one line of a command that is refused before it does anything."""
    before = files(tree / "results")
    ended = run(*overrides, name=name, tree=tree)
    assert (ended.out, files(tree / "results")) == ("", before)
    return ended.error()


@pytest.fixture
def runs(tree) -> Path:
    return tree / "results" / "runs"


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory):
    """Reproduce Figure 1 in a tree that has recorded runs of the same networks, side by side.

    Give the tree, and what is printed.
    """
    tree = make_tree(tmp_path_factory.mktemp("tree"))
    for model in MODELS:
        recorded = tree / "results" / "recorded"
        write_run(recorded, model, schedule="smoke", settings=SIZES, dataset=SYNTHETIC_DATA)
        write_run(recorded, model, schedule="short")
    two = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "runtime.threads=1")
    return tree, run_cold(tree, "reproduce", *SETTINGS, *two).output()


def test_both_networks_are_trained_though_recorded_runs_are_there(reproduced):
    tree, told = reproduced
    for model, parameters in zip(MODELS, (269_722, 853_018), strict=True):
        folder = RunFolder(folder_of(tree, model))
        assert folder.status == "complete"
        assert folder.manifest()["parameters"] == parameters
        assert [row["iteration"] for row in folder.rows()] == [4, 8]
        assert folder.config()["tracking"]["group"] == "figure1"
        assert f"network   {model}, {parameters:,} trainable parameters" in told


def test_end_of_the_output_has_errors_claims_and_paths(reproduced):
    tree, told = reproduced
    plain20, plain56 = (RunFolder(folder_of(tree, model)).rows()[-1] for model in MODELS)
    for column in ("train_error", "test_error"):
        difference = f"{plain56[column] - plain20[column]:+.2f}"
        assert difference.replace("-", "−") in told
        for row in (plain20, plain56):
            assert f"{row[column]:.2f}" in told
    assert "plain-56 has a higher training error than plain-20" in told
    assert "synthetic data, not CIFAR-10" in told
    *_, picture, responses, last = told.splitlines()
    assert picture == f"figure    {RUNS / PICTURE} and {DRAWING}"
    assert responses == picture.replace("figure1", "figure7")  # in part: of these two networks
    pages = f"{RUNS}/report,{VARIANT}.html, report,{VARIANT}.md, model_card,{VARIANT}.md"
    assert last.startswith(f"report    {pages}, curves,{VARIANT}.csv")


def test_the_report_says_how_to_make_it_again(reproduced):
    tree, _ = reproduced
    text = (tree / RUNS / f"report,{VARIANT}.md").read_text()
    changes = "optimizer.batch=16 data=synthetic optimizer.ghost_batch=8 "
    changes += "data.test_images=30 data.train_images=100"
    command = f"run -m model=plain20,plain56 schedule=smoke seed=0 {changes}\n"
    assert f".venv/bin/python -m experiments.{command}" in text
    assert "tracking" not in text and str(tree) not in text
    assert "## Beside the recorded runs" in text  # those of the same setting, which were not taken


def test_the_figure_is_drawn_and_nothing_else_is_left(reproduced):
    tree, _ = reproduced
    assert {path.name for path in tree.iterdir()} == {"conf", "experiments", "src", "results"}
    assert {path.name for path in (tree / RUNS).iterdir()} == {
        *(f"plain20,{VARIANT}", f"plain56,{VARIANT}", *named(VARIANT))
    }


def test_again_trains_nothing_and_draws_the_same(reproduced):
    tree, first = reproduced
    before = files(tree / RUNS)
    again = run(*SETTINGS, name="reproduce", tree=tree).output()
    assert "trainable parameters" not in again
    for model in MODELS:
        assert f"{RUNS}/{model},{VARIANT}/seed0 is complete\n" in again
    assert again.splitlines()[-20:] == first.splitlines()[-20:]
    after = files(tree / RUNS)
    assert {name: content for name, (_, content) in after.items()} == {
        name: content for name, (_, content) in before.items()
    }
    for name, (modified, _) in after.items():
        assert name in named(VARIANT) or modified == before[name][0]


@pytest.mark.parametrize(
    ("folder", "settings", "said"),
    [
        # Its name does not say it: conf/ was another when it was trained.
        ("smoke/plain56/seed0", RATE, HELD),
        # After `mv smoke smoke-old` the report could not choose.
        ("smoke-old/plain20/seed0", {}, f"is the run whose place is {RUNS}/plain20/seed0"),
    ],
)
def test_what_is_in_the_way_is_refused_before_anything_is_trained(
    tree, runs, folder, settings, said
):
    about = {"schedule": "smoke", "settings": settings, "precision": cpu_precision()}
    write_run(runs, Path(folder).parent.name, folder=runs / folder, **about)
    line = refused(tree, "figure=figure1", "schedule=smoke", name="reproduce")
    assert f"{folder} {said}" in line


def test_a_run_that_the_report_would_find_twice_is_refused_before_anything_is_trained(tree, runs):
    for place in ("smoke", "copy"):
        write_run(runs, "resnet20", folder=runs / place / "resnet20/seed0", schedule="smoke")
    line = refused(tree, "figure=figure1", "schedule=smoke", name="reproduce")
    assert "are both resnet20 with seed=0" in line


def test_a_link_to_a_run_is_no_second_run(tree, runs):
    write_runs(runs, MODELS, schedule="smoke", precision=cpu_precision())
    (runs / "best").symlink_to("smoke/plain20/seed0")
    words = ("figure=figure1", "schedule=smoke", "tracking=disabled")
    assert "plain20/seed0 is complete" in run(*words, name="reproduce", tree=tree).output()


def test_overwriting_trains_what_is_damaged_again(tmp_path, monkeypatch):
    folder, started = RunFolder(write_run(tmp_path, "plain20")), []
    (folder.path / "manifest.json").write_text("{")
    monkeypatch.setattr(planning, "run_alone", lambda module, job: started.append(job) or 0)
    runs = [planning.PlannedRun(None, folder, ["seed=0"])]
    assert planning.train_missing(runs, [], overwrite=True) == 0
    assert started == [["seed=0"]]


def test_a_run_that_fails_ends_the_reproduction_with_its_code(monkeypatch):
    """Nothing is drawn then; launcher and group are those that were asked for."""
    asked = []
    monkeypatch.setattr(reproduce, "train_missing", lambda *what: asked.append(what) or 137)
    monkeypatch.setattr(reproduce, "write_report", None)  # calling it would raise
    given, launcher = ["tracking.group=mine", "overwrite=true"], ["hydra/launcher=joblib"]
    assert reproduce.start(Job(compose("reproduce", given), given, launcher)) == 137
    ((runs, *how),) = asked
    assert [run.setting.model for run in runs] == [*MODELS] and how == [launcher, True]
    assert [compose("config", run.overrides).tracking.group for run in runs] == ["mine"] * 2


def test_a_run_that_diverged_is_left_out_of_the_figure_and_not_trained_again(tree, runs):
    """The figure is drawn as far as there are others, and the report says what is left out."""
    about = {"schedule": "smoke", "precision": cpu_precision()}
    write_runs(runs, ["plain20"], (0, 1), **about)
    write_runs(runs, ["plain56"], (0, 1), status="diverged", diverged_at=7, **about)
    before = files(runs)
    settings = ["figure=figure1", "schedule=smoke", "seeds=[0,1]", "tracking=disabled"]
    told = run(*settings, name="reproduce", tree=tree).output()
    assert "smoke/plain56/seed1 has diverged at iteration 7\n" in told
    assert before.items() <= files(runs).items()
    assert (runs / "smoke" / "figure1.png").exists()
    text = (runs / "smoke" / "report.md").read_text()
    assert "plain56/seed1`: diverged at iteration 7" in text
    assert "Diverged, so without an error: plain-56 seed 0, plain-56 seed 1.\n" in text
    assert "| plain-56 |" not in text


# Reports on runs that are there, without training


def test_report_without_a_figure_covers_what_there_is(tree):
    recorded = tree / "results" / "recorded"
    write_runs(recorded, MODELS)
    write_run(recorded, "resnet20", 1)
    write_run(recorded, "resnet56", settings=RATE)
    reported(tree, "runs=results/recorded")
    in_part = {"figure6.png", "figure6.svg"}  # Figure 1 does not show ResNet-20
    written = {path.name for path in (recorded / "short").iterdir() if path.is_file()}
    assert written == REPORTS | in_part
    text = page(tree, runs="recorded")
    assert "| ResNet-20 |" in text and "| ResNet-56 |" not in text
    assert "experiments.run -m model=plain20,plain56 schedule=short seed=0\n" in text
    assert "experiments.run model=resnet20 schedule=short seed=1\n" in text
    assert "Beside the recorded runs" not in text
    assert "resnet20/seed1" in (recorded / "short" / "curves.csv").read_text()

    reported(tree, "runs=results/recorded", "optimizer.rate=0.05")
    otherwise = page(tree, "report,rate=0.05", "recorded")
    assert "| ResNet-56 |" in otherwise
    assert "model=resnet56 schedule=short seed=0 optimizer.rate=0.05\n" in otherwise
    assert page(tree, runs="recorded") == text


def test_report_names_the_runs_and_seeds_that_it_leaves_out_or_lacks(tree, runs):
    """Unfinished runs that it would be about; and seeds: fewer do not take back what more said.

    A report on a figure that is named covers the rest as well.
    """
    write_runs(runs, MODELS, (0, 1))
    write_run(runs, "resnet20", 1)
    write_run(tree / "results" / "recorded", "plain20")
    for model, seed, options in [
        *[("plain20", 2, {}), ("resnet20", 0, {})],
        *[("plain20", 0, {"settings": RATE}), ("plain20", 0, {"schedule": "smoke"})],
    ]:
        write_run(runs, model, seed, status="interrupted", **options)
    elsewhere = write_run(runs, "plain20", status="interrupted", folder=runs / "mine")
    (elsewhere / "config.yaml").write_text("no: configuration\n")
    unfinished = ["mine", "short/plain20/seed2", "short/resnet20/seed0"]
    lines = [f"left out  results/runs/{one}: interrupted, not complete" for one in unfinished]

    def told(*overrides: str) -> list[str]:
        starts = tuple(f"{word:<10}" for word in ("left out", "missing"))
        return [one for one in reported(tree, *overrides).splitlines() if one.startswith(starts)]

    assert told() == lines
    assert "| plain-20 | " in page(tree).partition("Beside the recorded runs")[2]
    before = files(tree / "results")
    assert told("figure=figure1") == lines
    after = files(tree / "results")
    assert {n: c for n, (_, c) in after.items()} == {n: c for n, (_, c) in before.items()}
    assert told("seeds=[0,1]") == lines
    for suffix, written in (("md", "- `{}`: {}"), ("html", "<code>{}</code>: {}")):
        text = (runs / "short" / f"report.{suffix}").read_text()
        assert "Left out of the errors and claims above" in text
        for one in unfinished:
            assert written.format(one, "interrupted, not complete") in text
    seeds = {
        "left out  seeds [1]: finished, not among seeds=[0,4]",
        "missing   seeds [4]: no finished run",
    }
    assert seeds <= set(told("seeds=[0,4]"))


def test_strict_fails_on_a_claim_that_did_not_come_out(tree, runs):
    """On a figure it wants none about other networks, without runs or with too few.

    And where none can be judged.
    """
    write_runs(runs, MODELS)
    line = report(tree, "strict=true").error(code=1)
    assert line.startswith("error: strict=true: ") and "not asked" not in line
    assert "1 (undecided)" in line and "3 (runs missing)" in line
    assert (runs / "short" / "report.html").is_file()

    write_runs(runs, MODELS, (1, 2))
    write_runs(runs, ["resnet20", "resnet56"])
    line = report(tree, "strict=true").error(code=1)
    assert "1 (" not in line and "3 (undecided)" in line
    reported(tree, "strict=true", "figure=figure1")

    write_runs(tree / "mine", ["vgg16"])
    line = report(tree, "runs=mine", "strict=true").error(code=1)
    assert line == "error: strict=true: no claim could be judged"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["figure=figure1", "seeds=[0,4]"], ["plain20 seed 4", "plain56 seed 4", "seeds=[0,4]"]),
        (["figure=figure1", OTHERS], ["no finished run of plain44 seed 0", f"{NAMED} 'seeds=[0]'"]),
        (
            ["runs=results/runs/short/plain20/seed0"],
            ["seed0: is a run; allowed: a folder that holds runs"],
        ),
    ],
)
def test_report_says_which_runs_it_lacks_or_that_it_was_given_one(tree, runs, overrides, words):
    write_run(runs, "plain20", 0)
    line = refused(tree, *overrides)
    assert [word for word in words if word not in line] == []


def test_a_report_that_lacks_a_run_says_what_is_wrong_with_it(tree, runs):
    folder = write_run(runs, "plain20")
    rows = (folder / "metrics.csv").read_text().splitlines(keepends=True)
    (folder / "metrics.csv").write_text("".join(rows[:-1]))
    line = refused(tree, "figure=figure1")
    assert "no finished run of plain20 seed 0 (metrics.csv lacks " in line
    assert "), plain56 seed 0 on schedule=short" in line


def test_a_figure_of_other_networks_is_made_again_of_these(tree, runs):
    write_runs(runs, ["plain20", "plain44"])
    reported(tree, "figure=figure1", OTHERS)
    assert "experiments.run -m model=plain20,plain44 schedule=short seed=0\n" in page(tree)
    assert f"experiments.report {NAMED}" in page(tree)


# Reports on a variant

THIN = "model.widths=[16,32,64,128]"


def test_a_report_finds_the_runs_that_the_refusal_names(tree, runs):
    """The refusal of a report gives the arguments for others; they work, without a figure too."""
    write_runs(runs, ["plain18", "plain34", "resnet18", "resnet34"], settings=WIDTHS)
    *_, named, _ = shlex.split(refused(tree).partition("; there are runs for ")[2])
    assert named == THIN
    assert "figure4,widths=16-32-64-128.png" in reported(tree, named)
    # Of two values for a key the commands have the last, as of ARGS in a Makefile.
    first = "model.widths=[64,128,256,512]"
    reported(tree, "figure=figure4", first, THIN)
    text = page(tree, "report,widths=16-32-64-128")
    assert f"schedule=short seed=0 '{THIN}'\n" in text
    assert first not in text


def test_a_report_on_a_variant_is_of_networks_that_it_changes(tree, runs):
    """Option A is the default of ResNet-20, and a change of ResNet-50."""
    write_runs(runs, ["resnet20"])
    for root in (runs, tree / "results" / "recorded" / "why"):
        write_run(root, "resnet50", settings={"model.shortcut": "A"})
    write_run(runs, "plain20", settings={"model.depth": 26})
    reported(tree, "model.shortcut=A")
    told = page(tree, "report,shortcut=A").partition("Beside the recorded runs")
    assert all("| ResNet-50 |" in part for part in told[::2])
    reported(tree, "model.depth=26")
    assert "| plain20 |" in page(tree, "report,depth=26")
    assert not (runs / "short" / "report.md").exists()


def test_a_figure_that_its_runs_cannot_fill_is_named(tree, runs):
    """These have no records of their layers, as networks without batch norm have no responses."""
    write_runs(runs, ["plain20", "plain56", "resnet20", "resnet56"])
    ended = report(tree, "figure=figure7")
    assert ended.err.startswith("warning: figure=figure7 is not drawn: ")
    assert (ended.code, (runs / "short" / "report.md").exists()) == (0, True)


def test_both_precisions_of_a_network_are_set_side_by_side(tree, runs):
    seeds = (0, 1, 2)
    write_runs(runs, ["plain20"], seeds)
    for settings in ({"runtime.precision": "float32"}, RATE):
        write_runs(runs, ["plain20"], seeds, settings=settings, precision="float32")
    reported(tree)
    rows = [row for row in page(tree).splitlines() if row.startswith("| plain-20 ")]
    (line,) = [row for row in rows if row.endswith(" **agree** | – |")]
    assert "0, 1, 2" in line
    write_run(runs, "plain32")
    reported(tree, "seeds=[0,2]")
    assert "| plain-20 | 0, 2 |" in page(tree)
    # What trains the other precision again is named, too.
    training = "experiments.run -m model=plain20 schedule=short seed=0,2 runtime.precision=float32"
    assert f".venv/bin/python -m {training}\n" in page(tree)
    reported(tree, "runtime.precision=float32")
    text = page(tree, "report,precision=float32")
    assert "'seeds=[0,1,2]' runtime.precision=float32" in text
    assert "model=plain32" not in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_report_that_is_stopped_leaves_no_half_file(tree, runs, number):
    write_run(runs, "plain20")
    stop = partial(at_rename, "curves.csv", partial(send, number))
    ended = run(name="report", tree=tree, faults=[stop])
    assert (ended.code, ended.err) == (128 + number, "")
    names = [path.name for path in (runs / "short").iterdir()]
    assert "report.html" in names and not [name for name in names if "curves" in name]


def test_a_folder_that_is_a_schedules_own_gets_its_report_in_place(tree):
    for schedule in ("paper", "short"):
        write_run(tree / "mine", "plain20", schedule=schedule)
    reported(tree, "runs=mine/paper", "schedule=paper")
    assert (tree / "mine/paper/report.md").is_file()
    assert {path.name for path in (tree / "mine/paper").iterdir() if path.is_dir()} == {"plain20"}


@pytest.mark.parametrize("launcher", [[], ["hydra/launcher=joblib"]])
@pytest.mark.parametrize("overwrite", [True, False])
def test_what_an_interrupted_overwriting_has_left_as_it_was_is_named(
    overwrite, launcher, tmp_path, monkeypatch, capsys
):
    folders = [RunFolder(write_run(tmp_path, model)) for model in ("plain20", "plain32", "plain56")]
    runs = [planning.PlannedRun(None, folder, [folder]) for folder in folders]

    def run_alone(module, overrides):
        (folder,) = overrides  # of which it is told by them
        if folder is folders[1]:
            folder.update_manifest(status="interrupted")
        return 0 if folder is folders[0] else 130

    monkeypatch.setattr(planning, "run_alone", run_alone)
    monkeypatch.setattr(
        planning, "launch", lambda module, jobs, _: [run_alone(module, job) for job in jobs]
    )
    assert planning.train_missing(runs, launcher, overwrite) == (130 if overwrite else 0)
    told = f"warning: still as they were before overwrite=true: {shown(folders[2].path)}\n"
    assert capsys.readouterr().err == (told if overwrite else "")
