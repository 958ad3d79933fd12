"""Which experiment a run is: one object, made of its configuration, that everything asks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from degradation.config import flatten, option_values, options
from degradation.errors import UserError
from degradation.schema import CifarResnet, Configuration, check, show

DECIDES = {
    **dict.fromkeys(("model", "data", "schedule", "optimizer", "seed"), True),
    "runtime": {"precision"},
}
"""What decides a result, the precision as it is asked for."""

LOCATIONS = {"data": {"dir", "search", "url"}}
"""Where the data lies does not change what it holds: the manifest's fingerprint says that."""

SIZES = ("data.train_images", "data.test_images")

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


def _network(kind: str, depth: int) -> dict[str, Any]:
    model = {"name": f"{kind}{depth}", "builder": "cifar_resnet", "depth": depth}
    model["shortcut"] = "A" if kind == "resnet" else None
    return flatten({"model": CifarResnet(**model).model_dump()})


PAPER_NETWORKS = {
    f"{kind}{depth}": _network(kind, depth)
    for kind, depth in (*product(("plain", "resnet"), (20, 32, 44, 56, 110)), ("resnet", 1202))
}
"""The networks that the paper trains on CIFAR-10, of `conf/model/`: values by dotted key."""


@dataclass(frozen=True)
class Setting:
    """The validated configuration of a run, as far as it decides the result.

    Two runs are of one experiment if their settings are equal. Settings compare, and hash, by what
    differs from the defaults of the schema: a key that is added later, with a default, changes
    none, nor does an edited file of `conf/`. `identity` is what they compare by; `values` has every
    key, dotted, defaults included.
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
            if lacking := DECIDES.keys() - configuration.keys():
                raise UserError(f"{min(lacking)}: missing, and needed")
            configuration = check({key: configuration[key] for key in DECIDES})
        parts = {"include": DECIDES, "exclude": LOCATIONS}
        values = flatten(configuration.model_dump(**parts))
        identity = flatten(configuration.model_dump(**parts, exclude_defaults=True))
        return cls(tuple(sorted(identity.items())), values)

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
        """What differs from the named network's file, the named schedule, and otherwise defaults.

        By dotted key, sorted: what a command line has to say beside `model=`, `schedule=` and
        `seed=`. Networks and schedules other than `PAPER_NETWORKS` and `SCHEDULES` are compared
        with their files in `conf/`; of one whose file has gone, the name says it all.
        """
        named = self._named("model") | self._named("schedule")
        chosen = dict(self.identity).keys() - {"seed"}
        return {
            key: value
            for key, value in sorted(self.values.items(), key=lambda item: _short(item[0]))
            if (value != named[key] if key in named else key in chosen)
        }

    def _named(self, group: str) -> dict[str, Any]:
        """What the group's option of this name has; if its file has gone, what the run has."""
        name = self.values[f"{group}.name"]
        if known := {"schedule": SCHEDULES, "model": PAPER_NETWORKS}[group].get(name):
            return known
        if name not in options(group):
            return {key: v for key, v in self.values.items() if key.startswith(f"{group}.")}
        values = option_values(group, name)
        return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}

    @property
    def variant(self) -> str:
        """`changes`, fit for a folder's name: `rate=0.05,shortcut=B`; "" without any.

        Keys are those within their group. No brackets and commas: a list of drops is 2000-3000.
        """
        return self.variant_without()

    def variant_without(self, *keys: str) -> str:
        """`variant` but for these of its keys."""
        texts = {_short(key): show(value) for key, value in self.changes.items()}
        return ",".join(
            f"{key}={text.strip('[]').replace(',', '-')}"
            for key, text in texts.items()
            if key not in keys
        )

    def but_for(self, *keys: str) -> frozenset[tuple[str, Any]]:
        """`identity` without these keys, named as in `variant`, to group by."""
        return frozenset(item for item in self.identity if _short(item[0]) not in keys)

    @property
    def overrides(self) -> list[str]:
        """`changes`, as a command line takes them."""
        return [f"{key.removesuffix('.name')}={show(v)}" for key, v in self.changes.items()]

    @property
    def departures(self) -> list[str]:
        """What differs from the paper's settings and the network's own file, sorted `key=value`.

        The paper's are the defaults of data and optimizer.
        """
        groups = ("model.", "data.", "optimizer.")
        return [
            f"{_short(key)}={show(value)}"
            for key, value in self.changes.items()
            if key.startswith(groups) and key not in SIZES
        ]

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


def _short(key: str) -> str:
    """A key within its group; `data=` and `optimizer=` choose an option."""
    group, _, name = key.partition(".")
    return group if name in ("", "name") else name
