"""The exceptions that end a command without a traceback, with one line."""

import os
import signal

IN_USE = os.EX_TEMPFAIL
"""Exit code of a run whose folder another process is writing: the same command works later."""


class UserError(Exception):
    """Something the user can put right: a wrong value, missing data, a folder in use.

    Commands print its message, which is one line, to standard error and end with `exit_code`:
    2 for bad input (the default), 1 for a fault met on the way (a full disk, a diverged loss),
    `IN_USE` for a folder that another process is writing.
    """

    def __init__(self, message: str, exit_code: int = 2):
        super().__init__(message)
        self.exit_code = exit_code


class Stopped(BaseException):
    """A signal asked for a stop, and whatever there was to save is saved.

    Not an `Exception`, as KeyboardInterrupt is none: what copes with faults must not take a stop
    for one of them. Commands print its message as they do that of a `UserError`.
    """

    def __init__(self, number: int, when: str):
        super().__init__(f"stopped by {signal.Signals(number).name} {when}")
        self.exit_code = 128 + number
