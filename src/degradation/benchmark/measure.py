"""Measure contenders in turn, each in a process of its own."""

import contextlib
import importlib.util
import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from degradation.benchmark import BARE, OURS, PYTORCH, STOCK_KERAS
from degradation.benchmark.worker import serve
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
    `UserError` (exit code 1), which says what went wrong, if a contender fails; a PyTorch that
    cannot make its first update, as without a C++ compiler, is left out, and `tell` told so.
    """
    speeds, facts = [], []
    for network, config in configs.items():
        with contextlib.ExitStack() as stack:
            workers = {}
            for contender in chosen:
                tell(f"{network}: starting {contender.label}")
                began = time.monotonic()
                try:
                    ask = stack.enter_context(_worker(contender, config, threads))
                except UserError as error:
                    if contender.name not in PYTORCH:
                        raise
                    tell(f"{network}: left out: {error}")
                    continue
                passed = time.monotonic() - began
                key = {"network": network, "contender": contender.label}
                workers[contender.label] = ask, {**key, "first_update_seconds": passed}
                ask(1.0)  # not counted: caches and clocks warm up
            for repeat in range(repeats):
                tell(f"{network}: measurement {repeat + 1} of {repeats}")
                for label, (ask, _) in workers.items():
                    key = {"network": network, "contender": label, "repeat": repeat}
                    speeds.append({**key, **ask(seconds)})
            facts += [{**fact, **ask(None)} for ask, fact in workers.values()]
    return pd.DataFrame(speeds), pd.DataFrame(facts)


@contextlib.contextmanager
def _worker(
    contender: Contender, config: dict[str, Any], threads: int
) -> Iterator[Callable[[float | None], dict[str, Any]]]:
    """Start a contender, wait for its first update, and give the function that asks it for more."""
    context = multiprocessing.get_context("spawn")  # as a command starts: nothing is imported yet
    here, there = context.Pipe()
    given = (there, contender.name, contender.precision, config, threads)
    process = context.Process(target=serve, args=given, daemon=True)

    def hear() -> dict[str, Any]:
        try:
            answer = here.recv()
        except (EOFError, ConnectionError):
            process.join()
            answer = f"its process ended with code {process.exitcode}"
        if isinstance(answer, str):
            name = f"{contender.name} on {config['model']['name']}"
            raise UserError(f"benchmark: {name}: {answer}", exit_code=1)
        return answer

    def ask(request: float | None) -> dict[str, Any]:
        with contextlib.suppress(ConnectionError):  # it is dead, and hearing will tell
            here.send(request)
        return hear()

    process.start()
    there.close()
    try:
        hear()
        yield ask
    finally:
        process.kill()
        process.join()
