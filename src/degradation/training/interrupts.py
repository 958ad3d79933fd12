"""Signals that ask a run to stop: noted, so that it can save first."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator

from degradation.errors import Stopped
from degradation.output import silence

WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)  # of Slurm (`sbatch --signal`), before it kills
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, *WARNINGS)


class StopRequest:
    """The signal that asked for a stop, None as long as there was none.

    Until `deferred` is set there is nothing to save, and a signal raises `Stopped` where it comes.
    """

    def __init__(self):
        self.signal: signal.Signals | None = None
        self.deferred = False


@contextlib.contextmanager
def handling(numbers: Iterable[int], handler: Callable) -> Iterator[None]:
    """Have `handler` called for these signals while the body runs.

    What was ignored from the start (nohup) stays ignored.
    """
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


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

    with handling(SIGNALS, note):
        yield request


def _silence_lost_terminal() -> None:
    # What is still printed must not fail, or the run would seem to have failed.
    for stream in (sys.stdout, sys.stderr):
        try:
            os.write(stream.fileno(), b"")
        except OSError:
            silence(stream)
