"""Runs that end with given errors, for tests of what is made of final errors."""

from pathlib import Path

import pandas as pd
from report_samples import SCHEDULES, make_config

from degradation.report import Run
from degradation.setting import Setting

# What the paper has at 64k iterations: training and test error, in percent.
PAPER = {
    "plain20": (1.44, 9.69),
    "plain32": (1.16, 10.11),
    "plain44": (3.26, 11.47),
    "plain56": (5.93, 13.26),
    "resnet20": (0.84, 8.75),
    "resnet32": (0.26, 7.51),
    "resnet44": (0.20, 7.17),
    "resnet56": (0.08, 6.97),
}
WIDTHS = {"model.widths": [16, 32, 64, 128]}
"""How `make reproduce-figure4` trains, as settings of `ended_runs`."""


def ended_runs(
    schedule: str,
    ends: dict[str, dict | list],
    settings: dict | None = None,
    label: str = "CIFAR-10",
    precision: str = "bfloat16",
    **manifest,
) -> list[Run]:
    """Runs that end with these errors: {"plain20": {seed: (train, test)}}.

    A list has the seeds 0, 1, ...; a number is both errors. The best evaluation is half a point
    below the last.
    """
    last = SCHEDULES[schedule]["iterations"]
    runs = []
    for model, by_seed in ends.items():
        by_seed = dict(enumerate(by_seed)) if isinstance(by_seed, list) else by_seed
        for seed, errors in by_seed.items():
            train, test = errors if isinstance(errors, tuple) else (errors, errors)
            config = make_config(model, schedule, seed, settings or {})
            setting = Setting.of(config)
            rows = [(last // 2, train, test - 0.5), (last, train, test)]
            runs.append(
                Run(
                    setting=setting,
                    precision=precision,
                    dataset=label,
                    canonical=label == "CIFAR-10",
                    config=config,
                    manifest={"parameters": 269_722, **manifest},
                    rows=pd.DataFrame(rows, columns=["iteration", "train_error", "test_error"]),
                    path=setting.folder(Path("runs")),
                )
            )
    return runs


def as_in_paper(*models: str, spread: tuple[float, ...] = (0.0,)) -> dict[str, list]:
    """Ends for `ended_runs`: the paper's errors, shifted by each of `spread` in turn."""
    return {
        model: [(PAPER[model][0] + shift, PAPER[model][1] + shift) for shift in spread]
        for model in models or PAPER
    }
