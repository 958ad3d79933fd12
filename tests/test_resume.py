"""A run that is stopped, at whatever moment, and started again ends as one that never was."""

import os
import shutil
import signal
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from command_line import files
from processes import finish, train
from sabotage import (
    at_removal,
    at_rename,
    at_update,
    check_out,
    hurry,
    install,
    kill,
    send,
    set_environment,
    shorten_warm_up,
)
from same_run import differences

from degradation.config import shown
from degradation.errors import IN_USE
from degradation.records.run_folder import RunFolder

ALONE = "warning: {} has rows but no checkpoint, and begins again from iteration 0\n"


def checkpoints(folder: RunFolder) -> list[int]:
    return sorted(int(path.stem) for path in folder.path.glob("checkpoint/[0-9]*.npz"))


def contents(folder: RunFolder) -> dict:
    """Everything in a folder, with its time, but for the lock that a killed process left."""
    return {name: file for name, file in files(folder.path).items() if name != ".lock"}


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> RunFolder:
    """Train until a SIGKILL after ten updates, with checkpoints of the rows at four and eight."""
    folder = RunFolder(tmp_path_factory.mktemp("killed") / "run")
    assert train(folder, faults=[partial(at_update, 10, kill)]).code == -signal.SIGKILL
    assert checkpoints(folder) == [4, 8]
    assert folder.status == "running"
    return folder


@pytest.fixture
def copy(killed, folder) -> RunFolder:
    """Give a copy of the killed run that a test may change."""
    shutil.copytree(killed.path, folder.path)
    return folder


# Killed

# In this order, on one run: how it is killed, and what is then there of checkpoints and rows.
DEATHS = {
    "configuration without manifest": (partial(at_rename, "manifest.json", kill), [], 0),
    "before the first checkpoint": (partial(at_update, 3, kill), [], 0),
    "between a row and its checkpoint": (partial(at_rename, "metrics.csv", kill, True), [], 1),
    "checkpoint not in its place": (partial(at_rename, "00000004.npz", kill), [], 1),
    "checkpoint just in its place": (partial(at_rename, "00000004.npz", kill, True), [4], 1),
    "going on, not noted yet": (partial(at_rename, "manifest.json", kill), [4], 1),
    "between two rows": (partial(at_update, 6, kill), [4], 1),
    "two rows on, before a row": (partial(at_rename, "metrics.csv", kill, False, 3), [4, 8], 2),
    "old checkpoint not deleted": (partial(at_removal, "00000004.npz", kill), [4, 8, 12], 3),
    "network not in its place": (partial(at_rename, "model.keras", kill), [4, 8, 12], 3),
    "not noted as complete": (partial(at_rename, "manifest.json", kill, False, 2), [4, 8, 12], 3),
}


def test_killed_again_and_again(whole, folder):
    """With SIGKILL at moments that could hurt; after each, the same command continues."""
    assert ([row["iteration"] for row in whole.rows()], checkpoints(whole)) == ([4, 8, 12], [8, 12])
    said = ALONE.format(shown(folder.path))
    for moment, (death, on_disk, rows) in DEATHS.items():
        alone = folder.rows() and not checkpoints(folder)
        ended = train(folder, faults=[death])
        assert (ended.code, ended.err) == (-signal.SIGKILL, said if alone else ""), moment
        assert checkpoints(folder) == on_disk, moment
        assert len(folder.rows()) == rows, moment
        assert folder.status in (None, "running"), moment
    finish(folder)
    assert differences(folder, whole) == []
    assert [entry["iteration"] for entry in folder.manifest()["resumes"]] == [4, 4, 8, 12, 12, 12]
    left = {"config.yaml", "manifest.json", "metrics.csv", "layers.csv", "classes.csv"}
    left |= {"model.keras", "mean.npy"}
    assert {Path(name).name for name in files(folder.path)} == left | {
        f"{k:08}.npz" for k in checkpoints(folder)
    }


def test_seed_and_precision_are_those_asked_for(tmp_path):
    """At a rate at which nothing is learnt, what is saved are the initial weights."""
    kernels = []
    for seed in (0, 1):
        folder = RunFolder(tmp_path / f"seed{seed}")
        finish(folder, f"seed={seed}", "optimizer.rate=1e-9", "runtime.precision=bfloat16")
        with zipfile.ZipFile(folder.path / "model.keras") as archive:
            assert b"mixed_bfloat16" in archive.read("config.json")
        kernels.append(folder.load_checkpoint().arrays["0000"])
    assert np.abs(kernels[0] - kernels[1]).max() > 0.01


def test_a_finished_run_is_left_alone(whole):
    before = contents(whole)
    told = train(whole).output()
    assert told == f"{shown(whole.path)} is complete; overwrite=true trains it again\n"
    assert contents(whole) == before


def test_killed_during_the_warm_up_of_deep_networks(folder, tmp_path):
    """The rule for 110 layers, here for 8 and with windows of five updates; killed in the first.

    And killed in the second, when the warm-up is over. In float32, which is not every machine's.
    """
    faults = [partial(shorten_warm_up, 5)]
    deep = ["optimizer.warmup.min_depth=8", "optimizer.warmup.until_error=100"]
    deep += ["runtime.checkpoint_every=1e-9", "schedule.drops=[]", "runtime.precision=float32"]
    peace = RunFolder(tmp_path / "peace")
    finish(peace, *deep, faults=faults)
    assert [row["learning_rate"] for row in peace.rows()] == [0.01, 0.1, 0.1]
    for iteration in (4, 8):
        ended = train(folder, *deep, faults=[*faults, partial(at_update, iteration, kill)])
        assert ended.code == -signal.SIGKILL
        assert checkpoints(folder)[-1] == iteration - 1
    finish(folder, *deep, faults=faults)
    assert differences(folder, peace) == []


def test_checkpoints_by_time(whole, folder):
    """Every 120 seconds unless told otherwise, counted from the last one, and at each row."""
    for death, on_disk in ((4, [3]), (6, [3, 4]), (8, [4, 7])):
        ended = train(folder, faults=[partial(hurry, 50.0), partial(at_update, death, kill)])
        assert ended.code == -signal.SIGKILL
        assert checkpoints(folder) == on_disk
    finish(folder)
    assert differences(folder, whole) == []
    seconds = [row["wall_seconds"] for row in folder.rows()]
    assert seconds == sorted(seconds)
    assert seconds[0] == 200.0  # three updates of the first start, one of the second


# Stopped


def test_stopped_by_signals(whole, folder):
    """Each saves where it is, also between two rows; a second SIGINT does not even do that.

    The command that is stopped first would delete what it has done, and says so.
    """
    stops = {
        2: signal.SIGINT,
        3: signal.SIGUSR1,
        6: signal.SIGTERM,
        7: signal.SIGUSR2,
        9: signal.SIGHUP,
    }
    for iteration, number in stops.items():
        rows = folder.rows()
        first = iteration == 2
        words = ["overwrite=true"] * first
        ended = train(folder, *words, faults=[partial(at_update, iteration, partial(send, number))])
        assert ended.code == 128 + number
        assert ("resumed   after " in ended.out) is (number != signal.SIGINT)
        assert ended.err == (
            f"error: stopped by {number.name} after {iteration} iterations; the same command"
            f"{' without overwrite=true' * first} continues from there\n"
        )
        assert checkpoints(folder)[-1] == iteration
        assert folder.status == "interrupted" and "final" not in folder.manifest()
        assert folder.rows()[: len(rows)] == rows  # their times, too
    again = partial(send, signal.SIGINT, signal.SIGINT)
    ended = train(folder, faults=[partial(at_update, 11, again)])
    assert (ended.code, ended.err) == (130, "")
    assert checkpoints(folder)[-1] == 9
    assert folder.status == "running"
    finish(folder)
    assert differences(folder, whole) == []
    resumes = [(entry["iteration"], entry["note"]) for entry in folder.manifest()["resumes"]]
    assert resumes == [(iteration, "") for iteration in (*stops, 9)]
    seconds = [row["wall_seconds"] for row in folder.rows()]
    assert seconds == sorted(seconds)


# Damaged, lost, refused


def test_damaged_newest_checkpoint(copy, whole):
    """The one before it serves, and the row between them is made again."""
    newest = copy.path / "checkpoint" / "00000008.npz"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    ended = train(copy)
    assert ended.code == 0
    (line,) = ended.err.splitlines()
    assert line.startswith("warning: ")
    assert "00000008.npz" in line
    assert "using 00000004.npz" in line
    (entry,) = copy.manifest()["resumes"]
    assert entry["iteration"] == 4
    assert "00000008.npz does not match its digest" in entry["note"]
    assert differences(copy, whole) == []


@pytest.mark.parametrize(
    ("names", "said"),
    [("manifest.json", ""), ("checkpoint", ALONE), ("checkpoint manifest.json", ALONE)],
)
def test_lost_parts(copy, whole, names, said):
    """Checkpoints are in no repository; where `overwrite=true` is killed both are lost.

    Then it begins again, and what the start before measured of layers, unlike this one, goes.
    """
    for lost in map(copy.path.joinpath, names.split()):
        shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    (copy.path / "probe.csv").write_text("update,layer\n0,conv1\n")
    ended = train(copy)
    assert (ended.code, ended.err) == (0, said.format(shown(copy.path)))
    assert differences(copy, whole) == []
    assert copy.manifest().keys() == whole.manifest().keys()
    assert (copy.path / "probe.csv").exists() is ("checkpoint" not in names)


def truncate_checkpoints(folder: RunFolder) -> None:
    for path in folder.path.glob("checkpoint/*.npz"):
        path.write_bytes(path.read_bytes()[:-1])


def checkpoint_as_another_program_does(folder: RunFolder) -> None:
    checkpoint = folder.load_checkpoint()
    folder.save_checkpoint(9, checkpoint.arrays, checkpoint.state | {"meter": {"laps": 3}})


REFUSALS = [
    (truncate_checkpoints, "", "every checkpoint in|00000004.npz|00000008.npz|overwrite=true"),
    (checkpoint_as_another_program_does, "", "the checkpoint of iteration 9|overwrite=true"),
    (lambda run: (run.path / "manifest.json").unlink(), "seed=1", "seed is 0 there and 1 here"),
    (
        lambda folder: folder.update_manifest(status="complete"),
        "model.depth=14 optimizer.rate=0.05 seed=3",
        "holds another run|model.depth is 8 there and 14 here|optimizer.rate is 0.1 there and 0.05 "
        "here|seed is 0 there and 3 here|overwrite=true",
    ),
]


@pytest.mark.parametrize(
    ("change", "overrides", "words"),
    REFUSALS,
    ids=["damaged", "of another program", "without manifest", "finished"],
)
def test_refused_in_one_line_and_left_as_it_is(copy, change, overrides, words):
    """For the user to look at: what cannot go on, and what would come out differently."""
    change(copy)
    before = contents(copy)
    line = train(copy, *overrides.split()).error()
    assert [word for word in words.split("|") if word not in line] == []
    assert "momentum" not in line
    assert contents(copy) == before


# Elsewhere, and otherwise


def test_resumed_elsewhere(copy):
    """Other threads, TensorFlow, program, switches: a warning names them, and a note."""
    packages = copy.manifest()["packages"]
    stop = partial(at_update, 9, partial(send, signal.SIGTERM))
    others = [partial(install, "tensorflow", "0.1"), partial(check_out, "1" * 40), stop]
    others.append(partial(set_environment, NVIDIA_TF32_OVERRIDE="0"))
    threads = copy.manifest()["threads"] + 1
    copy.update_manifest(memory_gib=0.1, switches={"TF_GONE": "1"})  # memory changes nothing
    ended = train(copy, f"runtime.threads={threads}", faults=others)
    assert ended.code == 143
    warning, _ = ended.err.splitlines()
    changes = [
        f"git_commit: {'0' * 40} → {'1' * 40}",
        f"packages.tensorflow: {packages['tensorflow']} → 0.1",
        f"threads: {threads - 1} → {threads}",
        "switches.TF_GONE: 1 → None",
        "switches.NVIDIA_TF32_OVERRIDE: None → 0",
    ]
    (entry,) = copy.manifest()["resumes"]
    for change in changes:
        assert change in warning
        assert change in entry["note"]
    assert "keras" not in warning and "memory" not in warning and "xla" not in warning
    assert copy.manifest()["threads"] == threads
    assert copy.manifest()["packages"] == packages | {"tensorflow": "0.1"}


def test_a_folder_that_is_being_written_is_left_alone(copy):
    """Also with `overwrite=true`; the line says who writes, as the lock has it."""
    with copy.lock():
        before = contents(copy)
        for words in ([], ["overwrite=true"]):
            line = train(copy, *words).error(IN_USE)
            assert f"is being written by process {os.getpid()} on " in line
        assert contents(copy) == before
