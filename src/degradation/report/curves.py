"""Recorded runs, read from their folders and picked for a figure."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from degradation.config import variant
from degradation.errors import UserError
from degradation.records import RunFolder

PAPER_SCHEDULE = {"name": "paper", "iterations": 64_000, "drops": [32_000, 48_000]}
PAPER_SETTINGS = {
    "optimizer": {"rate": 0.1, "momentum": 0.9, "weight_decay": 1e-4, "decay": "all", "batch": 128},
    "data": {"name": "cifar10", "holdout": 0},
    "model": {"shortcut": "A"},
}


@dataclass(frozen=True, eq=False)
class Run:
    """One finished run, as its folder tells it.

    `variant` is what the folder's name holds after the model (`rate=0.01`), and "" for the model
    as its configuration file has it. `dataset` is the data's label, `canonical` whether it is the
    official archive. `rows` has a row an evaluation; errors are in percent.
    """

    model: str
    variant: str
    schedule: str
    seed: int
    precision: str
    dataset: str
    canonical: bool
    config: dict[str, Any]
    manifest: dict[str, Any]
    rows: pd.DataFrame
    path: Path

    @property
    def depth(self) -> int:
        """Layers of the network."""
        return self.config["model"]["depth"]

    @property
    def residual(self) -> bool:
        """Whether the network has shortcuts."""
        return self.config["model"].get("shortcut") is not None

    @property
    def network(self) -> str:
        """The network's name in text: plain-56, ResNet-56."""
        return f"{'ResNet' if self.residual else 'plain'}-{self.depth}"

    @property
    def measured(self) -> str:
        """The column of the error on unseen images: test_error, with a held-out set val_error."""
        return "val_error" if "val_error" in self.rows else "test_error"

    @property
    def departures(self) -> list[str]:
        """The settings, as sorted `key=value`, that are not those of the paper's protocol."""
        return _departures(self.config)

    @property
    def on_paper_schedule(self) -> bool:
        """Whether the learning rate fell and training ended where the paper's did."""
        schedule = self.config["schedule"]
        return all(schedule[key] == value for key, value in PAPER_SCHEDULE.items())


def find_runs(folder: Path, on_skip: Callable[[Path, str], None] | None = None) -> list[Run]:
    """Read the finished runs in and below `folder`, in the order of their paths.

    A run that is unfinished or cannot be read is left out, and `on_skip(path, reason)` is told.
    A folder that does not exist holds no runs.
    """
    runs = []
    for name, subfolders, files in os.walk(folder):
        subfolders.sort()
        if not {"manifest.json", "metrics.csv"} & set(files):
            continue
        subfolders.clear()  # a run's checkpoint and wandb folders hold no runs
        try:
            runs.append(_read(Path(name)))
        except _Skip as skip:
            if on_skip:
                on_skip(Path(name), str(skip))
    return runs


def select(
    runs: Iterable[Run],
    models: Iterable[str],
    schedule: str,
    seeds: Iterable[int] | None = None,
    variant: str = "",
) -> list[Run]:
    """Pick the runs of some networks on one schedule, sorted as `models`, then by seed.

    Without `seeds` all are taken. A run with other overrides than `variant` is another network
    and is never among them. Raises UserError if a network's seed was trained twice.
    """
    models, seeds = list(models), None if seeds is None else set(seeds)
    picked: dict[tuple[int, int], Run] = {}
    for run in runs:
        wanted = (run.model in models, run.schedule == schedule, run.variant == variant)
        if not all(wanted) or (seeds is not None and run.seed not in seeds):
            continue
        place = (models.index(run.model), run.seed)
        if place in picked:
            raise UserError(
                f"{picked[place].path} and {run.path} are both {run.model} with seed={run.seed} "
                f"on schedule={schedule}: give a folder that holds one of them"
            )
        picked[place] = run
    return [picked[place] for place in sorted(picked)]


def missing(
    spec: dict[str, Any],
    runs: Iterable[Run],
    schedule: str,
    seeds: Iterable[int],
    variant: str = "",
) -> list[tuple[str, int]]:
    """List the (model, seed) pairs that a figure needs and `runs` lacks, seed by seed."""
    models = models_of(spec)
    present = {(run.model, run.seed) for run in select(runs, models, schedule, variant=variant)}
    return [(model, seed) for seed in seeds for model in models if (model, seed) not in present]


def models_of(spec: dict[str, Any]) -> list[str]:
    """List the networks of a figure, each once, in the order of its panels."""
    return list(dict.fromkeys(model for panel in spec["panels"] for model in panel["models"]))


def comparable(spec: dict[str, Any], runs: Iterable[Run]) -> list[Run]:
    """Pick the runs of a figure's networks, and make sure that they can stand side by side.

    Raises UserError if a network has no run, or the runs differ in schedule, in what their errors
    were measured on (test or held-out images) or, of one network, in its depth or overrides.
    """
    runs = [run for run in runs if run.model in models_of(spec)]
    absent = [model for model in models_of(spec) if model not in {run.model for run in runs}]
    if absent:
        raise UserError(
            f"figure={spec['name']}: no finished run of {', '.join(absent)}; `python -m "
            f"experiments.reproduce figure={spec['name']}` with the same schedule trains it"
        )
    seen: dict[str, tuple[Any, Run]] = {}
    for run in runs:
        for key, value in _traits(run).items():
            expected, first = seen.setdefault(key, (value, run))
            if value != expected:
                raise UserError(
                    f"figure={spec['name']}: its runs must not differ in {key}, but {first.path} "
                    f"has {expected} and {run.path} has {value}"
                )
    return runs


def error_curve(runs: list[Run], column: str) -> pd.DataFrame:
    """Mean, low and high of one error over the seeds of one network, by iteration, in percent."""
    columns = [run.rows.set_index("iteration")[column] for run in runs]
    seeds = pd.concat(columns, axis=1, join="inner")
    return pd.DataFrame(
        {"mean": seeds.mean(axis=1), "low": seeds.min(axis=1), "high": seeds.max(axis=1)}
    )


class _Skip(Exception):
    """Why a run folder is left out."""


def _traits(run: Run) -> dict[str, Any]:
    """What a run must share with every other run of its figure that has the same key."""
    return {
        "schedule.name": run.schedule,
        **{f"schedule.{key}": value for key, value in run.config["schedule"].items()},
        "data.holdout": run.config["data"]["holdout"],
        f"overrides of {run.model}": run.variant or "none",
        f"depth of {run.model}": run.depth,
    }


def _read(path: Path) -> Run:
    """Read one run folder; raises _Skip."""
    folder = RunFolder(path)
    try:
        manifest, config = folder.manifest(), folder.config()
        if manifest["status"] != "complete":
            raise _Skip(f"{manifest['status']}, not complete")
        rows = pd.DataFrame(folder.rows())
        run = Run(
            model=config["model"]["name"],
            variant=_variant(path, config, manifest["precision"]),
            schedule=config["schedule"]["name"],
            seed=config["seed"],
            precision=manifest["precision"],
            dataset=manifest["dataset"]["label"],
            canonical=manifest["dataset"]["canonical"],
            config=config,
            manifest=manifest,
            rows=rows,
            path=path,
        )
        _check_rows(run)
    except KeyError as error:
        raise _Skip(f"its config or manifest has no {error}") from error
    except (OSError, ValueError, TypeError, AttributeError, UserError) as error:
        raise _Skip(f"cannot be read: {error}") from error
    return run


def _check_rows(run: Run) -> None:
    columns = ["iteration", "train_error", run.measured]
    lacking = [column for column in columns if column not in run.rows]
    if lacking:
        raise _Skip(f"metrics.csv has no column {', '.join(lacking)}")
    if run.rows[columns].isna().any(axis=None) or not run.rows["iteration"].is_monotonic_increasing:
        raise _Skip("metrics.csv has gaps or rows out of order")
    last, end = run.rows["iteration"].max(), run.config["schedule"]["iterations"]
    if last != end:
        raise _Skip(f"metrics.csv ends at iteration {last} of {end}")


def _variant(path: Path, config: dict[str, Any], precision: str) -> str:
    """Name the overrides: from the folder's name, or for a run put elsewhere from its settings."""
    model, _, overrides = path.parent.name.partition(",")
    if model == config["model"]["name"] and path.name == f"seed{config['seed']}":
        return overrides
    # Which precision `auto` picks where the run was made is not known: a chosen one is an override.
    picked = precision if config["runtime"]["precision"] == "auto" else None
    return ",".join(variant(OmegaConf.create(config), precision, picked))


def _departures(config: dict[str, Any]) -> list[str]:
    return sorted(
        f"{key if key != 'name' else group}={config[group][key]}"
        for group, settings in PAPER_SETTINGS.items()
        for key, value in settings.items()
        if config[group].get(key, value) not in (value, None)
    )
