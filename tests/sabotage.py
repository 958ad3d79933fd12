"""Real faults for a command, caused in its own process at a chosen moment of the training.

The functions `at_…` choose the moment, the others are what happens then. All can be pickled with
`functools.partial`, for `processes.run(..., faults=[...])`.
"""

import importlib.metadata
import os
import resource
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from command_line import wait_until

# Moments


def at_update(iteration: int, happen: Callable[[], None]) -> None:
    """Let it happen right after the given update."""
    from degradation.training.learner import Learner

    update = Learner.update

    def update_then(self):
        rate = update(self)
        if self.meter.iteration == iteration:
            happen()
        return rate

    Learner.update = update_then


def at_building(happen: Callable[[], None]) -> None:
    """Let it happen right before the network is built."""
    from degradation.training import learner

    build = learner.build_model

    def happen_and_build(**settings):
        happen()
        return build(**settings)

    learner.build_model = happen_and_build


def at_rename(name: str, happen: Callable[[], None], after: bool = False, nth: int = 1) -> None:
    """Let it happen right before or after a file comes into place as `name` for the nth time."""
    replace, left = os.replace, [nth]

    def replace_then(source, target):
        left[0] -= Path(target).name == name
        now = left[0] == 0 and Path(target).name == name
        if now and not after:
            happen()
        replace(source, target)
        if now and after:
            happen()

    os.replace = replace_then


def at_removal(name: str, happen: Callable[[], None]) -> None:
    """Let it happen right before the file `name` is deleted."""
    unlink = Path.unlink

    def unlink_then(self, missing_ok=False):
        if self.name == name:
            happen()
        unlink(self, missing_ok)

    Path.unlink = unlink_then


# What happens


def send(*numbers: signal.Signals) -> None:
    """Receive signals, one after the other."""
    for number in numbers:
        os.kill(os.getpid(), number)


kill = partial(send, signal.SIGKILL)


def limit_files(size: int) -> None:
    """Allow no file of more than `size` bytes from now on."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def wait_for(path: Path, sign: Path) -> None:
    """Make the file `sign`, then hang until there is a file `path`."""
    sign.touch()
    wait_until(path.exists)


# From the beginning


def hurry(seconds: float) -> None:
    """Have the monotonic clock go on by so many seconds with every update, and not otherwise."""
    from degradation.training.learner import Learner

    update, now = Learner.update, [0.0]

    def slow_update(self):
        now[0] += seconds
        return update(self)

    Learner.update, time.monotonic = slow_update, lambda: now[0]


def install(package: str, version: str) -> None:
    """Have a package seem to be there in another version."""
    ask = importlib.metadata.version
    importlib.metadata.version = lambda name: version if name == package else ask(name)


def check_out(commit: str) -> None:
    """Have the program seem to be the one of a commit."""
    from degradation.training import run

    run.git_state = lambda root: {"git_commit": commit, "git_dirty": False}


def set_environment(**variables: str) -> None:
    """Set environment variables, for this process and those it starts."""
    os.environ.update(variables)


def shorten_warm_up(updates: int) -> None:
    """Have the warm-up look at windows of so many updates."""
    from degradation.training.protocol import LearningRate

    LearningRate.WINDOW = updates


def shrink_cifar10(images: int) -> None:
    """Have each of the six files of CIFAR-10 hold so many images."""
    from degradation.data import archives

    archives.IMAGES_PER_FILE = images


def take_terminal(name: str) -> None:
    """Give this process the terminal `name`: for its input and output, and as the one it is of."""
    os.login_tty(os.open(name, os.O_RDWR))
