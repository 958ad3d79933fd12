"""Figure 1 with one command, from training to report; and reports on runs that are there."""

import json
import shlex
import shutil
import struct
from pathlib import Path

import pytest
from command_line import REPOSITORY, files, make_tree
from command_line import run as run_cold
from omegaconf import OmegaConf
from processes import Ended, run
from report_samples import auto_precision, texts, write_run

import degradation.config
from degradation.records import RunFolder
from degradation.report import build_figure, find_runs, models_of, select
from experiments import planned as planning
from experiments.compose import Job, compose
from experiments.reproduce import planned

CHANGES = ["optimizer.batch=20", "data.train_images=100", "data.test_images=50"]
CHANGES += ["optimizer.ghost_batch=10"]
SETTINGS = ["figure=figure1", "schedule=smoke", "data=synthetic", "tracking=disabled", *CHANGES]
VARIANT = "batch=20,data=synthetic,ghost_batch=10,test_images=50,train_images=100"
MODELS = ("plain20", "plain56")
FIGURES = REPOSITORY / "conf" / "figure"
OTHERS = "figure.panels=[{title: deep, models: [plain20, plain44]}]"
RUNS = Path("results", "runs", "smoke")
PICTURE = f"figure1,{VARIANT}.png"
DRAWING = f"figure1,{VARIANT}.svg"
REPORTS = {  # what a report on Figure 1 leaves beside the runs
    *("depth.png", "depth.svg", "figure1.png", "figure1.svg"),
    *("report.html", "report.md", "curves.csv", "summary.csv"),
}
RESPONSES = {"figure7.png", "figure7.svg"}  # of runs that were trained: a written one has no layers


def named(variant: str) -> set[str]:
    return {name.replace(".", f",{variant}.") for name in REPORTS | RESPONSES}


def folder_of(tree: Path, model: str) -> Path:
    return tree / RUNS / f"{model},{VARIANT}" / "seed0"


def report(tree: Path, *overrides: str) -> Ended:
    return run(*overrides, name="report", tree=tree)


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory):
    """Reproduce Figure 1 in a tree that has recorded runs of the same networks already."""
    tree = make_tree(tmp_path_factory.mktemp("tree"))
    synthetic = {"name": "synthetic", "label": "synthetic data", "canonical": False}
    for model in MODELS:
        recorded = tree / "results" / "recorded"
        write_run(recorded, model, schedule="smoke", variant=VARIANT, dataset=synthetic)
        write_run(recorded, model, schedule="short")
    return tree, run_cold(tree, "reproduce", *SETTINGS)


def test_both_networks_are_trained_though_recorded_runs_are_there(reproduced):
    tree, result = reproduced
    assert (result.returncode, result.stderr) == (0, "")
    for model, parameters in zip(MODELS, (269_722, 853_018), strict=True):
        folder = RunFolder(folder_of(tree, model))
        assert folder.status == "complete"
        assert folder.manifest()["parameters"] == parameters
        assert [row["iteration"] for row in folder.rows()] == [4, 8]
        assert folder.config()["tracking"]["group"] == "figure1"
        assert f"network   {model}, {parameters:,} trainable parameters" in result.stdout


def test_figure_is_drawn_as_png_and_svg(reproduced):
    tree, _ = reproduced
    png = (tree / RUNS / PICTURE).read_bytes()
    width, height = struct.unpack(">II", png[16:24])
    assert png.startswith(b"\x89PNG") and width > 1000 and height > 500
    assert "<svg" in (tree / RUNS / DRAWING).read_text()


def test_end_of_the_output_has_errors_claims_and_paths(reproduced):
    tree, result = reproduced
    plain20, plain56 = (RunFolder(folder_of(tree, model)).rows()[-1] for model in MODELS)
    for column in ("train_error", "test_error"):
        difference = f"{plain56[column] - plain20[column]:+.2f}"
        assert difference.replace("-", "−") in result.stdout
        for row in (plain20, plain56):
            assert f"{row[column]:.2f}" in result.stdout
    assert "plain-56 has a higher training error than plain-20" in result.stdout
    assert "synthetic data, not CIFAR-10" in result.stdout
    *_, picture, responses, last = result.stdout.splitlines()
    assert picture == f"figure    {RUNS / PICTURE} and {DRAWING}"
    assert responses == picture.replace("figure1", "figure7")  # in part: of these two networks
    pages = f"{RUNS}/report,{VARIANT}.html, report,{VARIANT}.md"
    assert last.startswith(f"report    {pages}, curves,{VARIANT}.csv")


def test_the_report_says_how_to_make_it_again(reproduced):
    tree, _ = reproduced
    text = (tree / RUNS / f"report,{VARIANT}.md").read_text()
    batch, train, test, ghost = CHANGES  # in the order of the folder's name
    changes = " ".join([batch, "data=synthetic", ghost, test, train])
    command = f"figure=figure1 schedule=smoke 'seeds=[0]' {changes}   #"
    assert f".venv/bin/python -m experiments.reproduce {command}" in text
    assert "tracking" not in text and str(tree) not in text


def test_tree_holds_nothing_else(reproduced):
    tree, _ = reproduced
    assert {path.name for path in tree.iterdir()} == {"conf", "experiments", "src", "results"}
    assert {path.name for path in (tree / RUNS).iterdir()} == {
        *(f"plain20,{VARIANT}", f"plain56,{VARIANT}", *named(VARIANT))
    }


def test_again_trains_nothing_and_draws_the_same(reproduced):
    tree, first = reproduced
    before = files(tree / RUNS)
    again = run(*SETTINGS, name="reproduce", tree=tree)
    assert (again.code, again.err) == (0, "")
    assert "trainable parameters" not in again.out
    for model in MODELS:
        assert f"{RUNS}/{model},{VARIANT}/seed0 is complete\n" in again.out
    assert again.out.splitlines()[-20:] == first.stdout.splitlines()[-20:]
    after = files(tree / RUNS)
    assert {name: content for name, (_, content) in after.items()} == {
        name: content for name, (_, content) in before.items()
    }
    for name, (modified, _) in after.items():
        assert name in named(VARIANT) or modified == before[name][0]


def test_a_finished_run_of_another_configuration_is_refused_before_anything_is_trained(tmp_path):
    """A folder is named after what differs from conf/, and conf/ may have been another then."""
    tree = make_tree(tmp_path / "tree")
    runs = tree / "results" / "runs"
    write_run(runs, "plain56", schedule="smoke", settings={"optimizer.rate": 0.05})
    before = files(tree / "results")
    result = run("figure=figure1", "schedule=smoke", name="reproduce", tree=tree)
    assert (result.code, result.out) == (2, "") and result.err.count("\n") == 1
    assert "smoke/plain56/seed0 holds another run" in result.err
    assert "optimizer.rate is 0.05 there and 0.1 here" in result.err
    assert files(tree / "results") == before


@pytest.mark.parametrize("there", [["smoke-old"], ["smoke-old", "smoke"]])
def test_a_run_that_is_elsewhere_too_is_refused_before_anything_is_trained(tmp_path, there):
    """As after `mv short short-old` or `cp -r`: the report would not know which one to take."""
    tree = make_tree(tmp_path / "tree")
    runs = tree / "results" / "runs"
    for folder in there:
        place = runs / folder / "plain20" / "seed0"
        write_run(runs, schedule="smoke", folder=place, precision=auto_precision())
    before = files(tree / "results")
    result = run("figure=figure1", "schedule=smoke", name="reproduce", tree=tree)
    assert (result.code, result.out) == (2, "") and result.err.count("\n") == 1
    assert "smoke-old/plain20/seed0 is the run whose place is results/runs/smoke/p" in result.err
    assert files(tree / "results") == before


def test_a_run_that_fails_ends_the_reproduction_with_its_code(reproduced):
    tree, _ = reproduced
    manifest = folder_of(tree, "plain20") / "manifest.json"
    content = manifest.read_text()
    # Found unfinished, and then unlike what is asked for: the run is refused, nothing is drawn.
    changed = json.loads(content) | {"status": "interrupted"}
    changed["dataset"] = {**changed["dataset"], "fingerprint": "sha256:0"}
    manifest.write_text(json.dumps(changed))
    before = files(tree / RUNS)
    try:
        result = run(*SETTINGS, name="reproduce", tree=tree)
        assert result.code == 2
        assert result.err.count("\n") == 1 and "data.fingerprint" in result.err
        assert "plain56" not in result.out and "report " not in result.out
        assert files(tree / RUNS) == before
    finally:
        manifest.write_text(content)


@pytest.mark.parametrize(("given", "group"), [([], "figure1"), (["tracking.group=mine"], "mine")])
def test_runs_are_grouped_by_figure_unless_asked_otherwise(tmp_path, monkeypatch, given, group):
    monkeypatch.setattr(degradation.config, "RUNS", tmp_path)
    job = Job(compose("reproduce", given), given)
    configs = [compose("config", run.overrides) for run in planned(job, [0])]
    assert [(c.model.name, c.tracking.group) for c in configs] == [(m, group) for m in MODELS]


# Reports on runs that are there, without training


def test_report_without_a_figure_covers_what_there_is(tmp_path):
    tree = make_tree(tmp_path / "tree")
    for model in ("plain20", "plain56", "resnet20"):
        write_run(tree / "results" / "recorded", model)
    write_run(tree / "results" / "recorded", "resnet56", variant="rate=0.05")
    result = run_cold(tree, "report", "runs=results/recorded")
    assert (result.returncode, result.stderr) == (0, "")
    folder = tree / "results" / "recorded" / "short"
    in_part = {"figure6.png", "figure6.svg"}  # Figure 1 does not show ResNet-20
    assert {path.name for path in folder.iterdir() if path.is_file()} == REPORTS | in_part
    text = (folder / "report.md").read_text()
    assert "| ResNet-20 |" in text and "| ResNet-56 |" not in text
    assert "experiments.reproduce figure=figure1 schedule=short 'seeds=[0]'" in text
    assert "experiments.run model=resnet20 schedule=short seed=0   # ResNet-20\n" in text
    assert "Beside the recorded runs" not in text
    assert "resnet20/seed0" in (folder / "curves.csv").read_text()

    other = run_cold(tree, "report", "runs=results/recorded", "optimizer.rate=0.05")
    assert (other.returncode, other.stderr) == (0, "")
    otherwise = (folder / "report,rate=0.05.md").read_text()
    assert "| ResNet-56 |" in otherwise
    assert "model=resnet56 schedule=short seed=0 optimizer.rate=0.05   # ResNet-56\n" in otherwise
    assert (folder / "report.md").read_text() == text


def test_networks_of_no_figure_have_a_command_each(tmp_path):
    tree = make_tree(tmp_path / "tree")
    for model, seeds in {"vgg13": (0, 1), "vgg16": (0,)}.items():
        for seed in seeds:
            write_run(tree / "results" / "runs", model, seed)
    assert report(tree).code == 0
    text = (tree / "results/runs/short/report.md").read_text()
    assert "run -m model=vgg13 schedule=short seed=0,1   # vgg13\n" in text
    assert "run model=vgg16 schedule=short seed=0   # vgg16\n" in text


@pytest.mark.parametrize("command", ["report", "reproduce"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text, "name=figure1: allowed: mine"),  # it would overwrite that one
        (
            lambda text: text.replace("name: figure1", "name: mine").replace("source:", "from:"),
            "source: missing, and needed",
        ),
        (
            lambda text: text.replace("name: figure1", "name: mine").replace("models:", "nets:"),
            "allowed: a list of panels",
        ),
        (
            lambda text: text.replace("name: figure1", "name: mine\ndraws: layers"),
            "draws=layers: allowed: errors, responses",
        ),
        (lambda text: f"{text}  - [", "cannot be read"),
    ],
    ids=["name", "key", "panels", "draws", "yaml"],
)
def test_a_figure_of_ones_own_that_is_wrong_is_refused_by_its_file(
    tmp_path, command, change, reason
):
    """Before anything trains, and whichever figure was asked for: the report draws all of them."""
    tree = make_tree(tmp_path / "tree")
    # The package finds conf/ beside itself.
    for part in ("conf", "src"):
        (tree / part).unlink()
        shutil.copytree(REPOSITORY / part, tree / part)
    figures = tree / "conf" / "figure"
    (figures / "mine.yaml").write_text(change((figures / "figure1.yaml").read_text()))
    write_run(tree / "results" / "runs", "plain20", schedule="smoke")
    before = files(tree / "results")
    result = run("figure=figure1", "schedule=smoke", name=command, tree=tree)
    assert (result.code, result.out) == (2, "") and result.err.count("\n") == 1
    assert result.err.startswith("error: conf/figure/mine.yaml: ") and reason in result.err
    assert files(tree / "results") == before


def test_report_on_a_figure_that_is_named_covers_the_rest_as_well(tmp_path):
    tree = make_tree(tmp_path / "tree")
    for model in (*MODELS, "resnet20"):
        write_run(tree / "results" / "runs", model)
    write_run(tree / "results" / "recorded", "plain20")
    assert report(tree).code == 0
    text = (tree / "results/runs/short/report.md").read_text()
    assert "Beside the recorded runs" in text and "| plain-20 | short | " in text
    before = files(tree / "results")
    result = report(tree, "figure=figure1")
    assert (result.code, result.err) == (0, "")
    assert {n: c for n, (_, c) in files(tree / "results").items()} == {
        n: c for n, (_, c) in before.items()
    }


def test_report_names_the_unfinished_runs_that_it_would_be_about(tmp_path):
    tree = make_tree(tmp_path / "tree")
    for model in MODELS:
        for seed in (0, 1):
            write_run(tree / "results" / "runs", model, seed)
    for model, seed, options in [
        *[("plain20", 2, {}), ("resnet20", 0, {})],
        *[("plain20", 0, {"variant": "rate=0.05"}), ("plain20", 0, {"schedule": "smoke"})],
    ]:
        write_run(tree / "results" / "runs", model, seed, status="interrupted", **options)
    lines = [
        f"left out  results/runs/short/{run_}: interrupted, not complete"
        for run_ in ("plain20/seed2", "resnet20/seed0")
    ]
    result = report(tree, "seeds=[0,1]")
    assert (result.code, result.err) == (0, "")
    assert [line for line in result.out.splitlines() if "left out" in line] == lines
    folder = tree / "results" / "runs" / "short"
    for suffix, told in (("md", "- `{}`: {}"), ("html", "<code>{}</code>: {}")):
        page = (folder / f"report.{suffix}").read_text()
        assert "Left out of everything above" in page
        for run_ in ("plain20/seed2", "resnet20/seed0"):
            assert told.format(run_, "interrupted, not complete") in page
    result = report(tree, "figure=figure1")
    assert [line for line in result.out.splitlines() if "left out" in line] == lines[:1]


def test_report_names_the_seeds_that_it_leaves_out_or_lacks(tmp_path):
    """What a report on all seeds said is not taken back in silence by one on fewer."""
    tree = make_tree(tmp_path / "tree")
    for seed in (0, 1, 2):
        write_run(tree / "results" / "runs", "plain20", seed)
    write_run(tree / "results" / "runs", "plain20", 3, schedule="smoke")
    result = report(tree, "seeds=[0,4]")
    assert (result.code, result.err) == (0, "")
    assert "left out  seeds [1,2]: finished, not among seeds=[0,4]\n" in result.out
    assert "missing   seeds [4]: no finished run\n" in result.out
    result = report(tree)
    starts = tuple(f"{word:<10}" for word in ("left out", "missing"))
    assert not [line for line in result.out.splitlines() if line.startswith(starts)]


def test_strict_fails_on_a_claim_that_did_not_come_out(tmp_path):
    tree = make_tree(tmp_path / "tree")
    for model in MODELS:
        write_run(tree / "results" / "runs", model)
    result = report(tree, "strict=true")
    assert result.code == 1
    assert result.err.startswith("error: strict=true: ") and result.err.count("\n") == 1
    assert "1 (undecided)" in result.err and "3 (runs missing)" in result.err
    assert "not asked" not in result.err
    assert (tree / "results/runs/short/report.html").is_file()


def test_strict_on_a_figure_wants_no_claim_about_other_networks(tmp_path):
    """Neither about those without runs nor about those with too few."""
    tree = make_tree(tmp_path / "tree")
    for model in MODELS:
        for seed in range(3):
            write_run(tree / "results" / "runs", model, seed)
    result = report(tree, "strict=true")
    assert (result.code, "1 (" in result.err, "3 (runs missing)" in result.err) == (1, False, True)
    for model in ("resnet20", "resnet56"):
        write_run(tree / "results" / "runs", model)
    assert "3 (undecided)" in report(tree, "strict=true").err
    result = report(tree, "strict=true", "figure=figure1")
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["schedule=paper"],
            [
                "no finished run on schedule=paper in results/runs",
                "; to train: .venv/bin/python -m experiments.reproduce figure=figure1 "
                "schedule=paper 'seeds=[0]'; there are runs for schedule=short 'seeds=[0]'\n",
            ],
        ),
        (["data=synthetic"], ["with data=synthetic in results/runs", "'seeds=[0]' data=synthetic"]),
        (["runs=elsewhere"], ["in elsewhere; to train in results/runs: .venv/bin/python"]),
        (["figure=figure1"], ["plain56 seed 0", "schedule=short", "seeds=[0]"]),
        (["figure=figure1", "seeds=[0,4]"], ["plain20 seed 4", "plain56 seed 4", "seeds=[0,4]"]),
        (
            ["figure=figure1", OTHERS],
            [
                "no finished run of plain44 seed 0",
                f"figure=figure1 '{OTHERS}' schedule=short 'seeds=[0]'",
            ],
        ),
        (["seeds=[4]"], ["no finished run on", "there are runs for schedule=short 'seeds=[0]'"]),
    ],
)
def test_report_says_which_runs_are_missing_and_how_to_train_them(tmp_path, overrides, words):
    tree = make_tree(tmp_path / "tree")
    write_run(tree / "results" / "runs", "plain20", 0)
    before = files(tree / "results")
    result = report(tree, *overrides)
    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 1
    for word in words:
        assert word in result.err
    assert files(tree / "results") == before


def test_a_figure_of_other_networks_is_made_again_of_these(tmp_path):
    tree = make_tree(tmp_path / "tree")
    for model in ("plain20", "plain44"):
        write_run(tree / "results" / "runs", model)
    assert report(tree, "figure=figure1", OTHERS).code == 0
    text = (tree / "results" / "runs" / "short" / "report.md").read_text()
    named = f"figure=figure1 '{OTHERS}'"
    assert f"experiments.reproduce {named} schedule=short 'seeds=[0]'   #" in text
    assert f"experiments.report {named} runs=results/runs schedule=short" in text


# Reports on a variant

THIN = "model.widths=[16,32,64,128]"


def write_thin(folder: Path, *models: str) -> None:
    for model in models:
        settings = {"model.widths": [16, 32, 64, 128]}
        write_run(folder, model, variant="widths=16-32-64-128", settings=settings)


def test_a_report_finds_the_runs_that_the_refusal_names(tmp_path):
    """The refusal of a report gives the arguments for others; they work, without a figure too."""
    tree = make_tree(tmp_path / "tree")
    write_thin(tree / "results" / "runs", "plain18", "plain34", "resnet18", "resnet34")
    refusal = report(tree)
    assert refusal.code == 2 and refusal.err.count("\n") == 1
    *_, named, _ = shlex.split(refusal.err.partition("; there are runs for ")[2])
    assert named == THIN
    result = report(tree, named)
    assert (result.code, result.err) == (0, "")
    assert "figure4,widths=16-32-64-128.png" in result.out
    # Of two values for a key the commands have the last, as of ARGS in a Makefile.
    first = "model.widths=[64,128,256,512]"
    assert report(tree, "figure=figure4", first, THIN).code == 0
    text = (tree / "results/runs/short/report,widths=16-32-64-128.md").read_text()
    assert f"figure=figure4 schedule=short 'seeds=[0]' '{THIN}'   #" in text
    assert first not in text


def test_a_precision_that_was_asked_for_picks_the_runs_that_asked_for_it(tmp_path):
    """A precision that was asked for is another experiment than `auto`, whatever that picked."""
    tree = make_tree(tmp_path / "tree")
    runs = tree / "results" / "runs"
    write_run(runs, "plain20", 0, precision="bfloat16")
    write_run(runs, "plain20", 1, precision="float32")
    write_run(runs, "plain20", 2, variant="precision=float32", precision="float32")
    write_run(runs, "plain20", 3, variant="precision=bfloat16", precision="bfloat16")
    for overrides, seeds in {
        (): ["0, 1"],
        ("runtime.precision=float32",): ["2"],
        ("runtime.precision=bfloat16",): ["3"],
    }.items():
        result = report(tree, *overrides)
        assert (result.code, result.err) == (0, "")
        suffix = "".join(f",{override.removeprefix('runtime.')}" for override in overrides)
        text = (runs / "short" / f"report{suffix}.md").read_text()
        assert f"'seeds=[{seeds[0].replace(' ', '')}]'{''.join(f' {o}' for o in overrides)}" in text


def test_both_precisions_of_a_network_are_set_side_by_side(tmp_path):
    tree = make_tree(tmp_path / "tree")
    runs = tree / "results" / "runs"
    for seed in (0, 1, 2):
        write_run(runs, "plain20", seed)
        write_run(runs, "plain20", seed, variant="precision=float32", precision="float32")
        write_run(runs, "plain20", seed, variant="rate=0.05", precision="float32")
    assert report(tree).code == 0
    (line,) = [
        line
        for line in (runs / "short" / "report.md").read_text().splitlines()
        if line.startswith("| plain-20 ") and line.endswith(" **agree** |")
    ]
    assert "0, 1, 2" in line
    assert report(tree, "seeds=[0,2]").code == 0
    assert "| plain-20 | 0, 2 |" in (runs / "short" / "report.md").read_text()


def test_a_folder_that_is_a_schedules_own_gets_its_report_in_place(tmp_path):
    tree = make_tree(tmp_path / "tree")
    for schedule in ("paper", "short"):
        write_run(tree / "mine", "plain20", schedule=schedule)
    result = report(tree, "runs=mine/paper", "schedule=paper")
    assert (result.code, result.err) == (0, "")
    assert (tree / "mine/paper/report.md").is_file()
    assert {path.name for path in (tree / "mine/paper").iterdir() if path.is_dir()} == {"plain20"}


def test_a_plain_twin_is_not_called_what_it_was_made_from(tmp_path):
    """ResNet-20 without shortcuts: no network of the paper's, and none of its claims."""
    tree = make_tree(tmp_path / "tree")
    settings = {"model.shortcut": None}
    for model in ("resnet20", "resnet56"):
        write_run(tree / "results/runs", model, variant="shortcut=null", settings=settings)
    result = report(tree, "model.shortcut=null")
    assert (result.code, result.err) == (0, "")
    text = (tree / "results/runs/short/report,shortcut=null.md").read_text()
    assert "| resnet20 |" in text and "| ResNet-20 |" not in text
    (claim,) = [line for line in result.out.splitlines() if line.startswith("3  ResNet-56 has")]
    assert claim.endswith(" runs missing")


@pytest.mark.parametrize(
    ("figure", "models"),
    [
        ("skip", ("vgg13", "vgg13skip")),
        ("relu_first", ("resnet50", "resnet50_relu_first")),
        ("preactivation", ("resnet56", "preresnet56")),
    ],
)
def test_figures_of_the_relatives(tmp_path, figure, models):
    spec = OmegaConf.load(FIGURES / f"{figure}.yaml")
    assert models_of(spec) == list(models)
    for model in models:
        write_run(tmp_path / "runs", model)
    runs = select(find_runs(tmp_path / "runs"), models, "short")
    written = texts(build_figure(OmegaConf.to_container(spec), runs))
    assert spec.title in written and f"After {spec.source}." in written
    assert "The paper does not train" in written


@pytest.mark.parametrize("overwrite", [True, False])
def test_what_an_interrupted_overwriting_has_left_as_it_was_is_named(
    overwrite, tmp_path, monkeypatch, capsys
):
    folders = [RunFolder(write_run(tmp_path, model)) for model in ("plain20", "plain32", "plain56")]
    runs = [planning.PlannedRun(None, folder, []) for folder in folders]
    codes = iter([0, 130])
    monkeypatch.setattr(planning, "run_alone", lambda *_: next(codes))
    assert planning.train_missing(runs, overwrite) == (130 if overwrite else 0)
    left = degradation.config.relative(folders[2].path)
    told = f"warning: still as they were before overwrite=true: {left}\n"
    assert capsys.readouterr().err == (told if overwrite else "")
