"""One contender in a process of its own, so that memory and start-up are its own too.

`python -m degradation.benchmark.worker SPECIFICATION` (JSON) prints a line of JSON when the first
update is done, then one for each line it reads: `updates SECONDS`, `extras`.
"""

import importlib.metadata
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from degradation.benchmark import BARE, COMPILED, OURS, PYTORCH, STOCK_KERAS
from degradation.config import ROOT
from degradation.data import load_dataset
from degradation.records.checkpoints import save_checkpoint


def main() -> None:
    """Build the contender, make its first update, then answer requests until they end."""
    spec = json.loads(sys.argv[1])
    step, extras = _pytorch(spec) if spec["contender"] in PYTORCH else _keras(spec)
    step()
    _answer(ready=True)
    for request in sys.stdin:
        name, *arguments = request.split()
        if name == "updates":
            _answer(
                **_time_updates(step, float(arguments[0]), spec["config"]["optimizer"]["batch"])
            )
        else:
            # Extras first: a run's peak is that of its evaluations too.
            _answer(**extras(), peak_bytes=_peak_bytes())


def _keras(spec: dict[str, Any]):
    from degradation.benchmark import contenders
    from degradation.training.devices import set_up, threads_for
    from degradation.training.learner import Learner
    from degradation.training.protocol import parts_of

    config = OmegaConf.create(spec["config"])
    dataset = load_dataset(**spec["config"]["data"], root=ROOT)
    ours = spec["contender"] in (OURS, BARE)
    parts = parts_of(config.optimizer.batch, config.optimizer.ghost_batch) if ours else 1
    set_up(spec["precision"], threads_for(parts, spec["threads"]), seed=0)
    if spec["contender"] != OURS:
        others = {STOCK_KERAS: contenders.stock_keras, BARE: contenders.constant_batch}
        return others[spec["contender"]](config, dataset), dict
    learner = Learner(config, dataset)

    def extras() -> dict[str, float]:
        learner.evaluate(rate=0.0)  # traces the graph
        learner.update()  # a row needs one
        evaluation = _seconds(lambda: learner.evaluate(rate=0.0))
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = _seconds(lambda: save_checkpoint(Path(folder), 0, *learner.checkpoint()))
        return {"evaluation_seconds": evaluation, "checkpoint_seconds": checkpoint}

    return learner.update, extras


def _pytorch(spec: dict[str, Any]):
    from degradation.benchmark.pytorch import torch_step

    model = spec["config"]["model"]
    step = torch_step(
        depth=model["depth"],
        residual=model.get("shortcut") is not None,
        compiled=spec["contender"] == COMPILED,
        batch=spec["config"]["optimizer"]["batch"],
        threads=spec["threads"],
    )
    return step, lambda: {"pytorch": importlib.metadata.version("torch")}


def _time_updates(step, seconds: float, batch: int) -> dict[str, float]:
    """Make whole updates for about `seconds`, and say how many images they trained on."""
    began, updates = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        step()
        updates += 1
    return {"images_per_second": updates * batch / passed}


def _seconds(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _answer(**content: Any) -> None:
    print(json.dumps(content), flush=True)


if __name__ == "__main__":
    main()
