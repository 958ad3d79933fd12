"""Measure contenders in turn, each in a process of its own."""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import pandas as pd

from degradation.benchmark import BARE, OURS, PYTORCH, STOCK_KERAS
from degradation.errors import UserError


@dataclass(frozen=True)
class Contender:
    """One way to train a network, and the precision that it trains in."""

    name: str
    precision: str

    @property
    def label(self) -> str:
        """Name and precision, for tables and charts."""
        return f"{self.name}, {self.precision}"


STOCK = Contender(STOCK_KERAS, "float32")


def contenders(precision: str) -> list[Contender]:
    """List what can be measured here; `precision` is the one that runs train in."""
    ours = dict.fromkeys([(OURS, "float32"), (OURS, precision)])
    chosen = [STOCK, *(Contender(*pair) for pair in ours), Contender(BARE, precision)]
    if importlib.util.find_spec("torch"):
        pairs = zip(PYTORCH, ("float32", "bfloat16"), strict=True)
        chosen += [Contender(name, precision) for name, precision in pairs]
    return chosen


def measure(
    configs: dict[str, dict[str, Any]],
    chosen: list[Contender],
    threads: int,
    repeats: int,
    seconds: float,
    tell: Callable[[str], None],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure every contender on every network; `configs` are those of runs, by network.

    Gives two tables. Speeds: `network, contender, repeat, images_per_second`, one measurement a
    row; within a repeat all contenders take their turns, so that rows of one repeat are pairs.
    Facts: `network, contender, first_update_seconds` (from the start of the process),
    `peak_bytes`; for this repository `evaluation_seconds` and `checkpoint_seconds`, and both are
    made before its peak is read, as in a run; for PyTorch its version, `pytorch`. Raises
    `UserError` (exit code 1), which quotes its last words, if a contender's process dies; a PyTorch
    that cannot make its first update, as without a C++ compiler, is left out, and `tell` told so.
    """
    speeds, facts = [], []
    for network, config in configs.items():
        with contextlib.ExitStack() as stack:
            workers = {}
            for contender in chosen:
                tell(f"{network}: starting {contender.label}")
                spec = {
                    "config": config,
                    "contender": contender.name,
                    "precision": contender.precision,
                    "threads": threads,
                }
                began = time.monotonic()
                worker = stack.enter_context(_worker(spec))
                try:
                    worker("")
                except UserError as error:
                    if contender.name not in PYTORCH:
                        raise
                    tell(f"{network}: left out: {error}")
                    continue
                workers[contender] = worker
                first = time.monotonic() - began
                facts.append(
                    {
                        "network": network,
                        "contender": contender.label,
                        "first_update_seconds": first,
                    }
                )
                worker("updates 1")  # not counted: caches and clocks warm up
            for repeat in range(repeats):
                tell(f"{network}: measurement {repeat + 1} of {repeats}")
                for contender, worker in workers.items():
                    row = {"network": network, "contender": contender.label, "repeat": repeat}
                    speeds.append({**row, **worker(f"updates {seconds}")})
            for fact, worker in zip(facts[-len(workers) :], workers.values(), strict=True):
                fact |= worker("extras")
    return pd.DataFrame(speeds), pd.DataFrame(facts)


@contextlib.contextmanager
def _worker(spec: dict[str, Any]) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Start a worker; it answers a request, or with an empty one its announcement, as a dict."""
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "degradation.benchmark.worker", json.dumps(spec)],
            # Keras compiles with XLA wherever it sees a GPU, though it may not use it.
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )

        def ask(request: str) -> dict[str, Any]:
            if request:
                with contextlib.suppress(BrokenPipeError):  # it is dead, and reading will tell
                    process.stdin.write(f"{request}\n")
                    process.stdin.flush()
            while line := process.stdout.readline():
                if line.startswith("{"):
                    return json.loads(line)
            name = f"{spec['contender']} on {spec['config']['model']['name']}"
            raise UserError(f"benchmark: {name} {_end(process, errors)}", exit_code=1)

        try:
            yield ask
        finally:
            process.kill()
            process.communicate()


def _end(process: subprocess.Popen, errors: IO[str]) -> str:
    """Say how a process has ended, and quote the last line that it wrote to `errors`."""
    code = process.wait()
    errors.seek(0)
    lines = errors.read().strip().splitlines()
    return f"ended with code {code}" + (f"; its last words: {lines[-1]}" if lines else "")
