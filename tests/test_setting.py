"""Which experiment a run is: names, folders, what differs, and what changes nothing."""

import shutil
from functools import cache

import pytest
import yaml
from command_line import refusal
from omegaconf import OmegaConf

from degradation import config as configuration
from degradation import schema, setting
from degradation.config import CONF, option_values, options, validate
from degradation.records.run_folder import RunFolder
from degradation.setting import Setting
from degradation.training.identity import check_same_run
from experiments.compose import compose


@cache
def make(*overrides: str) -> Setting:
    return Setting.of(validate(compose("config", list(overrides))))


def kept(*overrides: str) -> dict:
    """A run's configuration, as its folder keeps it."""
    config = compose("config", list(overrides))
    return yaml.safe_load(yaml.safe_dump(OmegaConf.to_container(config, resolve=True)))


NAMES = [
    ([], ""),
    (["model=plain56", "schedule=paper", "seed=7"], ""),
    (["model.shortcut=B"], "shortcut=B"),
    (["model=resnet50", "model.shortcut=null"], "shortcut=null"),
    (["model=plain20", "model.depth=26"], "depth=26"),
    (["optimizer.rate=0.05", "model.shortcut=C"], "rate=0.05,shortcut=C"),
    (["model.shortcut=C", "optimizer.rate=0.05"], "rate=0.05,shortcut=C"),
    (["optimizer.rate=1e-1"], ""),
    (["optimizer.batch=64", "optimizer.decay=all"], "batch=64,decay=all"),
    (["optimizer.ghost_batch=null"], "ghost_batch=null"),
    (["data=synthetic", "data.test_images=50"], "data=synthetic,test_images=50"),
    (["data.holdout=5000"], "holdout=5000"),
    (["schedule=smoke", "schedule.iterations=9"], "iterations=9"),
    (["schedule.drops=[100,200]"], "drops=100-200"),
    (["runtime.precision=float32"], "precision=float32"),
    (["model=plain56", "model.norm=none", "model.init=gaussian"], "init=gaussian,norm=none"),
    (["model=plain56", "optimizer.warmup.min_depth=20"], "warmup.min_depth=20"),
]


BUILDERS = {option_values("model", name)["model.builder"]: name for name in options("model")}


@pytest.mark.parametrize("model", BUILDERS.values(), ids=BUILDERS)
def test_no_two_keys_have_one_name(model):
    keys = {**make(f"model={model}").values, **make("data=synthetic").values}
    assert len({setting._short(key) for key in keys}) == len(keys)


@pytest.mark.parametrize(("overrides", "variant"), NAMES)
def test_a_setting_has_its_name_and_comes_back_from_overrides_and_folder(overrides, variant):
    """The name shows every override that changes the result, sorted."""
    one = make(*overrides)
    assert one.variant == variant
    chosen = [f"model={one.model}", f"schedule={one.schedule}", f"seed={one.seed}"]
    assert make(*chosen, *one.overrides) == one
    again = Setting.of(kept(*overrides))
    assert again == one and hash(again) == hash(one)


def test_what_the_result_does_not_depend_on_is_no_part_of_it():
    places = ("data.dir=/somewhere/cifar10", "data.search=[elsewhere]", "run_dir=elsewhere")
    others = ("runtime.threads=1", "tracking=disabled", "probe=layers", "overwrite=true")
    assert make(*places, *others).identity == make().identity


def test_settings_differ_in_each_key_that_the_result_depends_on():
    settings = [make(*overrides) for overrides, _ in NAMES]
    assert len({*settings}) == len(NAMES) - 2  # one is the default, and one is there twice


# What changes later


def test_a_key_that_is_added_later_changes_no_finished_run(monkeypatch):
    """Neither its folder, which lacks the key, nor what a new run at the default is."""
    before, folder = make("optimizer.rate=0.2"), kept("optimizer.rate=0.2")

    class Later(schema.Optimizer):
        nesterov: bool = False

    class Configuration(schema.Configuration):
        optimizer: Later | None = None

    monkeypatch.setattr(schema, "Configuration", Configuration)
    monkeypatch.setattr(setting, "Configuration", Configuration)
    assert Setting.of(folder) == before
    folder["optimizer"]["nesterov"] = False
    assert Setting.of(folder) == before
    folder["optimizer"]["nesterov"] = True
    assert Setting.of(folder) != before


def test_an_edited_file_changes_no_finished_run(tmp_path, monkeypatch):
    before, folder = make("model=plain20"), kept("model=plain20")
    shutil.copytree(CONF, tmp_path / "conf")
    for name, old, new in [
        ("optimizer/sgd.yaml", "rate: 0.1 ", "rate: 0.3 "),
        ("schedule/short.yaml", "iterations: 4000", "iterations: 5000"),
        ("model/plain20.yaml", "depth: 20", "depth: 26"),
    ]:
        text = (tmp_path / "conf" / name).read_text()
        assert old in text
        (tmp_path / "conf" / name).write_text(text.replace(old, new))
    monkeypatch.setattr(configuration, "CONF", tmp_path / "conf")
    after = Setting.of(folder)
    assert (after, after.variant, after.departures) == (before, "", [])


# The paper's settings


def test_the_defaults_are_the_papers_settings():
    """Of section 4.2: what departs from the paper is what differs from the defaults."""
    paper = {
        "data.name": "cifar10",
        "data.holdout": 0,
        "optimizer.name": "sgd",
        "optimizer.batch": 128,
        "optimizer.ghost_batch": 64,
        "optimizer.rate": 0.1,
        "optimizer.momentum": 0.9,
        "optimizer.weight_decay": 1e-4,
        "optimizer.decay": "kernels",
        "optimizer.warmup.min_depth": 110,
        "optimizer.warmup.rate": 0.01,
        "optimizer.warmup.until_error": 80.0,
    }
    groups = ("data.", "optimizer.")
    assert {k: v for k, v in make().values.items() if k.startswith(groups)} == paper
    assert make().departures == []


def test_a_folder_that_lacks_what_every_run_needs_is_refused():
    folder = kept()
    del folder["schedule"]["iterations"]
    assert refusal(Setting.of, folder).startswith("schedule.iterations: missing")


def test_a_checkpoint_without_its_configuration_is_refused(tmp_path):
    """Nobody can tell whose it is."""
    (tmp_path / "checkpoint").mkdir()
    message = refusal(check_same_run, RunFolder(tmp_path), make())
    told = "config.yaml is not of this version: data: missing, and needed; choose another run_dir"
    assert told in message
