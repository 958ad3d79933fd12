"""Signals that ask a run to stop: noted, so that it can save first."""

import contextlib
import os
import signal
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """The signal that asked for a stop, None as long as there was none."""

    def __init__(self):
        self.signal: signal.Signals | None = None


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note SIGINT, SIGTERM and SIGHUP instead of dying of them; a second SIGINT exits at once."""
    request = StopRequest()

    def note(number, frame):
        if number == signal.SIGINT and request.signal == signal.SIGINT:
            os._exit(128 + number)
        request.signal = signal.Signals(number)

    # What was ignored from the start (nohup) stays ignored.
    before = {
        s: signal.signal(s, note) for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN
    }
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
