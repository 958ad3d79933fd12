"""Runs, as their folders tell them; and picking those of a report or a figure."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import pandas as pd

from degradation.errors import UserError
from degradation.records.run_folder import EARLIER, PROTOCOL, RunFolder
from degradation.schema import BLOCK_LAYERS, SHORTCUT
from degradation.setting import PAPER_NETWORKS, SCHEDULES, Setting

PAPER_SCHEDULE = SCHEDULES["paper"].copy()  # by dotted keys
EVALUATE_EVERY = PAPER_SCHEDULE.pop("schedule.evaluate_every")
del PAPER_SCHEDULE["schedule.name"]  # under another name it is the same
# By the names of their networks, without the depth: in words. All but plain ones are residual.
FAMILIES = {"plain": "plain", "resnet": "ResNet", "preresnet": "pre-activation ResNet"}
WHY = "why"  # the folder of the runs for docs/why.md, beside those of other runs' schedules
# By column of `Run.rows`: which error it is.
WORDS = {"train_error": "training", "test_error": "test", "val_error": "validation"}


@dataclass(frozen=True, eq=False)
class Run:
    """One run, as far as its folder tells it.

    `setting` says which experiment it is of: `model` is the network's name in `conf/model/`,
    `schedule` the schedule's name, `seed` the seed, `variant` what it has beside network, schedule
    and seed (`rate=0.01`; "" for nothing). `precision` is the one it was computed in. `dataset` is
    the data's label, `canonical` whether it is the official archive. `rows` has a row an
    evaluation; errors are in percent. `responses` is the standard deviation of each convolution's
    responses, by its number from 1 on the main path, where there is one. `classes` has the errors
    per class by its name, if the run recorded them. `probe` has the rows of probe.csv.
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
    classes: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))
    probe: pd.DataFrame = field(default_factory=pd.DataFrame)

    model = property(attrgetter("setting.model"))
    schedule = property(attrgetter("setting.schedule"))
    seed = property(attrgetter("setting.seed"))
    variant = property(attrgetter("setting.variant"))

    @property
    def diverged(self) -> bool:
        """Whether its loss ceased to be finite: an outcome, though the run never ended."""
        about = self.manifest
        return about.get("status") == "diverged" and about.get("protocol") == PROTOCOL

    @property
    def depth(self) -> int | None:
        """Layers of the network; None where its settings do not tell."""
        model = self.config["model"]
        if model["builder"] == "resnet":
            return 2 + BLOCK_LAYERS[model["block"]] * sum(model["depths"])
        return model.get("depth")

    @property
    def family(self) -> str | None:
        """What the network is but for its depth: plain, ResNet; None if its name tells none."""
        words = {f"{name}{self.depth}": told for name, told in FAMILIES.items()}.get(self.model)
        # Without its shortcuts, or with some, it is not what its name says.
        return words if self.residual == (words != "plain") else None

    @property
    def residual(self) -> bool:
        """Whether it has shortcuts."""
        return self.setting.values.get("model.shortcut") is not None

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
        return self.of_section_4_2 and self.model in PAPER_NETWORKS

    @property
    def place(self) -> tuple[bool, int, str]:
        """What networks are sorted by: plain ones first, then by depth."""
        return self.residual, self.depth or 0, self.model

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
    def code(self) -> list[tuple[str, bool | None]]:
        """The code that trained it, first to last: each commit, and whether it had changes."""
        resumes = self.manifest.get("resumes") or []
        parts = [*(resume.get("trained_by", {}) for resume in resumes), self.manifest]
        states = [(part.get("git_commit"), part.get("git_dirty")) for part in parts]
        return [state for state in dict.fromkeys(states) if state[0]]

    @property
    def on_paper_schedule(self) -> bool:
        """Whether the learning rate fell and training ended where the paper's did."""
        return PAPER_SCHEDULE.items() <= self.setting.values.items()

    @property
    def faithful(self) -> bool:
        """Whether network, schedule and settings are the paper's: its numbers may stand beside.

        A training error is a mean since the row before: of longer than usual it is another one.
        """
        often = self.setting.values["schedule.evaluate_every"] <= EVALUATE_EVERY
        return self.in_paper and self.on_paper_schedule and often and not self.setting.departures

    def final(self, column: str) -> float:
        """The error at the last evaluation, in percent; `column` is train_error or `measured`."""
        return float(self.rows[column].iloc[-1])


LeftOut = tuple[Path, str, Run | None]
"""A run that is not finished or cannot be read: where, why, and how far it came, if told."""


def find_runs(folder: Path) -> list[Run]:
    """Read the finished runs in and below `folder`, as `read_runs` does."""
    return read_runs(folder)[0]


def read_runs(folder: Path) -> tuple[list[Run], list[LeftOut]]:
    """Read the runs in and below `folder`: the finished ones, and the others, by their paths.

    A folder that does not exist holds no runs; one that is a link counts, once. What lies in a
    folder `WHY` below is passed over: it answers another question, and has runs again that are
    here.
    """
    finished, others, seen = [], [], set()

    def refused(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            others.append((Path(error.filename), f"cannot be read: {error.strerror}", None))

    for name, subfolders, files in os.walk(folder, onerror=refused, followlinks=True):
        real = os.path.realpath(name)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted({*subfolders} - {WHY})
        if not {"manifest.json", "metrics.csv"} & set(files):
            continue
        subfolders.clear()  # a run's checkpoint and wandb folders hold no runs
        run, reason = _read(RunFolder(name))
        if reason:
            others.append((Path(name), reason, run))
        else:
            finished.append(run)
    return finished, others


def _read(folder: RunFolder) -> tuple[Run | None, str]:
    """Read one run folder, as far as the run came; and why it is left out, "" for a finished run.

    None for what its files do not tell.
    """
    run, reason = None, ""
    try:
        manifest = folder.manifest()
        reason = _unfinished(manifest)
        config = folder.config()
        layers = [r for r in folder.table("layers") if SHORTCUT not in r["layer"]]
        stds = {n: row["response_std"] for n, row in enumerate(layers, 1)}
        classes = {row["class"]: row["error"] for row in folder.table("classes")}
        run = Run(
            setting=Setting.of(config),
            precision=manifest["precision"],
            dataset=manifest["dataset"]["label"],
            canonical=manifest["dataset"]["canonical"],
            config=config,
            manifest=manifest,
            rows=pd.DataFrame(folder.rows()),
            path=folder.path,
            responses=pd.Series(stds, dtype=float).dropna(),
            classes=pd.Series(classes, dtype=float),
            probe=pd.DataFrame(folder.table("probe")),
        )
        return run, reason or _lacking(run)
    except UserError as error:
        return run, reason or str(error)
    except (LookupError, OSError, ValueError, TypeError, AttributeError) as error:
        return run, reason or f"cannot be read: {error!r}"


def _unfinished(manifest: dict[str, Any]) -> str:
    """Say why a run with this manifest is left out; "" if it is complete."""
    status, cause = manifest["status"], (manifest.get("failure") or "").partition("\n")[0]
    if manifest.get("protocol") != PROTOCOL:
        return f"by {EARLIER}"
    if status == "diverged":
        return f"diverged at iteration {manifest['diverged_at']:,}"
    if status != "complete":
        return ": ".join(filter(None, [f"{status}, not complete", cause]))
    return ""


def _lacking(run: Run) -> str:
    """Say what a complete run lacks of its rows; "" for nothing."""
    columns, end = ["iteration", "train_error", run.measured], run.config["schedule"]["iterations"]
    whole = set(columns) <= set(run.rows) and run.rows[columns].notna().all(axis=None)
    if whole and run.rows["iteration"].iloc[-1] == end:
        return ""
    return f"metrics.csv lacks {', '.join(columns)} up to iteration {end}"


# ---------------------------------------------------------------- picking them


def select(runs: Iterable[Run], schedule: str, variant: str = "") -> list[Run]:
    """Pick the runs of one schedule and variant: plain networks first, then by depth and seed.

    A run with other overrides is another network, and never among them. Raises UserError if a
    network's seed was trained twice.
    """
    picked = [run for run in runs if (run.schedule, run.variant) == (schedule, variant)]
    check_alike(picked)
    return sorted(picked, key=lambda run: (run.place, run.seed))


def check_alike(runs: list[Run]) -> None:
    """Raise UserError unless runs share schedule and overrides, and no network's seed is twice."""
    known: dict[tuple[str, int], Run] = {}
    for run in runs:
        for what in ("schedule", "variant"):
            ours, first = getattr(run, what), getattr(runs[0], what)
            if ours != first:
                raise UserError(
                    f"runs side by side must share their {what}, but {runs[0].path} has "
                    f"{first or 'none'} and {run.path} has {ours or 'none'}"
                )
        if twin := known.get((run.model, run.seed)):
            raise UserError(
                f"{twin.path} and {run.path} are both {run.model} with seed={run.seed} on "
                f"schedule={run.schedule}: allowed: one; move the other elsewhere"
            )
        known[run.model, run.seed] = run


# ---------------------------------------------------------------- of a figure


def models_of(spec: dict[str, Any]) -> list[str]:
    """List the networks that a figure needs, each once, in the order of its panels."""
    return list(dict.fromkeys(model for panel in spec["panels"] for model in panel["models"]))


def drawn(spec: dict[str, Any]) -> list[str]:
    """List the networks that a figure shows: `models_of`, and `also` those that have runs."""
    return list(dict.fromkeys(model for panel in spec["panels"] for model in panel_models(panel)))


def panel_models(panel: dict[str, Any]) -> list[str]:
    """List the networks that a panel shows: `models`, which it needs, and `also` if they ran."""
    return [*panel["models"], *panel["also"]]
