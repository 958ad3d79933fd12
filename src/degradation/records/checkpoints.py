"""What resuming needs, in files that show any damage: `checkpoint/<iteration>.npz`."""

import contextlib
import hashlib
import io
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from degradation.errors import UserError
from degradation.output import complain
from degradation.records.files import faults_as_user_errors, write_atomically

KEEP = 2
_NAME = re.compile(r"\d{8,}\.npz")
_STATE = "state.json"
_SEAL_BYTES = len("sha256:") + 64
_EXACT_KINDS = "biufc"  # dtype kinds that the .npy format gives back as they were


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


class _DamagedError(Exception):
    """A checkpoint that cannot be trusted; the message says why."""


def save_checkpoint(
    folder: Path, iteration: int, arrays: dict[str, np.ndarray], state: dict[str, Any]
) -> None:
    """Write `folder/<iteration>.npz` atomically, then drop all but it and the one before it.

    `iteration` counts finished updates. `arrays` are numeric, of any shape. `state` is what JSON
    can hold: floats and integers of any size come back exactly, numpy scalars as Python's, tuples
    as lists. The parent of `folder` must exist.

    Raises `UserError` (exit code 1) if the file cannot be written, with earlier checkpoints as they
    were, and `TypeError` for a dtype that would not come back as it was (object, bfloat16).
    """
    content = _pack(iteration, arrays, state)
    with faults_as_user_errors(f"cannot write to {folder}"):
        folder.mkdir(exist_ok=True)
    try:
        write_atomically(folder / f"{iteration:08d}.npz", content)
    except UserError:
        with contextlib.suppress(OSError):  # do not leave a folder that this call made
            folder.rmdir()
        raise
    # Files of later iterations are of a future that was given up: damaged, and resumed before.
    earlier = [path for path in _newest_first(folder) if int(path.stem) < iteration]
    kept = {int(path.stem) for path in earlier[: KEEP - 1]} | {iteration}
    with faults_as_user_errors(f"cannot delete old checkpoints in {folder}"):
        for path in _newest_first(folder):
            if int(path.stem) not in kept:
                path.unlink(missing_ok=True)


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the newest checkpoint that is intact, or None if there is not one file.

    A damaged one is passed over with a line on standard error, which the checkpoint's `note` keeps.
    If all are damaged, `UserError`: starting from scratch in silence would hide the loss.
    """
    paths = _newest_first(folder)
    problems = []
    for path in paths:
        try:
            checkpoint = _unpack(path)
        except _DamagedError as error:
            problems.append(f"{path.name} {error}")
            continue
        if not problems:
            return checkpoint
        note = f"damaged checkpoint in {folder.name}/: {'; '.join(problems)}; using {path.name}"
        complain(f"warning: {folder.parent}: {note}")
        return Checkpoint(checkpoint.iteration, checkpoint.arrays, checkpoint.state, note)
    if problems:
        raise UserError(
            f"every checkpoint in {folder} is damaged ({'; '.join(problems)}): start again with "
            "overwrite=true, or delete that folder"
        )
    return None


def _newest_first(folder: Path) -> list[Path]:
    with faults_as_user_errors(f"cannot read {folder}"):
        paths = list(folder.iterdir()) if folder.is_dir() else []
    checkpoints = [path for path in paths if _NAME.fullmatch(path.name)]
    return sorted(checkpoints, key=lambda path: int(path.stem), reverse=True)


def _pack(iteration: int, arrays: dict[str, np.ndarray], state: dict[str, Any]) -> bytes:
    """Make an uncompressed .npz whose archive comment is the digest of all that precedes it."""
    document = {"iteration": int(iteration), "state": state}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        # ZipInfo's fixed date: the clock must not matter, nor may one before 1980 end the run.
        archive.writestr(zipfile.ZipInfo(_STATE), json.dumps(document, default=_plain_number))
        for name, array in arrays.items():
            array = np.asanyarray(array)
            if array.dtype.kind not in _EXACT_KINDS:
                raise TypeError(f"array {name!r} is {array.dtype}: only numbers can be saved")
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        archive.comment = bytes(_SEAL_BYTES)
    content = buffer.getvalue()[:-_SEAL_BYTES]
    return content + _seal(content)


def _plain_number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a checkpoint's state cannot hold {type(value).__name__}: {value!r}")


def _seal(content: bytes | memoryview) -> bytes:
    return b"sha256:" + hashlib.sha256(content).hexdigest().encode()


def _unpack(path: Path) -> Checkpoint:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _DamagedError(f"cannot be read ({error.strerror})") from error
    if content[-_SEAL_BYTES:] != _seal(memoryview(content)[:-_SEAL_BYTES]):
        raise _DamagedError("does not match its digest")
    # The digest finds accidents; whoever made the file on purpose can compute one. So nothing below
    # may run code or trust a length, and whatever numpy or zipfile trips over is damage.
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise _DamagedError("has compressed members")
            document = json.loads(archive.read(_STATE))
            arrays = {}
            for name in archive.namelist():
                if name.endswith(".npy"):
                    with archive.open(name) as member:
                        arrays[name.removesuffix(".npy")] = np.lib.format.read_array(
                            member, allow_pickle=False
                        )
        checkpoint = Checkpoint(document["iteration"], arrays, document["state"])
    except _DamagedError:
        raise
    except Exception as error:
        raise _DamagedError(f"is no checkpoint ({type(error).__name__})") from error
    if checkpoint.iteration != int(path.stem) or not isinstance(checkpoint.state, dict):
        raise _DamagedError("is not what its name says")
    return checkpoint
