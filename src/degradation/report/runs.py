"""Recorded runs, as their folders tell them."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from degradation.config import PLACES, flatten, option_values, options, show, variant
from degradation.errors import UserError
from degradation.model_rules import BLOCK_LAYERS
from degradation.records import EARLIER, PROTOCOL, RunFolder
from degradation.report.paper import NETWORKS

PAPER_SCHEDULE = {"name": "paper", "iterations": 64_000, "drops": [32_000, 48_000]}
PAPER_SETTINGS = {
    "optimizer": {
        **{"name": "sgd", "rate": 0.1, "momentum": 0.9, "weight_decay": 1e-4},
        **{"decay": "kernels", "batch": 128, "ghost_batch": 64},
        **{"warmup.min_depth": 110, "warmup.rate": 0.01, "warmup.until_error": 80},
    },
    "data": {"name": "cifar10", "holdout": 0},
}
# Keys that change no result, or that the schedule's or the data's name tells of.
NEUTRAL = {
    *(f"data.{key}" for key in (*PLACES, "train_images", "test_images")),
    *(f"schedule.{key}" for key in (*PAPER_SCHEDULE, "evaluate_every")),
}
FAMILIES = {"plain": "plain", "resnet": "ResNet", "preresnet": "pre-activation ResNet"}
# By column of `Run.rows`: which error it is.
WORDS = {"train_error": "training", "test_error": "test", "val_error": "validation"}


def without_precision(variant: str) -> str:
    """The overrides of a variant but for its precision: of precision=float32,rate=0.1 the last."""
    return ",".join(part for part in variant.split(",") if not part.startswith("precision="))


@dataclass(frozen=True, eq=False)
class Run:
    """One finished run, as its folder tells it.

    `variant` is what the folder's name holds after the model (`rate=0.01`), and "" for the model
    as its configuration file has it. `dataset` is the data's label, `canonical` whether it is the
    official archive. `rows` has a row an evaluation; errors are in percent. `responses` is the
    standard deviation of each convolution's responses, by its number from 1, where there is one.
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
    responses: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))

    @property
    def depth(self) -> int | None:
        """Layers of the network; None where its settings do not tell."""
        model = self.config["model"]
        if model["builder"] == "resnet" and model.get("block") in BLOCK_LAYERS:
            return 2 + BLOCK_LAYERS[model["block"]] * sum(model["depths"])
        return model.get("depth")

    @property
    def residual(self) -> bool:
        """Whether the network has shortcuts."""
        return self.config["model"].get("shortcut") is not None

    @property
    def family(self) -> str | None:
        """What the network is but for its depth: plain, ResNet; None if its name says no more."""
        if self.config["model"].get("shortcut", "none needed") is None:
            return None  # a residual network's name, without its shortcuts
        return next(
            (words for name, words in FAMILIES.items() if self.model == f"{name}{self.depth}"), None
        )

    @property
    def network(self) -> str:
        """The network's name in text: plain-56, ResNet-56, vgg16."""
        return f"{self.family}-{self.depth}" if self.family else self.model

    @property
    def of_section_4_2(self) -> bool:
        """Whether it is a plain or residual network as section 4.2 has them, of any depth."""
        builder = self.config["model"]["builder"]
        return builder == "cifar_resnet" and self.family in ("plain", "ResNet")

    @property
    def in_paper(self) -> bool:
        """Whether it is a network that the paper trains on CIFAR-10."""
        return self.of_section_4_2 and self.model in NETWORKS

    @property
    def measured(self) -> str:
        """The column of the error on unseen images: test_error, with a held-out set val_error."""
        return "val_error" if "val_error" in self.rows else "test_error"

    @property
    def data(self) -> str:
        """The data's label, with a remark where it is not the canonical CIFAR-10."""
        remark = "" if self.canonical else "not the canonical archive"
        if self.config["data"]["name"] != "cifar10":
            remark = "not CIFAR-10"
        return self.dataset if remark in self.dataset else f"{self.dataset} ({remark})"

    @property
    def code(self) -> list[dict[str, Any]]:
        """The code that trained it, each `git_commit` and `git_dirty` once, first to last."""
        resumes = self.manifest.get("resumes") or []
        parts = [*(resume.get("trained_by", {}) for resume in resumes), self.manifest]
        states = [{key: part.get(key) for key in ("git_commit", "git_dirty")} for part in parts]
        known = [state for state in states if state["git_commit"]]
        return [state for number, state in enumerate(known) if state not in known[:number]]

    @property
    def departures(self) -> list[str]:
        """Settings, sorted `key=value`, unlike the paper's protocol or the network's own file."""
        return _departures(self.config)

    @property
    def on_paper_schedule(self) -> bool:
        """Whether the learning rate fell and training ended where the paper's did."""
        schedule = self.config["schedule"]
        return all(schedule[key] == value for key, value in PAPER_SCHEDULE.items())

    @property
    def faithful(self) -> bool:
        """Whether network, schedule and settings are the paper's: its numbers may stand beside."""
        return self.in_paper and self.on_paper_schedule and not self.departures

    def final(self, column: str) -> float:
        """The error at the last evaluation, in percent; `column` is train_error or `measured`."""
        return float(self.rows[column].iloc[-1])


def mean_final(runs: Iterable[Run], column: str) -> float:
    """The mean of `Run.final` over runs, in percent."""
    return fmean(run.final(column) for run in runs)


def sharing(values: Iterable[tuple[str, Run]]) -> list[tuple[str, str]]:
    """Pair each value with the names of the runs that have it; with "" where all have the same.

    A network whose runs all have one value is named alone, others with their seeds.
    """
    values = list(values)
    networks: dict[str, set[str]] = {}  # the values that each has
    for value, run in values:
        networks.setdefault(run.network, set()).add(value)
    owners: dict[str, list[str]] = {}
    for value, run in values:
        alike = len(networks[run.network]) == 1
        owner = run.network if alike else f"{run.network} seed {run.seed}"
        if owner not in owners.setdefault(value, []):
            owners[value].append(owner)
    if len(owners) == 1:
        return [(value, "") for value in owners]
    return [(value, ", ".join(names)) for value, names in owners.items()]


def find_runs(folder: Path, on_skip: Callable[[Path, str], None] | None = None) -> list[Run]:
    """Read the finished runs in and below `folder`, in the order of their paths.

    A run that is unfinished or cannot be read is left out, and `on_skip(path, reason)` is told.
    A folder that does not exist holds no runs; one that is a link counts, once.
    """
    runs, seen = [], set()
    for name, subfolders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(name)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
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


class _Skip(Exception):
    """Why a run folder is left out."""


def _read(path: Path) -> Run:
    """Read one run folder; raises _Skip."""
    folder = RunFolder(path)
    try:
        manifest, config = folder.manifest(), folder.config()
        if manifest["status"] != "complete":
            cause = (manifest.get("failure") or "").partition("\n")[0]
            raise _Skip(": ".join(filter(None, [f"{manifest['status']}, not complete", cause])))
        if manifest.get("protocol") != PROTOCOL:
            raise _Skip(f"by {EARLIER}")
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
            responses=_responses(folder.layers()),
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


def _responses(layers: list[dict[str, Any]]) -> pd.Series:
    stds = {number: layer["response_std"] for number, layer in enumerate(layers, 1)}
    return pd.Series(stds, dtype=float).dropna()


def _variant(path: Path, config: dict[str, Any], precision: str) -> str:
    """Name the overrides: from the folder's name, or for a run put elsewhere from its settings."""
    model, _, overrides = path.parent.name.partition(",")
    if model == config["model"]["name"] and path.name == f"seed{config['seed']}":
        return overrides
    # Which precision `auto` picks where the run was made is not known: a chosen one is an override.
    picked = precision if config["runtime"]["precision"] == "auto" else None
    return ",".join(variant(OmegaConf.create(config), precision, picked))


def _departures(config: dict[str, Any]) -> list[str]:
    paper, changed = flatten(PAPER_SETTINGS), {}
    flat = flatten({group: config[group] for group in ("data", "schedule", "optimizer")})
    for key, value in flat.items():
        # A key that the protocol does not have is a departure, whatever its value.
        if key not in NEUTRAL and (key not in paper or value != paper[key]):
            group, _, name = key.partition(".")
            changed[group if name == "name" else name] = value
    model = flatten(config["model"], "model.")
    known = model["model.name"] in options("model")
    # Of a key that came later than the run, or has gone since, nothing is known.
    for key, value in (option_values("model", model["model.name"]) if known else {}).items():
        if model.get(key, value) != value:
            changed[key.removeprefix("model.")] = model[key]
    return [f"{key}={show(value)}" for key, value in sorted(changed.items())]
