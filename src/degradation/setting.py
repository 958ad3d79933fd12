"""Which experiment a run is: one object, made of its configuration, that everything asks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from degradation.config import flatten, option_values, options
from degradation.schema import Configuration, check, show

GROUPS = ("model", "data", "schedule", "optimizer")
"""The groups of `conf/` that decide a result; so does `runtime.precision`, as it is asked for."""

LOCATIONS = ("data.dir", "data.search", "data.url")
"""Where the data lies does not change what it holds: the manifest's fingerprint says that."""

PAPER = {
    "data.name": "cifar10",
    "data.holdout": 0,
    "optimizer.name": "sgd",
    "optimizer.batch": 128,
    "optimizer.ghost_batch": 64,
    "optimizer.rate": 0.1,
    "optimizer.momentum": 0.9,
    "optimizer.weight_decay": 1e-4,
    "optimizer.decay": "kernels",
    "optimizer.warmup.min_depth": 110,
    "optimizer.warmup.rate": 0.01,
    "optimizer.warmup.until_error": 80.0,
}
"""The paper's settings (section 4.2), whatever the defaults are."""

SCHEDULES = {
    name: {
        "schedule.name": name,
        "schedule.iterations": iterations,
        "schedule.drops": (iterations // 2, 3 * iterations // 4),
        "schedule.evaluate_every": every,
    }
    for name, iterations, every in (
        ("paper", 64_000, 800),
        ("medium", 16_000, 400),
        ("short", 4_000, 200),
        ("brief", 2_000, 100),
        ("smoke", 8, 4),
    )
}
"""The schedules of `conf/schedule/`: the paper's shape at several lengths."""


@dataclass(frozen=True)
class Setting:
    """The validated configuration of a run, as far as it decides the result.

    Two runs are of one experiment if their settings are equal. Settings compare, and hash, by what
    differs from the defaults of the schema: a key that is added later, with a default, changes
    none, nor does an edited file of `conf/`. `values` has every key, dotted, defaults included.
    """

    identity: tuple[tuple[str, Any], ...]
    values: Mapping[str, Any] = field(compare=False, repr=False)

    @classmethod
    def of(cls, configuration: Configuration | Mapping[str, Any]) -> "Setting":
        """Make the setting of a run's configuration: one checked, or one that a run folder keeps.

        A key that a folder lacks has its default, which is what the code did before there was the
        key: a default that shall be another one needs a new protocol. Raises `UserError` as
        `schema.check` does.
        """
        if not isinstance(configuration, Configuration):
            known = (*GROUPS, "runtime", "seed")
            configuration = check({key: configuration[key] for key in known})
        values, identity = (
            flatten(configuration.model_dump(include={*GROUPS}, exclude_defaults=without))
            for without in (False, True)
        )
        precision = configuration.runtime.precision
        rest = {"seed": configuration.seed, "precision": precision}
        identity |= rest if precision != "auto" else {"seed": configuration.seed}
        return cls(
            tuple(sorted((key, v) for key, v in identity.items() if key not in LOCATIONS)),
            {key: v for key, v in (values | rest).items() if key not in LOCATIONS},
        )

    @property
    def model(self) -> str:
        """The network's name."""
        return self.values["model.name"]

    @property
    def schedule(self) -> str:
        """The schedule's name."""
        return self.values["schedule.name"]

    @property
    def seed(self) -> int:
        """The seed of initialisation, order and augmentation."""
        return self.values["seed"]

    @cached_property
    def changes(self) -> dict[str, Any]:
        """What differs from the options by the names of network and schedule, and from defaults.

        By dotted key, sorted: what a command line has to say beside `model=`, `schedule=` and
        `seed=`. Networks and schedules of one's own are compared with their files in `conf/`; of
        one whose file has gone, the name says it all.
        """
        chosen = dict(self.identity)
        named = {g: _option(g, self.values[f"{g}.name"]) for g in ("model", "schedule")}
        changes = {}
        for key, value in sorted(self.values.items(), key=lambda item: _short(item[0])):
            option = named.get(key.partition(".")[0], {})
            if option is None or key in ("model.name", "schedule.name", "seed"):
                continue
            if (value != option[key] if key in option else key in chosen) and (
                (key, value) != ("data.name", "cifar10")
            ):
                changes[key] = value
        return changes

    @property
    def variant(self) -> str:
        """`changes`, fit for a folder's name: `rate=0.05,shortcut=B`; "" without any.

        Keys are those within their group. No brackets and commas: a list of drops is 2000-3000.
        """
        return self.variant_without()

    def variant_without(self, *keys: str) -> str:
        """`variant` but for these keys."""
        texts = {_short(k): show(value) for k, value in self.changes.items() if k not in keys}
        return ",".join(
            f"{key}={text.strip('[]').replace(',', '-')}" for key, text in texts.items()
        )

    def but_for(self, *keys: str) -> frozenset[tuple[str, Any]]:
        """`identity` without these keys, to group by."""
        return frozenset(item for item in self.identity if item[0] not in keys)

    @property
    def overrides(self) -> list[str]:
        """`changes`, as a command line takes them."""
        return [f"{_option_key(key)}={show(value)}" for key, value in self.changes.items()]

    @property
    def departures(self) -> list[str]:
        """What differs from the paper's settings and the network's own file, sorted `key=value`."""
        own = {key: value for key, value in self.changes.items() if key.startswith("model.")}
        chosen = dict(self.identity)
        for key in self.values:
            if key.startswith(("data.", "optimizer.")) and key not in SIZES:
                # A key that the protocol does not have is a departure unless it is at its default.
                differs = self.values[key] != PAPER[key] if key in PAPER else key in chosen
                own |= {key: self.values[key]} if differs else {}
        return sorted(f"{_short(key)}={show(value)}" for key, value in own.items())

    def folder(self, root: Path) -> Path:
        """Folder of the run below `root`: `<schedule>/<model>[,key=value…]/seed<k>`."""
        name = ",".join(filter(None, [self.model, self.variant]))
        return root / self.schedule / name / f"seed{self.seed}"

    def differences(self, there: "Setting") -> list[str]:
        """Say for each key that differs what it is `there` and what it is here."""
        keys = sorted({key for key, _ in set(self.identity) ^ set(there.identity)})
        return [
            f"{key} is {show(there.values.get(key))} there and {show(self.values.get(key))} here"
            for key in keys
        ]


SIZES = ("data.train_images", "data.test_images")


def _short(key: str) -> str:
    """A key within its group; `data=` and `optimizer=` choose an option."""
    group, _, name = key.partition(".")
    return group if name in ("", "name") else name


def _option_key(key: str) -> str:
    return "runtime.precision" if key == "precision" else key.removesuffix(".name")


def _option(group: str, name: str) -> dict[str, Any] | None:
    """Values of an option of a group by their dotted keys; None where it is not known."""
    if group == "schedule" and name in SCHEDULES:
        return SCHEDULES[name]
    if name not in options(group):
        return None
    values = option_values(group, name)
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
