"""What a configuration may say, and the folder that follows from it."""

import contextlib
import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from degradation.errors import UserError
from degradation.model_rules import check_model
from degradation.rules import CLASSES, RULES, TRAIN_IMAGES, check, integer, one_of, show

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
RUNS = ROOT / "results" / "runs"

# Groups whose values decide the result; `runtime` enters through the precision alone.
RESULT_GROUPS = ("model", "data", "schedule", "optimizer")
# Where the data lies does not change what it holds: the manifest's fingerprint says that.
PLACES = ("dir", "search", "url")


def options(group: str) -> list[str]:
    """Names of the options of a group: the files of `conf/<group>/`."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def flatten(tree: dict, prefix: str = "") -> dict[str, Any]:
    """Turn nested dictionaries into one of dotted keys."""
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def option_values(group: str, name: str) -> dict[str, Any]:
    """Values of `conf/<group>/<name>.yaml`, dotted: `{"schedule.iterations": 4000, ...}`."""
    tree = OmegaConf.create({group: OmegaConf.load(CONF / group / f"{name}.yaml")})
    return flatten(OmegaConf.to_container(tree, resolve=True))


def read_figures() -> dict[str, dict[str, Any]]:
    """Read every file of `conf/figure/`, by name.

    Raises `UserError`, which names the file, for one that is no figure or has another's name.
    """
    figures = {}
    for name in options("figure"):
        start = f"conf/figure/{name}.yaml"
        rules = {"name": one_of(name)}
        rules |= {key: RULES[f"figure.{key}"] for key in ("title", "source", "panels")}
        try:
            spec = OmegaConf.to_container(OmegaConf.load(CONF / "figure" / f"{name}.yaml"))
        except (yaml.YAMLError, OmegaConfBaseException) as error:
            raise UserError(f"{start}: cannot be read: {error}") from error
        draws = {"draws": RULES["figure.draws"]}
        if not isinstance(spec, dict) or not rules.keys() <= spec.keys() <= (rules | draws).keys():
            needed = f"the keys {', '.join(rules)}, and each is needed"
            raise UserError(f"{start}: allowed: {needed}; and draws")
        for key in spec:
            check(f"{start}: {key}", spec[key], (rules | draws)[key])
        figures[name] = spec
    return figures


def check_values(config: DictConfig) -> dict[str, Any]:
    """Return the dotted values of any command's `config`, checked one by one.

    Raises `UserError` naming key, value and what is allowed, for the first value that is wrong.
    """
    tree = OmegaConf.to_container(config, resolve=True)
    flat = flatten(tree)
    for group in sorted(key for key in tree if (CONF / key).is_dir()):
        name = flat.get(f"{group}.mode" if group == "tracking" else f"{group}.name")
        if name not in options(group):
            raise UserError(f"{group}={show(name)}: unknown; allowed: {', '.join(options(group))}")
        have = {key for key in flat if key.startswith(f"{group}.")}
        expected = option_values(group, name).keys()
        for key in sorted(have ^ expected):
            problem = "missing, and needed" if key in expected else "unknown key"
            given = key if key in expected else f"{key}={show(flat[key])}"
            raise UserError(f"{given}: {problem}; {group}={name} has {', '.join(sorted(expected))}")
    # Those of an option of one's own: there is nothing else to compare its file with.
    for key in sorted(RULES.keys() - flat.keys()):
        group = key.partition(".")[0]
        if group in ("schedule", "optimizer") and group in tree:
            raise UserError(f"{key}: missing, and needed in conf/{group}/")
    # The undotted keys from the tree: their values have no keys of their own.
    for key, value in {**tree, **flat}.items():
        if key in RULES:
            check(key, value, RULES[key])
    if "model" in tree:
        builder = option_values("model", flat["model.name"]).get("model.builder")
        check_model(tree["model"], builder)
    return flat


def check_models(key: str, models: Iterable[str]) -> None:
    """Raise `UserError`, which names `key`, for the first of `models` that conf/model/ lacks."""
    for model in models:
        if model not in options("model"):
            raise UserError(f"{key}: {model} is no model; allowed: {', '.join(options('model'))}")


def validate(config: DictConfig) -> None:
    """Check the configuration of a training run: each value, and what they mean together.

    Raises `UserError` as `check_values` does.
    """
    flat = check_values(config)
    if "model.classes" in flat:
        check("model.classes", flat["model.classes"], integer(CLASSES))  # the data's, at least
    if flat["schedule.drops"] and flat["schedule.drops"][-1] >= flat["schedule.iterations"]:
        raise UserError(
            f"schedule.drops={show(flat['schedule.drops'])}: every drop must come before "
            f"schedule.iterations={flat['schedule.iterations']}"
        )
    batch, ghost = flat["optimizer.batch"], flat["optimizer.ghost_batch"]
    if ghost and batch % ghost:
        raise UserError(
            f"optimizer.ghost_batch={ghost}: allowed: a divisor of optimizer.batch={batch}, or null"
        )
    images = flat.get("data.train_images", TRAIN_IMAGES)
    if flat["data.holdout"] >= images:
        raise UserError(
            f"data.holdout={flat['data.holdout']}: allowed: {integer(0, images - 1).allowed}, "
            f"which leaves some of the {images:,} images to train on"
        )


def variant(config: DictConfig, precision: str, auto_precision: str | None) -> list[str]:
    """Overrides that change the result, as sorted `key=value`, fit for a folder's name.

    Keys are those within their group. `precision` is the one in force, `auto_precision` the one
    that `runtime.precision=auto` picks. A GPU and the processor differ in rounding alone.
    """
    changed = {} if precision == auto_precision else {"precision": precision}
    flat = flatten(OmegaConf.to_container(config, resolve=True))
    for group, default in zip(RESULT_GROUPS, (None, "cifar10", None, "sgd"), strict=True):
        name = flat[f"{group}.name"]
        if default not in (None, name):
            changed[group] = name
        for key, value in option_values(group, name).items():
            short = key.removeprefix(f"{group}.")
            if flat[key] != value and short not in PLACES:
                changed[short] = flat[key]
    # No brackets and commas: a list of drops is 2000-3000.
    texts = {key: show(value).strip("[]").replace(",", "-") for key, value in changed.items()}
    return [f"{key}={text}" for key, text in sorted(texts.items())]


def overrides_of(changes: str, tree: dict[str, Any]) -> list[str]:
    """Overrides, as a command line takes them, of a run whose folder names them as `changes`.

    That is `variant` backwards; `tree` is the run's configuration.
    """
    flat, overrides = flatten(tree), []
    for change in filter(None, changes.split(",")):
        name = change.partition("=")[0]
        keys = (f"{group}.{name}" for group in RESULT_GROUPS)
        key = next((key for key in keys if key in flat), None)
        if name == "precision":
            overrides.append(f"runtime.{change}")
        else:
            overrides.append(f"{key}={show(flat[key])}" if key else change)
    return overrides


def run_name(config: DictConfig, precision: str, auto_precision: str) -> str:
    """Name of a run: `resnet20`, or `resnet20,shortcut=B` with every override that counts."""
    return ",".join([config.model.name, *variant(config, precision, auto_precision)])


def folder_of(key: str, value: str, base: Path = Path()) -> Path:
    """Absolute path of the folder that `key=value` names; a relative one is counted from `base`.

    Raises `UserError` if there cannot be one: unknown users have no `~`, and names have a limit.
    """
    try:
        path = (base / Path(value).expanduser()).absolute()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except (RuntimeError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise UserError(f"{key}={value}: {reason}; allowed: a path that can be read") from error
    return path


def run_path(
    config: DictConfig, precision: str, auto_precision: str, root: Path | None = None
) -> Path:
    """Folder of a run: `run_dir` if set, else `<schedule>/<run name>/seed<k>` below `root`.

    Without `root` that is `RUNS`.
    """
    if config.run_dir is not None:
        return folder_of("run_dir", config.run_dir)
    name = run_name(config, precision, auto_precision)
    return (root or RUNS) / config.schedule.name / name / f"seed{config.seed}"


def command_line(name: str, *words: str) -> str:
    """The line to type in a shell for `python -m experiments.<name>` with these arguments."""
    return f".venv/bin/python -m experiments.{name} {shlex.join(words)}".rstrip()


def relative(path: str | Path) -> str:
    """`path` as records name it: relative to the repository; of one elsewhere, its last part.

    What lies beside the repository is not elsewhere, unless homes do: no user's name is in it.
    """
    path, home = (Path(os.path.abspath(os.path.expanduser(p))) for p in (path, "~"))
    among_homes = ROOT.parent in (Path(ROOT.anchor), *home.parents)
    if path.is_relative_to(ROOT if among_homes else ROOT.parent):
        return os.path.relpath(path, ROOT)
    return ".../~" if path == home else f".../{path.name}"


def recorded(config: DictConfig) -> dict:
    """The resolved configuration as a run folder keeps it: no paths and hosts of this user."""
    tree = OmegaConf.to_container(config, resolve=True)
    if tree["run_dir"]:
        tree["run_dir"] = relative(tree["run_dir"])
    places = tree["data"]
    if places.get("dir"):
        places["dir"] = relative(places["dir"])
    if "url" in places and places["url"] != option_values("data", "cifar10")["data.url"]:
        places["url"] = f".../{places['url'].rsplit('/', 1)[-1]}"
    if "search" in places:
        places["search"] = [relative(p) if p and os.path.isabs(p) else p for p in places["search"]]
    return tree
