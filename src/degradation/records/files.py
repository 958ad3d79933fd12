"""Files that are complete or not there: written beside their place, then renamed into it."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from degradation.errors import UserError


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Hand out a temporary path beside `path`; what is written there takes its place at the end.

    The temporary path has the suffix of `path`, so that `model.save(temporary)` works. If the body
    raises, or the disk is full, the file that was there before stays as it was and no temporary is
    left. The folder must exist. An `OSError` becomes a `UserError` with exit code 1, which names
    the folder and gives the system's reason.
    """
    temporary = path.with_name(f".partial-{secrets.token_hex(4)}-{path.name}")
    with faults_as_user_errors(f"cannot write {path.name} in {path.parent}"):
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)  # a crash of the machine may bring back the previous file
        finally:
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Make `content` the whole of the file `path`, at once; `replace_file` says more."""
    with replace_file(path) as temporary:
        temporary.write_bytes(content)


def remove_temporaries(folder: Path) -> None:
    """Delete what `replace_file` left in `folder` if its process was killed. Needs the lock."""
    for path in folder.glob(".partial-????????-*"):
        path.unlink()


@contextlib.contextmanager
def faults_as_user_errors(task: str) -> Iterator[None]:
    """Turn an `OSError` of the body into a `UserError` with exit code 1: "<task>: <the reason>"."""
    try:
        yield
    except OSError as error:
        # h5py's messages have several lines and no strerror.
        reason = error.strerror or (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{task}: {reason}", exit_code=1) from error
