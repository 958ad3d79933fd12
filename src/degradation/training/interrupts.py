"""Signals that ask a run to stop: noted, so that it can save first."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

from degradation.errors import Stopped
from degradation.output import silence

# Slurm warns with the last two (`sbatch --signal`) before it kills.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class StopRequest:
    """The signal that asked for a stop, None as long as there was none.

    Until `deferred` is set there is nothing to save, and a signal raises `Stopped` where it comes.
    """

    def __init__(self):
        self.signal: signal.Signals | None = None
        self.deferred = False


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note `SIGNALS` instead of dying of them; a second SIGINT exits at once."""
    request = StopRequest()

    def note(number, frame):
        if number == signal.SIGINT == request.signal:
            os._exit(128 + number)
        if number == signal.SIGHUP:
            _silence_lost_terminal()
        request.signal = signal.Signals(number)
        if not request.deferred:
            raise Stopped(number, "before the run began")

    # What was ignored from the start (nohup) stays ignored.
    before = {
        s: signal.signal(s, note) for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN
    }
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _silence_lost_terminal() -> None:
    # What is still printed must not fail, or the run would seem to have failed.
    for stream in (sys.stdout, sys.stderr):
        try:
            os.write(stream.fileno(), b"")
        except OSError:
            silence(stream)
