"""Measure contenders in turn, each in a process of its own: its memory and start-up are its own."""

import contextlib
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from timeit import timeit
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from degradation.config import ROOT
from degradation.data import load_dataset
from degradation.errors import UserError
from degradation.output import say, silence
from degradation.records.run_folder import RunFolder

OURS = "this repository"
BARE = "constant batch"  # this repository's update alone


@dataclass(frozen=True)
class Contender:
    """One way to train a network, and the precision that it trains in."""

    name: str
    precision: str

    @property
    def label(self) -> str:
        """Name and precision, for tables and charts."""
        return f"{self.name}, {self.precision}"


STOCK = Contender("stock Keras", "float32")


def contenders(precision: str) -> list[Contender]:
    """List all contenders; `precision` is the one that runs train in."""
    ours = dict.fromkeys([(OURS, "float32"), (OURS, precision)])
    return [STOCK, *(Contender(*pair) for pair in ours), Contender(BARE, precision)]


def measure(
    configs: dict[str, DictConfig],
    chosen: list[Contender],
    threads: int,
    repeats: int,
    seconds: float,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure every contender on every network; `configs` are those of runs, by network.

    Gives two tables. Speeds: `network, contender, repeat, images_per_second`, one measurement a
    row; within a repeat all contenders take their turns, so that rows of one repeat are pairs.
    Facts: `network, contender, first_update_seconds` (from the start of the process),
    `peak_bytes`; for this repository `evaluation_seconds` and `checkpoint_seconds`, and both are
    made before its peak is read, as in a run. Raises `UserError` (exit code 1), which says what
    went wrong, if a contender fails.
    """
    speeds, facts = [], []
    for network, config in configs.items():
        with contextlib.ExitStack() as stack:
            workers = {}
            for contender in chosen:
                say(f"{network}: starting {contender.label}")
                began = time.monotonic()
                ask = stack.enter_context(_worker(contender, config, threads))
                ask(0.0)  # the first update
                passed = time.monotonic() - began
                key = {"network": network, "contender": contender.label}
                workers[contender.label] = ask, {**key, "first_update_seconds": passed}
                ask(1.0)  # not counted: caches and clocks warm up
            for repeat in range(repeats):
                say(f"{network}: measurement {repeat + 1} of {repeats}")
                for label, (ask, _) in workers.items():
                    key = {"network": network, "contender": label, "repeat": repeat}
                    speeds.append({**key, **ask(seconds)})
            facts += [{**fact, **ask(None)} for ask, fact in workers.values()]
    return pd.DataFrame(speeds), pd.DataFrame(facts)


@contextlib.contextmanager
def _worker(
    contender: Contender, config: DictConfig, threads: int
) -> Iterator[Callable[[float | None], dict[str, Any]]]:
    """Start a contender, and give the function that asks it, as `_serve` says."""
    context = multiprocessing.get_context("spawn")  # as a command starts: nothing is imported yet
    here, there = context.Pipe()
    given = (there, contender, config, threads)
    process = context.Process(target=_serve, args=given, daemon=True)

    def ask(request: float | None) -> dict[str, Any]:
        try:
            here.send(request)
            answer = here.recv()
        except (EOFError, ConnectionError):
            process.join()
            answer = f"its process ended with code {process.exitcode}"
        if isinstance(answer, str):
            name = f"{contender.name} on {config.model.name}"
            raise UserError(f"benchmark: {name}: {answer}", exit_code=1)
        return answer

    process.start()
    there.close()
    try:
        yield ask
    finally:
        process.kill()
        process.join()


# In the process of its own.


def _serve(connection: Connection, contender: Contender, config: DictConfig, threads: int) -> None:
    """Build the contender, then answer requests until they end.

    Seconds are answered by `images_per_second` over about so many; None, by the extras. Text is an
    answer too: what went wrong.
    """
    # Keras compiles with XLA wherever it sees a GPU, though it may not use it.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    for stream in (sys.stdout, sys.stderr):  # notices of TensorFlow
        silence(stream)
    try:
        step, extras = _build(contender, config, threads)
        while True:
            seconds = connection.recv()
            if seconds is None:
                # Extras first: a run's peak is that of its evaluations too.
                connection.send({**extras(), "peak_bytes": _peak_bytes()})
            else:
                connection.send(_time_updates(step, seconds, config.optimizer.batch))
    except EOFError:  # who asked is gone
        return
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")


def _build(contender: Contender, config: DictConfig, threads: int):
    """Give the contender's update, and the function that measures its extras."""
    from degradation.benchmark.contenders import constant_batch, stock_keras
    from degradation.training.devices import set_up, threads_for
    from degradation.training.learner import Learner
    from degradation.training.protocol import parts_of

    dataset = load_dataset(**OmegaConf.to_container(config.data), root=ROOT)
    stock = contender == STOCK
    parts = 1 if stock else parts_of(config.optimizer.batch, config.optimizer.ghost_batch)
    set_up(contender.precision, threads_for(parts, threads), seed=0)
    if contender.name != OURS:
        return (stock_keras if stock else constant_batch)(config, dataset), dict
    learner = Learner(config, dataset)

    def extras() -> dict[str, float]:
        learner.evaluate()  # traces the graph
        learner.update()  # a row needs one
        evaluation = timeit(learner.evaluate, number=1)
        with tempfile.TemporaryDirectory() as path:
            save = RunFolder(path).save_checkpoint
            checkpoint = timeit(lambda: save(0, *learner.checkpoint()), number=1)
        return {"evaluation_seconds": evaluation, "checkpoint_seconds": checkpoint}

    return learner.update, extras


def _time_updates(step, seconds: float, batch: int) -> dict[str, float]:
    """Make whole updates for about `seconds`, at least one, and say how fast they were."""
    began, updates, passed = time.perf_counter(), 0, 0.0
    while passed < seconds or not updates:
        step()
        updates += 1
        passed = time.perf_counter() - began
    return {"images_per_second": updates * batch / passed}


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
