"""W&B tracking: where a copy goes, what resuming leaves, what a broken W&B may do."""

import os
import signal
import socket
import subprocess
import sys
import threading
import types
from pathlib import Path
from unittest.mock import Mock

import pytest
from command_line import PATH, with_path
from wandb_files import of_kind, tracked_rows

from degradation.training import tracking
from degradation.training.tracking import Tracker, run_id

IMPORTED = (Path(__file__).parent, *PATH)  # by a process that follows a run


def rows(*iterations: int) -> list[dict[str, float]]:
    """Rows whose numbers have no short decimal form."""
    return [{"iteration": k, "train_error": 100 / k, "test_error": 200 / k} for k in iterations]


def start(folder: Path, mode: str = "offline", resumed: bool = False, **changes) -> Tracker:
    about = {
        "project": "degradation",
        "run_id": "short-plain20-seed0",
        "config": {"model": {"name": "plain20"}, "data": {"dir": None}},
    }
    return Tracker(mode=mode, folder=folder, resumed=resumed, **(about | changes))


def follow(folder: Path, *iterations: int, code: int = 0, **changes) -> None:
    """What a training does with a tracker, from beginning to end."""
    tracker = start(folder, **changes)
    for entry in rows(*iterations or (200, 400, 600)):
        tracker.log(entry)
    tracker.summarize(final={"test_error": 12.5}, best={"iteration": 400, "test_error": 11.25})
    tracker.finish(code)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """No account, no home folder of a real user, no W&B settings."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name in ("WANDB_SILENT", "WANDB_ERROR_REPORTING", "WANDB_CACHE_DIR"):
        monkeypatch.setenv(name, "no")  # to be as before when the tracker has set them
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "home/.netrc"))
    (tmp_path / "home").mkdir()
    for name in ("FINISH_SECONDS", "INTERRUPTED_SECONDS"):  # none of these tests is about them
        monkeypatch.setattr(tracking, name, 120.0)


def in_a_process(statements: str, *arguments, **options) -> subprocess.CompletedProcess:
    """Run statements in a process of its own, where this file is `t` and `folder` the first."""
    script = "import os, signal, sys, test_tracking as t; from pathlib import Path\n"
    script += "from command_line import wait_until\n"
    script += f"folder = Path(sys.argv[1])\n{statements}"
    words = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(words, **{"env": with_path(*IMPORTED)} | options)


# What the W&B run holds.


def test_offline_run_stays_on_the_machine_and_in_its_folder(tmp_path):
    """Settings that ask for online, a foreign folder and telemetry, and a machine with a name."""
    spy, work = tmp_path / "spy", tmp_path / "work"
    spy.mkdir(), work.mkdir()
    (spy / "sitecustomize.py").write_text(
        "import pathlib, socket, sys\n"
        "def look_up(*a, **k):\n"
        f"    pathlib.Path({str(tmp_path / 'looked-up')!r}).write_text(repr(a))\n"
        "    raise OSError('no network')\n"
        "socket.getaddrinfo = socket.create_connection = look_up\n"
        "socket.gethostname = lambda: 'telltale-host'\n"
    )
    settings = with_path(spy, *IMPORTED) | {
        **dict.fromkeys(("USER", "LOGNAME", "WANDB_USERNAME"), "telltale-user"),
        "WANDB_MODE": "online",
        "WANDB_API_KEY": "0" * 40,
        "WANDB_DIR": str(tmp_path / "elsewhere"),
        "WANDB_ERROR_REPORTING": "true",
    }
    done = in_a_process(
        "t.follow(folder)", "results/run", cwd=work, env=settings, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")

    folder = work / "results/run"
    assert tracked_rows(folder) == rows(200, 400, 600)
    assert not (tmp_path / "looked-up").exists()
    assert not (tmp_path / "elsewhere").exists()
    assert list((tmp_path / "home").iterdir()) == []
    assert [path.name for path in work.iterdir()] == ["results"]
    assert [path.name for path in folder.iterdir()] == ["wandb"]
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"telltale" not in written
    assert str(tmp_path).encode() not in written
    name = socket.gethostname()
    assert len(name) < 8 or name.encode() not in written  # a short one may be there by chance


def test_image_is_kept_with_its_caption(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    pillow.new("RGB", (4, 3), "red").save(tmp_path / "figure1.png")
    folder = tmp_path / "run"
    tracker = start(folder)
    tracker.image("figure1", tmp_path / "figure1.png", "Two networks, one seed.")
    tracker.finish()

    (found,) = tracked_rows(folder)
    assert found["figure1/caption"] == "Two networks, one seed."
    (kept,) = folder.glob("wandb/offline-run-*/files/media/images/*.png")
    assert kept.read_bytes() == (tmp_path / "figure1.png").read_bytes()
    assert list((tmp_path / "home").iterdir()) == []


# Starting again.


def test_resumed_run_holds_every_row_once_and_leaves_other_runs(tmp_path):
    """Rows after the checkpoint were dropped, and come again."""
    other = tmp_path / "wandb/offline-run-20260101_000000-someone-elses/kept.txt"
    other.parent.mkdir(parents=True)
    other.write_text("kept")
    follow(tmp_path, code=143)
    assert [record.exit_code for record in of_kind(tmp_path, "exit")] == [143]
    follow(tmp_path, 600, 800, resumed=True, rows=rows(200, 400))
    assert tracked_rows(tmp_path) == rows(200, 400, 600, 800)
    assert other.read_text() == "kept"


def test_killed_run_resumes_while_its_wandb_is_still_alive(tmp_path):
    done = in_a_process(
        "tracker = t.start(folder)\n"
        "for entry in t.rows(200, 400, 600): tracker.log(entry)\n"
        "wait_until(lambda: any(folder.glob('wandb/*run-*/run-*.wandb')))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n",
        tmp_path,
    )
    assert done.returncode == -signal.SIGKILL
    follow(tmp_path, 600, resumed=True, rows=rows(200, 400))
    assert tracked_rows(tmp_path) == rows(200, 400, 600)


# A W&B that is missing, slow or broken: a stand-in in its place.


class StandIn(types.ModuleType):
    """A W&B that notes what it is told; `faults` are called at the end of its functions."""

    Settings = dict

    def __init__(self, **faults):
        super().__init__("wandb")
        self.notes, self.faults, self.starting_step = [], faults, 0

    def note(self, kind, *what):
        self.notes.append((kind, *what))
        self.faults.get(kind, lambda: None)()

    def init(self, mode, resume, **about):
        self.note(mode, resume)
        return types.SimpleNamespace(
            dir="wandb/run-1-x/files",
            starting_step=self.starting_step,
            summary={},
            define_metric=lambda *_, **__: None,
            log=lambda row, **_: self.note("log", row["iteration"]),
            finish=lambda code: self.note("finish", code),
        )

    def teardown(self):
        pass


@pytest.fixture
def stand_in(monkeypatch):
    def install(**faults) -> StandIn:
        wandb = StandIn(**faults)
        monkeypatch.setitem(sys.modules, "wandb", wandb)
        return wandb

    return install


@pytest.mark.parametrize(
    ("place", "error", "said"),
    [
        ("import", None, "import of wandb halted"),
        ("offline", RuntimeError("no\nspace"), "no space; going on without it"),
        ("log", OSError("disk full"), "disk full; going on without it"),
        ("finish", BrokenPipeError(), "BrokenPipeError; going on without it"),
    ],
)
def test_broken_wandb_is_one_warning(tmp_path, monkeypatch, stand_in, capfd, place, error, said):
    stand_in(**{place: Mock(side_effect=error)})
    if place == "import":
        monkeypatch.setitem(sys.modules, "wandb", None)
    follow(tmp_path / "run")
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("warning: W&B: ") and said in err and err.count("\n") == 1


@pytest.mark.parametrize("place", ["offline", "finish"])
def test_hanging_wandb_holds_nothing_up(tmp_path, stand_in, capfd, monkeypatch, place):
    monkeypatch.setattr(tracking, "FINISH_SECONDS", 0.5)
    go = threading.Event()
    stand_in(**{place: go.wait})
    follow(tmp_path / "run")
    assert "did not finish within 0.5 seconds" in capfd.readouterr().err
    go.set()


# Online.


def test_online_without_credentials_warns_once_and_goes_offline(tmp_path):
    """It asks for none, though there is a terminal to ask on."""
    ours, theirs = os.openpty()
    done = in_a_process(
        "t.follow(folder, mode='online')",
        tmp_path / "run",
        **dict.fromkeys(("stdin", "stdout", "stderr"), theirs),
    )
    os.close(theirs)
    said = os.read(ours, 10_000).decode()
    os.close(ours)
    assert done.returncode == 0
    assert said.startswith("warning: W&B: not online (") and said.count("\n") == 1
    assert tracked_rows(tmp_path / "run") == rows(200, 400, 600)


def test_server_that_never_answers_is_given_up(tmp_path, capfd, monkeypatch):
    monkeypatch.setitem(tracking.SETTINGS, "init_timeout", 1)
    monkeypatch.setenv("WANDB_MODE", "offline")  # mode="online" counts
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        follow(tmp_path, mode="online")
    assert tracked_rows(tmp_path) == rows(200, 400, 600)
    assert "not online (Timed out" in capfd.readouterr().err


def test_online_fresh_start_overwrites_and_continuation_sends_what_the_server_lacks(
    tmp_path, stand_in
):
    """It has rows up to 400: of the kept ones, and of those trained again, 600 is new."""
    wandb = stand_in()
    follow(tmp_path / "run", 200, 400, mode="online")
    assert wandb.notes == [("online", None), ("log", 200), ("log", 400), ("finish", 0)]
    wandb = stand_in()
    wandb.starting_step = 401
    follow(tmp_path / "run", 400, 600, mode="online", resumed=True, rows=rows(200))
    assert wandb.notes == [("online", "allow"), ("log", 600), ("finish", 0)]


def test_disabled_starts_and_writes_nothing(tmp_path, stand_in, capfd, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    wandb = stand_in()
    follow(tmp_path / "run", mode="disabled")
    assert not (tmp_path / "run").exists()
    assert wandb.notes == []
    assert capfd.readouterr() == ("", "")


def test_run_id_follows_from_the_folder():
    folder = tracking.ROOT / "results/runs/short/resnet20,shortcut=B/seed0"
    assert run_id(folder).startswith("short-resnet20-shortcut=B-seed0-")
    assert run_id(folder) == run_id(folder.parent / "there" / ".." / "seed0")
    # Elsewhere, where records call two the same: ids of their own, without the place.
    there, here = (Path("/scratch", name, "seed0") for name in "ab")
    assert run_id(there).startswith("seed0-") and "scratch" not in run_id(there)
    others = [folder.parents[1] / "resnet20-shortcut=B" / "seed0", tracking.ROOT, Path("x" * 200)]
    folders = [folder, there, here, *others, Path("a b/c:d;e'f?g#h%i/ü")]
    made = {run_id(one) for one in folders}
    assert len(made) == len(folders)
    assert all(0 < len(one) <= 128 and one.isascii() for one in made)
    assert not set("".join(made)) & set(":;,#?/'\\% \t")
