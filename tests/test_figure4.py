"""`make reproduce-figure4`: thin networks on a brief schedule, unless asked for others."""

import os
import shutil

import pytest
from command_line import REPOSITORY, run_program

THIN = "model.widths=[16,32,64,128]"


def commands(*settings: str, **environment: str) -> str:
    """What `make reproduce-figure4` would start."""
    if not shutil.which("make") or not (REPOSITORY / ".venv" / "ready").exists():
        pytest.skip("needs make, and the environment that make setup makes")
    ours = ("MAKEFLAGS", "SCHEDULE", "SEEDS", "ARGS", "GPU", "PYTHON")
    inherited = {k: v for k, v in os.environ.items() if k not in ours}
    words = ["make", "--dry-run", "reproduce-figure4", *settings]
    return run_program(words, REPOSITORY, inherited | environment).output()


def test_default_is_thin_and_brief_and_the_schedule_may_be_another():
    """On the command line or in the environment."""
    line = commands()
    assert "experiments.reproduce figure=figure4 schedule=brief" in line
    assert "seeds=[0]" in line and THIN in line
    for line in (commands("SCHEDULE=paper"), commands(SCHEDULE="paper")):
        assert "schedule=paper" in line and "brief" not in line


def test_widths_in_args_come_last_so_that_they_count():
    full = "model.widths=[64,128,256,512]"
    line = commands(f"ARGS={full}")
    assert line.index(THIN) < line.index(full)
