"""What each value of a configuration may be, and the words for it."""

import json
import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from degradation.errors import UserError

TRAIN_IMAGES = 50_000  # of CIFAR-10
CLASSES = 10


class Rule(NamedTuple):
    """A test for one value, and the words for what passes it."""

    holds: Callable[[Any], bool]
    allowed: str


def check(key: str, value, rule: Rule) -> None:
    """Raise `UserError`, which names key, value and what is allowed, unless the rule holds."""
    if not rule.holds(value):
        raise UserError(f"{key}={show(value)}: allowed: {rule.allowed}")


def show(value) -> str:
    """Write a value as a command line would."""
    if isinstance(value, list):
        return "[" + ",".join(map(show, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{show(item)}" for key, item in value.items()) + "}"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _is_int(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value) -> bool:
    """Whether `value` is a finite number, and small enough for a float."""
    if _is_int(value):
        return abs(value) <= sys.float_info.max
    return isinstance(value, float) and math.isfinite(value)


def one_of(*names) -> Rule:
    """Allow these names."""
    return Rule(lambda v: isinstance(v, str) and v in names, ", ".join(names))


def integer(low: int, high: float = math.inf) -> Rule:
    """Allow integers from `low`, up to and with `high`."""
    bounds = f"of {low} or more" if high == math.inf else f"from {low} to {high}"
    return Rule(lambda v: _is_int(v) and low <= v <= high, f"an integer {bounds}")


def or_null(rule: Rule) -> Rule:
    """Allow null, and what `rule` allows."""
    return Rule(lambda v: v is None or rule.holds(v), f"{rule.allowed}, or null")


def _rising(values) -> bool:
    return all(a < b for a, b in zip([0, *values], values, strict=False))


def _is_panel(value) -> bool:
    return (
        isinstance(value, dict)
        and {"title", "models"} <= value.keys() <= {"title", "models", "also"}
        and TEXT.holds(value["title"])
        and all(MODELS.holds(value[key]) for key in value if key != "title")
    )


def _is_part(value) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"schedule", "models", "seeds", "overrides"}
        and TEXT.holds(value["schedule"])
        and MODELS.holds(value["models"])
        and SEEDS.holds(value["seeds"])
        and isinstance(value["overrides"], list)
        and all(map(TEXT.holds, value["overrides"]))
    )


TEXT = Rule(lambda v: isinstance(v, str) and bool(v.strip()), "text")
FLAG = Rule(lambda v: isinstance(v, bool), "true or false")
POSITIVE = Rule(lambda v: is_number(v) and v > 0, "a number above 0")
NOT_NEGATIVE = Rule(lambda v: is_number(v) and v >= 0, "a number of 0 or more")
FRACTION = Rule(lambda v: is_number(v) and 0 <= v < 1, "a number from 0 to below 1")
PERCENT = Rule(lambda v: is_number(v) and 0 < v <= 100, "a number above 0 and up to 100")
PLACES = Rule(
    lambda v: isinstance(v, list) and all(x is None or isinstance(x, str) for x in v),
    "a list of folders",  # one that is empty is skipped: a variable may be set to nothing
)
SEED = integer(0, 2**32 - 1)  # what numpy takes
SEEDS = Rule(
    lambda v: isinstance(v, list) and v and all(map(SEED.holds, v)) and len({*v}) == len(v),
    f"a list such as [0,1,2], each {SEED.allowed}, and once",
)
PROJECT = Rule(
    lambda v: TEXT.holds(v) and len(v) <= 128 and not set(v) & set(r"/\#?%:"),
    r"up to 128 characters, none of /\#?%:, as W&B has it",
)
# Of the synthetic data: as many images of each of the ten classes, no more than CIFAR-10 has.
IMAGES = Rule(
    lambda v: _is_int(v) and 0 < v <= TRAIN_IMAGES and v % 10 == 0,
    f"a multiple of 10 from 10 to {TRAIN_IMAGES}",
)
DROPS = Rule(
    lambda v: isinstance(v, list) and all(map(_is_int, v)) and _rising(v),
    "a rising list of iterations above 0, such as [2000,3000]",
)
MODELS = Rule(lambda v: isinstance(v, list) and v and all(map(TEXT.holds, v)), "a list of models")
PANELS = Rule(
    lambda v: isinstance(v, list) and v and all(map(_is_panel, v)),
    "a list of panels, each with title and models, and if need be also: lists of models",
)
PLAN = Rule(
    lambda v: isinstance(v, list) and v and all(map(_is_part, v)),
    "a list of parts, each with schedule, models, seeds and overrides",
)

RULES: dict[str, Rule] = {
    "data.dir": or_null(TEXT),
    "data.search": PLACES,
    "data.url": TEXT,
    "data.holdout": integer(0),
    "data.train_images": IMAGES,
    "data.test_images": IMAGES,
    "schedule.iterations": integer(1),
    "schedule.drops": DROPS,
    "schedule.evaluate_every": integer(1),
    "optimizer.batch": integer(1),
    "optimizer.ghost_batch": or_null(integer(1)),
    "optimizer.rate": POSITIVE,
    "optimizer.momentum": FRACTION,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "optimizer.decay": one_of("all", "kernels"),
    "optimizer.warmup.min_depth": integer(1),
    "optimizer.warmup.rate": POSITIVE,
    "optimizer.warmup.until_error": PERCENT,
    "runtime.precision": one_of("auto", "float32", "bfloat16"),
    "runtime.threads": or_null(integer(1, 1024)),
    "runtime.checkpoint_every": POSITIVE,
    "runtime.xla": FLAG,
    "tracking.mode": one_of("offline", "online", "disabled"),
    "tracking.project": PROJECT,
    "tracking.group": or_null(TEXT),
    "figure.title": TEXT,
    "figure.source": TEXT,
    "figure.panels": PANELS,
    "figure.draws": one_of("errors", "responses"),
    "benchmark.networks": MODELS,
    "benchmark.repeats": integer(1),
    "benchmark.seconds": POSITIVE,
    "benchmark.out": TEXT,
    "models": or_null(MODELS),
    "speed": FLAG,
    "plan": PLAN,
    "out": TEXT,
    "seeds": or_null(SEEDS),
    "runs": TEXT,
    "strict": FLAG,
    "seed": SEED,
    "run_dir": or_null(TEXT),
    "overwrite": FLAG,
}
"""By dotted key; a network's settings have theirs in `degradation.model_rules`. What values mean
together, `degradation.config.validate` checks."""
