"""Commands in processes of their own that start fast, each with the faults that a test arranges.

A fork server imports TensorFlow and what reports need once, and every command is a fork of it in
which nothing has been computed yet. So a command may die of a real signal, meet a real limit or
find its clock changed, and it takes two seconds instead of eight.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from command_line import Ended, environment, wait_until
from sabotage import check_out

from degradation.records.run_folder import RunFolder

# Eight updates of small batches in two rows; then twelve in three, of eight layers. The drops are
# the schedule's own: at 4 and 6.
QUICK = ("schedule=smoke", "tracking=disabled", "optimizer.batch=16", "optimizer.ghost_batch=8")
SMALL = ("model=plain20", "model.depth=8", *QUICK, "schedule.iterations=12")
SYNTHETIC = ("data=synthetic", "data.train_images=100", "data.test_images=30")

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # what a command has, if nobody sets another
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["hydra", "degradation.training.run", "degradation.report"])


class Process:
    """A call of a function in a process of its own."""

    def __init__(self, function: Callable, *arguments):
        """Start it; `function` and `arguments` can be pickled."""
        self._outputs = tempfile.TemporaryDirectory()
        self._paths = [Path(self._outputs.name, stream) for stream in ("out", "err")]
        self._process = _SERVER.Process(target=_redirect, args=(self._paths, function, *arguments))
        self._process.start()

    def has_come_to(self, sign: Path) -> None:
        """Wait until it has made the file `sign`."""
        wait_until(lambda: sign.exists() or not self._process.is_alive())
        assert sign.exists(), "it ended before"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def kill(self) -> None:
        """Send it SIGKILL, unless it has ended and been waited for: its id may be another's."""
        self._process.kill()

    def wait(self) -> Ended:
        """Wait for its end."""
        self._process.join(timeout=120)
        if self._process.exitcode is None:
            self.kill()
            raise TimeoutError(f"{self._process} hung")
        texts = [path.read_text() for path in self._paths]
        self._outputs.cleanup()
        return Ended(self._process.exitcode, *texts)


def start(
    *overrides: str, name: str = "run", tree: Path | None = None, faults: Iterable[Callable] = ()
) -> Process:
    """Start `python -m experiments.<name> <overrides>`; its process calls the `faults` first.

    It writes into this repository, or into `tree`, which `command_line.make_tree` has made.
    """
    return Process(_command, name, overrides, tree, tuple(faults))


def run(*overrides: str, **options) -> Ended:
    """Run a command to its end; `start` says what there is."""
    return start(*overrides, **options).wait()


def train(folder: RunFolder, *overrides: str, faults: Iterable[Callable] = ()) -> Ended:
    """Train a small network on synthetic data in `folder`, or go on with it."""
    return run(*SMALL, *SYNTHETIC, f"run_dir={folder.path}", *overrides, faults=faults)


def finish(folder: RunFolder, *overrides: str, faults: Iterable[Callable] = ()) -> None:
    """Train as `train` does, and see it through without a word of warning."""
    train(folder, *overrides, faults=faults).output()
    assert folder.status == "complete"


def _command(
    name: str, overrides: tuple[str, ...], tree: Path | None, faults: tuple[Callable, ...]
) -> None:
    if tree:
        enter(tree)
    else:
        check_out("0" * 40)  # that somebody edits this repository is no matter of the test's
    for fault in faults:
        fault()
    sys.argv = [f"experiments/{name}.py", *overrides]
    runpy.run_module(f"experiments.{name}", run_name="__main__")


def enter(tree: Path) -> None:
    """Have this process be like one that was started in `tree` and has imported nothing of ours."""
    os.chdir(tree)
    variables = environment(tree)
    os.environ.clear()
    os.environ.update(variables)
    sys.path[:0] = [str(tree), str(tree / "src")]
    for module in list(sys.modules):
        if module.partition(".")[0] in ("degradation", "experiments"):
            del sys.modules[module]


def _redirect(paths: list[Path], function: Callable, *arguments) -> None:
    for path, stream in zip(paths, (sys.stdout, sys.stderr), strict=True):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, stream.fileno())
        os.close(file)
    function(*arguments)
