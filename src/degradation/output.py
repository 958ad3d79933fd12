"""What commands that work for hours tell, for as long as somebody reads it."""

import contextlib
import io
import os
import sys
from typing import TextIO

from tqdm import tqdm


def say(line: str) -> None:
    """Print a line at once, clear of progress bars.

    If nobody reads any more, a pipe being closed or a terminal gone, that is no reason to end the
    work: this line and all later ones go nowhere.
    """
    _write(line, sys.stdout)


def complain(line: str) -> None:
    """Print a line as `say` does, on standard error."""
    _write(line, sys.stderr)


def silence(stream: TextIO) -> None:
    """Let an output go nowhere from now on, with what is still to be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def prepare_streams() -> None:
    """Have nothing that is printed fail: outputs that are closed, signs that encodings lack.

    Such a sign, as −, prints as ?.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # closed by who started the process (`>&-`)
            # The lowest that is free: `descriptor`, which another file would have got otherwise.
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(descriptor, "r" if descriptor == 0 else "w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError):  # one that was put in another's place, or is gone
                stream.reconfigure(errors="replace")


def _write(line: str, stream: TextIO) -> None:
    try:
        tqdm.write(line, file=stream)
        stream.flush()
    except OSError:
        silence(stream)
