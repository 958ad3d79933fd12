"""What happens to a run from outside: full disks, broken files, lost terminals, hostile networks.

Each test causes the real fault, and asserts what the user sees and what is on disk.
"""

import math
import os
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest
from cifar10_files import NOWHERE, SIZE, write_binary
from command_line import files, refusal
from processes import SMALL, SYNTHETIC, Process, finish, run, start, train
from sabotage import (
    at_building,
    at_rename,
    at_update,
    kill,
    limit_files,
    send,
    shrink_cifar10,
    take_terminal,
    wait_for,
)
from same_run import differences

from degradation.config import relative
from degradation.errors import UserError
from degradation.records.run_folder import RunFolder
from degradation.training.evaluation import evaluate
from degradation.training.interrupts import stop_requests


@pytest.fixture
def copy(whole, folder) -> RunFolder:
    """Give a copy of the finished run that a test may change."""
    shutil.copytree(whole.path, folder.path)
    return folder


def crash() -> None:
    raise ValueError("Graph execution error:\n\nFile /home/somebody/code.py, line 1")


def crash_with_a_path() -> None:
    raise ValueError("/home/somebody/code.py, line 1")


@pytest.mark.parametrize(
    ("happen", "failure"),
    [(crash, "ValueError: Graph execution error:"), (crash_with_a_path, "ValueError")],
)
def test_fault_of_a_library_is_told_whole_on_the_terminal_alone(folder, happen, failure):
    """Its message may have a stack, and with it paths, which no record may have."""
    ended = train(folder, faults=[partial(at_update, 2, happen)])
    assert ended.code == 1 and "/home/somebody" in ended.err
    assert (folder.status, folder.manifest()["failure"]) == ("failed", failure)


# The disk


def test_disk_full(whole, folder, tmp_path):
    """A limit on the size of files, met by a checkpoint, then by the network; then it is gone."""
    full = partial(limit_files, 100_000)

    line = train(folder, faults=[partial(at_update, 3, full)]).error(code=1)
    assert line.endswith("checkpoint: File too large")
    told = line.removeprefix("error: ").replace(str(folder.path), relative(folder.path))
    assert (folder.status, folder.manifest()["failure"]) == ("failed", told)
    assert str(tmp_path) not in told
    assert folder.load_checkpoint() is None
    assert train(folder, faults=[partial(at_update, 2, kill)]).code == -signal.SIGKILL
    assert (folder.status, "failure" in folder.manifest()) == ("running", False)

    line = train(folder, faults=[partial(at_update, 7, full)]).error(code=1)
    assert "cannot write 00000008.npz in " in line
    assert list(files(folder.path / "checkpoint")) == ["00000004.npz"]
    assert folder.load_checkpoint().iteration == 4
    assert len(folder.rows()) == 2  # made again when the run goes on

    late = partial(at_rename, "00000012.npz", full, after=True)
    line = train(folder, faults=[late]).error(code=1)
    assert "cannot write model.keras in " in line
    assert folder.status == "failed"
    assert not (folder.path / "model.keras").exists()

    finish(folder)
    assert differences(folder, whole) == []
    assert folder.manifest().keys() == whole.manifest().keys()  # no failure


def test_folder_removed_while_it_is_written(folder, tmp_path):
    """The run ends, and does not make half a folder in its place."""
    removal = partial(at_update, 6, partial(shutil.rmtree, folder.path))
    line = train(folder, faults=[removal]).error(code=1)
    assert line.endswith("No such file or directory")
    assert list(tmp_path.iterdir()) == []


# Data


def test_other_data_between_two_starts(folder, tmp_path, parts):
    """With one other pixel a run does not go on, with the data as they were it does."""
    data = write_binary(tmp_path / "data" / "cifar-10-batches-bin", parts)
    settings = (*SMALL, f"data.dir={data}", f"data.url={NOWHERE}", f"run_dir={folder.path}")

    def train(*faults):
        return run(*settings, faults=[partial(shrink_cifar10, SIZE), *faults])

    assert train(partial(at_update, 6, kill)).code == -signal.SIGKILL
    (folder.path / ".lock").unlink()
    before = files(folder.path)
    victim = data / "data_batch_3.bin"
    content = victim.read_bytes()

    victim.write_bytes(content[:5] + bytes([content[5] ^ 1]) + content[6:])
    line = train().error()
    fingerprint = folder.manifest()["dataset"]["fingerprint"]
    assert f"data.fingerprint is {fingerprint} there and sha256:" in line
    assert line.endswith(
        "set CIFAR10_DIR, or the data.dir that was given, to the data that it began on, or move "
        "its folder elsewhere"
    )
    assert line.count(" there and ") == 1
    assert files(folder.path) == before

    victim.write_bytes(content)
    assert "resumed   after 4 iterations" in train().output()


# The loss


def test_loss_that_is_not_finite(folder):
    """The run ends as diverged; the same command ends it again, at the same place."""
    broken = ("optimizer.rate=1e30", "probe=layers")  # which measures it before that is known
    lines = [train(folder, *broken).error(code=1) for _ in range(2)]
    assert lines[0] == lines[1]
    manifest = folder.manifest()
    assert manifest["status"] == "diverged"
    assert f" at iteration {manifest['diverged_at']}; " in lines[0]
    assert f"error: {manifest['failure']}" == lines[0]
    assert manifest["failure"].startswith(("the loss is nan at iteration ", "the loss is inf at"))
    assert manifest["failure"].endswith("; the last learning rate was 1e+30")
    assert "final" not in manifest
    assert not (folder.path / "model.keras").exists()
    assert folder.rows() == []
    last = folder.table("probe")[-1]
    assert last["update"] == manifest["diverged_at"] - 1 and math.isnan(last["loss"])


def test_last_update_breaks_the_network(folder):
    """The loss before it was fine: the evaluation after it shows that the result is worthless."""
    one = ["schedule.iterations=1", "schedule.drops=[]", "optimizer.rate=1e30"]
    line = train(folder, *one).error(code=1)
    assert "the test loss is nan at iteration 1; the last learning rate was 1e+30" in line
    assert (folder.status, folder.rows()) == ("diverged", [])
    assert folder.manifest()["diverged_at"] == 1
    assert folder.load_checkpoint() is None


# Signals and terminals


def test_terminal_is_lost(whole, folder, tmp_path):
    """What a broken connection does: a SIGHUP, and output that goes nowhere."""
    ours, theirs = os.openpty()
    go, sign = tmp_path / "go", tmp_path / "sign"
    faults = [
        partial(take_terminal, os.ttyname(theirs)),
        partial(at_update, 6, partial(wait_for, go, sign)),
    ]
    command = start(*SMALL, *SYNTHETIC, f"run_dir={folder.path}", faults=faults)
    command.has_come_to(sign)
    shown = os.read(ours, 10_000)
    os.close(theirs)
    os.close(ours)
    go.touch()
    assert command.wait().code == 129
    assert b"network   plain20" in shown
    assert folder.status == "interrupted"
    assert folder.load_checkpoint().iteration == 6
    finish(folder)
    assert differences(folder, whole) == []


def test_what_was_ignored_stays_ignored():
    """Under nohup, a terminal that closes does not end a run."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_requests() as stop:
            stop.deferred = True
            send(signal.SIGHUP)
            assert stop.signal is None
            send(signal.SIGTERM)
            assert stop.signal == signal.SIGTERM
    finally:
        signal.signal(signal.SIGHUP, before)


# A saved network


def save_networks(code: Path, other: Path, marker: Path) -> None:
    """Save a network whose layer is code, show that it runs if loaded without care; and another."""
    import keras

    touch = eval("lambda x, marker: (__import__('pathlib').Path(marker).touch(), x)[1]")
    inputs = keras.Input((32, 32, 3))
    layer = keras.layers.Lambda(touch, arguments={"marker": str(marker)})
    outputs = keras.layers.Dense(10)(keras.layers.Flatten()(layer(inputs)))
    keras.Model(inputs, outputs).save(code)
    marker.unlink()
    keras.models.load_model(code, safe_mode=False)
    marker.unlink()
    keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)]).save(other)


def test_network_that_is_not_what_a_run_saved(copy, tmp_path):
    """Damaged, with code in it, or for other data: one line, and no code is run."""
    network, marker = copy.path / "model.keras", tmp_path / "marker"
    damaged, code, other = (tmp_path / f"{name}.keras" for name in ("damaged", "code", "other"))
    content = bytearray(network.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    ended = Process(save_networks, code, other, marker).wait()
    assert ended.code == 0, ended.err
    for file, reason in ((damaged, ""), (code, ""), (other, "it takes (5,), not (32, 32, 3)\n")):
        shutil.copy(file, network)
        line = run(f"run_dir={copy.path}", name="evaluate").error()
        assert f"model.keras cannot be loaded: {reason}" in f"{line}\n"
        assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.keras", "needs a finished run with its model.keras; status here: complete"),
        ("mean.npy", "needs a finished run with its mean.npy; status here: complete"),
        ("config.yaml", "needs config.yaml and manifest.json as a run of this version writes"),
        ("", "needs a finished run with its model.keras; status here: interrupted"),
    ],
)
def test_evaluation_of_a_folder_that_lacks_a_file(copy, name, said):
    """Or of an unfinished run, also of one that left the network of an earlier one."""
    if name:
        (copy.path / name).unlink()
    else:
        copy.update_manifest(status="interrupted")
    assert said in refusal(evaluate, copy)


# Overwriting


def refuse() -> None:
    raise UserError("model=plain20: cannot be built")


@pytest.mark.parametrize(
    ("happen", "code", "said"),
    [
        (refuse, 2, "error: model=plain20: cannot be built"),
        (partial(send, signal.SIGTERM), 143, "error: stopped by SIGTERM before the run began"),
    ],
    ids=["cannot be built", "stopped"],
)
def test_overwriting_deletes_nothing_before_the_network_is_there(copy, happen, code, said):
    before = files(copy.path)
    ended = train(copy, "overwrite=true", faults=[partial(at_building, happen)])
    assert ended.error(code) == said
    assert files(copy.path) == before


@pytest.mark.parametrize(("name", "text"), [("manifest.json", "{"), ("metrics.csv", "a,b\n1\n")])
def test_overwriting_mends_a_damaged_folder(copy, whole, name, text):
    (copy.path / name).write_text(text)
    assert train(copy, "overwrite=true").code == 0
    assert differences(copy, whole) == []
