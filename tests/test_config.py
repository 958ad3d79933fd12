"""Configuration: every option composes and is valid; how places are named; wrong values."""

import os
from pathlib import Path

import pytest
import yaml
from command_line import PATH, refusal, run_code
from omegaconf import OmegaConf

from degradation import config as configuration
from degradation.config import (
    CONF,
    check_models,
    options,
    read_figures,
    recorded,
    relative,
    shown,
    validate,
)
from degradation.report import drawn
from degradation.schema import check
from degradation.setting import PAPER_NETWORKS as PAPERS
from degradation.setting import SCHEDULES
from experiments import compose as composing

GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir())
OPTIONS = [(group, option) for group in GROUPS for option in options(group)]


def compose(*overrides: str, command: str = "config"):
    return composing.compose(command, list(overrides))


# Options


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_and_is_valid(group, option):
    """As the schema's defaults or the code's constants have it: they say what a run is."""
    config = compose(f"{group}={option}", command="reproduce")
    chosen = getattr(validate(config), group)
    assert (chosen.mode if group == "tracking" else chosen.name) == option
    if known := {"schedule": SCHEDULES, "model": PAPERS}.get(group, {}).get(option):
        assert {f"{group}.{key}": value for key, value in chosen.model_dump().items()} == known
    if group in ("optimizer", "data", "runtime", "tracking", "probe"):
        apart = chosen.model_dump(exclude_defaults=True).keys()
        assert apart <= {"name", "mode", "search", "url"}


def test_default_run_is_resnet20_on_the_short_schedule():
    config = compose()
    validate(config)
    assert (config.model.name, config.schedule.name, config.seed) == ("resnet20", "short", 0)
    assert config.tracking.mode == "offline"


def test_every_figure_names_models_that_exist():
    for name, figure in read_figures().items():
        check_models(name, drawn(figure))


def test_what_the_code_has_are_options():
    assert options("schedule") == sorted(SCHEDULES)
    assert PAPERS.keys() <= {*options("model")}


# Places


@pytest.mark.parametrize(
    ("root", "path", "kept"),
    [
        ("/home/ada/code/repo", "/home/ada/code/shared/cifar10", "../shared/cifar10"),
        ("/home/ada/repo", "/home/ada", ".."),
        ("/home/ada/repo", "/home/ada-2/c", ".../c"),
        ("/repo", "/repo/results/runs", "results/runs"),
        ("/repo", "/repository/c", ".../c"),
        ("/repo", "/home/ada", ".../~"),
    ],
)
def test_no_users_name_is_in_a_path_that_is_recorded(root, path, kept, monkeypatch):
    """It is relative to the repository; of a place elsewhere, its last part, but whole if shown."""
    monkeypatch.setattr(configuration, "ROOT", Path(root))
    monkeypatch.setenv("HOME", "/home/ada")
    assert relative(path) == kept
    assert shown(path) == (path if kept.startswith("...") else kept)


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
    text = yaml.safe_dump(record)
    assert "lovelace" not in text and str(tmp_path) not in text
    assert not [word for word in text.split() if os.path.isabs(word.strip("'"))]
    assert record["data"]["dir"] == ".../cifar10"
    assert record["optimizer"] == OmegaConf.to_container(config.optimizer)
    assert yaml.safe_load(text) == record
    assert config.data.dir == f"{home}/cifar10"  # the run itself still needs it


# Values


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.depth=1202"],
        ["optimizer.rate=1", "optimizer.momentum=0", "optimizer.weight_decay=0"],
        ["optimizer.ghost_batch=null", "optimizer.batch=1"],
        ["schedule.drops=[]", "schedule.evaluate_every=5000"],
        ["schedule.iterations=3001"],
        ["data=synthetic", "data.train_images=10", "data.holdout=9"],
        ["seed=4294967295"],
        ["data.search=['']"],  # a variable that is set to nothing
    ],
)
def test_unusual_values_are_allowed(overrides):
    validate(compose(*overrides))


@pytest.mark.parametrize(
    ("tree", "line"),
    [
        ({"sede": 1}, "sede=1: unknown key; allowed: model, "),
        ({"data": {"dir": None}}, "data.name: missing, and needed"),
        ({"data": {"name": "mnist"}}, "data.name=mnist: allowed: 'cifar10', 'synthetic'"),
        ({"model": {"builder": "resnet", "name": "a", "size": 3}}, "model.size=3: unknown key; "),
        ({"runtime": {"name": "gpu", "xla": 1}}, "runtime.xla=1: allowed: true or false"),
        ({"models": "plain20"}, "models=plain20: allowed: a list"),
        ({"schedule": [1]}, "schedule=[1]: allowed: values of name, iterations, "),
        ({"schedule": {"name": "mine", "drops": []}}, "schedule.iterations: missing, and needed"),
    ],
)
def test_files_of_ones_own_are_refused_in_one_line(tree, line):
    assert refusal(check, tree).startswith(line)


def test_checking_a_configuration_imports_neither_tensorflow_nor_wandb():
    code = (
        "import sys, experiments.run, experiments.reproduce, experiments.report\n"
        "from experiments.compose import Job, compose\n"
        "given = ['data=synthetic']\n"
        "experiments.run.check(Job(compose('config', given), given))\n"
        "experiments.reproduce.check(Job(compose('reproduce', given), given))\n"
        "unwanted = 'tensorflow', 'keras', 'wandb', 'matplotlib.pyplot'\n"
        "print([m for m in unwanted if m in sys.modules])\n"
    )
    ended = run_code(code, *PATH)
    assert (ended.code, ended.out) == (0, "[]\n"), ended.err
