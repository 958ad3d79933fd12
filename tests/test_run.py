"""One run through the real command line: its folder, its output, W&B's copy; and repeated."""

import contextlib
import fcntl
import os
import re
import shutil
import struct
import termios
from functools import partial
from pathlib import Path

import processes
import pytest
from command_line import files, make_tree, run
from processes import QUICK, SMALL, SYNTHETIC
from sabotage import take_terminal
from same_run import differences
from wandb_files import items, of_kind, tracked_rows

from degradation.processor import cpu_precision
from degradation.records.run_folder import RunFolder

SETTINGS = (*SMALL, *SYNTHETIC)
FOLDER = (
    "results/runs/smoke/plain20,batch=16,data=synthetic,depth=8,ghost_batch=8,iterations=12,"
    "test_images=30,train_images=100/seed0"
)
LINE = r" +{}/12  rate [\d.e-]+, train error [\d.]+ %, test error [\d.]+ %, [\d,]+ images/s, "


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    return make_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def finished(tree):
    """What one run printed, tracked offline; its folder, and all that was in it then."""
    told = run(tree, "run", *SETTINGS, "tracking=offline", "tracking.group=mine").output()
    return told, tree / FOLDER, files(tree / FOLDER)


# A finished run


def test_run_is_announced_and_has_a_line_an_evaluation(finished):
    lines = finished[0].splitlines()
    assert [line.split()[0] for line in lines[:6]] == [
        *("network", "schedule", "data", "precision", "device", "folder")
    ]
    assert lines[0] == "network   plain20, 75,290 trainable parameters"
    assert "12 iterations of 16 images, drops at 4, 6; seed 0" in lines[1]
    assert "synthetic data, not CIFAR-10: 100 training and 30 test images" in lines[2]
    assert lines[5] == f"folder    {FOLDER}"
    assert re.fullmatch(r"time +about [\d:]+ at [\d,]+ images/s", lines[6])
    for row, iteration in zip(lines[7:], (4, 8, 12), strict=True):
        assert re.match(LINE.format(iteration), row)


def test_folder_holds_what_the_design_says_and_nothing_else(finished, tree):
    """And nothing is written beside it."""
    _, folder, there = finished
    assert {path.name for path in tree.iterdir()} == {"conf", "experiments", "src", "results"}
    assert {name.split("/")[0] for name in there} == {
        *("config.yaml", "manifest.json", "metrics.csv", "layers.csv", "classes.csv"),
        *("model.keras", "mean.npy", "checkpoint", "wandb"),
    }
    checkpoints = [name for name in there if name.startswith("checkpoint")]
    assert checkpoints == ["checkpoint/00000008.npz", "checkpoint/00000012.npz"]
    for name in ("config.yaml", "manifest.json", "metrics.csv"):  # no place of this machine
        text = there[name][1].decode()
        assert str(tree) not in text and os.path.expanduser("~") + os.sep not in text


def test_manifest_has_every_field(finished):
    manifest = RunFolder(finished[1]).manifest()
    assert manifest.keys() == {
        *("status", "model", "parameters", "schedule", "seed", "git_commit", "git_dirty"),
        *("packages", "cpu", "gpu", "cores", "memory_gib", "threads", "thread_pools", "xla"),
        *("precision", "emulated", "dataset", "switches"),
        *("started", "ended", "wall_seconds", "images_per_second", "wandb_id", "final", "best"),
        *("resumes", "protocol", "probe"),
    }
    expected = {"status": "complete", "model": "plain20", "parameters": 75_290, "seed": 0}
    expected |= {"schedule": "smoke", "resumes": [], "gpu": None, "protocol": 2, "xla": False}
    expected["probe"] = "none"
    assert expected.items() <= manifest.items()
    assert manifest["packages"].keys() == {
        *("python", "tensorflow", "keras", "numpy", "hydra-core", "wandb")
    }
    assert None not in manifest["packages"].values()
    assert manifest["precision"] == cpu_precision()
    assert manifest["threads"] == manifest["cores"] <= os.cpu_count()
    assert manifest["cpu"] and manifest["memory_gib"] > 0
    assert manifest["dataset"]["name"] == "synthetic" and manifest["dataset"]["canonical"] is False
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", manifest["dataset"]["fingerprint"])
    for key in ("started", "ended"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", manifest[key])


def test_manifest_sums_the_metrics_up(finished):
    _, folder, _ = finished
    manifest, rows = RunFolder(folder).manifest(), RunFolder(folder).rows()
    names = ("iteration", "train_loss", "train_error", "test_loss", "test_error")
    assert manifest["final"] == {name: rows[-1][name] for name in names}
    lowest = min(row["test_error"] for row in rows)
    first = next(row["iteration"] for row in rows if row["test_error"] == lowest)
    assert manifest["best"] == {"iteration": first, "test_error": lowest}
    assert manifest["wall_seconds"] >= rows[-1]["wall_seconds"] - 0.1
    assert manifest["images_per_second"] > 0


def test_classes_add_up_to_the_error(finished):
    folder = RunFolder(finished[1])
    rows = folder.table("classes")
    assert [row["class"] for row in rows] == [f"pattern {k}" for k in range(10)]
    assert [row["images"] for row in rows] == [3] * 10
    error = sum(row["error"] for row in rows) / 10
    assert error == pytest.approx(folder.manifest()["final"]["test_error"])


def test_wandb_has_the_run_under_its_id_with_its_rows_and_results(finished):
    _, folder, there = finished
    manifest = RunFolder(folder).manifest()
    assert [name for name in there if name.endswith(f"/run-{manifest['wandb_id']}.wandb")]
    assert tracked_rows(folder) == RunFolder(folder).rows()
    summary = items(entry for record in of_kind(folder, "summary") for entry in record.update)
    assert summary["final/test_error"] == manifest["final"]["test_error"]
    assert summary["best/iteration"] == manifest["best"]["iteration"]
    axes = [(metric.glob_name, metric.step_metric) for metric in of_kind(folder, "metric")]
    assert axes[0] == ("*", "iteration")
    assert [record.exit_code for record in of_kind(folder, "exit")] == [0]
    (opened,) = of_kind(folder, "run")
    about = (opened.project, opened.run_group, opened.job_type, opened.display_name)
    name = f"{FOLDER.split('/')[3]} smoke seed0"
    assert about == ("degradation", "mine", "train", name)
    assert list(opened.tags) == ["plain20", "smoke", manifest["precision"], "synthetic"]
    config = items(opened.config.update)
    assert config["schedule"] == RunFolder(folder).config()["schedule"]
    for settled in ("parameters", "precision", "git_commit", "dataset"):
        assert config[settled] == manifest[settled]


# The same run again


@pytest.fixture(scope="module")
def overwritten(finished, tree, tmp_path_factory):
    """A copy of the finished run, trained again with `overwrite=true` in a terminal."""
    folder = tmp_path_factory.mktemp("again") / "run"
    shutil.copytree(finished[1], folder)
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    there = folder.parent / "in the terminal"
    faults = [partial(take_terminal, os.ttyname(theirs)), there.touch]
    line = [*SETTINGS, f"run_dir={folder}", "overwrite=true"]
    process = processes.start(*line, tree=tree, faults=faults)
    process.has_come_to(there)
    os.close(theirs)
    screen = b""
    with contextlib.suppress(OSError):  # Linux's way to say that the other side is closed
        while part := os.read(ours, 65536):
            screen += part
    os.close(ours)
    assert process.wait().code == 0
    return folder, screen.decode()


def test_two_processes_train_to_the_same_bits(finished, overwritten):
    before, again = RunFolder(finished[1]), RunFolder(overwritten[0])
    assert differences(before, again) == []
    assert again.manifest()["started"] > before.manifest()["started"]
    assert not (again.path / "wandb").exists()  # nothing is left of the run before


def test_terminal_shows_a_progress_bar(overwritten):
    folder, screen = overwritten
    states = re.split(r"[\r\n]+", screen)
    bars = [state for state in states if re.match(r"\d+/12 \|", state)]
    assert len(bars) > 1
    last = RunFolder(folder).rows()[-1]
    assert bars[-1].startswith("12/12 |")
    assert "| 00:00 left, lr 0.001, train " in bars[-1]  # all of it, on 80 columns
    assert f" %, test {last['test_error']:.2f} %, " in bars[-1] and "images/s" in bars[-1]
    assert not any(re.match(LINE.format(4), state) for state in states)
    assert "warning: " not in screen


# A sweep, and a held-out set


def test_a_job_of_a_sweep_on_held_out_images(tree):
    """A process of its own trains it; it is measured on these images instead of the test set."""
    words = ("-m", *QUICK, "data=synthetic", "seed=5", "model=plain20", "model.depth=8")
    told = processes.run(*words, "data.holdout=200", tree=tree).output()
    assert "1,800 training and 200 held-out images" in told
    assert ", val error " in told and "test error" not in told
    name = "plain20,batch=16,data=synthetic,depth=8,ghost_batch=8,holdout=200"
    folder = RunFolder(tree / "results/runs/smoke" / name / "seed5")
    assert folder.status == "complete"
    assert (folder.config()["model"]["name"], folder.config()["seed"]) == ("plain20", 5)
    header = (folder.path / "metrics.csv").read_text().splitlines()[0]
    assert header.split(",") == [
        *("iteration", "epoch", "learning_rate", "train_loss", "train_error"),
        *("val_loss", "val_error", "images_per_second", "wall_seconds"),
    ]
    assert {"val_loss", "val_error"} <= folder.manifest()["final"].keys()
    assert folder.manifest()["best"].keys() == {"iteration", "val_error"}
    assert [row["epoch"] for row in folder.rows()] == [4 * 16 / 1800, 8 * 16 / 1800]
