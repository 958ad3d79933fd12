"""`make reproduce-figure4`: thin networks on a brief schedule, unless asked for others."""

import os
import shutil
import subprocess

import pytest
from command_line import REPOSITORY

from degradation.config import validate
from experiments.compose import compose

THIN = "model.widths=[16,32,64,128]"


def commands(*settings: str, **environment: str) -> str:
    """What `make reproduce-figure4` would start."""
    if not shutil.which("make") or not (REPOSITORY / ".venv" / "ready").exists():
        pytest.skip("needs make, and the environment that make setup makes")
    ours = ("MAKEFLAGS", "SCHEDULE", "SEEDS", "ARGS", "GPU", "PYTHON")
    inherited = {k: v for k, v in os.environ.items() if k not in ours}
    dry_run = subprocess.run(
        ["make", "--dry-run", "reproduce-figure4", *settings],
        cwd=REPOSITORY,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return dry_run.stdout


def test_default_is_thin_and_brief():
    line = commands()
    assert "experiments.reproduce figure=figure4 schedule=brief" in line
    assert "seeds=[0]" in line and THIN in line


@pytest.mark.parametrize("place", ["command line", "environment"])
def test_another_schedule(place):
    line = commands("SCHEDULE=paper") if place == "command line" else commands(SCHEDULE="paper")
    assert "schedule=paper" in line and "brief" not in line


def test_widths_in_args_come_last_and_the_last_one_counts():
    full = "model.widths=[64,128,256,512]"
    line = commands(f"ARGS={full}")
    assert line.index(THIN) < line.index(full)
    config = compose("config", ["model=plain18", THIN, full])
    assert list(config.model.widths) == [64, 128, 256, 512]


def test_brief_is_the_papers_shape_in_2000_iterations():
    schedule = compose("config", ["schedule=brief"]).schedule
    assert (schedule.iterations, schedule.evaluate_every) == (2_000, 100)
    assert list(schedule.drops) == [1_000, 1_500]


@pytest.mark.parametrize(("layers", "depths"), [(18, [2, 2, 2, 2]), (34, [3, 4, 6, 3])])
def test_networks_of_the_figure(layers, depths):
    """One pair a depth, alike but for the shortcuts; both take the widths."""
    panels = compose("reproduce", ["figure=figure4"]).figure.panels
    plain, residual = (next(m for m in p.models if m.endswith(str(layers))) for p in panels)
    assert (plain, residual) == (f"plain{layers}", f"resnet{layers}")
    settings = []
    for name in (plain, residual):
        config = compose("config", [f"model={name}", THIN, "schedule=brief"])
        validate(config)
        settings.append(dict(config.model))
        assert list(config.model.depths) == depths and config.model.stem == "cifar"
    without = {k: v for k, v in settings[1].items() if k != "shortcut"}
    assert settings[1]["shortcut"] == "A"
    assert without == {**settings[0], "name": residual}
