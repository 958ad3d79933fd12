"""A run's folder: the files in which a run is recorded, and the only way to write them."""

import contextlib
import csv
import io
import json
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

PROTOCOL = 2
"""The training protocol that runs follow, in their manifest; the first one's had no such entry."""

EARLIER = "the earlier protocol (decay on all weights, whole batches, moving averages)"
"""In words, what a run without it was trained by."""

# In the order in which `clear` deletes them. If it dies half-way, nothing is left that another run
# could go on from, and what has lost its rows or its network has no manifest.
_MEMBERS = (
    *("checkpoint", "manifest.json", "metrics.csv", "layers.csv", "classes.csv"),
    *("probe.csv", "model.keras", "mean.npy", "wandb", "config.yaml"),
)

# How the cells of a table are read, by column; the others are numbers.
_CELLS = {"iteration": int, "update": int, "images": int, "layer": str, "class": str}


class RunFolder:
    """The folder of one run: configuration, manifest, metrics, layers, classes, probe, checkpoints.

    Files are replaced whole and atomically. Absent files read as empty. A damaged file raises
    `UserError` (exit code 2), a fault of the file system `UserError` with exit code 1; either names
    the file in one line.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)

    @property
    def status(self) -> str | None:
        """`running`, `interrupted`, `failed`, `diverged` or `complete`; None without a manifest."""
        return self.manifest().get("status")

    def config(self) -> dict[str, Any]:
        """Return the resolved configuration, or {} if there is none. YAML tags are refused."""
        return self._read("config.yaml", yaml.safe_load, absent={})

    def manifest(self) -> dict[str, Any]:
        """Return the manifest, or {} if there is none."""
        return self._read("manifest.json", json.loads, absent={})

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of metrics.csv, `iteration` as int and the rest as float."""
        return self.table("metrics")

    def table(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of <name>.csv: `layer` and `class` as text, counts as int, else float.

        None for a blank. Names are metrics, layers, classes and probe.
        """
        return self._read(f"{name}.csv", _parse_table, absent=[])

    def write_config(self, config: dict[str, Any]) -> None:
        """Write config.yaml from plain dicts, lists, strings and numbers."""
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        write_atomically(self.path / "config.yaml", text.encode())

    def update_manifest(self, drop: Iterable[str] = (), **fields: Any) -> None:
        """Set top-level fields of the manifest and remove those in `drop`; the others stay.

        Fields are what JSON can hold: `ValueError` for NaN and infinity.
        """
        manifest = {key: value for key, value in self.manifest().items() if key not in drop}
        text = json.dumps(manifest | fields, indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(self.path / "manifest.json", (text + "\n").encode())

    def write_table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Replace <name>.csv by `rows`, whose keys are its columns; what one lacks is a blank.

        Without rows there is no file.
        """
        path = self.path / f"{name}.csv"
        if not rows:
            with faults_as_user_errors(f"cannot delete {path}"):
                path.unlink(missing_ok=True)
            return
        text = io.StringIO()
        columns = dict.fromkeys(key for row in rows for key in row)
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(path, text.getvalue().encode())

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
        """Be the only writer while the body runs, as `lock_folder` has it; removes temporaries."""
        with lock_folder(self.path):
            with faults_as_user_errors(f"cannot write to {self.path}"):
                remove_temporaries(self.path)
                remove_temporaries(self.path / "checkpoint")
            yield

    def clear(self) -> None:
        """Delete the run's own files and folders, nothing else; of a symbolic link only the link.

        It does not ask whether they are a run's: `stranger` does.
        """
        with faults_as_user_errors(f"cannot clear {self.path}"):
            for path in map(self.path.joinpath, _MEMBERS):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)

    def stranger(self) -> str | None:
        """Name a file or folder that a run would replace, if what is here is not a run.

        A run's manifest tells, or its configuration, if the other one is damaged or not there.
        """
        for read, keys in (
            (self.manifest, {"status", "model", "schedule", "seed"}),
            (self.config, {"model", "data", "schedule", "optimizer", "runtime", "seed"}),
        ):
            with contextlib.suppress(UserError):
                if keys <= read().keys():
                    return None
        return next((name for name in _MEMBERS if os.path.lexists(self.path / name)), None)

    def _read(self, name: str, parse: Callable[[str], Any], absent: Any) -> Any:
        """Return what is in a file, or `absent`, whose type the content must have."""
        path = self.path / name
        with faults_as_user_errors(f"cannot read {path}"):
            try:
                content = path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return absent
        try:
            value = parse(content.decode())
            if not isinstance(value, type(absent)):
                raise ValueError(f"expected keys and values, found {type(value).__name__}")
        except (ValueError, TypeError, csv.Error, yaml.YAMLError) as error:
            reason = getattr(error, "problem", None) or str(error) or type(error).__name__
            raise UserError(f"{path} is damaged: {reason.splitlines()[0]}") from error
        return value


def _parse_table(text: str) -> list[dict[str, Any]]:
    # A row with too few cells has None for one, and one with too many a list: a TypeError.
    return [
        {name: None if cell == "" else _CELLS.get(name, float)(cell) for name, cell in row.items()}
        for row in csv.DictReader(io.StringIO(text), strict=True)
    ]
