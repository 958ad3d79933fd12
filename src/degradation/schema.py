"""What a configuration may say: a class a group, a type a value, with its default and its limits.

Files in `conf/` have the same defaults (a test keeps them equal): an edited file changes what the
next run is, and never what a finished one was. Those of data and optimizer are the paper's.
"""

import re
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar, Union

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from degradation.errors import UserError

TRAIN_IMAGES = 50_000  # of CIFAR-10
CLASSES = 10


class Values(BaseModel):
    """Keys and their values: no others, and none of another type."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, given):
        keys = ", ".join(cls.model_fields)
        if not isinstance(given, dict):
            raise PydanticCustomError("no_keys", "values of {keys}", {"keys": keys})
        for key, value in given.items():
            if key not in cls.model_fields:
                raise _refused(key, value, f"unknown key; allowed: {keys}")
        return given

    def refuse(self, key: str, words: str) -> PydanticCustomError:
        """Make the error of a value that does not go with the others."""
        return _refused(key, getattr(self, key), f"allowed: {words}")


def _refused(key: str, value: Any, reason: str) -> PydanticCustomError:
    context = {"key": key, "value": show(value), "reason": reason}
    return PydanticCustomError("refused", "{key}={value}: {reason}", context)


def _once(values: tuple) -> tuple:
    if len({*values}) < len(values):
        raise PydanticCustomError("twice", "each once")
    return values


def _project(name: str) -> str:
    if not re.fullmatch(r"[^/\\#?%:]{1,128}", name):  # as W&B has it
        words = "1 to 128 characters, none of / \\ # ? % :; without it WANDB_PROJECT counts"
        raise PydanticCustomError("project", words)
    return name


Item = TypeVar("Item")
ListOf = Annotated[tuple[Item, ...], Field(strict=False)]  # from YAML's lists, and hashable
SomeOf = Annotated[ListOf[Item], Field(min_length=1)]
Text = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what numpy takes
Seeds = Annotated[SomeOf[Seed], AfterValidator(_once)]
Images = Annotated[int, Field(ge=10, le=TRAIN_IMAGES, multiple_of=10)]


# ---------------------------------------------------------------- groups


class Warmup(Values):
    """`conf/optimizer/`: the first updates of deep networks."""

    min_depth: PositiveInt = 110
    rate: PositiveFloat = 0.01
    until_error: Annotated[float, Field(gt=0, le=100)] = 80.0


class Optimizer(Values):
    """`conf/optimizer/`."""

    name: Text = "sgd"
    batch: PositiveInt = 128
    ghost_batch: int | None = 64
    rate: PositiveFloat = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NonNegativeFloat = 1e-4
    decay: Literal["all", "kernels"] = "kernels"
    warmup: Warmup = Warmup()

    @model_validator(mode="after")
    def _parts(self):
        ghost = self.ghost_batch
        if ghost is not None and (ghost < 1 or self.batch % ghost):
            raise self.refuse("ghost_batch", f"a divisor of optimizer.batch={self.batch}, or null")
        return self


class Schedule(Values):
    """`conf/schedule/`; `setting.SCHEDULES` has the same options."""

    name: Text
    iterations: PositiveInt
    drops: ListOf[int]
    evaluate_every: PositiveInt

    @model_validator(mode="after")
    def _drops_in_order(self):
        if any(a >= b for a, b in pairwise((0, *self.drops, self.iterations))):
            raise self.refuse(
                "drops",
                f"a rising list of iterations, such as [{self.iterations // 2}], above 0 and below "
                f"schedule.iterations={self.iterations}",
            )
        return self


class Cifar10(Values):
    """`conf/data/cifar10.yaml`; where the files lie is no part of an experiment."""

    name: Literal["cifar10"] = "cifar10"
    holdout: Annotated[int, Field(ge=0, lt=TRAIN_IMAGES)] = 0
    dir: Text | None = None
    search: ListOf[str | None] = ()
    url: Text = ""


class Synthetic(Values):
    """`conf/data/synthetic.yaml`: as many images of each of the ten classes."""

    name: Literal["synthetic"]
    holdout: NonNegativeInt = 0
    train_images: Images = 2000
    test_images: Images = 500

    @model_validator(mode="after")
    def _some_are_left(self):
        if self.holdout >= self.train_images:
            raise self.refuse("holdout", f"less than data.train_images={self.train_images}")
        return self


DATA = {"cifar10": Cifar10, "synthetic": Synthetic}
"""Schema of a data set's keys, by its name."""


class Runtime(Values):
    """`conf/runtime/`."""

    name: Literal["cpu", "gpu"]
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    checkpoint_every: PositiveFloat = 120.0
    xla: bool = True  # of a GPU


class Tracking(Values):
    """`conf/tracking/`."""

    mode: Literal["disabled", "offline", "online"]
    project: Annotated[str, AfterValidator(_project)] = "degradation"
    group: Text | None = None


class Probe(Values):
    """`conf/probe/`: what is measured beside the training, of which nothing depends on it."""

    name: Literal["none", "layers"] = "none"


class Panel(Values):
    """One panel of a figure: its networks, and `also` those that it shows where there are runs."""

    title: Text
    models: SomeOf[Text]
    also: SomeOf[Text] = ()


class Figure(Values):
    """`conf/figure/`."""

    name: Text
    title: Text
    source: Text | None = None
    draws: Literal["errors", "responses"] = "errors"
    panels: SomeOf[Panel]


# ---------------------------------------------------------------- networks

BLOCK_LAYERS = {"basic": 2, "basic_biased": 2, "bottleneck": 3, "preactivation": 2, "relu_first": 3}
"""Convolutions of a residual block, by its name."""

SHORTCUT = "_shortcut"
"""What the names of a shortcut's layers have in them: those are beside the main path."""

Shortcut = Literal["A", "B", "C", None]  # None: the plain network


class Network(Values):
    """`conf/model/`: the keys of all networks; its subclasses are by the builder of theirs."""

    name: Text
    builder: Text
    classes: Annotated[int, Field(ge=2)] = CLASSES


class CifarResnet(Network):
    """6n+2 layers (He et al. 2015, section 4.2)."""

    builder: Literal["cifar_resnet"]
    depth: int
    shortcut: Shortcut = None
    block: Literal["basic", "preactivation"] = "basic"
    init: Literal["he", "dirac", "gaussian"] = "he"
    norm: Literal["batch", "none"] = "batch"

    @model_validator(mode="after")
    def _whole_blocks(self):
        if self.depth < 8 or self.depth % 6 != 2:
            raise self.refuse("depth", "6n+2: 8, 14, 20, 26, 32, ...")
        return self


class Stages(Network):
    """Networks in stages, each of so many `depths`, with so many filters, its `widths`."""

    depths: SomeOf[PositiveInt]
    widths: SomeOf[PositiveInt]

    @model_validator(mode="after")
    def _as_many(self):
        if len(self.depths) != len(self.widths):
            raise self.refuse("depths", f"as many numbers as model.widths={show(self.widths)} has")
        return self


class Resnet(Stages):
    """Stages of residual or plain blocks (He et al. 2015, Table 1)."""

    builder: Literal["resnet"]
    stem: Literal["cifar", "imagenet", "bordered", "relu_first"]
    block: Literal[tuple(BLOCK_LAYERS)]
    shortcut: Shortcut = None
    head: Literal["linear", "l2", "dense512"] = "linear"

    @model_validator(mode="after")
    def _never_narrower(self):
        # Option A adds channels, and takes none away.
        if self.shortcut == "A" and list(self.widths) != sorted(self.widths):
            raise self.refuse("widths", "none below the one before with model.shortcut=A")
        return self


class Vgg(Stages):
    """Stages of convolutions, each ended by a max-pooling."""

    builder: Literal["vgg"]
    skip: bool

    @model_validator(mode="after")
    def _stages_fit(self):
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
    depth: int
    growth: PositiveInt
    bottleneck: bool
    compression: Annotated[float, Field(gt=0, le=1)]

    @model_validator(mode="after")
    def _whole_layers(self):
        step = 6 if self.bottleneck else 3
        if self.depth <= 4 or self.depth % step != 4 % step:
            raise self.refuse(
                "depth", f"{step}n+4, n from 1, with model.bottleneck={show(self.bottleneck)}"
            )
        return self


NETWORKS = {"cifar_resnet": CifarResnet, "resnet": Resnet, "vgg": Vgg, "densenet": Densenet}
"""Schema of a network's keys, by its builder."""


# ---------------------------------------------------------------- commands


class Benchmark(Values):
    """`conf/benchmark.yaml`."""

    networks: SomeOf[Text]
    repeats: PositiveInt
    seconds: PositiveFloat
    out: Text


class Part(Values):
    """A part of `conf/record.yaml`."""

    schedule: Text
    models: SomeOf[Text]
    seeds: Seeds
    overrides: ListOf[Text]
    out: Text | None = None


class Configuration(Values):
    """The keys of all commands together; what a command lacks keeps its default here."""

    model: Annotated[Union[tuple(NETWORKS.values())], Field(discriminator="builder")] = None  # noqa: UP007
    data: Annotated[Union[tuple(DATA.values())], Field(discriminator="name")] = None  # noqa: UP007
    schedule: Schedule = None
    optimizer: Optimizer = None
    runtime: Runtime = None
    tracking: Tracking = None
    probe: Probe = None
    figure: Figure | None = None
    benchmark: Benchmark = None
    seed: Seed = 0
    run_dir: Text | None = None
    overwrite: bool = False
    seeds: Seeds | None = None
    runs: Text = "results/runs"
    strict: bool = False
    plan: SomeOf[Part] = ()
    out: Text = "results/recorded"
    only: Text | None = None
    models: SomeOf[Text] | None = None


def check(tree: dict[str, Any]) -> Configuration:
    """Return the resolved configuration of a command, each value of the type that it should have.

    Raises `UserError`, one line with key, value and what is allowed, for the first thing wrong.
    """
    try:
        return Configuration.model_validate(tree)
    except ValidationError as error:
        raise UserError(_line(error.errors()[0])) from None


TAGS = {*NETWORKS, *DATA}
"""Where pydantic chose among several schemas, the name of its choice stands between two keys."""

YAML = {"a valid boolean": "true or false", "a valid tuple": "a list", "None": "null"}
"""What pydantic calls by Python's names."""


def _line(error: dict[str, Any]) -> str:
    """Say in one line what pydantic found wrong."""
    key = ".".join(str(part) for part in error["loc"] if part not in TAGS)
    context = error.get("ctx", {})
    chooser = f"{key}.{context.get('discriminator', '')}".replace("'", "")
    match error["type"]:
        case "refused":
            return f"{key}.{error['msg']}".lstrip(".")
        case "missing":
            return f"{key}: missing, and needed"
        case "union_tag_not_found":
            return f"{chooser}: missing, and needed"
        case "union_tag_invalid":
            return f"{chooser}={context['tag']}: allowed: {context['expected_tags']}"
    words = re.sub(r"^\w+ should \w+ | after validation.*", "", error["msg"])
    for python, yaml in YAML.items():
        words = words.replace(python, yaml)
    return f"{key}={show(error['input'])}: allowed: {words}"


def show(value: Any) -> str:
    """Write a value as a command line would."""
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(show, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{show(item)}" for key, item in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return str(value)
