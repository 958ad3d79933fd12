"""One writer a folder: a lock that the kernel releases when its holder dies."""

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from degradation.errors import IN_USE, UserError
from degradation.records.files import faults_as_user_errors
from degradation.records.machine import utc_now

LOCK_NAME = ".lock"


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`, which is created if need be, while the body runs.

    The lock is `flock` on a file that holds the writer's process id and start time. The kernel lets
    go of it when the process ends, however it ends, so a lock file that a killed process left
    is simply taken over. At the end the file goes, and so do the folders that were created for it
    if they are still empty. `UserError` if another process holds the lock (exit code `IN_USE`) or
    if the folder cannot be made or written (exit code 1).
    """
    created: list[Path] = []
    try:
        with faults_as_user_errors(f"cannot write to {folder}"):
            descriptor = _acquire(folder, created)
        try:
            with faults_as_user_errors(f"cannot write to {folder}"):
                holder = {"pid": os.getpid(), "since": utc_now()}
                os.ftruncate(descriptor, 0)
                os.write(descriptor, json.dumps(holder).encode())
            yield
        finally:
            _release(folder / LOCK_NAME, descriptor)
    finally:
        for directory in reversed(created):
            with contextlib.suppress(OSError):  # "not empty" is the usual case
                directory.rmdir()


def _acquire(folder: Path, created: list[Path]) -> int:
    """Return the descriptor of the locked file; folders that had to be made go into `created`."""
    path = folder / LOCK_NAME
    for _ in range(100):  # each time round, another writer has ended in between
        try:
            _make_folder(folder, created)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:  # it has removed its empty folder
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(_describe_holder(folder, descriptor), IN_USE) from None
        except BaseException:
            os.close(descriptor)
            raise
        if _is_same_file(path, descriptor):
            return descriptor
        # It has removed the lock file: this one is locked, but nobody else will ever find it.
        os.close(descriptor)
    raise FileNotFoundError(errno.ENOENT, "the folder disappears as soon as it is made")


def _make_folder(folder: Path, created: list[Path]) -> None:
    missing = [directory for directory in (folder, *folder.parents) if not directory.exists()]
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):
            directory.mkdir()
            created.append(directory)


def _is_same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _describe_holder(folder: Path, descriptor: int) -> str:
    with open(descriptor, "rb") as file:  # closes the descriptor
        content = file.read()
    try:
        holder = json.loads(content)
        who = f"process {holder['pid']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        who = "another process"  # which has not signed the lock yet
    return f"{folder} is being written by {who}: wait until it ends, or stop it first"


def _release(path: Path, descriptor: int) -> None:
    # Removed while still locked: afterwards the name may belong to the next writer.
    with contextlib.suppress(OSError):
        if _is_same_file(path, descriptor):
            path.unlink()
    os.close(descriptor)
