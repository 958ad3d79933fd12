"""Jobs by a launcher of Hydra: several at a time, the worst code, and what a signal does."""

import os
import signal
import subprocess
from types import SimpleNamespace

import pytest
from command_line import arguments, environment, run, wait_until
from processes import QUICK, SYNTHETIC

from degradation.records.run_folder import RunFolder
from experiments import launch

SMALL = ("model=plain20", "model.depth=8", *QUICK, *SYNTHETIC, "runtime.threads=1")
TWO = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


@pytest.mark.slow
def test_jobs_are_what_the_command_makes_of_its_line(tree):
    """Hydra itself would refuse these keys, which the usual network lacks."""
    ended = run(tree, "report", "-m", *TWO, "model.growth=24,36")
    assert ended.code == 2
    assert ended.out.startswith("2 jobs by hydra/launcher=joblib hydra.launcher.n_jobs=2; ")
    for growth in (24, 36):
        told = [line for line in ended.out.splitlines() if f"with growth={growth} in" in line]
        assert len(told) == 1 and "| error: no finished run on schedule=short" in told[0]
        assert f"warning: exit code 2: model.growth={growth}\n" in ended.err
    assert not any((tree / "results" / "launched").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("send", "number", "seeds"),
    [
        (os.kill, signal.SIGUSR1, "0,1,2"),  # taken as SIGTERM is
        (os.killpg, signal.SIGINT, "0"),  # as a terminal does, and one worker is idle
    ],
)
def test_a_signal_ends_jobs_here_which_save_and_begins_no_other(tree, send, number, seeds):
    words = ["-m", *SMALL, *TWO, f"seed={seeds}", "run_dir=out/${seed}"]
    words += ["schedule.iterations=100000", "schedule.evaluate_every=10"]
    process = subprocess.Popen(
        arguments("run", *words),
        cwd=tree,
        env=environment(tree),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    folders = [RunFolder(tree / "out" / str(seed)) for seed in range(3)]
    begun = [folder for folder in folders[:2] if folder.path.name in seeds]
    wait_until(lambda: all((folder.path / "metrics.csv").exists() for folder in begun))
    send(process.pid, number)
    assert process.wait(timeout=120) == 128 + signal.SIGTERM
    assert [folder.status for folder in begun] == ["interrupted"] * len(begun)
    assert [folder for folder in folders if folder.status] == begun
    assert all(folder.load_checkpoint().iteration > 0 for folder in begun)


@pytest.mark.parametrize(("here", "code"), [(True, 128 + signal.SIGTERM), (False, 0)])
def test_jobs_of_a_cluster_begin_though_the_command_was_stopped(here, code, tmp_path, monkeypatch):
    """Those below the command itself do not."""
    monkeypatch.setattr(launch, "run_alone", lambda *_, label: 0)
    task = launch.Task("experiments.run", [["seed=1"]], tmp_path)
    if not here:
        task.made_by = -1
    (tmp_path / "stop").touch()
    assert task(SimpleNamespace(job=0)) == code
