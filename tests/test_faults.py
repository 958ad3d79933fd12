"""What happens to a run from outside: full disks, broken files, lost terminals, hostile networks.

Each test causes the real fault, and asserts what the user sees and what is on disk.
"""

import ctypes
import io
import json
import math
import os
import pickle
import shutil
import signal
import sys
import time
import zipfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from cifar10_files import NOWHERE, SIZE, small_parts, write_binary
from command_line import files
from processes import FORK, SMALL, SYNTHETIC, Ended, Process, run, start
from sabotage import (
    at_rename,
    at_update,
    kill,
    limit_files,
    send,
    set_clock_back,
    shrink_cifar10,
    take_terminal,
    wait_for,
    write_into_a_broken_pipe,
)
from same_run import differences

from degradation.errors import Stopped, UserError
from degradation.records import RunFolder
from degradation.training.interrupts import stop_requests
from degradation.training.meter import Meter
from degradation.training.progress import Progress

UNAVAILABLE = 77  # the exit code of a process that cannot do what its test needs


def train(folder: RunFolder, *overrides: str, **options) -> Ended:
    return run(*SMALL, *SYNTHETIC, f"run_dir={folder.path}", *overrides, **options)


def finish(folder: RunFolder, *overrides: str, **options) -> None:
    """Give the command once more, and see it through without a word of warning."""
    ended = train(folder, *overrides, **options)
    assert (ended.code, ended.err) == (0, "")
    assert folder.status == "complete"


def only_line(ended: Ended, code: int) -> str:
    """Return the one line that a command ended with, whose exit code is `code`."""
    assert ended.code == code, ended.err
    (line,) = ended.err.splitlines()
    assert line.startswith("error: ")
    return line


def strict_json(path: Path) -> dict:
    """Read JSON as other programs do: without NaN and Infinity."""

    def refuse(name):
        raise ValueError(f"{name} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> RunFolder:
    """Train in peace: twelve updates in three rows."""
    folder = RunFolder(tmp_path_factory.mktemp("whole") / "run")
    finish(folder)
    return folder


# The disk


def test_disk_full(whole, tmp_path):
    """A limit on the size of files, met by a checkpoint, then by the network; then it is gone."""
    folder = RunFolder(tmp_path / "run")
    full = partial(limit_files, 100_000)

    line = only_line(train(folder, faults=[partial(at_update, 3, full)]), code=1)
    assert line.endswith("checkpoint: File too large")
    assert (folder.status, folder.manifest()["failure"]) == ("failed", line.removeprefix("error: "))
    assert folder.load_checkpoint() is None
    assert train(folder, faults=[partial(at_update, 2, kill)]).code == -signal.SIGKILL
    assert (folder.status, "failure" in folder.manifest()) == ("running", False)

    line = only_line(train(folder, faults=[partial(at_update, 7, full)]), code=1)
    assert "cannot write 00000008.npz in " in line
    assert list(files(folder.path / "checkpoint")) == ["00000004.npz"]
    assert folder.load_checkpoint().iteration == 4
    assert len(folder.rows()) == 2  # made again when the run goes on

    late = partial(at_rename, "00000012.npz", full, after=True)
    line = only_line(train(folder, faults=[late]), code=1)
    assert "cannot write model.keras in " in line
    assert folder.status == "failed"
    assert not (folder.path / "model.keras").exists()

    finish(folder)
    assert differences(folder, whole) == []
    assert folder.manifest().keys() == whole.manifest().keys()  # no failure


def fill_disk_and_free_it(mount: Path, result: Path) -> None:
    """Run on a file system that is too small, full, read-only, and at last large enough."""
    size = partial(mount_memory, mount)
    try:
        size("size=1000k")
    except OSError as error:
        print(f"no file system of one's own here: {error.strerror}")
        raise SystemExit(UNAVAILABLE) from None
    folder = RunFolder(mount / "run")

    line = only_line(train(folder, context=FORK), code=1)
    assert line.endswith("checkpoint: No space left on device")
    assert folder.status == "failed"
    assert list(files(folder.path / "checkpoint")) == ["00000004.npz"]

    ballast = mount / "ballast"
    with pytest.raises(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    for state, reason in (("full", "No space left on device"), ("ro", "Read-only file system")):
        if state == "ro":
            size("ro,size=1000k", REMOUNT)
        before = files(folder.path)
        for run_folder in (folder, RunFolder(mount / "new" / "run")):
            line = only_line(train(run_folder, context=FORK), code=1)
            assert "cannot write to " in line
            assert line.endswith(reason)
        assert files(folder.path) == before
        assert not (mount / "new").exists()

    size("rw,size=4000k", REMOUNT)
    finish(folder, context=FORK)
    shutil.copytree(folder.path, result)


def test_file_system_full(whole, tmp_path):
    mount, result = tmp_path / "mount", tmp_path / "result"
    mount.mkdir()
    ended = Process(fill_disk_and_free_it, mount, result).wait()
    if ended.code == UNAVAILABLE:
        pytest.skip(ended.out.strip())
    assert ended.code == 0, ended.err
    assert differences(RunFolder(result), whole) == []


NEW_USER, NEW_MOUNTS = 0x10000000, 0x00020000  # of unshare(2)
REMOUNT, READ_ONLY = 32, 1  # of mount(2)


def mount_memory(path: Path, options: str, flags: int = 0) -> None:
    """Mount a file system in memory, which this process and its children alone see.

    Raises `OSError` where the system does not allow it.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def check(result):
        if result:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    if not flags & REMOUNT:
        user, group = os.getuid(), os.getgid()
        check(libc.unshare(NEW_USER | NEW_MOUNTS))
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    access, _, rest = options.rpartition(",")
    flags |= READ_ONLY * (access == "ro")
    check(libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", flags, rest.encode()))


@pytest.mark.parametrize("below", ["run", "deep/down/run"])
def test_folder_that_cannot_be(tmp_path, below):
    """A file stands where a folder should."""
    (tmp_path / "file").write_text("mine")
    line = only_line(train(RunFolder(tmp_path / "file" / below)), code=1)
    assert str(tmp_path / "file") in line
    assert line.endswith("Not a directory")
    assert (tmp_path / "file").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_folder_removed_while_it_is_written(tmp_path):
    """The run ends, and does not make half a folder in its place."""
    folder = RunFolder(tmp_path / "run")
    removal = partial(at_update, 6, partial(shutil.rmtree, folder.path))
    line = only_line(train(folder, faults=[removal]), code=1)
    assert line.endswith("No such file or directory")
    assert list(tmp_path.iterdir()) == []


# Weights & Biases


def break_wandb() -> None:
    """Have a stand-in for W&B whose server burns at the second row."""

    def log(row, **_):
        if row["iteration"] == 8:
            raise OSError("the server is on fire")

    run = SimpleNamespace(dir="run/files", starting_step=0, log=log, define_metric=Mock())
    wandb = SimpleNamespace(init=lambda **_: run, Settings=dict, teardown=Mock())
    sys.modules["wandb"] = wandb


def test_wandb_breaks_mid_run(whole, tmp_path):
    """The second row is too much for it: one warning, and the run is the same without it."""
    folder = RunFolder(tmp_path / "run")
    ended = train(folder, "tracking=offline", faults=[break_wandb])
    assert ended.code == 0
    assert ended.err == "warning: W&B: the server is on fire; going on without it\n"
    assert differences(folder, whole) == []


# Data


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """Give a CIFAR-10 of twenty images a file."""
    return write_binary(tmp_path / "data" / "cifar-10-batches-bin", small_parts(monkeypatch))


def test_data_damaged_between_two_starts(data, tmp_path):
    """Truncated, then with one other pixel, then as they were: only those go on."""
    peace, folder = RunFolder(tmp_path / "peace"), RunFolder(tmp_path / "run")
    settings = (*SMALL, f"data.dir={data}", f"data.url={NOWHERE}")
    shrink = partial(shrink_cifar10, SIZE)

    def train(folder, *faults):
        return run(*settings, f"run_dir={folder.path}", faults=[shrink, *faults])

    assert train(peace).code == 0
    assert train(folder, partial(at_update, 6, kill)).code == -signal.SIGKILL
    (folder.path / ".lock").unlink()
    before = files(folder.path)
    victim = data / "data_batch_3.bin"
    content = victim.read_bytes()

    victim.write_bytes(content[:-100])
    assert str(victim) in only_line(train(folder), code=2)

    changed = bytearray(content)
    changed[5] ^= 1
    victim.write_bytes(changed)
    line = only_line(train(folder), code=2)
    fingerprint = folder.manifest()["dataset"]["fingerprint"]
    assert f"data.fingerprint is {fingerprint} there and sha256:" in line
    assert line.count(" there and ") == 1
    assert files(folder.path) == before

    victim.write_bytes(content)
    assert train(folder).code == 0
    assert differences(folder, peace) == []


# The loss


def test_loss_that_is_not_finite(tmp_path):
    """The run ends as failed; the same command ends it again, at the same place."""
    folder = RunFolder(tmp_path / "run")
    lines = [only_line(train(folder, "optimizer.rate=1e30"), code=1) for _ in range(2)]
    assert lines[0] == lines[1]
    manifest = strict_json(folder.path / "manifest.json")
    assert manifest["status"] == "failed"
    assert f"error: {manifest['failure']}" == lines[0]
    assert manifest["failure"].startswith(("the loss is nan at iteration ", "the loss is inf at"))
    assert manifest["failure"].endswith("; the last learning rate was 1e+30")
    assert "final" not in manifest
    assert not (folder.path / "model.keras").exists()
    for row in folder.rows():
        assert all(map(math.isfinite, row.values()))


def test_last_update_breaks_the_network(tmp_path):
    """The loss before it was fine: the evaluation after it shows that the result is worthless."""
    folder = RunFolder(tmp_path / "run")
    one = ["schedule.iterations=1", "schedule.drops=[]", "optimizer.rate=1e30"]
    line = only_line(train(folder, *one), code=1)
    assert "the test loss is nan at iteration 1; the last learning rate was 1e+30" in line
    assert strict_json(folder.path / "manifest.json")["status"] == "failed"
    assert folder.rows() == []
    assert folder.load_checkpoint() is None


# The clock


def test_clock_set_back(whole, tmp_path):
    """By a week, between two rows: durations go on as if nothing had happened."""
    folder = RunFolder(tmp_path / "run")
    finish(folder, faults=[partial(at_update, 6, partial(set_clock_back, 7))])
    assert differences(folder, whole) == []
    manifest = folder.manifest()
    assert manifest["ended"] < manifest["started"]  # what the clock said
    seconds = [row["wall_seconds"] for row in folder.rows()]
    assert 0 < seconds[0] < seconds[1] < seconds[2] <= manifest["wall_seconds"] + 0.1 < 86_400
    assert all(row["images_per_second"] > 0 for row in folder.rows())
    assert manifest["images_per_second"] > 0


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_clock_set_back_does_not_stop_the_progress_bar(monkeypatch):
    """Nor do the times it shows jump."""
    terminal, now = Terminal(), time.time()
    monkeypatch.setattr("sys.stdout", terminal)
    clock = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    meter = Meter()
    progress = Progress(meter, total=6, measured="test")
    for iteration in range(1, 6):
        monkeypatch.setattr(time, "time", lambda k=iteration: now - 86_400 * k)
        clock += 5.0
        meter.count(2.3, 9, 10, seconds=5.0)
        progress.update(0.1)
        assert f"{iteration}/6 " in terminal.getvalue().rsplit("\r", 1)[1]
    progress.close()
    assert "00:05 left" in terminal.getvalue().rsplit("\r", 1)[1]


# Signals and terminals


def test_terminal_is_lost(whole, tmp_path):
    """What a broken connection does: a SIGHUP, and output that goes nowhere."""
    folder = RunFolder(tmp_path / "run")
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


def test_nobody_reads_the_output_any_more(whole, tmp_path):
    """As after `| head`, or when `| tee` was interrupted first: the run goes on."""
    folder = RunFolder(tmp_path / "run")
    finish(folder, faults=[partial(at_update, 3, write_into_a_broken_pipe)])
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


def interrupt_twice_with_another_between() -> None:
    with stop_requests() as stop:
        stop.deferred = True
        send(signal.SIGINT, signal.SIGTERM, signal.SIGINT)
    raise SystemExit("still here")


def test_second_interrupt_ends_at_once_whatever_came_between():
    assert Process(interrupt_twice_with_another_between).wait() == Ended(130, "", "")


# A saved network


class Exploit:
    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def save_network_with_code(path: Path, marker: Path) -> None:
    """Save a network whose layer is code, and show that loading it without care runs it."""
    import keras

    touch = eval("lambda x, marker: (__import__('pathlib').Path(marker).touch(), x)[1]")
    inputs = keras.Input((32, 32, 3))
    layer = keras.layers.Lambda(touch, arguments={"marker": str(marker)})
    outputs = keras.layers.Dense(10)(keras.layers.Flatten()(layer(inputs)))
    keras.Model(inputs, outputs).save(path)
    marker.unlink()
    keras.models.load_model(path, safe_mode=False)
    marker.unlink()


def rewrite(path: Path, source: Path, **members) -> None:
    """Copy a .keras archive with other members: contents by name, None for one to leave out."""
    with zipfile.ZipFile(source) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()} | members
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            if content is not None:
                archive.writestr(name, content)


def with_code(path: Path, source: Path, marker: Path) -> None:
    ended = Process(save_network_with_code, path, marker).wait()
    assert ended.code == 0, ended.err


def with_pickled_weights(path: Path, source: Path, marker: Path) -> None:
    weights = io.BytesIO()
    np.savez(weights, **{"layers/conv2d/vars": np.array(Exploit(marker), object)})
    other = {"model.weights.h5": None, "model.weights.npz": weights.getvalue()}
    rewrite(path, source, **other)


def with_foreign_class(path: Path, source: Path, marker: Path) -> None:
    config = {"args": ["touch", str(marker)]}
    names = {"module": "subprocess", "class_name": "Popen", "registered_name": "Popen"}
    rewrite(path, source, **{"config.json": json.dumps({**names, "config": config})})


def as_pickle(path: Path, source: Path, marker: Path) -> None:
    content = pickle.dumps(Exploit(marker))
    pickle.loads(content)
    marker.unlink()  # it works
    path.write_bytes(content)


def with_a_flipped_byte(path: Path, source: Path, marker: Path) -> None:
    content = bytearray(source.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(path: Path, source: Path, marker: Path) -> None:
    path.write_bytes(source.read_bytes()[:-1000])


def of_nothing(path: Path, source: Path, marker: Path) -> None:
    path.write_bytes(b"")


def with_another_task(path: Path, source: Path, marker: Path) -> None:
    ended = Process(save_other_network, path).wait()
    assert ended.code == 0, ended.err


def save_other_network(path: Path) -> None:
    import keras

    keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)]).save(path)


@pytest.mark.parametrize(
    "make",
    [
        with_code,
        with_pickled_weights,
        with_foreign_class,
        as_pickle,
        with_a_flipped_byte,
        cut_short,
        of_nothing,
        with_another_task,
    ],
)
def test_network_that_is_not_what_a_run_saved(whole, tmp_path, make):
    """One line, and no code of it is run."""
    folder = RunFolder(shutil.copytree(whole.path, tmp_path / "run"))
    marker = tmp_path / "marker"
    make(folder.path / "model.keras", whole.path / "model.keras", marker)
    line = only_line(run(f"run_dir={folder.path}", name="evaluate"), code=2)
    assert "model.keras cannot be loaded: " in line
    assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.keras", "needs a finished run with its model.keras; status here: complete"),
        ("manifest.json", "needs a finished run with its model.keras; status here: no run"),
        ("config.yaml", "needs config.yaml and manifest.json as a run writes them"),
    ],
)
def test_evaluation_of_a_folder_that_lacks_a_file(whole, tmp_path, name, said):
    folder = RunFolder(shutil.copytree(whole.path, tmp_path / "run"))
    (folder.path / name).unlink()
    assert said in only_line(run(f"run_dir={folder.path}", name="evaluate"), code=2)


def test_evaluation_of_an_unfinished_run(whole, tmp_path):
    """Also of one that left the network of an earlier run."""
    folder = RunFolder(shutil.copytree(whole.path, tmp_path / "run"))
    folder.update_manifest(status="interrupted")
    line = only_line(run(f"run_dir={folder.path}", name="evaluate"), code=2)
    assert line.endswith("needs a finished run with its model.keras; status here: interrupted")


def test_signal_before_the_run_begins_ends_it_at_once(tmp_path):
    """While the data are read or downloaded there is nothing to save."""
    with pytest.raises(Stopped, match="SIGTERM before the run began") as stop, stop_requests():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert stop.value.exit_code == 143
    with stop_requests() as request:
        request.deferred = True
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.signal == signal.SIGTERM


def break_networks() -> None:
    from degradation.training import learner

    def refuse(**settings):
        raise UserError("model=plain20: cannot be built")

    learner.build_model = refuse


def test_overwriting_deletes_nothing_before_the_network_is_there(whole, tmp_path):
    folder = RunFolder(shutil.copytree(whole.path, tmp_path / "run"))
    before = files(folder.path)
    line = only_line(train(folder, "overwrite=true", faults=[break_networks]), code=2)
    assert line.endswith("cannot be built")
    assert files(folder.path) == before


def test_run_that_was_stopped_while_it_overwrites_goes_on_without_that(whole, tmp_path):
    """The same command would delete what it has done, and says so."""
    folder = RunFolder(tmp_path / "run")
    stop = partial(at_update, 6, partial(send, signal.SIGTERM))
    line = only_line(train(folder, "overwrite=true", faults=[stop]), code=143)
    assert line.endswith("iterations; the same command without overwrite=true continues from there")
    assert (folder.status, folder.load_checkpoint().iteration) == ("interrupted", 6)
    finish(folder)
    assert differences(folder, whole) == []
    assert [entry["iteration"] for entry in folder.manifest()["resumes"]] == [6]
