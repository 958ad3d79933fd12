"""Signals that ask a run to stop: noted, so that it can save first."""

import contextlib
import os
import signal
from collections.abc import Iterator

from degradation.errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """The signal that asked for a stop, None as long as there was none.

    Until `deferred` is set there is nothing to save, and a signal raises `Stopped` where it comes.
    """

    def __init__(self):
        self.signal: signal.Signals | None = None
        self.deferred = False


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note SIGINT, SIGTERM and SIGHUP instead of dying of them; a second SIGINT exits at once."""
    request = StopRequest()
    interrupted = False

    def note(number, frame):
        nonlocal interrupted
        if number == signal.SIGINT and interrupted:
            os._exit(128 + number)
        interrupted |= number == signal.SIGINT
        if number == signal.SIGHUP:
            _mute_lost_terminal()
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


def _mute_lost_terminal() -> None:
    # What is still printed must not fail, or the run would seem to have failed.
    for stream in (1, 2):
        try:
            os.write(stream, b"")
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
