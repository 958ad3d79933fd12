"""The one exception that ends a command without a traceback."""


class UserError(Exception):
    """Something the user can put right: a wrong value, missing data, a folder in use.

    Commands print its message, which is one line, to standard error and end with `exit_code`:
    2 for bad input (the default), 1 for a fault met on the way (a full disk, a diverged loss).
    """

    def __init__(self, message: str, exit_code: int = 2):
        super().__init__(message)
        self.exit_code = exit_code
