"""A real Slurm: four runs, one of them queued again by its time limit, and bits as without.

Skipped without a cluster. `docs/cluster.md` has one machine as a cluster. It takes some ten
minutes: a cluster lets a run that is queued again wait for a while.
"""

import shutil
import subprocess
import sys

import pytest
from same_run import differences

from degradation.config import ROOT
from degradation.records.run_folder import RunFolder

PART = ("schedule=smoke", "data=synthetic", "tracking=disabled", "hydra/launcher=slurm")
LONG = ("schedule.iterations=1000", "schedule.drops=[500]", "schedule.evaluate_every=200")


def cluster() -> bool:
    if shutil.which("sbatch") is None:
        return False
    states = subprocess.run(["sinfo", "--noheader", "-o", "%t"], capture_output=True, text=True)
    return any(state in states.stdout for state in ("idle", "mix", "alloc"))


pytestmark = [pytest.mark.slow, pytest.mark.skipif(not cluster(), reason="no Slurm here")]


def submit(*words: str, minutes: int) -> subprocess.Popen:
    limits = [f"hydra.launcher.timeout_min={minutes}", "hydra.launcher.signal_delay_s=45"]
    command = [sys.executable, "-m", "experiments.run", "-m", *PART, *words, *limits]
    command += ["hydra.launcher.cpus_per_task=1"]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=-2)


def test_a_run_that_its_time_limit_stops_is_queued_again_and_ends_as_if_it_never_was(tmp_path):
    stopped, whole = RunFolder(tmp_path / "stopped"), RunFolder(tmp_path / "whole")
    jobs = [
        submit("model=plain20", *LONG, f"run_dir={stopped.path}", minutes=2),
        submit("model=plain20", *LONG, f"run_dir={whole.path}", minutes=60),
        submit("model=plain20,resnet20", f"run_dir='{tmp_path}/${{model.name}}'", minutes=60),
    ]
    told = [job.communicate(timeout=1500)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0, 0], told

    folders = [stopped, whole, *(RunFolder(tmp_path / name) for name in ("plain20", "resnet20"))]
    assert [folder.status for folder in folders] == ["complete"] * 4
    assert len(stopped.manifest()["resumes"]) >= 2
    assert whole.manifest()["resumes"] == []
    assert differences(stopped, whole) == []
    assert {folder.manifest()["threads"] for folder in folders} == {1}  # as the job was given
