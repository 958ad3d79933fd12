"""One contender in a process of its own, so that memory and start-up are its own too."""

import importlib.metadata
import os
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from timeit import timeit
from typing import Any

from omegaconf import OmegaConf

from degradation.benchmark import BARE, COMPILED, OURS, PYTORCH, STOCK_KERAS
from degradation.config import ROOT
from degradation.data import load_dataset
from degradation.output import silence
from degradation.records.checkpoints import save_checkpoint


def serve(
    connection: Connection, contender: str, precision: str, config: dict[str, Any], threads: int
) -> None:
    """Build the contender, make its first update, then answer requests until they end.

    The first update is answered by an empty dictionary; seconds, by `images_per_second` over about
    so many; None, by the extras. Text is an answer too: what went wrong.
    """
    # Keras compiles with XLA wherever it sees a GPU, though it may not use it.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    for stream in (sys.stdout, sys.stderr):  # notices of TensorFlow and compilers
        silence(stream)
    make = _pytorch if contender in PYTORCH else _keras
    try:
        step, extras = make(contender, precision, config, threads)
        step()
        connection.send({})
        while True:
            seconds = connection.recv()
            if seconds is None:
                # Extras first: a run's peak is that of its evaluations too.
                connection.send({**extras(), "peak_bytes": _peak_bytes()})
            else:
                connection.send(_time_updates(step, seconds, config["optimizer"]["batch"]))
    except EOFError:  # who asked is gone
        return
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")


def _keras(contender: str, precision: str, tree: dict[str, Any], threads: int):
    from degradation.benchmark import contenders
    from degradation.training.devices import set_up, threads_for
    from degradation.training.learner import Learner
    from degradation.training.protocol import parts_of

    config = OmegaConf.create(tree)
    dataset = load_dataset(**tree["data"], root=ROOT)
    ours = contender in (OURS, BARE)
    parts = parts_of(config.optimizer.batch, config.optimizer.ghost_batch) if ours else 1
    set_up(precision, threads_for(parts, threads), seed=0)
    if contender != OURS:
        others = {STOCK_KERAS: contenders.stock_keras, BARE: contenders.constant_batch}
        return others[contender](config, dataset), dict
    learner = Learner(config, dataset)

    def extras() -> dict[str, float]:
        learner.evaluate(rate=0.0)  # traces the graph
        learner.update()  # a row needs one
        evaluation = timeit(lambda: learner.evaluate(rate=0.0), number=1)
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            checkpoint = timeit(lambda: save_checkpoint(place, 0, *learner.checkpoint()), number=1)
        return {"evaluation_seconds": evaluation, "checkpoint_seconds": checkpoint}

    return learner.update, extras


def _pytorch(contender: str, precision: str, tree: dict[str, Any], threads: int):
    from degradation.benchmark.pytorch import torch_step

    step = torch_step(
        depth=tree["model"]["depth"],
        residual=tree["model"].get("shortcut") is not None,
        compiled=contender == COMPILED,
        batch=tree["optimizer"]["batch"],
        threads=threads,
    )
    return step, lambda: {"pytorch": importlib.metadata.version("torch")}


def _time_updates(step, seconds: float, batch: int) -> dict[str, float]:
    """Make whole updates for about `seconds`, and say how many images they trained on."""
    began, updates = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        step()
        updates += 1
    return {"images_per_second": updates * batch / passed}


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
