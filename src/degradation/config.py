"""What a configuration may say, and the folder that follows from it."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from degradation.errors import UserError

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
RUNS = ROOT / "results" / "runs"

# Groups whose values decide the result; `runtime` enters through the precision in force alone.
RESULT_GROUPS = ("model", "data", "schedule", "optimizer")
# Where the data lies does not change what it holds: the manifest's fingerprint says that.
PLACES = ("dir", "search", "url")


class Rule(NamedTuple):
    """A test for one value, and the words for what passes it."""

    holds: Callable[[Any], bool]
    allowed: str


def _is_int(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value) -> bool:
    return (_is_int(value) or isinstance(value, float)) and math.isfinite(value)


def _one_of(*names) -> Rule:
    return Rule(lambda v: isinstance(v, str) and v in names, ", ".join(names))


def _integer(low: int) -> Rule:
    return Rule(lambda v: _is_int(v) and v >= low, f"an integer of {low} or more")


def _or_null(rule: Rule) -> Rule:
    return Rule(lambda v: v is None or rule.holds(v), f"{rule.allowed}, or null")


def _rising(values) -> bool:
    return all(a < b for a, b in zip([0, *values], values, strict=False))


TEXT = Rule(lambda v: isinstance(v, str) and bool(v.strip()), "text")
FLAG = Rule(lambda v: isinstance(v, bool), "true or false")
POSITIVE = Rule(lambda v: _is_number(v) and v > 0, "a number above 0")
NOT_NEGATIVE = Rule(lambda v: _is_number(v) and v >= 0, "a number of 0 or more")
FRACTION = Rule(lambda v: _is_number(v) and 0 <= v < 1, "a number from 0 to below 1")
PERCENT = Rule(lambda v: _is_number(v) and 0 < v <= 100, "a number above 0 and up to 100")
TEXTS = Rule(
    lambda v: isinstance(v, list) and all(x is None or TEXT.holds(x) for x in v),
    "a list of folders",
)
SEEDS = Rule(
    lambda v: isinstance(v, list) and v and all(_is_int(x) and x >= 0 for x in v),
    "a list of integers of 0 or more, such as [0,1,2]",
)
DEPTH = Rule(lambda v: _is_int(v) and v >= 8 and v % 6 == 2, "6n+2: 8, 14, 20, 26, 32, ...")
DROPS = Rule(
    lambda v: isinstance(v, list) and all(map(_is_int, v)) and _rising(v),
    "a rising list of iterations above 0, such as [2000,3000]",
)

RULES = {
    "model.depth": DEPTH,
    "model.shortcut": _one_of("A", "B", "C"),
    "data.dir": _or_null(TEXT),
    "data.search": TEXTS,
    "data.url": TEXT,
    "data.holdout": _integer(0),
    "data.train_images": _integer(10),
    "data.test_images": _integer(10),
    "schedule.iterations": _integer(1),
    "schedule.drops": DROPS,
    "schedule.evaluate_every": _integer(1),
    "optimizer.batch": _integer(1),
    "optimizer.rate": POSITIVE,
    "optimizer.momentum": FRACTION,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "optimizer.decay": _one_of("all", "kernels"),
    "optimizer.warmup.min_depth": _integer(1),
    "optimizer.warmup.rate": POSITIVE,
    "optimizer.warmup.until_error": PERCENT,
    "runtime.precision": _one_of("auto", "float32", "bfloat16", "float16"),
    "runtime.threads": _or_null(_integer(1)),
    "runtime.checkpoint_every": POSITIVE,
    "tracking.mode": _one_of("offline", "online", "disabled"),
    "tracking.project": TEXT,
    "tracking.entity": _or_null(TEXT),
    "tracking.group": _or_null(TEXT),
    "seeds": SEEDS,
    "runs": TEXT,
    "seed": _integer(0),
    "run_dir": _or_null(TEXT),
    "overwrite": FLAG,
}


def options(group: str) -> list[str]:
    """Names of the options of a group: the files of `conf/<group>/`."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def show(value) -> str:
    """Write a value as a command line would."""
    if isinstance(value, list):
        return "[" + ",".join(map(show, value)) + "]"
    return {None: "null", True: "true", False: "false"}.get(value, str(value))


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


def check_values(config: DictConfig) -> dict[str, Any]:
    """Return the dotted values of any command's `config`, checked one by one.

    Raises `UserError` naming key, value and what is allowed, for the first value that is wrong.
    """
    flat = flatten(OmegaConf.to_container(config, resolve=True))
    for group in sorted({key.split(".")[0] for key in flat if "." in key}):
        name = flat.get(f"{group}.mode" if group == "tracking" else f"{group}.name")
        if name not in options(group):
            raise UserError(f"{group}={show(name)}: unknown; allowed: {', '.join(options(group))}")
        have = {key for key in flat if key.startswith(f"{group}.")}
        expected = option_values(group, name).keys()
        for key in sorted(have ^ expected):
            problem = "missing, and needed" if key in expected else "unknown key"
            raise UserError(f"{key}: {problem}; {group}={name} has {', '.join(sorted(expected))}")
    for key, value in flat.items():
        if key in RULES and not RULES[key].holds(value):
            raise UserError(f"{key}={show(value)}: allowed: {RULES[key].allowed}")
    return flat


def validate(config: DictConfig) -> None:
    """Check the configuration of a training run: each value, and what they mean together.

    Raises `UserError` as `check_values` does.
    """
    flat = check_values(config)
    if flat["schedule.drops"] and flat["schedule.drops"][-1] >= flat["schedule.iterations"]:
        raise UserError(
            f"schedule.drops={show(flat['schedule.drops'])}: every drop must come before "
            f"schedule.iterations={flat['schedule.iterations']}"
        )


def variant(config: DictConfig, precision: str, auto_precision: str) -> list[str]:
    """Overrides that change the result, as sorted `key=value`, fit for a folder's name.

    Keys are those within their group. `precision` is the one in force, `auto_precision` the one
    that `runtime.precision=auto` picks.
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


def run_name(config: DictConfig, precision: str, auto_precision: str) -> str:
    """Name of a run: `resnet20`, or `resnet20,shortcut=B` with every override that counts."""
    return ",".join([config.model.name, *variant(config, precision, auto_precision)])


def run_path(config: DictConfig, precision: str, auto_precision: str) -> Path:
    """Folder of a run: `run_dir` if set, else `<schedule>/<run name>/seed<k>` below `RUNS`."""
    if config.run_dir is not None:
        return Path(config.run_dir).expanduser().absolute()
    name = run_name(config, precision, auto_precision)
    return RUNS / config.schedule.name / name / f"seed{config.seed}"


def relative(path: str | Path) -> str:
    """`path` as records name it: relative to the repository; of one elsewhere, its last part."""
    path = Path(path).expanduser().absolute()
    inside = os.path.relpath(path, ROOT)
    return inside if not inside.startswith(os.path.join("..", "..")) else f".../{path.name}"


def recorded(config: DictConfig) -> dict:
    """The resolved configuration as a run folder keeps it: no paths of this machine."""
    tree = OmegaConf.to_container(config, resolve=True)
    if tree["run_dir"]:
        tree["run_dir"] = relative(tree["run_dir"])
    places = tree["data"]
    if places.get("dir"):
        places["dir"] = relative(places["dir"])
    if "search" in places:
        places["search"] = [relative(p) if p and os.path.isabs(p) else p for p in places["search"]]
    return tree
