"""What commands that work for hours tell on standard output, for as long as somebody reads it."""

import os
import sys

from tqdm import tqdm


def say(line: str) -> None:
    """Print a line at once, clear of progress bars.

    If nobody reads any more, a pipe being closed or a terminal gone, that is no reason to end the
    work: this line and all later ones go nowhere.
    """
    try:
        tqdm.write(line)
        sys.stdout.flush()
    except OSError:
        silence()


def silence() -> None:
    """Let standard output go nowhere from now on, with what is still to be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
