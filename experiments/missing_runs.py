"""What a report lacks, in one line: which runs, how to train them, and which ones there are."""

import shlex
from pathlib import Path

from omegaconf import DictConfig

from degradation.config import RUNS, command_line, relative
from degradation.errors import UserError
from degradation.report import Run, missing, models_of
from degradation.schema import show

LISTED = 5  # kinds of runs, at most


def check_found(
    config: DictConfig,
    folder: Path,
    changes: str,
    changed: list[str],
    runs: list[Run],
    found: list[Run],
) -> None:
    """Raise `UserError` if there are no `runs`, or not all that `config.figure` needs.

    `runs` are those of the variant `changes` among all that were `found` in `folder`; the overrides
    `changed` make them, and of the figure what it is.
    """
    figure = config.figure
    known = sorted({run.seed for run in runs if figure and run.model in models_of(figure)})
    seeds = list(config.seeds) if config.seeds else known or [0]
    absent = missing(figure, runs, seeds) if figure else []
    if runs and not absent:
        return
    start = "no finished run"
    if figure:
        which = ", ".join(f"{model} seed {seed}" for model, seed in absent)
        start = f"figure={figure.name}: {start} of {which}"
    kind = f"schedule={config.schedule.name}" + (f" with {changes}" if changes else "")
    training = _training(config, seeds, changed)
    others = "" if runs else _others(found, config.seeds is not None)
    place = "" if folder == RUNS else f" in {relative(RUNS)}"
    raise UserError(f"{start} on {kind} in {relative(folder)}; to train{place}: {training}{others}")


def _training(config: DictConfig, seeds: list[int], changed: list[str]) -> str:
    """Command that trains what is missing; without a figure, Figure 1 or the one network."""
    words = [f"schedule={config.schedule.name}", f"seeds={show(seeds)}", *changed]
    if config.figure:
        return command_line("reproduce", f"figure={config.figure.name}", *words)
    if any(override.startswith("model.") for override in changed):
        words[1] = f"seed={seeds[0]}"  # not every network of a figure has such a key
        return command_line("run", f"model={config.model.name}", *words)
    return command_line("reproduce", "figure=figure1", *words)


def _others(found: list[Run], with_seeds: bool) -> str:
    """Say which runs there are, by the arguments that report on them; "" if there are none."""
    kinds: dict[tuple[str, ...], set[int]] = {}
    for run in found:
        words = (f"schedule={run.schedule}", *run.setting.overrides)
        kinds.setdefault(words, set()).add(run.seed)
    lines = [
        shlex.join([*words, f"seeds={show(sorted(seeds))}"] if with_seeds else words)
        for words, seeds in sorted(kinds.items())
    ]
    more = [f"{len(lines) - LISTED} kinds more"] * (len(lines) > LISTED)
    return f"; there are runs for {'; '.join([*lines[:LISTED], *more])}" if lines else ""
