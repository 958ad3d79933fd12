"""A run's folder: the files in which a run is recorded, and the only way to write them."""

import contextlib
import csv
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from degradation.errors import UserError
from degradation.records import checkpoints
from degradation.records.files import faults_as_user_errors, remove_temporaries, write_atomically
from degradation.records.lock import lock_folder

METRIC_COLUMNS = (
    "iteration",
    "epoch",
    "learning_rate",
    "train_loss",
    "train_error",
    "test_loss",
    "test_error",
    "val_loss",
    "val_error",
    "images_per_second",
    "wall_seconds",
)
"""The columns of metrics.csv in their order; a run has either the test_ or the val_ ones."""

LAYER_COLUMNS = ("layer", "response_std", "kernel_norm")
"""The columns of layers.csv: `degradation.models.summary.convolutions` says what they are."""

PROTOCOL = 2
"""The training protocol that runs follow, in their manifest; the first one's had no such entry."""

EARLIER = "the earlier protocol (decay on all weights, whole batches, moving averages)"
"""In words, what a run without it was trained by."""

# In the order in which `clear` deletes them. If it dies half-way, nothing is left that another run
# could go on from, and what has lost its rows or its network has no manifest.
_MEMBERS = (
    *("checkpoint", "manifest.json", "metrics.csv", "layers.csv", "model.keras", "mean.npy"),
    *("wandb", "config.yaml"),
)
_FOLDERS = ("checkpoint", "wandb")


class RunFolder:
    """The folder of one run: configuration, manifest, metrics, layers and checkpoints.

    Files are replaced whole and atomically. Absent files read as empty. A damaged file raises
    `UserError` (exit code 2), a fault of the file system `UserError` with exit code 1; either names
    the file in one line.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)

    @property
    def status(self) -> str | None:
        """`running`, `interrupted`, `failed` or `complete`; None if there is no manifest."""
        return self.manifest().get("status")

    def config(self) -> dict[str, Any]:
        """Return the resolved configuration, or {} if there is none. YAML tags are refused."""
        return self._read("config.yaml", _parse_yaml) or {}

    def manifest(self) -> dict[str, Any]:
        """Return the manifest, or {} if there is none."""
        return self._read("manifest.json", _parse_json) or {}

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of metrics.csv, `iteration` as int and the rest as float."""
        return self._read("metrics.csv", _parse_rows) or []

    def layers(self) -> list[dict[str, Any]]:
        """Return the rows of layers.csv, `layer` as text, the rest as float or None for blank."""
        return self._read("layers.csv", _parse_layers) or []

    def write_config(self, config: dict[str, Any]) -> None:
        """Write config.yaml from plain dicts, lists, strings and numbers; makes the folder."""
        with faults_as_user_errors(f"cannot write to {self.path}"):
            self.path.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        write_atomically(self.path / "config.yaml", text.encode())

    def update_manifest(self, drop: Iterable[str] = (), **fields: Any) -> None:
        """Set top-level fields of the manifest and remove those in `drop`; the others stay.

        JSON has no NaN and no infinity: they become null.
        """
        kept = {key: value for key, value in self.manifest().items() if key not in drop}
        manifest = kept | {key: _as_json(value) for key, value in fields.items()}
        text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_atomically(self.path / "manifest.json", text.encode())

    def write_rows(self, rows: list[dict[str, Any]]) -> None:
        """Replace metrics.csv by `rows`, which share their keys; without rows there is no file.

        `ValueError` for a key that is no metric and for rows whose keys differ.
        """
        path = self.path / "metrics.csv"
        if rows:
            write_atomically(path, _format_rows(rows).encode())
        else:
            with faults_as_user_errors(f"cannot delete {path}"):
                path.unlink(missing_ok=True)

    def write_layers(self, rows: list[dict[str, Any]]) -> None:
        """Replace layers.csv by `rows`, which have the keys `LAYER_COLUMNS`; None is a blank."""
        text = io.StringIO()
        writer = csv.DictWriter(text, LAYER_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.path / "layers.csv", text.getvalue().encode())

    def save_checkpoint(
        self, iteration: int, arrays: dict[str, np.ndarray], state: dict[str, Any]
    ) -> None:
        """Write `checkpoint/<iteration>.npz`, keep the last two: `checkpoints.save_checkpoint`."""
        checkpoints.save_checkpoint(self.path / "checkpoint", iteration, arrays, state)

    def load_checkpoint(self) -> checkpoints.Checkpoint | None:
        """Return the newest intact checkpoint or None: `checkpoints.load_checkpoint`."""
        return checkpoints.load_checkpoint(self.path / "checkpoint")

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only writer while the body runs; makes the folder, and removes it if left empty.

        `UserError` if another process is writing (exit code `IN_USE`, and the message says which
        and since when) or if the folder cannot be written (exit code 1).
        """
        with lock_folder(self.path):
            with faults_as_user_errors(f"cannot write to {self.path}"):
                remove_temporaries(self.path)
                remove_temporaries(self.path / "checkpoint")
            yield

    def clear(self) -> None:
        """Delete the run's own files and folders, nothing else; of a symbolic link only the link.

        `UserError`, and nothing is deleted, if manifest or configuration are not those of a run.
        """
        if stranger := self.stranger():
            raise UserError(
                f"{self.path} has {stranger} but no manifest or configuration of a run: "
                "nothing was deleted; choose another run_dir, or empty the folder yourself"
            )
        with faults_as_user_errors(f"cannot clear {self.path}"):
            for path in map(self.path.joinpath, self._members()):
                if path.name in _FOLDERS and path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def stranger(self) -> str | None:
        """Name a file or folder that a run would replace, if what is here is not a run."""
        return next(iter(self._members()), None) if not self._holds_a_run() else None

    def _members(self) -> list[str]:
        return [name for name in _MEMBERS if os.path.lexists(self.path / name)]

    def _holds_a_run(self) -> bool:
        try:
            return "status" in self.manifest() or {"model", "schedule"} <= self.config().keys()
        except UserError:
            return True  # damaged: starting over is how the user puts that right

    def _read(self, name: str, parse: Callable[[str], Any]) -> Any:
        path = self.path / name
        with faults_as_user_errors(f"cannot read {path}"):
            try:
                content = path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None
        try:
            return parse(content.decode())
        except (ValueError, RecursionError, yaml.YAMLError) as error:
            reason = getattr(error, "problem", None) or str(error) or type(error).__name__
            raise UserError(f"{path} is damaged: {reason.splitlines()[0]}") from error


def _parse_json(text: str) -> dict[str, Any]:
    return _mapping(json.loads(text))


def _parse_yaml(text: str) -> dict[str, Any]:
    return _mapping(yaml.safe_load(text))


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected keys and values, found {type(value).__name__}")
    return value


def _parse_rows(text: str) -> list[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    if "iteration" not in (reader.fieldnames or ()):
        raise ValueError("no column iteration")
    rows = []
    try:
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(f"line {reader.line_num} has not {len(reader.fieldnames)} cells")
            iteration = int(row.pop("iteration"))
            rows.append({"iteration": iteration} | {k: float(v) for k, v in row.items()})
    except csv.Error as error:
        raise ValueError(str(error)) from error
    return rows


def _parse_layers(text: str) -> list[dict[str, Any]]:
    rows = list(csv.DictReader(io.StringIO(text), strict=True))
    if any(row.keys() != set(LAYER_COLUMNS) for row in rows):
        raise ValueError(f"expected the columns {', '.join(LAYER_COLUMNS)}")
    return [
        {"layer": row["layer"]}
        | {key: float(row[key]) if row[key] else None for key in LAYER_COLUMNS[1:]}
        for row in rows
    ]


def _format_rows(rows: list[dict[str, Any]]) -> str:
    columns = [name for name in METRIC_COLUMNS if name in rows[0]]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        if row.keys() != set(columns):
            raise ValueError(f"a row of metrics has the keys {list(row)}, expected {columns}")
        # float() first: the repr of numpy's own floats names their type.
        writer.writerow(
            int(row[name]) if name == "iteration" else repr(float(row[name])) for name in columns
        )
    return text.getvalue()


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
