"""Where configurations lie, and how places are named: in messages, records and commands."""

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
from degradation.schema import CLASSES, NETWORKS, Configuration, check, show

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
RUNS = ROOT / "results" / "runs"


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
        try:
            spec = OmegaConf.to_container(OmegaConf.load(CONF / "figure" / f"{name}.yaml"))
            check({"figure": spec})
            if spec["name"] != name:
                raise UserError(f"name={show(spec['name'])}: allowed: {name}")
        except (yaml.YAMLError, OmegaConfBaseException) as error:
            raise UserError(f"conf/figure/{name}.yaml: cannot be read: {error}") from error
        except UserError as error:
            raise UserError(f"conf/figure/{name}.yaml: {error}") from error
        figures[name] = spec
    return figures


def validate(config: DictConfig) -> Configuration:
    """Check any command's `config`: there are such options, and values are as allowed.

    Raises `UserError`, one line with key, value and what is allowed, for the first thing wrong.
    """
    tree = OmegaConf.to_container(config, resolve=True)
    for group in sorted(key for key in tree if (CONF / key).is_dir()):
        key = "mode" if group == "tracking" else "name"
        name = tree[group].get(key) if isinstance(tree[group], dict) else tree[group]
        if name not in options(group):
            raise UserError(f"{group}={show(name)}: unknown; allowed: {', '.join(options(group))}")
    if model := tree.get("model", {}):
        check_builder(model, option_values("model", model["name"]).get("model.builder"))
    if isinstance(classes := model.get("classes", CLASSES), int) and 2 <= classes < CLASSES:
        raise UserError(f"model.classes={classes}: allowed: an integer of {CLASSES} or more")
    return check(tree)


def check_builder(model: dict[str, Any], builder: str | None) -> None:
    """Raise `UserError` if a network's `builder` is not that of its file: its keys are others."""
    if builder is None:
        raise UserError(
            f"conf/model/{model['name']}.yaml: no builder; allowed: {', '.join(NETWORKS)}"
        )
    if model.get("builder") != builder:
        given = show(model.get("builder"))
        name = model["name"]
        raise UserError(f"model.builder={given}: allowed: {builder}, that of model={name}")


def check_models(key: str, models: Iterable[str]) -> None:
    """Raise `UserError`, which names `key`, for the first of `models` that conf/model/ lacks."""
    for model in models:
        if model not in options("model"):
            raise UserError(f"{key}: {model} is no model; allowed: {', '.join(options('model'))}")


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
