"""Jobs by a launcher of Hydra: several at a time, the worst code, and what a signal does."""

import signal
import subprocess

import pytest
from command_line import arguments, environment, run, wait_until
from processes import QUICK, SYNTHETIC

from degradation.records.run_folder import RunFolder

SMALL = ("model=plain20", "model.depth=8", *QUICK, *SYNTHETIC, "runtime.threads=1")
TWO = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


@pytest.mark.slow
def test_jobs_run_side_by_side_and_the_worst_code_is_the_commands(tree):
    """Of two jobs one wants a GPU: whether there is one is no matter of who hands it over."""
    words = ["-m", *SMALL, *TWO, "runtime=cpu,gpu", "run_dir=out/${runtime.name}"]
    ended = run(tree, "run", *words)
    assert (ended.returncode, ended.stderr) == (2, "")
    first, *lines = ended.stdout.splitlines()
    assert first.startswith("2 jobs by hydra/launcher=joblib hydra.launcher.n_jobs=2; ")
    assert all(line.startswith("model=plain20 schedule=smoke | ") for line in lines)
    assert sum("runtime=gpu: TensorFlow sees no GPU" in line for line in lines) == 1
    assert RunFolder(tree / "out/cpu").status == "complete"
    assert not (tree / "out/gpu").exists()


@pytest.mark.slow
def test_a_signal_ends_jobs_here_which_save_and_begins_no_other(tree):
    words = ["-m", *SMALL, *TWO, "seed=0,1,2", "run_dir=out/${seed}"]
    words += ["schedule.iterations=100000", "schedule.evaluate_every=10"]
    process = subprocess.Popen(
        arguments("run", *words),
        cwd=tree,
        env=environment(tree),
        stdout=subprocess.DEVNULL,
    )
    folders = [RunFolder(tree / "out" / str(seed)) for seed in range(3)]
    wait_until(lambda: all((folder.path / "metrics.csv").exists() for folder in folders[:2]))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 128 + signal.SIGTERM
    assert [folder.status for folder in folders] == ["interrupted", "interrupted", None]
    assert all(folder.load_checkpoint().iteration > 0 for folder in folders[:2])


@pytest.mark.slow
def test_a_reproduction_by_a_launcher_has_its_report(tree):
    panels = "figure.panels=[{title: plain, models: [plain20, resnet20]}]"
    ended = run(tree, "reproduce", "figure=figure1", panels, *QUICK, *SYNTHETIC, *TWO)
    assert (ended.returncode, ended.stderr) == (0, "")
    runs = tree / "results" / "runs" / "smoke"
    assert len(list(runs.glob("*/seed0/model.keras"))) == 2
    assert len(list(runs.glob("report*.html"))) == 1
