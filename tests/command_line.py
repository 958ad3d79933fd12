"""Commands as a user starts them, in a copy of the repository whose results are the test's own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from degradation.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[1]
PATH = (REPOSITORY / "src", REPOSITORY)  # what commands import from
PARTS = ("conf", "experiments", "src")


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, or minus the signal's number; what it printed."""

    code: int
    out: str
    err: str

    def output(self) -> str:
        """Return what it printed; it succeeded without a word of warning."""
        assert (self.code, self.err) == (0, ""), self
        return self.out

    def error(self, code: int = 2) -> str:
        """Return the one line of an error that it ended with, whose exit code is `code`."""
        assert self.code == code, self.err
        (line,) = self.err.splitlines()
        assert line.startswith("error: ")
        return line


def make_tree(root: Path) -> Path:
    """Link the repository's code and configuration into `root`: results are written below it."""
    root.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        (root / part).symlink_to(REPOSITORY / part)
    return root


def environment(tree: Path) -> dict[str, str]:
    """Return the environment of a command in `tree`: that of a user without settings of W&B, TF."""
    settings = ("WANDB_", "TF_", "CUDA_", "KERAS_BACKEND", "HYDRA_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(settings)}
    ours = {"PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    return kept | ours | {"CUDA_VISIBLE_DEVICES": "-1"}  # the tests are about the processor


def refusal(call: Callable, *arguments, code: int = 2, **options) -> str:
    """Return the message of the UserError that a call ends with, which is one line."""
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    message = str(caught.value)
    assert caught.value.exit_code == code
    assert "\n" not in message
    return message


def arguments(command: str, *overrides: str) -> list[str]:
    """Return what `python -m experiments.<command>` is started with."""
    return [sys.executable, "-m", f"experiments.{command}", *overrides]


def run(tree: Path, command: str, *overrides: str) -> Ended:
    """Run a command in `tree` to its end."""
    return run_program(arguments(command, *overrides), tree, environment(tree))


def run_code(code: str, *path: Path, folder: Path = REPOSITORY) -> Ended:
    """Run Python code in `folder` to its end, which imports from the folders `path`."""
    return run_program([sys.executable, "-c", code], folder, with_path(*path))


def with_path(*path: Path) -> dict[str, str]:
    """Return this environment with the folders that Python imports from."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}


def run_program(words: list[str], folder: Path, env: dict[str, str]) -> Ended:
    """Run a program in `folder` to its end."""
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    return Ended(done.returncode, done.stdout, done.stderr)


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for a condition, on a machine however slow, but not for ever."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "did not happen within two minutes"
        time.sleep(0.02)


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return modification time and content of every file below `folder`, by relative path."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_relative_to(folder / "src")
    }
