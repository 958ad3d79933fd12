"""Recorded runs, as their folders tell them."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from degradation.errors import UserError
from degradation.records import EARLIER, PROTOCOL, RunFolder
from degradation.report.paper import NETWORKS
from degradation.schema import BLOCK_LAYERS
from degradation.setting import Setting

PAPER_SCHEDULE = {"name": "paper", "iterations": 64_000, "drops": [32_000, 48_000]}
FAMILIES = {"plain": "plain", "resnet": "ResNet", "preresnet": "pre-activation ResNet"}
# By column of `Run.rows`: which error it is.
WORDS = {"train_error": "training", "test_error": "test", "val_error": "validation"}


@dataclass(frozen=True, eq=False)
class Run:
    """One finished run, as its folder tells it.

    `setting` says which experiment it is of, `precision` which one it was computed in. `dataset` is
    the data's label, `canonical` whether it is the official archive. `rows` has a row an
    evaluation; errors are in percent. `responses` is the standard deviation of each convolution's
    responses, by its number from 1, where there is one.
    """

    setting: Setting
    precision: str
    dataset: str
    canonical: bool
    config: dict[str, Any]
    manifest: dict[str, Any]
    rows: pd.DataFrame
    path: Path
    responses: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))

    @property
    def model(self) -> str:
        """The network's name in `conf/model/`."""
        return self.setting.model

    @property
    def schedule(self) -> str:
        """The schedule's name."""
        return self.setting.schedule

    @property
    def seed(self) -> int:
        """The seed."""
        return self.setting.seed

    @property
    def variant(self) -> str:
        """What the setting has beside network, schedule and seed: `rate=0.01`; "" for nothing."""
        return self.setting.variant

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
        return self.setting.departures

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
            setting=Setting.of(config),
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


# ---------------------------------------------------------------- which of them


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
                f"on schedule={schedule}: allowed: one; move the other elsewhere"
            )
        picked[place] = run
    return [picked[place] for place in sorted(picked)]


def pick(
    runs: list[Run], schedule: str, seeds: Iterable[int] | None = None, variant: str = ""
) -> list[Run]:
    """Pick the runs of all networks on one schedule, plain networks first, then by depth.

    Otherwise as `select`.
    """
    places = {run.model: (run.residual, run.depth or 0, run.model) for run in runs}
    return select(runs, sorted(places, key=places.get), schedule, seeds, variant)


def of_any_precision(
    like: Run, runs: Iterable[Run], seeds: Iterable[int] | None = None
) -> list[Run]:
    """Pick the runs that share schedule and overrides with `like`, whatever their precision.

    Without `seeds` all are taken.
    """
    kind = (like.schedule, like.setting.variant_without("precision"))
    return [
        run
        for run in runs
        if (run.schedule, run.setting.variant_without("precision")) == kind
        and (seeds is None or run.seed in seeds)
    ]


def schedule_folder(folder: Path, runs: list[Run]) -> Path:
    """Folder of the runs' schedule: in `folder`, or `folder` itself if runs lie right in it."""
    schedule = runs[0].schedule
    inside = folder.name == schedule and any(run.path.parents[1] == folder for run in runs)
    return folder if inside else folder / schedule
