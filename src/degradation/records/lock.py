"""One writer a folder: a lock that its holder's death releases, on one machine or several."""

import contextlib
import errno
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, SoftFileLease, Timeout

from degradation.errors import IN_USE, UserError
from degradation.output import complain
from degradation.records.files import faults_as_user_errors
from degradation.records.machine import utc_now

LEASE_SECONDS = 30.0
"""On a file system without flock: a lock that is not renewed for so long is taken over."""

_NO_FLOCK = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`, which is created if need be, while the body runs.

    The file `.lock` is locked, and says which process holds it, on which host and since when. At
    the end it goes, and so do the folders that were created for it if they are still empty.
    `UserError` if another process holds the lock (exit code `IN_USE`) or if the folder cannot be
    made or written (exit code 1).
    """
    path = folder / ".lock"
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": utc_now()}
    with contextlib.ExitStack() as undo:
        with faults_as_user_errors(f"cannot write to {folder}"):
            for directory in reversed((folder, *folder.parents)):
                if not directory.exists():
                    directory.mkdir(exist_ok=True)
                    undo.callback(_try, directory.rmdir)
            undo.callback(_acquire(path).release)
            # While it is still locked: afterwards the name may be the next writer's.
            undo.callback(_try, path.unlink)
            path.write_text(json.dumps(holder))
        yield


def _acquire(path: Path) -> FileLock | SoftFileLease:
    try:
        try:
            lock = FileLock(path, fallback_to_soft=False)
            lock.acquire(timeout=0)
        except OSError as error:
            if error.errno not in _NO_FLOCK:
                raise
            # A file that its holder touches now and then. One who fails to has lost the lock.
            lock = SoftFileLease(
                path.with_name(".lease.lock"),
                lease_duration=LEASE_SECONDS,
                on_compromise=lambda _: _leave(path.parent),
            )
            lock.acquire(timeout=1.5 * LEASE_SECONDS)
    except Timeout:
        raise UserError(
            f"{path.parent} is being written by {_holder(path)}: wait until it ends, or stop it "
            "first",
            IN_USE,
        ) from None
    return lock


def _leave(folder: Path) -> None:
    """End this process at once: whatever it wrote now, it would do to the next writer's run."""
    complain(f"error: {folder}: another process has taken over, for this one did not answer")
    os._exit(IN_USE)


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError):
        return "another process"  # which has not signed the lock yet


def _try(action: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):  # of rmdir, "not empty" is the usual case
        action()
