"""Train one network: `python -m experiments.run model=plain56`, or several with `-m`."""

import sys

from omegaconf import DictConfig

from degradation.config import run_path, validate
from degradation.records import RunFolder, cpu_has_bf16
from experiments.command import Job, command, import_quietly


def precisions(config: DictConfig) -> tuple[str, str]:
    """Return the precision that a run computes in, and the one that `auto` picks here."""
    auto = "bfloat16" if cpu_has_bf16() else "float32"
    chosen = config.runtime.precision
    return (auto if chosen == "auto" else chosen), auto


def start(job: Job) -> None:
    """Train the network of a job, unless that is done already."""
    precision, auto = precisions(job.config)
    folder = RunFolder(run_path(job.config, precision, auto))

    # After everything that may be refused: importing TensorFlow takes seconds.
    import_quietly("degradation.training.run").train(job.config, folder, precision)


if __name__ == "__main__":
    sys.exit(command("config", validate, start))
