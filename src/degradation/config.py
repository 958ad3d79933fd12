"""Where configurations lie, and how places are named: in messages, records and commands."""

import contextlib
import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from degradation.errors import UserError
from degradation.schema import CLASSES, Configuration, check

ROOT = Path(__file__).parents[2]
# The checkout's; installed without one, the package has a copy, of the link to it.
CONF = next(p for p in (ROOT / "conf", Path(__file__).with_name("conf")) if p.is_dir())
RUNS = ROOT / "results" / "runs"
RECORDED = ROOT / "results" / "recorded"


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
    """Values of `conf/<group>/<name>.yaml`, dotted: `{"schedule.iterations": 4000, ...}`.

    Raises `UserError` as `read_option` does.
    """
    tree = OmegaConf.create({group: read_option(group, name)})
    return flatten(OmegaConf.to_container(tree, resolve=True))


def read_option(group: str, name: str) -> DictConfig:
    """Read `conf/<group>/<name>.yaml`.

    Raises `UserError`, which names the file, where that cannot be read or has another's name.
    """
    values, key = read_yaml(f"{group}/{name}.yaml"), "mode" if group == "tracking" else "name"
    if not OmegaConf.is_dict(values) or values.get(key) != name:
        raise UserError(f"conf/{group}/{name}.yaml: allowed: keys and values, with {key}: {name}")
    return values


def read_yaml(file: str) -> DictConfig | ListConfig:
    """Read a file of `conf/`; raises `UserError`, which names it, where that is not possible."""
    try:
        return OmegaConf.load(CONF / file)
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise UserError(f"conf/{file}: cannot be read: {error}") from error


def read_figures() -> dict[str, dict[str, Any]]:
    """Read every file of `conf/figure/`, by name; keys that it leaves out have their defaults.

    Raises `UserError`, which names the file, for one that is no figure, and as `read_option` does.
    """
    figures = {}
    for name in options("figure"):
        tree = {"figure": OmegaConf.to_container(read_option("figure", name))}
        try:
            figures[name] = check(tree).figure.model_dump()
        except UserError as error:
            raise UserError(f"conf/figure/{name}.yaml: {error}") from error
    return figures


def validate(config: DictConfig) -> Configuration:
    """Check that the values of any command's `config` are as allowed.

    Raises `UserError`, one line with key, value and what is allowed, for the first thing wrong.
    """
    checked = check(OmegaConf.to_container(config, resolve=True))
    if checked.model and checked.model.classes < CLASSES:
        raise UserError(
            f"model.classes={checked.model.classes}: allowed: an integer of {CLASSES} or more"
        )
    return checked


def check_models(key: str, models: Iterable[str]) -> None:
    """Raise `UserError`, which names `key`, for the first of `models` that conf/model/ lacks."""
    for model in models:
        if model not in options("model"):
            raise UserError(f"{key}: {model} is no model; allowed: {', '.join(options('model'))}")


def folder_of(key: str, value: str, base: Path = Path()) -> Path:
    """Absolute path of the folder that `key=value` names; a relative one is counted from `base`.

    Raises `UserError` if there cannot be one: a file is there or on the way, unknown users have no
    `~`, names have a limit, and records are UTF-8.
    """
    try:
        value.encode()
        path = (base / Path(value).expanduser()).absolute()
        with contextlib.suppress(FileNotFoundError):
            os.scandir(path).close()
    except (RuntimeError, OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise UserError(f"{key}={value}: {reason}; allowed: a folder, there or not") from error
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


def shown(path: str | Path) -> str:
    """`path` as messages name it: relative to the repository or, of one elsewhere, whole."""
    name = relative(path)
    return str(path) if name.startswith("...") else name


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
