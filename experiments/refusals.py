"""What Hydra refuses, in one line: the key, the value, and what is allowed."""

import contextlib
import difflib
import functools
import re

import hydra
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from degradation.config import CONF, flatten, options

# Whatever Hydra raises for a wrong command line.
REFUSALS = (HydraException, OmegaConfBaseException, ValueError)

_UNKNOWN = r"Could not override '([^']+)'|Key '([^']+)' (?:is not in struct|not found)"
_SEVERAL = r"Ambiguous value for argument '(.+)'|Sweep parameters '(.+)' requires --multirun"
_OPTIONS = r"Could not find '([^']*)'\s+Available options in '([^']+)':((?:\s+\S+$)+)"
_APPENDIX = r"See https|Config search path|^\s*full_key"  # links, paths and Python types


def compose_again(config_name: str, overrides: list[str]) -> DictConfig:
    """Compose `conf/<config_name>.yaml` with overrides, outside of Hydra's own command line."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose(config_name, overrides)


@functools.cache
def defaults(config_name: str) -> DictConfig:
    """Compose `conf/<config_name>.yaml` as it is."""
    return compose_again(config_name, [])


def explain(error: Exception, config_name: str, overrides: list[str]) -> str:
    """Say in one line what Hydra says in several of a command line with these overrides."""
    text = str(error)
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read; allowed: key=value, special signs in quotes"
    if match := re.search(_UNKNOWN, text):
        return unknown_key(match[1] or match[2], config_name, overrides)
    if match := re.search(_SEVERAL, text):
        return f"{match[1] or match[2]}: allowed: one value, or -m to run a job for each"
    if match := re.search(_OPTIONS, text, re.MULTILINE):
        name, group, names = match.groups()
        name = name.removeprefix(f"{group}/")
        return f"{group}={name}: unknown; allowed: {', '.join(names.split())}"
    culprit = _culprit(error, config_name, overrides)
    if culprit.startswith("="):
        return f"{culprit}: cannot be read; allowed: key=value"
    if culprit.startswith("~"):
        return f"{culprit}: allowed: key=value, since every key is needed"
    if isinstance(error, ValueError) and culprit and (CONF / key_of(culprit)).is_dir():
        return f"{culprit}: allowed: {', '.join(options(key_of(culprit)))}"
    words = re.split(_APPENDIX, text, maxsplit=1, flags=re.MULTILINE)[0].split()
    return ": ".join(filter(None, [culprit, " ".join(words) or repr(error)]))


def unknown_key(key: str, config_name: str, overrides: list[str]) -> str:
    """Say that there is no such key, which one may have been meant, and which ones there are."""
    given = next((override for override in overrides if key_of(override) == key), key)
    keys = _keys(config_name, overrides)
    group = f"{key.split('.')[0]}."
    inside = [known.removeprefix(group) for known in keys if known.startswith(group)]
    allowed = ", ".join(sorted([group + name for name in inside] or keys))
    if key in keys and inside and group == f"{key}.":  # it has keys, and no value of its own
        return f"{given}: allowed: {allowed}"
    if key in keys:
        return f"{given}: allowed: keys that every job of the sweep has"
    near = _nearest(key.removeprefix(group), inside) if inside else _nearest(key, keys)
    hint = f"did you mean {group if inside else ''}{near}? " if near else ""
    return f"{given}: unknown key; {hint}allowed: {allowed}"


def key_of(override: str) -> str:
    """The key of an override: model.depth of +model.depth=8."""
    return override.lstrip("+~").split("=")[0]


def _keys(config_name: str, overrides: list[str]) -> list[str]:
    """Keys of the command with the options that the overrides choose, and names of its groups."""
    tree = defaults(config_name)
    groups = [key for key, value in tree.items() if isinstance(value, DictConfig)]
    chosen = [o for o in overrides if key_of(o) in groups and (CONF / key_of(o)).is_dir()]
    # In a sweep over options those of the default have to do.
    with contextlib.suppress(*REFUSALS):
        tree = compose_again(config_name, chosen) if chosen else tree
    return [*flatten(OmegaConf.to_container(tree, resolve=False)), *groups]


def _nearest(key: str, keys: list[str]) -> str | None:
    """The key most like `key`: as a whole, or else by its name alone, `rate` of optimizer.rate."""
    for start in (0, -1):
        names = {}
        for known in sorted(keys, key=len):
            names.setdefault(".".join(known.split(".")[start:]), known)
        if near := difflib.get_close_matches(".".join(key.lower().split(".")[start:]), names, n=1):
            return names[near[0]]
    return None


def _culprit(error: Exception, config_name: str, overrides: list[str]) -> str:
    """The override with which Hydra begins to say what it says; "" if it is not one alone."""
    for count in range(1, len(overrides) + 1):
        try:
            OmegaConf.resolve(compose_again(config_name, overrides[:count]))
        except REFUSALS as again:
            if str(again) == str(error):
                return overrides[count - 1]
    return ""
