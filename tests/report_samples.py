"""Run folders in the documented format, with plausible rows, and how to read a drawn figure."""

import json
import re
from collections.abc import Iterable
from functools import cache
from itertools import product
from pathlib import Path

import matplotlib.text
import numpy as np
import pandas as pd
import yaml
from command_line import REPOSITORY
from omegaconf import OmegaConf

from degradation.config import options, read_figures
from degradation.report import Run, find_runs
from degradation.setting import Setting


@cache
def _option(group: str, name: str) -> dict:
    tree = OmegaConf.load(REPOSITORY / "conf" / group / f"{name}.yaml")
    return OmegaConf.to_container(tree, resolve=True)


SCHEDULES = {name: _option("schedule", name) for name in options("schedule")}
FIGURE1, FIGURE4, FIGURE6, FIGURE7 = (read_figures()[f"figure{number}"] for number in (1, 4, 6, 7))
ENDS = {  # final training and test error of the networks that Figure 6 needs
    "plain20": (21.0, 19.0),
    "plain32": (27.0, 25.0),
    "plain56": (52.0, 55.0),
    "resnet20": (17.0, 18.5),
    "resnet32": (15.0, 16.5),
    "resnet56": (13.0, 15.0),
}
ALSO_ENDS = {  # of those that it shows as well
    "plain44": (38.0, 36.0),
    "plain110": (80.0, 79.0),
    "resnet44": (14.0, 15.5),
    "resnet110": (12.0, 14.5),
}
OTHER_ENDS = (15.0, 17.0)
SYNTHETIC = {"name": "synthetic", "label": "synthetic data, not CIFAR-10", "canonical": False}


def make_rows(schedule: dict, ends: tuple[float, float], seed: int, unseen: str) -> list[dict]:
    """Errors that fall from 85 % with noise, a step at each drop, to `ends` (train, unseen)."""
    noise = np.random.default_rng(seed)
    total, every = schedule["iterations"], schedule["evaluate_every"]
    rows = []
    for iteration in range(every, total + 1, every):
        drops = sum(iteration > drop for drop in schedule["drops"])
        left = np.exp(-5 * iteration / total) + 0.08 * (2 - drops) * (iteration < total)
        train, test = (end + (88 - end) * min(left, 1) for end in ends)
        rows.append(
            {
                "iteration": iteration,
                "epoch": iteration * 128 / 50_000,
                "learning_rate": 0.1 * 0.1**drops,
                "train_loss": train / 30,
                "train_error": train + noise.normal(0, 0.3),
                f"{unseen}_loss": test / 30,
                f"{unseen}_error": test + noise.normal(0, 0.3 + 2 * (drops == 0)),
                "images_per_second": 1000.0,
                "wall_seconds": iteration / 8,
            }
        )
    return rows


def probe_rows(
    depth: int, factor: float, seed: int = 0, growth: float = 1.0, until: int = 4000
) -> list[dict]:
    """Rows of probe.csv: gradients `factor` times larger in the second layer than in the last.

    That is so at first, and soon less. Until update 20 the second kernel grows by `growth` and
    turns accordingly, the last one not.
    """
    noise = np.random.default_rng([depth, seed])
    rows, last = [], depth - 1
    for update in [
        u for u in (0, 1, 2, 5, 10, 20, 50, 100, 200, 400, 800, 1600, 4000) if u <= until
    ]:
        damage = min(update / 20, 1)
        for layer in range(1, last + 1):
            early = (last - layer) / (last - 2)  # 1 for the second layer, 0 for the last
            grown = growth ** (damage * early**3)
            norm = 5 * grown
            gradient = 0.03 * factor ** (early * (1 - 0.8 * damage)) * np.exp(noise.normal(0, 0.1))
            rows.append(
                {
                    "update": update,
                    "layer": f"conv{layer}",
                    "kernel_norm": norm,
                    "kernel_gradient_norm": gradient,
                    "output_gradient_norm": gradient / 10,
                    "relative_step": 0.1 * gradient / norm,
                    "cosine": 1 / grown,
                    "response_std": 1.0,
                    "dead_share": 0.0625 * (layer == last),
                    "effective_rank": 200.0 - layer,
                    "channel_rank": 12.0,
                }
            )
        rows.append({"update": update, "layer": "network", "loss": 2.3, "shattering": 1 / depth})
    return rows


def write_run(
    root: Path,
    model: str = "plain20",
    seed: int = 0,
    schedule: str = "short",
    rows: list[dict] | None = None,
    settings: dict | None = None,
    folder: Path | None = None,
    **manifest,
) -> Path:
    """Write a finished run in the documented format, in its place, and return its folder."""
    config = make_config(model, schedule, seed, settings or {})
    folder = folder or Setting.of(config).folder(root)
    folder.mkdir(parents=True)
    unseen = "val" if config["data"]["holdout"] else "test"
    ends = (ENDS | ALSO_ENDS).get(model, OTHER_ENDS)
    rows = rows or make_rows(config["schedule"], ends, seed, unseen)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    about = {
        "status": "complete",
        "protocol": 2,
        "model": model,
        "schedule": schedule,
        "seed": seed,
        "precision": "bfloat16",
        "dataset": {
            "name": "cifar10",
            "label": "CIFAR-10, 97 of 60,000 images from JPEG",
            "fingerprint": "sha256:0",
            "canonical": False,
        },
    }
    (folder / "manifest.json").write_text(json.dumps(about | manifest))
    pd.DataFrame(rows).to_csv(folder / "metrics.csv", index=False)
    return folder


def make_config(model: str, schedule: str, seed: int, settings: dict) -> dict:
    """Make the configuration of a run, with `settings` by dotted key."""
    config = {
        "model": _option("model", model),
        "data": _option("data", settings.get("data.name", "cifar10")),
        "schedule": SCHEDULES[schedule],
        "optimizer": _option("optimizer", "sgd"),
        "runtime": _option("runtime", "cpu"),
        "seed": seed,
    }
    for key, value in settings.items():
        *groups, name = key.split(".")
        values = config
        for group in groups:
            values[group] = dict(values[group])
            values = values[group]
        values[name] = value
    return config


def write_runs(root: Path, models: Iterable[str], seeds=(0,), **options) -> list[Run]:
    """Write a finished run of each network and seed as `write_run` does; read all there are."""
    for model, seed in product(models, seeds):
        write_run(root, model, seed, **options)
    return find_runs(root)


def assert_whole_tables(markdown: str):
    """Every row of a table has as many cells as its head, which follows a blank line."""
    for table in re.finditer(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
        assert markdown[: table.start()].endswith("\n\n"), table[0]
        rows = table[0].splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
        assert len(rows) > 2 and set(rows[1]) <= set("|-:")


def texts(figure) -> str:
    """Everything written outside the axes, on one line."""
    return " ".join(" ".join(text.get_text().split()) for text in figure.texts)


def line(axes, gid: str):
    """The one curve with this id."""
    (found,) = [line for line in axes.lines if line.get_gid() == gid]
    return found


def assert_inside_and_apart(figure):
    """Every text lies inside the figure, and no two texts overlap."""
    figure.canvas.draw()
    written = [*figure.texts, *(text for key in figure.legends for text in key.get_texts())]
    for axes in figure.axes:
        written += [*axes.texts, axes.xaxis.label, axes.yaxis.label, axes._left_title]
        written += axes.get_legend().get_texts() if axes.get_legend() else []
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            written += [
                tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high
            ]
    # Of an annotation with a leader, only the text: the leader may pass by its neighbours.
    boxes = {
        text: matplotlib.text.Text.get_window_extent(text)
        for text in written
        if text.get_text() and text.get_visible()
    }
    page = figure.bbox
    for text, box in boxes.items():
        assert page.x0 <= box.x0 and box.x1 <= page.x1, text
        assert page.y0 <= box.y0 and box.y1 <= page.y1, text
    pairs = [(a, b) for a in boxes for b in boxes if a is not b]
    assert not [pair for pair in pairs if boxes[pair[0]].shrunk(0.98, 0.8).overlaps(boxes[pair[1]])]
