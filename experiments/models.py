"""A table of the networks: `python -m experiments.models`, `make models`.

Layers, trainable parameters and multiply-adds as `degradation.models.summary` counts them, the last
for one 32×32 image.
"""

import re
import sys

from degradation.config import check_models, options
from experiments.command import command, import_quietly
from experiments.compose import Job


def check(job: Job) -> None:
    """Check that there are such networks."""
    check_models("models", job.checked.models or [])


def start(job: Job) -> None:
    """Count, and print a row as soon as it is known."""
    names = job.config.models or sorted(options("model"), key=_by_number)
    width = max(map(len, ["network", *names]))
    print(f"{'network':<{width}}  layers  parameters  multiply-adds", flush=True)
    models, summary = map(import_quietly, ("degradation.models", "degradation.models.summary"))
    for name in names:
        size = summary.summarize(models.build_model(name))
        counts = f"{size.layers:>6,}  {size.parameters:>10,}  {size.multiply_adds:>13,}"
        print(f"{name:<{width}}  {counts}", flush=True)


def _by_number(name: str) -> list[str | int]:
    """Sort key by which plain20 comes before plain110."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


if __name__ == "__main__":
    sys.exit(command("models", check, start))
