"""Configuration: every option composes and builds, and a run's folder is named after its config."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from command_line import REPOSITORY
from omegaconf import OmegaConf

from degradation import config as configuration
from degradation.config import (
    CONF,
    RUNS,
    check_values,
    command_line,
    options,
    overrides_of,
    recorded,
    relative,
    run_name,
    run_path,
    show,
    validate,
)
from degradation.errors import UserError
from experiments import refusals
from experiments.refusals import compose_again

GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir())
OPTIONS = [(group, option) for group in GROUPS for option in options(group)]


def compose(*overrides: str, command: str = "config"):
    return compose_again(command, list(overrides))


def name_of(*overrides: str, precision: str = "bfloat16", auto: str = "bfloat16") -> str:
    return run_name(compose(*overrides), precision, auto)


def texts(tree) -> list[str]:
    """Every string in nested dicts and lists."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list):
        return [text for item in tree for text in texts(item)]
    return [tree] if isinstance(tree, str) else []


# Options


def test_there_are_options_in_every_group():
    assert GROUPS == ["data", "figure", "model", "optimizer", "runtime", "schedule", "tracking"]
    assert len(options("model")) >= 10


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_and_is_valid(group, option):
    config = compose(f"{group}={option}", command="reproduce")
    assert check_values(config)[f"{group}.{'mode' if group == 'tracking' else 'name'}"] == option


@pytest.mark.parametrize("command", sorted(path.stem for path in CONF.glob("*.yaml")))
def test_every_command_composes(command):
    assert compose(command=command)


@pytest.mark.parametrize("command", ["config", "reproduce"])
def test_defaults_are_valid(command):
    check_values(compose(command=command))


@pytest.mark.parametrize("value", ["", " ", "elsewhere"])
def test_a_variable_for_the_data_may_be_set_to_nothing(monkeypatch, value):
    monkeypatch.setenv("CIFAR10_DIR", value)
    config = compose()
    validate(config)
    assert config.data.search[0] == value


def test_default_run_is_resnet20_on_the_short_schedule():
    config = compose()
    validate(config)
    assert (config.model.name, config.schedule.name, config.seed) == ("resnet20", "short", 0)
    assert config.tracking.mode == "offline"


@pytest.mark.parametrize("model", options("model"))
def test_every_model_option_is_one_that_its_rules_allow(model):
    """Its file has its own name, a builder that exists, and settings that pass."""
    from degradation.models.networks import BUILDERS

    config = compose(f"model={model}")
    validate(config)
    assert config.model.name == model and config.model.builder in BUILDERS


@pytest.mark.parametrize("figure", options("figure"))
def test_every_figure_names_models_that_exist(figure):
    panels = compose(f"figure={figure}", command="reproduce").figure.panels
    assert {model for panel in panels for model in panel.models} <= set(options("model"))


@pytest.mark.parametrize(
    ("schedule", "iterations", "drops", "every"),
    [
        ("paper", 64_000, [32_000, 48_000], 800),
        ("medium", 16_000, [8_000, 12_000], 400),
        ("short", 4_000, [2_000, 3_000], 200),
    ],
)
def test_schedules_are_those_of_the_design(schedule, iterations, drops, every):
    config = compose(f"schedule={schedule}").schedule
    assert (config.iterations, list(config.drops), config.evaluate_every) == (
        iterations,
        drops,
        every,
    )


def test_optimizer_is_the_papers():
    assert OmegaConf.to_container(compose().optimizer) == {
        "name": "sgd",
        "batch": 128,
        "ghost_batch": 64,
        "rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "decay": "kernels",
        "warmup": {"min_depth": 110, "rate": 0.01, "until_error": 80},
    }


# Names and folders


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "resnet20"),
        (["model=plain56"], "plain56"),
        (["model.shortcut=A"], "resnet20"),
        (["model.shortcut=B"], "resnet20,shortcut=B"),
        (["model=resnet50", "model.shortcut=null"], "resnet50,shortcut=null"),
        (["model=plain20", "model.depth=26"], "plain20,depth=26"),
        (["optimizer.rate=0.05", "model.shortcut=C"], "resnet20,rate=0.05,shortcut=C"),
        (["model.shortcut=C", "optimizer.rate=0.05"], "resnet20,rate=0.05,shortcut=C"),
        (["optimizer.rate=1e-1"], "resnet20"),
        (["optimizer.warmup.rate=0.02"], "resnet20,warmup.rate=0.02"),
        (["optimizer.batch=64", "optimizer.decay=all"], "resnet20,batch=64,decay=all"),
        (["optimizer.ghost_batch=null"], "resnet20,ghost_batch=null"),
        (["data=synthetic"], "resnet20,data=synthetic"),
        (["data=synthetic", "data.test_images=50"], "resnet20,data=synthetic,test_images=50"),
        (["data.holdout=5000"], "resnet20,holdout=5000"),
        (["schedule=smoke", "schedule.iterations=9"], "resnet20,iterations=9"),
        (["schedule.drops=[100,200]"], "resnet20,drops=100-200"),
    ],
)
def test_name_shows_every_override_that_changes_the_result_sorted(overrides, name):
    assert name_of(*overrides) == name


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model.shortcut=null", "optimizer.warmup.rate=0.02"],
        ["data=synthetic", "data.test_images=50"],
        ["schedule.drops=[100,200]", "schedule.iterations=300"],
        ["runtime.precision=float32"],
    ],
)
def test_overrides_follow_from_a_name(overrides):
    precision = "float32" if overrides == ["runtime.precision=float32"] else "bfloat16"
    name = name_of(*overrides, precision=precision)
    tree = OmegaConf.to_container(compose(*overrides), resolve=True)
    assert sorted(overrides_of(name.partition(",")[2], tree)) == sorted(overrides)


def test_a_command_line_can_be_typed_into_a_shell():
    line = command_line("report", "schedule=short", "seeds=[0,1]")
    assert line == ".venv/bin/python -m experiments.report schedule=short 'seeds=[0,1]'"
    assert command_line("models") == ".venv/bin/python -m experiments.models"


@pytest.mark.parametrize(
    "override",
    [
        "data.dir=/somewhere/cifar10",
        "data.search=[elsewhere]",
        "data.url=https://example.org/cifar-10-python.tar.gz",
        "schedule=paper",
        "seed=7",
        "runtime.threads=1",
        "runtime.checkpoint_every=5",
        "runtime.precision=bfloat16",
        "tracking=disabled",
        "tracking.group=figure1",
        "overwrite=true",
    ],
)
def test_name_leaves_out_what_the_result_does_not_depend_on(override):
    assert name_of(override) == "resnet20"


@pytest.mark.parametrize(
    ("precision", "auto", "name"),
    [
        ("float32", "bfloat16", "resnet20,precision=float32"),
        ("float32", "float32", "resnet20"),
        ("bfloat16", "float32", "resnet20,precision=bfloat16"),
    ],
)
def test_name_has_the_precision_where_auto_would_pick_another(precision, auto, name):
    assert name_of(f"runtime.precision={precision}", precision=precision, auto=auto) == name
    if precision == auto:
        assert name_of("runtime.precision=auto", precision=precision, auto=auto) == name


def test_folder_follows_from_schedule_name_and_seed():
    config = compose("schedule=smoke", "model.shortcut=B", "seed=3")
    expected = RUNS / "smoke" / "resnet20,shortcut=B" / "seed3"
    assert run_path(config, "bfloat16", "bfloat16") == expected


def test_run_dir_is_the_folder_exactly(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for given, expected in {
        "runs/mine": tmp_path / "runs/mine",
        str(tmp_path / "x"): tmp_path / "x",
        "~/run": tmp_path / "home/run",
    }.items():
        config = compose(f"run_dir='{given}'", "model.shortcut=B")
        assert run_path(config, "float32", "bfloat16") == expected


def test_paths_are_shown_relative_to_the_repository(tmp_path):
    assert relative(RUNS / "smoke" / "plain20") == os.path.join(
        "results", "runs", "smoke", "plain20"
    )
    assert relative(tmp_path / "secret" / "run") == ".../run"


@pytest.mark.parametrize(
    ("root", "path", "shown"),
    [
        ("/home/ada/code/repo", "/home/ada/code/shared/cifar10", "../shared/cifar10"),
        ("/home/ada/repo", "/home/ada", ".."),
        ("/home/ada/repo", "/home/ada/repo/../c", "../c"),
        ("/home/ada/repo", "/home/charles/c", ".../c"),
        ("/home/ada/repo", "/home/ada-2/c", ".../c"),
        ("/repo", "/repo/results/runs", "results/runs"),
        ("/repo", "/home/ada/c", ".../c"),
        ("/repo", "/repository/c", ".../c"),
        ("/repo", "/home/ada", ".../~"),
        ("/home/repo", "/home/charles/c", ".../c"),
    ],
)
def test_no_users_name_is_in_a_path_that_is_shown(root, path, shown, monkeypatch):
    monkeypatch.setattr(configuration, "ROOT", Path(root))
    monkeypatch.setenv("HOME", "/home/ada")
    assert relative(path) == shown


def test_record_holds_no_place_of_this_machine(tmp_path, monkeypatch):
    home = tmp_path / "home" / "lovelace"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("CIFAR10_DIR", str(home / "data"))
    monkeypatch.setenv("KERAS_HOME", str(home / "keras"))
    config = compose(
        f"run_dir='{home}/runs/x'",
        f"data.dir='{home}/cifar10'",
        f"data.url='file://{home}/cifar-10-python.tar.gz'",
    )
    record = recorded(config)
    for text in texts(record):
        assert not os.path.isabs(text) and "lovelace" not in text and str(tmp_path) not in text
    assert record["data"]["dir"] == ".../cifar10"
    assert yaml.safe_load(yaml.safe_dump(record)) == record
    assert config.data.dir == f"{home}/cifar10"  # the run itself still needs it


def test_record_keeps_everything_else(monkeypatch):
    for variable in ("CIFAR10_DIR", "KERAS_HOME"):
        monkeypatch.delenv(variable, raising=False)
    config = compose("model.shortcut=B", "schedule=smoke", "seed=4", "runtime.threads=2")
    record = recorded(config)
    assert record == OmegaConf.to_container(config, resolve=True)
    assert record["data"]["url"].startswith("https://")


# Values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (1, "1"),
        (0.0, "0.0"),
        (1.0, "1.0"),
        ([1, None, True], "[1,null,true]"),
        ({"a": 1}, "{a:1}"),
        ("text", "text"),
    ],
)
def test_values_are_shown_as_a_command_line_writes_them(value, text):
    assert show(value) == text


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.depth=8"],
        ["model.depth=1202"],
        ["optimizer.rate=1"],
        ["optimizer.momentum=0"],
        ["optimizer.weight_decay=0"],
        ["optimizer.ghost_batch=null", "optimizer.batch=1"],
        ["optimizer.ghost_batch=1"],
        ["schedule.drops=[]"],
        ["schedule.evaluate_every=5000"],
        ["schedule.iterations=3001"],
        ["data.holdout=49999"],
        ["data=synthetic", "data.train_images=10", "data.holdout=9"],
        ["seed=4294967295"],
        ["runtime.checkpoint_every=0.5"],
    ],
)
def test_unusual_values_are_allowed(overrides):
    validate(compose(*overrides))


def test_a_number_beyond_those_of_floats_is_refused():
    with pytest.raises(UserError, match="allowed: a number above 0"):
        validate(compose(f"optimizer.rate=1{309 * '0'}"))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["schedule.iterations=3000"], "schedule.drops=[2000,3000]"),
        (["schedule=smoke", "schedule.iterations=5"], "schedule.iterations=5"),
        (["data.holdout=50000"], "data.holdout=50000"),
        (["data=synthetic", "data.train_images=100", "data.holdout=100"], "from 0 to 99"),
    ],
)
def test_values_that_do_not_go_together_are_refused(overrides, words):
    config = compose(*overrides)
    check_values(config)
    with pytest.raises(UserError, match="allowed|must come before") as refusal:
        validate(config)
    assert words in str(refusal.value)


def test_a_new_option_file_is_an_option(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "tiny.yaml").write_text("name: tiny\n")
    monkeypatch.setattr(configuration, "CONF", tmp_path)
    assert options("model") == ["tiny"]


def test_a_new_schedule_needs_every_key(tmp_path, monkeypatch):
    """There is nothing but the rules to compare its file with."""
    shutil.copytree(CONF, tmp_path / "conf")
    schedule = tmp_path / "conf" / "schedule" / "mine.yaml"
    schedule.write_text("{name: mine, iterations: 10, drops: [5]}")
    for module in (configuration, refusals):
        monkeypatch.setattr(module, "CONF", tmp_path / "conf")
    with pytest.raises(UserError, match=r"schedule.evaluate_every: missing, and needed in conf/sc"):
        check_values(refusals.compose_again("config", ["schedule=mine"]))
    schedule.write_text("{name: mine, iterations: 10, drops: [5], evaluate_every: 5}")
    check_values(refusals.compose_again("config", ["schedule=mine"]))


def test_checking_a_configuration_imports_neither_tensorflow_nor_wandb():
    code = (
        "import sys, experiments.run, experiments.reproduce, experiments.report\n"
        "from experiments.refusals import compose_again\n"
        "from experiments.command import Job\n"
        "given = ['data=synthetic']\n"
        "experiments.run.check(Job(compose_again('config', given), given))\n"
        "experiments.reproduce.check(Job(compose_again('reproduce', given), given))\n"
        "print([m for m in ('tensorflow', 'keras', 'wandb') if m in sys.modules])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [Path("src"), "."]))}
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.strip() == "[]"
