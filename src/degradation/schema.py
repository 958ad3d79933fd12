"""What a configuration may say: a class a group, a type a value, with its default and its limits.

Files in `conf/` have the same defaults (a test keeps them equal): an edited file changes what the
next run is, and never what a finished one was.
"""

import contextlib
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WrapValidator, model_validator
from pydantic_core import PydanticCustomError

from degradation.errors import UserError

TRAIN_IMAGES = 50_000  # of CIFAR-10
CLASSES = 10


class Values(BaseModel):
    """Keys and their values: no others, and none of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def allowed(words: str, kind: Any, holds: Callable[[Any], bool] = lambda value: True, **limits):
    """Make a type: what `kind`, its `limits` and `holds` let pass; `words` say what that is."""

    def check(value, handler):
        with contextlib.suppress(ValidationError, OverflowError):
            result = handler(tuple(value) if isinstance(value, list) else value)
            if holds(result):
                return result
        raise PydanticCustomError("allowed", "allowed: {words}", {"words": words})

    return Annotated[kind, Field(**limits), WrapValidator(check)]


def refuse(line: str) -> PydanticCustomError:
    """Make the error of values that do not go together, which `line` says whole."""
    return PydanticCustomError("together", "{line}", {"line": line})


def one_of(*names: str):
    """Make the type of some names."""
    return allowed(", ".join(names), Literal[names])


def integer(low: int, high: int | None = None, null: bool = False):
    """Make the type of the integers from `low`, up to and with `high`; with `null` none as well."""
    words = f"an integer of {low} or more" if high is None else f"an integer from {low} to {high}"
    return allowed(
        f"{words}, or null" if null else words, int | None if null else int, ge=low, le=high
    )


def each(item, words: str, holds: Callable[[tuple], bool] = bool):
    """Make the type of lists of `item`, not empty unless `holds` says otherwise."""
    return allowed(words, tuple[item, ...], holds)


Text = allowed("text", str, lambda value: bool(value.strip()))
TextOrNull = allowed(
    "text, or null", str | None, lambda value: value is None or bool(value.strip())
)
Flag = allowed("true or false", bool)
Positive = allowed("a number above 0", float, gt=0)
NotNegative = allowed("a number of 0 or more", float, ge=0)
Fraction = allowed("a number from 0 to below 1", float, ge=0, lt=1)
Percent = allowed("a number above 0 and up to 100", float, gt=0, le=100)
Seed = integer(0, 2**32 - 1)  # what numpy takes
SEEDS = f"a list such as [0,1,2], each an integer from 0 to {2**32 - 1}, and once"
Seeds = each(Seed, SEEDS, lambda seeds: 0 < len(seeds) == len({*seeds}))
Models = each(Text, "a list of models")
Images = allowed(
    f"a multiple of 10 from 10 to {TRAIN_IMAGES}", int, ge=10, le=TRAIN_IMAGES, multiple_of=10
)


# ---------------------------------------------------------------- groups


class Warmup(Values):
    """`conf/optimizer/`: the first updates of deep networks."""

    min_depth: integer(1) = 110
    rate: Positive = 0.01
    until_error: Percent = 80.0


class Optimizer(Values):
    """`conf/optimizer/`."""

    name: Text = "sgd"
    batch: integer(1) = 128
    ghost_batch: integer(1, null=True) = 64
    rate: Positive = 0.1
    momentum: Fraction = 0.9
    weight_decay: NotNegative = 1e-4
    decay: one_of("all", "kernels") = "kernels"
    warmup: Warmup = Warmup()

    @model_validator(mode="after")
    def _parts(self):
        if self.ghost_batch and self.batch % self.ghost_batch:
            raise refuse(
                f"optimizer.ghost_batch={self.ghost_batch}: allowed: a divisor of "
                f"optimizer.batch={self.batch}, or null"
            )
        return self


class Schedule(Values):
    """`conf/schedule/`; `SCHEDULES` has its options."""

    name: Text
    iterations: integer(1)
    drops: each(
        int,
        "a rising list of iterations above 0, such as [2000,3000]",
        lambda drops: all(a < b for a, b in zip((0, *drops), drops, strict=False)),
    )
    evaluate_every: integer(1)

    @model_validator(mode="after")
    def _drops_before_the_end(self):
        if self.drops and self.drops[-1] >= self.iterations:
            raise refuse(
                f"schedule.drops={show(self.drops)}: every drop must come before "
                f"schedule.iterations={self.iterations}"
            )
        return self


class Data(Values):
    """What both data sets share."""

    holdout: integer(0) = 0

    @property
    def images(self) -> int:
        """Number of training images, held-out ones included."""
        return TRAIN_IMAGES

    @model_validator(mode="after")
    def _some_are_left(self):
        if self.holdout >= self.images:
            raise refuse(
                f"data.holdout={self.holdout}: allowed: an integer from 0 to {self.images - 1}, "
                f"which leaves some of the {self.images:,} images to train on"
            )
        return self


class Cifar10(Data):
    """`conf/data/cifar10.yaml`; where the files lie is no part of an experiment."""

    name: Literal["cifar10"]
    dir: TextOrNull = None
    search: each(str | None, "a list of folders", lambda places: True) = ()
    url: Text = ""


class Synthetic(Data):
    """`conf/data/synthetic.yaml`: as many images of each of the ten classes."""

    name: Literal["synthetic"]
    train_images: Images = 2000
    test_images: Images = 500

    @property
    def images(self) -> int:
        """Number of training images, held-out ones included."""
        return self.train_images


class Cpu(Values):
    """`conf/runtime/cpu.yaml`."""

    name: Literal["cpu"]
    precision: one_of("auto", "float32", "bfloat16") = "auto"
    threads: integer(1, 1024, null=True) = None
    checkpoint_every: Positive = 120.0


class Gpu(Cpu):
    """`conf/runtime/gpu.yaml`."""

    name: Literal["gpu"]
    xla: Flag = True


class Tracking(Values):
    """`conf/tracking/`."""

    mode: one_of("disabled", "offline", "online")
    project: allowed(
        r"up to 128 characters, none of /\#?%:, as W&B has it",
        str,
        lambda name: bool(name.strip()) and not set(name) & set(r"/\#?%:"),
        max_length=128,
    ) = "degradation"
    group: TextOrNull = None


class Panel(Values):
    """One panel of a figure: its networks, and `also` those that it shows where there are runs."""

    title: Text
    models: Models
    also: Models = ()


class Figure(Values):
    """`conf/figure/`."""

    name: Text
    title: Text
    source: Text
    draws: one_of("errors", "responses") = "errors"
    panels: each(
        Panel,
        "a list of panels, each with title and models, and if need be also: lists of models",
    )


# ---------------------------------------------------------------- networks


def _for_each_stage(such_as: str):
    return each(
        Annotated[int, Field(ge=1)],
        f"a list such as {such_as}: for each stage an integer of 1 or more",
    )


BLOCK_LAYERS = {"basic": 2, "basic_biased": 2, "bottleneck": 3, "preactivation": 2, "relu_first": 3}
"""Convolutions of a residual block, by its name."""

Shortcut = allowed("A, B, C, or null", Literal["A", "B", "C"] | None)  # null: the plain network
Depths = _for_each_stage("[2,2,2,2]")
Widths = _for_each_stage("[64,128,256,512]")


class Network(Values):
    """`conf/model/`: the keys of all networks; its subclasses are by the builder of theirs."""

    name: Text
    builder: Text
    classes: integer(2) = CLASSES

    def refuse(self, key: str, words: str) -> PydanticCustomError:
        """Make the error of a value that does not go with the others."""
        return refuse(f"model.{key}={show(getattr(self, key))}: allowed: {words}")


class CifarResnet(Network):
    """6n+2 layers (He et al. 2015, section 4.2)."""

    builder: Literal["cifar_resnet"]
    depth: allowed("6n+2: 8, 14, 20, 26, 32, ...", int, lambda depth: depth % 6 == 2, ge=8)
    shortcut: Shortcut = None
    block: one_of("basic", "preactivation") = "basic"


class Resnet(Network):
    """Stages of residual or plain blocks (He et al. 2015, Table 1)."""

    builder: Literal["resnet"]
    stem: one_of("cifar", "imagenet", "bordered", "relu_first")
    block: one_of(*BLOCK_LAYERS)
    widths: Widths
    depths: Depths
    shortcut: Shortcut = None
    head: one_of("linear", "l2", "dense512") = "linear"

    @model_validator(mode="after")
    def _together(self):
        _check_stages(self)
        # Option A adds channels, and takes none away.
        if self.shortcut == "A" and list(self.widths) != sorted(self.widths):
            raise self.refuse("widths", "none below the one before with model.shortcut=A")
        return self


class Vgg(Network):
    """Stages of convolutions, each ended by a max-pooling."""

    builder: Literal["vgg"]
    depths: Depths
    widths: Widths
    skip: Flag

    @model_validator(mode="after")
    def _together(self):
        _check_stages(self)
        if len(self.depths) > 5:
            raise self.refuse("depths", "up to 5 stages, which halve 32×32")
        # With two convolutions in it, the last stage is skipped whole: its input is the one before.
        narrower = (3, *self.widths)[-2] != self.widths[-1]
        if self.skip and (self.depths[-1] == 1 or self.depths[-1] == 2 and narrower):
            raise self.refuse(
                "skip",
                "where the last two convolutions are of one stage, and read as many maps as they "
                "give",
            )
        return self


class Densenet(Network):
    """Dense blocks (Huang et al. 2017)."""

    builder: Literal["densenet"]
    depth: integer(7)
    growth: integer(1)
    bottleneck: Flag
    compression: allowed("a number above 0 and up to 1", float, gt=0, le=1)

    @model_validator(mode="after")
    def _together(self):
        step = 6 if self.bottleneck else 3
        if self.depth <= 4 or self.depth % step != 4 % step:
            raise self.refuse("depth", f"{step}n+4 with model.bottleneck={show(self.bottleneck)}")
        return self


def _check_stages(network: Resnet | Vgg) -> None:
    if len(network.depths) != len(network.widths):
        raise network.refuse(
            "depths", f"as many numbers as model.widths={show(network.widths)} has"
        )


NETWORKS = {
    "cifar_resnet": CifarResnet,
    "resnet": Resnet,
    "vgg": Vgg,
    "densenet": Densenet,
}
"""Schema of a network's keys, by its builder."""


# ---------------------------------------------------------------- commands


class Benchmark(Values):
    """`conf/benchmark.yaml`."""

    networks: Models
    repeats: integer(1)
    seconds: Positive
    out: Text


class Part(Values):
    """A part of `conf/record.yaml`."""

    schedule: Text
    models: Models
    seeds: Seeds
    overrides: each(Text, "a list of overrides", lambda overrides: True)


class Configuration(Values):
    """Every key that a command may have; what one has not, as its file in `conf/` says, is None."""

    model: Annotated[Union[tuple(NETWORKS.values())], Field(discriminator="builder")] = None  # noqa: UP007
    data: Annotated[Cifar10 | Synthetic, Field(discriminator="name")] = None
    schedule: Schedule = None
    optimizer: Optimizer = None
    runtime: Annotated[Cpu | Gpu, Field(discriminator="name")] = None
    tracking: Tracking = None
    figure: Figure = None
    benchmark: Benchmark = None
    seed: Seed = 0
    run_dir: TextOrNull = None
    overwrite: Flag = False
    seeds: Seeds | None = None
    runs: Text = "results/runs"
    strict: Flag = False
    plan: each(Part, "a list of parts, each with schedule, models, seeds and overrides") = ()
    out: Text = "results/recorded"
    models: allowed("a list of models, or null", tuple[Text, ...] | None, lambda m: m != ()) = None
    speed: Flag = False


def check(tree: dict[str, Any]) -> Configuration:
    """Return the resolved configuration of a command, each value of the type that it should have.

    Raises `UserError`, one line with key, value and what is allowed, for the first thing wrong.
    """
    try:
        return Configuration.model_validate(tree)
    except ValidationError as error:
        raise UserError(_line(error.errors()[0], tree)) from None


TAGS = {**NETWORKS, "cifar10": Cifar10, "synthetic": Synthetic, "cpu": Cpu, "gpu": Gpu}
"""Where pydantic chose among several schemas, the name of its choice stands between two keys."""


def _line(error: dict[str, Any], tree: dict[str, Any]) -> str:
    """Say in one line what pydantic found wrong first."""
    kind, place = error["type"], error["loc"]
    key = ".".join(str(part) for part in place if part not in TAGS)
    given = f"{key}={show(error['input'])}"
    if kind == "together":
        return error["msg"]
    if kind == "allowed":
        return f"{given}: {error['msg']}"
    if kind.startswith("union_tag"):
        return (
            f"{key}.builder={show(error['input'].get('builder'))}: allowed: {', '.join(NETWORKS)}"
        )
    if kind not in ("missing", "extra_forbidden"):
        keys = ", ".join(f"{key}.{name}" for name in _schema_of(place).model_fields)
        return f"{given}: allowed: {keys}"
    option = tree[place[0]].get("name")
    file = f"conf/{place[0]}" + (f"/{option}.yaml" if option else "")
    keys = ", ".join(_schema_of(place[:-1]).model_fields)
    if kind == "missing":
        return f"{key}: missing, and needed; allowed in {file}: {keys}"
    return f"{given}: unknown key; allowed in {file}: {keys}"


def _schema_of(place: tuple) -> type[Values]:
    schema = Configuration
    for part in place:
        if part in TAGS:
            schema = TAGS[part]
        elif part in schema.model_fields:
            kinds = [schema.model_fields[part].annotation]
            kinds += get_args(kinds[0])
            schema = next(
                (k for k in kinds if isinstance(k, type) and issubclass(k, Values)), schema
            )
    return schema


def show(value: Any) -> str:
    """Write a value as a command line would."""
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(show, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{show(item)}" for key, item in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return str(value)
