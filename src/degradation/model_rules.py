"""What the settings of a network may be, one by one and together, for each builder.

Commands check them before TensorFlow is imported, `build_model` before it builds.
"""

from typing import Any

from degradation.errors import UserError
from degradation.rules import FLAG, Rule, check, integer, is_number, one_of, or_null, show


def _for_each_stage(rule: Rule, such_as: str) -> Rule:
    return Rule(
        lambda v: isinstance(v, list) and v and all(map(rule.holds, v)),
        f"a list such as {such_as}: for each stage {rule.allowed}",
    )


BLOCK_LAYERS = {"basic": 2, "basic_biased": 2, "bottleneck": 3, "preactivation": 2, "relu_first": 3}
"""Convolutions of a residual block, by its name."""

COUNT = integer(1)
CLASSES = integer(2)
SHORTCUT = or_null(one_of("A", "B", "C"))  # without any: the plain network
DEPTHS = _for_each_stage(COUNT, "[2,2,2,2]")
WIDTHS = _for_each_stage(COUNT, "[64,128,256,512]")

SETTINGS: dict[str, dict[str, Rule]] = {
    "cifar_resnet": {
        "depth": Rule(lambda v: integer(8).holds(v) and v % 6 == 2, "6n+2: 8, 14, 20, 26, 32, ..."),
        "shortcut": SHORTCUT,
        "block": one_of("basic", "preactivation"),
        "classes": CLASSES,
    },
    "resnet": {
        "stem": one_of("cifar", "imagenet", "bordered", "relu_first"),
        "block": one_of(*BLOCK_LAYERS),
        "widths": WIDTHS,
        "depths": DEPTHS,
        "shortcut": SHORTCUT,
        "head": one_of("linear", "l2", "dense512"),
        "classes": CLASSES,
    },
    "vgg": {"depths": DEPTHS, "widths": WIDTHS, "skip": FLAG, "classes": CLASSES},
    "densenet": {
        "depth": integer(7),
        "growth": COUNT,
        "bottleneck": FLAG,
        "compression": Rule(lambda v: is_number(v) and 0 < v <= 1, "a number above 0 and up to 1"),
        "classes": CLASSES,
    },
}
"""By builder and key. A builder without rules takes what it is given."""

NEEDED = {
    "cifar_resnet": {"depth"},
    "resnet": {"stem", "block", "widths", "depths"},
    "vgg": {"depths", "widths", "skip"},
    "densenet": {"depth", "growth", "bottleneck", "compression"},
}
"""By builder: the keys that a file may not leave out, if any."""


def check_model(settings: dict[str, Any], builder: str | None) -> None:
    """Check the settings of a network: the keys of its file in `conf/model/`, and their values.

    `builder` is that of the file. Raises `UserError` naming key, value and what is allowed, for the
    first key that is unknown or missing, or else the first value that is wrong.
    """
    if builder is None:
        raise UserError(
            f"conf/model/{settings['name']}.yaml: no builder; allowed: {', '.join(SETTINGS)}"
        )
    if settings["builder"] != builder:
        raise UserError(
            f"model.builder={show(settings['builder'])}: allowed: {builder}, that of "
            f"model={settings['name']}"
        )
    if builder in SETTINGS:
        _check_keys(settings, builder)
    for key, rule in SETTINGS.get(builder, {}).items():
        if key in settings:
            check(f"model.{key}", settings[key], rule)
    if builder in TOGETHER:
        TOGETHER[builder](settings)


def _check_keys(settings: dict, builder: str) -> None:
    known, needed = SETTINGS[builder], NEEDED.get(builder, set())
    given = settings.keys() - {"name", "builder"}
    for key in sorted(given - known.keys()) + sorted(needed - given):
        problem = "missing, and needed" if key in needed else "unknown key"
        raise UserError(
            f"model.{key}: {problem}; conf/model/{settings['name']}.yaml is of a {builder}, which "
            f"has {', '.join(known)}"
        )


def _check_stages(settings: dict) -> None:
    depths, widths = settings["depths"], settings["widths"]
    if len(depths) != len(widths):
        raise UserError(
            f"model.depths={show(depths)}: allowed: as many numbers as "
            f"model.widths={show(widths)} has"
        )


def _check_resnet(settings: dict) -> None:
    _check_stages(settings)
    if settings.get("shortcut") == "A":
        # These shortcuts add channels, and take none away.
        allowed = f"{WIDTHS.allowed}, none below the one before with model.shortcut=A"
        check("model.widths", settings["widths"], Rule(lambda v: v == sorted(v), allowed))


def _check_vgg(settings: dict) -> None:
    _check_stages(settings)
    depths, widths = settings["depths"], settings["widths"]
    if len(depths) > 5:
        raise UserError(f"model.depths={show(depths)}: allowed: up to 5 stages, which halve 32×32")
    # With two convolutions in it, the last stage is skipped whole: its input is the stage before.
    narrower = [3, *widths][-2] != widths[-1]
    if settings["skip"] and (depths[-1] == 1 or depths[-1] == 2 and narrower):
        raise UserError(
            "model.skip=true: allowed: where the last two convolutions are of one stage, and read "
            "as many maps as they give"
        )


def _check_densenet(settings: dict) -> None:
    each = 6 if settings["bottleneck"] else 3
    rule = Rule(
        lambda depth: depth > 4 and depth % each == 4 % each,
        f"{each}n+4 with model.bottleneck={show(settings['bottleneck'])}",
    )
    check("model.depth", settings["depth"], rule)


TOGETHER = {"resnet": _check_resnet, "vgg": _check_vgg, "densenet": _check_densenet}
"""By builder: what its settings mean together."""
