"""What resuming needs, in files that show any damage: `checkpoint/<iteration>.npz`."""

import hashlib
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from degradation.errors import UserError
from degradation.output import complain
from degradation.records.files import faults_as_user_errors, write_atomically

KEEP = 2
_STATE = "state.json"
_SEAL_BYTES = len("sha256:") + 64


@dataclass(frozen=True)
class Checkpoint:
    """A run after `iteration` updates.

    `arrays` and `state` are as they were saved. `note` is None, or says which damaged file was
    passed over: for the manifest.
    """

    iteration: int
    arrays: dict[str, np.ndarray]
    state: dict[str, Any]
    note: str | None = None


def save_checkpoint(
    folder: Path, iteration: int, arrays: dict[str, np.ndarray], state: dict[str, Any]
) -> None:
    """Write `folder/<iteration>.npz` atomically, then drop all but it and the one before it.

    `iteration` counts finished updates. `arrays` are numeric, of any shape. `state` is what JSON
    can hold: floats and integers of any size come back exactly, tuples as lists. The parent of
    `folder` must exist.

    Raises `UserError` (exit code 1) if the file cannot be written, with earlier checkpoints as they
    were.
    """
    # An .npz, followed by the digest of its bytes: readers of archives ignore what follows.
    document = json.dumps({"iteration": iteration, "state": state})
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, **{_STATE: np.frombuffer(document.encode(), np.uint8)})
    content = buffer.getvalue()
    with faults_as_user_errors(f"cannot write to {folder}"):
        folder.mkdir(exist_ok=True)
    write_atomically(folder / f"{iteration:08d}.npz", content + _seal(content))
    # Files of later iterations are of a future that was given up: damaged, and resumed before.
    paths = _newest_first(folder)
    kept = [path for path in paths if int(path.stem) <= iteration][:KEEP]
    with faults_as_user_errors(f"cannot delete old checkpoints in {folder}"):
        for path in paths:
            if path not in kept:
                path.unlink(missing_ok=True)


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the newest checkpoint that is intact, or None if there is not one file.

    A damaged one is passed over with a line on standard error, which the checkpoint's `note` keeps.
    If all are damaged, `UserError`: starting from scratch in silence would hide the loss. One that
    cannot be read is not damaged: a `UserError` with exit code 1.
    """
    problems = []
    for path in _newest_first(folder):
        try:
            checkpoint = _load(path)
        except ValueError as error:
            problems.append(f"{path.name} {error}")
            continue
        if not problems:
            return checkpoint
        note = f"damaged checkpoint in {folder.name}/: {'; '.join(problems)}; using {path.name}"
        complain(f"warning: {folder.parent}: {note}")
        return replace(checkpoint, note=note)
    if problems:
        raise UserError(
            f"every checkpoint in {folder} is damaged ({'; '.join(problems)}): start again with "
            "overwrite=true, or delete that folder"
        )
    return None


def _newest_first(folder: Path) -> list[Path]:
    with faults_as_user_errors(f"cannot read {folder}"):
        paths = list(folder.iterdir()) if folder.is_dir() else []
    checkpoints = [path for path in paths if path.suffix == ".npz" and path.stem.isdecimal()]
    return sorted(checkpoints, key=lambda path: int(path.stem), reverse=True)


def _load(path: Path) -> Checkpoint:
    with faults_as_user_errors(f"cannot read {path}"):
        content = path.read_bytes()
    if content[-_SEAL_BYTES:] != _seal(memoryview(content)[:-_SEAL_BYTES]):
        raise ValueError("does not match its digest")
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = dict(archive)
    document = json.loads(bytes(arrays.pop(_STATE)))
    return Checkpoint(document["iteration"], arrays, document["state"])


def _seal(content: bytes | memoryview) -> bytes:
    return b"sha256:" + hashlib.sha256(content).hexdigest().encode()
