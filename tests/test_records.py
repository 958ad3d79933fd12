"""A run's folder through its public interface: round trips, damage, real faults, locks, machine."""

import contextlib
import errno
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

import degradation
from degradation import records
from degradation.errors import IN_USE, UserError
from degradation.records import RunFolder, lock, replace_file, write_atomically

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(degradation.__file__).parents[1])}

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
    folder.write_config({"model": {"name": "plain20"}, "schedule": {"drops": [1, 2]}, "seed": 0})
    folder.update_manifest(status="running", seed=0)
    return folder


@contextlib.contextmanager
def process(script, *arguments):
    """Run a Python script in a process of its own; at the end it is killed, if it still runs."""
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    child = subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def output_of(script, *arguments):
    with process(script, *arguments) as child:
        output, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    return output


def refusal(action, exit_code):
    """Return the message with which `action` is refused: one line, with this exit code."""
    with pytest.raises(UserError) as caught:
        action()
    assert caught.value.exit_code == exit_code
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def temporaries(folder):
    return [path.name for path in folder.rglob(".partial-*")]


# --- configuration, manifest and metrics ---------------------------------------------------------


def test_a_folder_without_files_reads_as_empty(tmp_path):
    folder = RunFolder(tmp_path / "none")
    assert (folder.config(), folder.manifest(), folder.rows()) == ({}, {}, [])
    assert folder.status is None
    assert folder.load_checkpoint() is None
    assert not folder.path.exists()


def test_config_and_manifest_come_back(run):
    run.update_manifest(status="complete", final={"test_error": np.float32(0.1)}, parameters=None)
    assert run.status == "complete"
    assert run.config()["schedule"] == {"drops": [1, 2]}
    assert run.manifest() == {
        "status": "complete",
        "seed": 0,
        "final": {"test_error": float(np.float32(0.1))},
        "parameters": None,
    }


def test_a_manifest_is_strict_json_even_when_a_loss_is_not_finite(run):
    run.update_manifest(final={"train_loss": float("nan"), "losses": (np.float32("inf"), 1.0)})

    def refuse(constant):
        raise AssertionError(constant)

    text = (run.path / "manifest.json").read_text()
    assert json.loads(text, parse_constant=refuse)["final"] == {
        "train_loss": None,
        "losses": [None, 1.0],
    }


def test_rows_come_back_exactly_and_in_the_documented_order(run):
    shuffled = dict(reversed(ROW.items())) | {"train_loss": np.float32(0.1), "test_loss": np.inf}
    run.write_rows([ROW, shuffled | {"iteration": np.int64(400)}])
    header, *_ = (run.path / "metrics.csv").read_text().splitlines()
    assert header == (
        "iteration,epoch,learning_rate,train_loss,train_error,test_loss,test_error,"
        "images_per_second,wall_seconds"
    )
    first, second = run.rows()
    assert first == ROW
    assert second == shuffled | {"iteration": 400, "train_loss": float(np.float32(0.1))}
    assert {type(value) for name, value in second.items() if name != "iteration"} == {float}
    assert type(second["iteration"]) is int


DAMAGE = {
    "manifest.json": [b"", b"[1]", b"\xff", b"[" * 100_000],
    "config.yaml": [b"", b"a: [", b"- 1"],
    "metrics.csv": [b"\0", b"iteration,epoch\n1\n", b"iteration,epoch\n1.5,2\n"],
}


@pytest.mark.parametrize(
    ("name", "content"), [(name, content) for name, all_ in DAMAGE.items() for content in all_]
)
def test_a_damaged_file_is_refused_by_name(run, name, content):
    (run.path / name).write_bytes(content)
    read = {"manifest.json": run.manifest, "config.yaml": run.config, "metrics.csv": run.rows}[name]
    message = refusal(read, exit_code=2)
    assert message.startswith(f"{run.path / name} is damaged: ")


def test_yaml_cannot_run_code(run, tmp_path):
    proof = tmp_path / "proof"
    (run.path / "config.yaml").write_text(f"a: !!python/object/apply:os.mkdir ['{proof}']\n")
    assert "config.yaml is damaged" in refusal(run.config, exit_code=2)
    assert not proof.exists()


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


def test_a_folder_where_the_file_should_be_is_one_line(tmp_path):
    (tmp_path / "model.keras" / "inside").mkdir(parents=True)
    message = refusal(lambda: write_atomically(tmp_path / "model.keras", b"new"), exit_code=1)
    assert message == f"cannot write model.keras in {tmp_path}: Is a directory"
    assert temporaries(tmp_path) == []


def test_death_at_any_file_operation_leaves_a_state_to_go_on_from(run):
    """Let forks of one process die at their first, second, third … file operation."""
    script = """
        import itertools, os, signal, sys
        import numpy as np
        from degradation.records import RunFolder

        OPERATIONS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
        run = RunFolder(sys.argv[1])

        def advance(n):
            with run.lock():
                run.save_checkpoint(n, {"w": np.full(1000, n)}, {"n": n})
                run.write_rows([{"iteration": n}] * n)
                run.update_manifest(n=n)

        def die_at(operation):
            def hook(event, arguments, remaining=itertools.count(operation, -1)):
                if event in OPERATIONS and next(remaining) == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            sys.addaudithook(hook)

        advance(1), advance(2)
        for deaths in itertools.count():
            before = run.load_checkpoint().iteration
            child = os.fork()
            if child == 0:
                die_at(deaths)
                advance(before + 1)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            after = run.load_checkpoint()
            assert after.note is None
            assert after.iteration in (before, before + 1)
            assert after.state == {"n": after.iteration}
            assert (after.arrays["w"] == after.iteration).all()
            older = after.iteration - 1
            assert (run.path / "checkpoint" / f"{older:08d}.npz").exists()
            rows = run.rows()
            assert len(rows) == rows[-1]["iteration"] <= after.iteration
            assert run.manifest()["n"] <= len(rows)
            if status == 0:
                assert after.iteration == len(rows) == run.manifest()["n"] == before + 1
                break
            assert os.WTERMSIG(status) == signal.SIGKILL
        print(deaths)
    """
    assert int(output_of(script, run.path)) > 15
    names = {path.name for path in run.path.iterdir()}
    assert names == {"config.yaml", "manifest.json", "metrics.csv", "checkpoint"}
    assert len(os.listdir(run.path / "checkpoint")) == 2


# --- the lock ------------------------------------------------------------------------------------

NO_FLOCK = """
    import errno, fcntl
    from degradation.records import lock

    def flock(*_):
        raise OSError(errno.ENOSYS, "no flock here")

    fcntl.flock, lock.LEASE_SECONDS = flock, 1.0
"""
ELSEWHERE = """
    import socket
    socket.gethostname = lambda: "elsewhere"
"""
HOLD = """
    import sys, time
    from degradation.records import RunFolder

    with RunFolder(sys.argv[1]).lock():
        print("held", flush=True)
        time.sleep(60)
"""


@pytest.fixture(params=["flock", "no flock"])
def prelude(request, monkeypatch):
    """Be on a file system with or without flock; give the statements that bring a process there."""
    if request.param == "flock":
        return ""
    no_flock(monkeypatch)
    return NO_FLOCK


def no_flock(monkeypatch):
    monkeypatch.setattr(fcntl, "flock", Mock(side_effect=OSError(errno.ENOSYS, "no flock here")))
    monkeypatch.setattr(lock, "LEASE_SECONDS", 1.0)


@contextlib.contextmanager
def holder(folder, prelude=""):
    """Let a process hold the lock of a folder."""
    with process(prelude + HOLD, folder.path) as child:
        assert child.stdout.readline() == "held\n", child.stderr.read()
        yield child


def test_a_second_writer_is_told_who_writes_where_since_when(tmp_path, prelude):
    folder = RunFolder(tmp_path / "run")
    with holder(folder, prelude) as child:
        message = refusal(lambda: folder.lock().__enter__(), exit_code=IN_USE)
        host = re.escape(socket.gethostname())
        who = rf"process {child.pid} on {host} since \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ:"
        assert re.search(f"run is being written by {who}", message)


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, prelude):
    """The lock goes with its holder; what was written stays."""
    folder = RunFolder(tmp_path / "run")
    with holder(folder, prelude) as child:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert (folder.path / ".lock").exists()
    with folder.lock():
        assert json.loads((folder.path / ".lock").read_text())["pid"] == os.getpid()
        folder.write_config({})
    assert os.listdir(folder.path) == ["config.yaml"]


def test_without_flock_a_lock_that_another_machine_left_expires(tmp_path, monkeypatch):
    no_flock(monkeypatch)
    folder = RunFolder(tmp_path / "run")
    with holder(folder, NO_FLOCK + ELSEWHERE) as child:
        time.sleep(1.5)
        assert "on elsewhere" in refusal(lambda: folder.lock().__enter__(), exit_code=IN_USE)
        child.send_signal(signal.SIGSTOP)
        with folder.lock():
            child.send_signal(signal.SIGCONT)  # too late: it has lost the folder, and ends
            assert child.wait(timeout=60) == -signal.SIGTERM


def test_a_command_that_fails_before_it_writes_leaves_no_folder(tmp_path, prelude):
    (tmp_path / "runs").mkdir()
    with RunFolder(tmp_path / "runs").lock():
        pass  # a folder that was there before stays
    folder = RunFolder(tmp_path / "runs" / "short" / "plain20" / "seed0")
    with pytest.raises(UserError), folder.lock():
        assert folder.path.is_dir()
        raise UserError("bad input")
    assert os.listdir(tmp_path) == ["runs"]
    assert os.listdir(tmp_path / "runs") == []


@pytest.mark.parametrize("below", ["file", "file/run", "link"])
def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path, below):
    """A link to nowhere, too."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    message = refusal(lambda: RunFolder(tmp_path / below).lock().__enter__(), exit_code=1)
    reason = "Not a directory" if below == "file/run" else "File exists"
    assert message == f"cannot write to {tmp_path / below}: {reason}"
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]


def test_never_two_writers(tmp_path):
    """Let four processes count in one file, under a lock that they make and delete all the time."""
    script = """
        import pathlib, sys
        from degradation.errors import IN_USE, UserError
        from degradation.records import RunFolder

        folder, counter = RunFolder(sys.argv[1]), pathlib.Path(sys.argv[2])
        done = 0
        while done < 60:
            try:
                with folder.lock():
                    count = int(counter.read_text())
                    counter.write_text(f"{count + 1:08d}")
                    done += 1
            except UserError as error:
                if error.exit_code != IN_USE:
                    raise
    """
    counter = tmp_path / "counter"
    counter.write_text("0")
    with contextlib.ExitStack() as stack:
        folder = tmp_path / "run"
        folder.mkdir()
        children = [stack.enter_context(process(script, folder, counter)) for _ in range(4)]
        for child in children:
            _, errors = child.communicate(timeout=60)
            assert child.returncode == 0, errors
    assert int(counter.read_text()) == 240
    assert not (folder / ".lock").exists()


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
    run.write_rows([ROW])
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
    run.save_checkpoint(np.int64(4000), arrays, state | {"numpy": np.float32(0.1)})
    checkpoint = run.load_checkpoint()
    assert (checkpoint.iteration, checkpoint.note) == (4000, None)
    assert checkpoint.state == state | {"numpy": float(np.float32(0.1))}
    assert type(checkpoint.state["nested"]["list"][0]) is int
    assert list(checkpoint.arrays) == list(arrays)
    with np.load(run.path / "checkpoint" / "00004000.npz") as archive:
        np.testing.assert_array_equal(archive["half"], arrays["half"])
    for name, array in arrays.items():
        loaded = checkpoint.arrays[name]
        assert (loaded.dtype, loaded.shape) == (array.dtype, array.shape)
        assert loaded.tobytes() == array.tobytes()


def test_the_last_two_are_kept(run):
    for iteration in (100, 200, 200, 100_000_000, 300_000_000):
        run.save_checkpoint(iteration, {}, {})
    assert sorted(os.listdir(run.path / "checkpoint")) == ["100000000.npz", "300000000.npz"]
    assert run.load_checkpoint().iteration == 300_000_000


def test_a_damaged_newest_falls_back_with_a_warning_and_is_replaced_in_time(run, capsys):
    run.save_checkpoint(100, {"w": np.arange(3)}, {})
    run.save_checkpoint(200, {"w": np.arange(4)}, {})
    newest = run.path / "checkpoint" / "00000200.npz"
    newest.write_bytes(newest.read_bytes()[:-1])
    checkpoint = run.load_checkpoint()
    assert (checkpoint.iteration, len(checkpoint.arrays["w"])) == (100, 3)
    assert "00000200.npz" in checkpoint.note
    warning = capsys.readouterr().err
    assert warning == f"warning: {run.path}: {checkpoint.note}\n"
    assert newest.exists()
    run.save_checkpoint(150, {}, {})
    assert sorted(os.listdir(newest.parent)) == ["00000100.npz", "00000150.npz"]


def test_every_flipped_byte_and_every_truncation_is_found(run):
    run.save_checkpoint(3, {"w": np.arange(20.0), "empty": np.zeros(0)}, {"a": 1})
    path = run.path / "checkpoint" / "00000003.npz"
    whole = path.read_bytes()
    damages = [whole[:length] for length in range(len(whole))] + [whole + b"\0"]
    for position, byte in enumerate(whole):
        damages.append(whole[:position] + bytes([byte ^ 0x20]) + whole[position + 1 :])
    for damage in damages:
        path.write_bytes(damage)
        with pytest.raises(UserError, match="does not match its digest"):
            run.load_checkpoint()
    path.write_bytes(whole)
    assert run.load_checkpoint().state == {"a": 1}


class Exploit:
    """Makes a folder when it is unpickled."""

    def __init__(self, proof):
        self.proof = str(proof)

    def __reduce__(self):
        """Name the call that unpickling makes."""
        return os.mkdir, (self.proof,)


def test_a_checkpoint_with_code_in_it_runs_nothing(run, tmp_path):
    """Whoever wrote that can compute a digest."""
    proof = tmp_path / "proof"
    run.save_checkpoint(1, {"w": np.array([Exploit(proof)], object)}, {})
    assert "is damaged (00000001.npz" in refusal(run.load_checkpoint, exit_code=2)
    assert not proof.exists()


# --- the machine ---------------------------------------------------------------------------------


def test_the_machine_is_described_without_names():
    machine = records.describe_machine()
    assert machine.keys() == {"cpu", "cores", "memory_gib"}
    assert machine["cpu"]
    assert 1 <= machine["cores"] <= os.cpu_count()
    assert machine["memory_gib"] > 0
    assert socket.gethostname() not in machine["cpu"].split()


def fake_root(tmp_path, files):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


V2 = {
    "proc/self/cgroup": "0::/jobs/one\n",
    "sys/fs/cgroup/jobs/one/memory.max": "max\n",
    "sys/fs/cgroup/jobs/memory.max": str(2**28),
    "sys/fs/cgroup/jobs/one/cpu.max": "max 100000\n",
    "sys/fs/cgroup/jobs/cpu.max": "150000 100000\n",
}
V1 = {
    "proc/self/cgroup": "5:cpu,cpuacct:/one\n4:memory:/one\n0::/\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
    "sys/fs/cgroup/memory/one/memory.limit_in_bytes": str(2**29),
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu/one/cpu.cfs_quota_us": "300000\n",
    "sys/fs/cgroup/cpu/one/cpu.cfs_period_us": "100000\n",
}
SMALLEST = {
    "proc/self/cgroup": "0::/../outside\n",
    "sys/fs/cgroup/memory.max": str(3 * 2**27),
    "sys/fs/cgroup/cpu.max": "10000 100000\n",
}


@pytest.mark.parametrize(
    ("files", "gib", "cores"), [(V2, 0.2, 2), (V1, 0.5, 3), (SMALLEST, 0.4, 1)]
)
def test_a_container_is_what_it_may_use(tmp_path, monkeypatch, files, gib, cores):
    monkeypatch.setattr(os, "process_cpu_count", lambda: 64, raising=False)
    machine = records.describe_machine(fake_root(tmp_path, files))
    assert (machine["memory_gib"], machine["cores"]) == (gib, cores)


def test_without_a_limit_or_any_proc_it_is_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "process_cpu_count", lambda: 64, raising=False)
    alone = records.describe_machine(tmp_path)
    assert alone["cpu"] and alone["cores"] == 64
    unlimited = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}
    assert records.describe_machine(fake_root(tmp_path, unlimited)) == alone


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("model name\t: An x86\nflags\t\t: fpu avx512_bf16 sse\n", True),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", True),
        ("flags\t\t: fpu avx2 avx512f\nbugs\t: amx_bf16\n", False),
        ("processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n", True),
        ("", False),
    ],
)
def test_bf16_is_read_from_the_processors_flags(tmp_path, cpuinfo, expected):
    assert records.cpu_has_bf16(fake_root(tmp_path, {"proc/cpuinfo": cpuinfo})) is expected
    if "model name" in cpuinfo:
        assert records.describe_machine(tmp_path)["cpu"] == "An x86"


def test_git_state_follows_tracked_files(tmp_path, monkeypatch):
    root = tmp_path / "checkout"
    (root / "below").mkdir(parents=True)
    unknown = {"git_commit": None, "git_dirty": None}
    assert records.git_state(root) == unknown

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(root), *identity, *arguments]
        # Started by a hook, git would otherwise write into the repository that has the hook.
        ours = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        ours |= dict.fromkeys(("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"), os.devnull)
        done = subprocess.run(command, env=ours, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init")
    assert records.git_state(root) == unknown  # no commit yet
    (root / "code.py").write_text("1")
    (root / "results").mkdir()
    (root / "results" / "report.md").write_text("1")
    (root / "README.md").write_text("1")
    git("add", "code.py", "results", "README.md")
    git("commit", "-m", "one")
    clean = {"git_commit": git("rev-parse", "HEAD"), "git_dirty": False}
    assert records.git_state(root) == clean
    (root / "untracked").write_text("x")
    (root / "results" / "report.md").write_text("2")  # a record, not the program
    (root / "README.md").write_text("2")  # quotes the records
    assert records.git_state(root) == clean
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))  # as inside a hook
    assert records.git_state(root) == clean
    (root / "code.py").write_text("2")
    assert records.git_state(root) == clean | {"git_dirty": True}
    assert records.git_state(root / "below") == unknown  # somebody else's repository
    monkeypatch.setenv("PATH", "")
    assert records.git_state(root) == unknown


def test_records_do_not_import_tensorflow():
    script = "import sys, degradation.records; print('tensorflow' in sys.modules)"
    assert output_of(script) == "False\n"
