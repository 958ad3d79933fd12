"""What each value of a configuration may be, and the words for it."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

TRAIN_IMAGES = 50_000  # of CIFAR-10


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


def integer(low: int, high: float = math.inf) -> Rule:
    """Allow integers from `low`, up to and with `high`."""
    bounds = f"of {low} or more" if high == math.inf else f"from {low} to {high}"
    return Rule(lambda v: _is_int(v) and low <= v <= high, f"an integer {bounds}")


def _or_null(rule: Rule) -> Rule:
    return Rule(lambda v: v is None or rule.holds(v), f"{rule.allowed}, or null")


def _rising(values) -> bool:
    return all(a < b for a, b in zip([0, *values], values, strict=False))


def _is_panel(value) -> bool:
    return (
        isinstance(value, dict)
        and TEXT.holds(value.get("title"))
        and MODELS.holds(value.get("models"))
    )


TEXT = Rule(lambda v: isinstance(v, str) and bool(v.strip()), "text")
FLAG = Rule(lambda v: isinstance(v, bool), "true or false")
POSITIVE = Rule(lambda v: _is_number(v) and v > 0, "a number above 0")
NOT_NEGATIVE = Rule(lambda v: _is_number(v) and v >= 0, "a number of 0 or more")
FRACTION = Rule(lambda v: _is_number(v) and 0 <= v < 1, "a number from 0 to below 1")
PERCENT = Rule(lambda v: _is_number(v) and 0 < v <= 100, "a number above 0 and up to 100")
PLACES = Rule(
    lambda v: isinstance(v, list) and all(x is None or TEXT.holds(x) for x in v),
    "a list of folders",
)
SEED = integer(0, 2**32 - 1)  # what numpy takes
SEEDS = Rule(
    lambda v: isinstance(v, list) and v and all(map(SEED.holds, v)),
    f"a list such as [0,1,2], each {SEED.allowed}",
)
# Of the synthetic data: as many images of each of the ten classes, no more than CIFAR-10 has.
IMAGES = Rule(
    lambda v: _is_int(v) and 0 < v <= TRAIN_IMAGES and v % 10 == 0,
    f"a multiple of 10 from 10 to {TRAIN_IMAGES}",
)
DEPTH = Rule(lambda v: _is_int(v) and v >= 8 and v % 6 == 2, "6n+2: 8, 14, 20, 26, 32, ...")
DROPS = Rule(
    lambda v: isinstance(v, list) and all(map(_is_int, v)) and _rising(v),
    "a rising list of iterations above 0, such as [2000,3000]",
)
MODELS = Rule(lambda v: isinstance(v, list) and v and all(map(TEXT.holds, v)), "a list of models")
PANELS = Rule(
    lambda v: isinstance(v, list) and v and all(map(_is_panel, v)),
    "a list of panels, each with a title and a list of models",
)

RULES: dict[str, Rule] = {
    "model.depth": DEPTH,
    "model.shortcut": _one_of("A", "B", "C"),
    "data.dir": _or_null(TEXT),
    "data.search": PLACES,
    "data.url": TEXT,
    "data.holdout": integer(0),
    "data.train_images": IMAGES,
    "data.test_images": IMAGES,
    "schedule.iterations": integer(1),
    "schedule.drops": DROPS,
    "schedule.evaluate_every": integer(1),
    "optimizer.batch": integer(1),
    "optimizer.rate": POSITIVE,
    "optimizer.momentum": FRACTION,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "optimizer.decay": _one_of("all", "kernels"),
    "optimizer.warmup.min_depth": integer(1),
    "optimizer.warmup.rate": POSITIVE,
    "optimizer.warmup.until_error": PERCENT,
    "runtime.precision": _one_of("auto", "float32", "bfloat16", "float16"),
    "runtime.threads": _or_null(integer(1, 1024)),
    "runtime.checkpoint_every": POSITIVE,
    "tracking.mode": _one_of("offline", "online", "disabled"),
    "tracking.project": TEXT,
    "tracking.group": _or_null(TEXT),
    "figure.title": TEXT,
    "figure.source": TEXT,
    "figure.panels": PANELS,
    "benchmark.networks": MODELS,
    "benchmark.repeats": integer(1),
    "benchmark.seconds": POSITIVE,
    "benchmark.out": TEXT,
    "seeds": _or_null(SEEDS),
    "runs": TEXT,
    "seed": SEED,
    "run_dir": _or_null(TEXT),
    "overwrite": FLAG,
}
"""By dotted key. What values mean together, `degradation.config.validate` checks."""
