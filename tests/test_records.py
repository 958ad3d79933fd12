"""A run's folder through its public interface: round trips, damage, real faults, locks, machine."""

import contextlib
import errno
import fcntl
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from unittest.mock import Mock

import numpy as np
import pytest
from command_line import refusal
from processes import Process
from sabotage import kill

from degradation import processor
from degradation.errors import IN_USE, UserError
from degradation.records import lock, machine
from degradation.records.files import replace_file
from degradation.records.run_folder import RunFolder

ROW = {
    "iteration": 200,
    "epoch": 0.512,
    "learning_rate": 0.1,
    "train_loss": 0.1 + 0.2,
    "train_error": 45.3125,
    "test_loss": 1e-17,
    "test_error": 100 / 3,
    "images_per_second": 812.0000000001,
    "wall_seconds": 31.5,
}


@pytest.fixture
def run(tmp_path):
    """Give the folder of a run that has a configuration and a manifest."""
    folder = RunFolder(tmp_path / "short" / "plain20" / "seed0")
    folder.path.mkdir(parents=True)
    folder.write_config({"model": {"name": "plain20"}, "schedule": {"drops": [1, 2]}, "seed": 0})
    folder.update_manifest(status="running", seed=0)
    return folder


# --- configuration, manifest and metrics ---------------------------------------------------------


def test_a_folder_without_files_reads_as_empty(tmp_path):
    folder = RunFolder(tmp_path / "none")
    assert (folder.config(), folder.manifest(), folder.rows()) == ({}, {}, [])
    assert folder.table("layers") == folder.table("classes") == folder.table("probe") == []
    assert (folder.status, folder.load_checkpoint()) == (None, None)
    assert not folder.path.exists()


TABLES = {
    "metrics": (
        "iteration,epoch,learning_rate,train_loss,train_error,test_loss,test_error,"
        "images_per_second,wall_seconds\n"
        "200,0.512,0.1,0.30000000000000004,45.3125,1e-17,33.333333333333336,812.0000000001,31.5\n"
        "400,0.512,0.1,0.30000000000000004,45.3125,inf,33.333333333333336,812.0000000001,31.5\n",
        ROW,
        dict(reversed(ROW.items())) | {"iteration": 400, "test_loss": np.inf},
    ),
    "layers": (
        "layer,response_std,kernel_norm\nconv_1,0.30000000000000004,1e-17\nshortcut,,2.0\n",
        {"layer": "conv_1", "response_std": 0.1 + 0.2, "kernel_norm": 1e-17},
        {"layer": "shortcut", "response_std": None, "kernel_norm": 2.0},
    ),
    "classes": (
        "class,images,error\ncat,3,33.333333333333336\ndog,0,\n",
        {"class": "cat", "images": 3, "error": 100 / 3},
        {"class": "dog", "images": 0, "error": None},
    ),
    "probe": (
        "update,layer,cosine,kernel_norm,loss,shattering\n"
        "0,conv_1,1.0,0.30000000000000004,,\n0,network,,,inf,\n",
        {"update": 0, "layer": "conv_1", "cosine": 1.0, "kernel_norm": 0.1 + 0.2},
        {"update": 0, "layer": "network", "loss": np.inf, "shattering": None},
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_come_back_exactly(run, name):
    """With the types of their cells, in the order of the first row; what a row lacks is None."""
    text, *rows = TABLES[name]
    run.write_table(name, rows)
    assert (run.path / f"{name}.csv").read_text() == text
    columns = text.splitlines()[0].split(",")
    assert repr(run.table(name)) == repr([dict.fromkeys(columns) | row for row in rows])
    run.write_table(name, [])
    assert not (run.path / f"{name}.csv").exists()


# The last one is code, which must not be run.
DAMAGE = {
    "manifest.json": [b"", b"[1]", b"\xff"],
    "config.yaml": [b"", b"a: [", b"- 1", b"a: !!python/object/apply:sys.exit [0]"],
    "metrics.csv": [b"iteration,epoch\n1\n", b"iteration,epoch\n1.5,2\n", b"iteration\n1,2\n"],
    "layers.csv": [b"layer,kernel_norm\na,big\n", b'layer,kernel_norm\n"a,1\n'],
}


@pytest.mark.parametrize(
    ("name", "content"), [(name, content) for name, all_ in DAMAGE.items() for content in all_]
)
def test_a_damaged_file_is_refused_by_name(run, name, content):
    (run.path / name).write_bytes(content)
    layers = partial(run.table, "layers")
    read = dict(zip(DAMAGE, (run.manifest, run.config, run.rows, layers), strict=True))[name]
    assert refusal(read, code=2).startswith(f"{run.path / name} is damaged: ")


# --- atomic files and faults ---------------------------------------------------------------------


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "model.keras"
    target.write_text("old")
    with replace_file(target) as temporary:
        assert temporary.suffix == ".keras" and temporary.parent == tmp_path
        temporary.write_text("new")
        assert target.read_text() == "old"
    with pytest.raises(KeyboardInterrupt), replace_file(target) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["model.keras"]


def advance(run, n):
    with run.lock():
        run.save_checkpoint(n, {"w": np.full(1000, n)}, {"n": n})
        run.write_table("metrics", [{"iteration": n}] * n)
        run.update_manifest(n=n)


def die_at(operation):
    """Have this process die at its file operation of that number, from 0."""
    operations = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
    remaining = itertools.count(operation, -1)

    def hook(event, arguments):
        if event in operations and next(remaining) == 0:
            kill()

    sys.addaudithook(hook)


def die_at_every_operation(run):
    """Let forks of this process die at their first, second, third … file operation."""
    advance(run, 1)
    advance(run, 2)
    for deaths in itertools.count():
        before = run.load_checkpoint().iteration
        child = os.fork()
        if child == 0:
            die_at(deaths)
            advance(run, before + 1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        after, rows = run.load_checkpoint(), run.rows()
        assert after.note is None
        assert after.iteration in (before, before + 1)
        assert after.state == {"n": after.iteration}
        assert (after.arrays["w"] == after.iteration).all()
        assert (run.path / "checkpoint" / f"{after.iteration - 1:08d}.npz").exists()
        assert len(rows) == rows[-1]["iteration"] <= after.iteration
        assert run.manifest()["n"] <= len(rows)
        if status == 0:
            assert after.iteration == len(rows) == run.manifest()["n"] == before + 1
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
    assert deaths > 15


def test_death_at_any_file_operation_leaves_a_state_to_go_on_from(run):
    ended = Process(die_at_every_operation, run).wait()
    assert ended.code == 0, ended.err
    names = {path.name for path in run.path.iterdir()}
    assert names == {"config.yaml", "manifest.json", "metrics.csv", "checkpoint"}
    assert len(os.listdir(run.path / "checkpoint")) == 2


# --- the lock ------------------------------------------------------------------------------------


def no_flock(replace=setattr):
    """Be on a file system without flock, where leases are short."""
    replace(fcntl, "flock", Mock(side_effect=OSError(errno.ENOSYS, "no flock here")))
    replace(lock, "LEASE_SECONDS", 1.0)


def elsewhere():
    """Be on another machine."""
    socket.gethostname = lambda: "elsewhere"


def hold(folder, sign, *places):
    for be_there in places:
        be_there()
    with folder.lock():
        sign.touch()
        time.sleep(60)


@contextlib.contextmanager
def holder(folder, *places):
    """Let a process hold the lock of a folder."""
    sign = folder.path.with_name("sign")
    child = Process(hold, folder, sign, *places)
    try:
        child.has_come_to(sign)
        sign.unlink()
        yield child
    finally:
        child.kill()


@pytest.fixture(params=["flock", "no flock"])
def places(request, monkeypatch):
    """Be on a file system with or without flock; give what brings a process there."""
    if request.param == "flock":
        return []
    no_flock(monkeypatch.setattr)
    return [no_flock]


def test_the_second_writer_is_told_of_the_first_and_takes_over_when_it_is_killed(folder, places):
    """It is told who writes, where and since when; the lock goes with its holder."""
    with holder(folder, *places) as child:
        message = refusal(lambda: folder.lock().__enter__(), code=IN_USE)
        host = re.escape(socket.gethostname())
        who = rf"process {child.pid} on {host} since \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ:"
        assert re.search(f"run is being written by {who}", message)
        child.kill()
        child.wait()
    assert (folder.path / ".lock").exists()
    with folder.lock():
        assert json.loads((folder.path / ".lock").read_text())["pid"] == os.getpid()
        folder.write_config({})
    assert os.listdir(folder.path) == ["config.yaml"]


def test_without_flock_a_lock_that_another_machine_left_expires(folder, monkeypatch):
    no_flock(monkeypatch.setattr)
    with holder(folder, no_flock, elsewhere) as child:
        time.sleep(1.5)
        assert "on elsewhere" in refusal(lambda: folder.lock().__enter__(), code=IN_USE)
        os.kill(child.pid, signal.SIGSTOP)
        with folder.lock():
            os.kill(child.pid, signal.SIGCONT)  # too late: it has lost the folder, and ends
            assert "another process has taken over" in child.wait().error(code=IN_USE)


def test_a_command_that_fails_before_it_writes_leaves_no_folder(tmp_path, places):
    (tmp_path / "runs").mkdir()
    with RunFolder(tmp_path / "runs").lock():
        pass  # a folder that was there before stays
    folder = RunFolder(tmp_path / "runs" / "short" / "plain20" / "seed0")
    with pytest.raises(UserError), folder.lock():
        assert folder.path.is_dir()
        raise UserError("bad input")
    assert os.listdir(tmp_path) == ["runs"]
    assert os.listdir(tmp_path / "runs") == []


def test_a_link_to_nowhere_in_the_place_of_the_folder_is_one_line(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    message = refusal(lambda: RunFolder(tmp_path / "link").lock().__enter__(), code=1)
    assert message == f"cannot write to {tmp_path / 'link'}: File exists"
    assert os.listdir(tmp_path) == ["link"]


def count(folder, counter):
    done = 0
    while done < 60:
        try:
            with folder.lock():
                counter.write_text(f"{int(counter.read_text()) + 1:08d}")
                done += 1
        except UserError as error:
            assert error.exit_code == IN_USE


def test_never_two_writers(folder, tmp_path):
    """Let four processes count in one file, under a lock that they make and delete all the time."""
    counter = tmp_path / "counter"
    folder.path.mkdir()
    counter.write_text("0")
    children = [Process(count, folder, counter) for _ in range(4)]
    for ended in [child.wait() for child in children]:
        assert ended.code == 0, ended.err
    assert int(counter.read_text()) == 240
    assert not (folder.path / ".lock").exists()


def test_taking_the_lock_removes_the_temporaries_of_a_killed_process_only(run):
    run.save_checkpoint(1, {}, {})
    leftovers = [".partial-0123abcd-model.keras", "checkpoint/.partial-89efabcd-00000002.npz"]
    others = [".partial-mine", ".hidden", "checkpoint/notes.txt"]
    for name in leftovers + others:
        (run.path / name).write_text("x")
    with run.lock():
        assert not any((run.path / name).exists() for name in leftovers)
        assert all((run.path / name).exists() for name in others)


# --- overwrite=true ------------------------------------------------------------------------------


def test_clear_removes_the_run_and_nothing_else(run, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    run.write_table("metrics", [ROW])
    run.save_checkpoint(1, {}, {})
    (run.path / "checkpoint" / "link").symlink_to(outside)
    (run.path / "wandb").symlink_to(outside)
    (run.path / "model.keras").symlink_to(outside / "precious")
    (run.path / "notes.txt").write_text("mine")
    (run.path / "manifest.json").write_text("{")  # damaged
    with run.lock():
        run.clear()
        assert sorted(os.listdir(run.path)) == [".lock", "notes.txt"]
    assert (outside / "precious").read_text() == "x"
    run.clear()
    assert os.listdir(run.path) == ["notes.txt"]


# --- checkpoints ---------------------------------------------------------------------------------


def test_arrays_and_state_come_back_exactly(run):
    rng = np.random.default_rng(0)
    arrays = {
        "conv2d/kernel": rng.normal(size=(3, 3, 3, 16)).astype(np.float32),
        "sums": np.array([0.1, np.nan, -0.0, np.inf, 5e-324]),
        "iterations": np.array(64_000),
        "half": np.ones((2, 0, 3), np.float16),
        "fortran": np.asfortranarray(rng.integers(0, 9, (4, 5))),
        "strided": np.arange(10, dtype=np.uint8)[::3],
    }
    state = {"loss": 0.1 + 0.2, "big": 2**127 - 1, "none": None, "nested": {"list": [1, 2.0, "é"]}}
    run.save_checkpoint(4000, arrays, state)
    checkpoint = run.load_checkpoint()
    assert (checkpoint.iteration, checkpoint.note) == (4000, None)
    assert checkpoint.state == state
    assert type(checkpoint.state["nested"]["list"][0]) is int
    assert list(checkpoint.arrays) == list(arrays)
    with np.load(run.path / "checkpoint" / "00004000.npz") as archive:
        np.testing.assert_array_equal(archive["half"], arrays["half"])
    for name, array in arrays.items():
        loaded = checkpoint.arrays[name]
        assert (loaded.dtype, loaded.shape) == (array.dtype, array.shape)
        assert loaded.tobytes() == array.tobytes()


def test_the_last_two_are_kept(run):
    """Those of later iterations, which were damaged, go."""
    for iteration in (100, 200, 200, 100_000_000, 300_000_000):
        run.save_checkpoint(iteration, {}, {})
    assert sorted(os.listdir(run.path / "checkpoint")) == ["100000000.npz", "300000000.npz"]
    assert run.load_checkpoint().iteration == 300_000_000
    run.save_checkpoint(200_000_000, {}, {})
    assert sorted(os.listdir(run.path / "checkpoint")) == ["100000000.npz", "200000000.npz"]


def test_every_flipped_byte_and_every_truncation_is_found(run):
    run.save_checkpoint(3, {"w": np.arange(20.0), "empty": np.zeros(0)}, {"a": 1})
    path = run.path / "checkpoint" / "00000003.npz"
    whole = path.read_bytes()
    damages = [whole[:length] for length in range(len(whole))] + [whole + b"\0"]
    for position, byte in enumerate(whole):
        damages.append(whole[:position] + bytes([byte ^ 0x20]) + whole[position + 1 :])
    for damage in damages:
        path.write_bytes(damage)
        assert "does not match its digest" in refusal(run.load_checkpoint)
    path.write_bytes(whole)
    assert run.load_checkpoint().state == {"a": 1}


def test_a_folder_that_cannot_be_read_is_not_one_without_checkpoints(run, monkeypatch):
    """With none, the run would begin anew."""
    run.save_checkpoint(1, {}, {})
    fail = Mock(side_effect=OSError(errno.EIO, "Input/output error"))
    monkeypatch.setattr("pathlib.Path.iterdir", fail)
    assert "checkpoint: Input/output error" in refusal(run.load_checkpoint, code=1)


def test_a_checkpoint_that_cannot_be_read_is_not_a_damaged_one(run, monkeypatch):
    """Passed over, it would be deleted by the next."""
    run.save_checkpoint(1, {}, {})
    run.save_checkpoint(2, {}, {})
    fail = Mock(side_effect=PermissionError(errno.EACCES, "Permission denied"))
    monkeypatch.setattr("pathlib.Path.read_bytes", fail)
    assert "00000002.npz: Permission denied" in refusal(run.load_checkpoint, code=1)


def test_a_checkpoint_with_code_in_it_is_refused(run):
    """Whoever wrote that can compute a digest; unpickling it would run the code."""
    run.save_checkpoint(1, {"w": np.array([print], object)}, {})
    assert "is damaged (00000001.npz" in refusal(run.load_checkpoint, code=2)


# --- the machine ---------------------------------------------------------------------------------


def test_the_machine_is_described_without_names():
    told = machine.describe_machine()
    assert told.keys() == {"cpu", "cores", "memory_gib"}
    assert 1 <= told["cores"] <= os.cpu_count()
    assert told["memory_gib"] > 0
    assert told["cpu"] and socket.gethostname() not in told["cpu"].split()


ZEN_4 = "cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: An EPYC\nflags\t\t: avx512_bf16\n"


@pytest.mark.parametrize(
    ("cpuinfo", "environment", "expected"),
    [
        ("model name\t: An x86\nflags\t\t: fpu avx512_bf16 sse\n", {}, True),
        (ZEN_4, {}, True),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", {}, True),
        ("flags\t\t: fpu avx2 avx512f\nbugs\t: amx_bf16\n", {}, False),
        ("processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n", {}, False),  # of ARM
        ("", {}, False),
        ("flags\t\t: avx512_bf16\n", {"TF_ENABLE_ONEDNN_OPTS": "0"}, False),
        ("flags\t\t: avx512_bf16\n", {"TF_ENABLE_ONEDNN_OPTS": "False"}, False),
        ("flags\t\t: avx512_bf16\n", {"TF_ENABLE_ONEDNN_OPTS": "1"}, True),
        ("flags\t\t: avx512_bf16\n", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, False),
        ("flags\t\t: avx512_bf16\n", {"DNNL_MAX_CPU_ISA": "avx2"}, False),
        ("flags\t\t: avx512_bf16\n", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, True),
    ],
)
def test_bf16_is_the_processors_and_not_switched_off(
    tmp_path, monkeypatch, cpuinfo, environment, expected
):
    for name in machine.environment_switches():
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    if cpuinfo:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert (processor.cpu_precision() == "bfloat16") is expected
    named = {"An x86", "An EPYC (family 25, model 17)"}
    assert (machine.describe_machine()["cpu"] in named) is ("model name" in cpuinfo)


def test_switches_of_the_environment_are_told_without_paths(monkeypatch):
    for name in machine.environment_switches():
        monkeypatch.delenv(name)
    assert machine.environment_switches() == {}
    monkeypatch.setenv("TF_DETERMINISTIC_OPS", "1")
    monkeypatch.setenv("TF_XLA_FLAGS", "")  # as if it were not there
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/home/someone/dump --xla_more=1")
    assert machine.environment_switches() == {
        "TF_DETERMINISTIC_OPS": "1",
        "XLA_FLAGS": "--xla_dump_to=…",
    }


def test_git_state_follows_tracked_files(tmp_path, monkeypatch, capsys):
    root = tmp_path / "checkout"
    (root / "results").mkdir(parents=True)
    unknown = {"git_commit": None, "git_dirty": None}

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(root), *identity, *arguments]
        # Started by a hook, git would otherwise write into the repository that has the hook.
        ours = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        ours |= dict.fromkeys(("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"), os.devnull)
        done = subprocess.run(command, env=ours, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    assert machine.git_state(root) == unknown  # no checkout
    git("init")
    files = [root / name for name in ("code.py", "results/report.md", "README.md")]
    for file in files:
        file.write_text("1")
    git("add", ".")
    git("commit", "-m", "one")
    clean = {"git_commit": git("rev-parse", "HEAD"), "git_dirty": False}
    assert machine.git_state(root) == clean
    (root / "untracked").write_text("x")
    for file in files[1:]:  # a record, and what quotes the records: not the program
        file.write_text("2")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))  # as inside a hook
    assert machine.git_state(root) == clean
    files[0].write_text("2")
    assert machine.git_state(root) == clean | {"git_dirty": True}
    assert machine.git_state(root / "results") == unknown  # no checkout, though in one
    assert capsys.readouterr().err == ""


def test_where_git_does_not_tell_the_commit_one_line_says_so(tmp_path, monkeypatch, capsys):
    """With git's reason; also where there is no git."""
    (tmp_path / ".git").mkdir()
    said = "warning: the commit is not recorded, git does not tell it: "
    for reason in ("fatal: not a git repository", "[Errno 2] No such file or directory: 'git'"):
        assert set(machine.git_state(tmp_path).values()) == {None}
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(said + reason)
        monkeypatch.setenv("PATH", "")
