"""W&B tracking: what the offline run holds, what resuming leaves, what a broken W&B may do."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import wait_until
from wandb_files import items, of_kind, tracked_rows, tracked_summary

from degradation.training import tracking
from degradation.training.tracking import Tracker, run_id

SOURCE = Path(tracking.__file__).parents[2]


def row(iteration: int) -> dict[str, float]:
    """A row whose numbers have no short decimal form."""
    return {"iteration": iteration, "train_error": 100 / iteration, "test_error": 200 / iteration}


def rows(*iterations: int) -> list[dict[str, float]]:
    return [row(iteration) for iteration in iterations]


def start(folder: Path, mode: str = "offline", resumed: bool = False, **changes) -> Tracker:
    about = {
        "project": "degradation",
        "run_id": "short-plain20-seed0",
        "name": "plain20",
        "group": "figure1",
        "tags": ["short", "float32"],
        "config": {"model": {"name": "plain20"}, "data": {"dir": None}},
    }
    return Tracker(mode=mode, folder=folder, resumed=resumed, **(about | changes))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """No account, no home folder of a real user, no W&B settings."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "home/.netrc"))
    (tmp_path / "home").mkdir()
    for name in ("FINISH_SECONDS", "INTERRUPTED_SECONDS"):  # none of these tests is about them
        monkeypatch.setattr(tracking, name, 120.0)


# What the W&B run holds.


def test_offline_run_holds_rows_configuration_and_summary(tmp_path, capfd):
    tracker = start(tmp_path)
    for entry in rows(200, 400, 600):
        tracker.log(entry)
    tracker.summarize(final={"test_error": 12.5}, best={"iteration": 400, "test_error": 11.25})
    tracker.finish()

    assert tracked_rows(tmp_path) == rows(200, 400, 600)
    (run,) = of_kind(tmp_path, "run")
    assert (run.run_id, run.display_name) == ("short-plain20-seed0", "plain20")
    assert (run.project, run.run_group, run.job_type) == ("degradation", "figure1", "train")
    assert list(run.tags) == ["short", "float32"]
    config = items(run.config.update)
    assert config["model"] == {"name": "plain20"}
    assert config["data"] == {"dir": None}
    summary = tracked_summary(tmp_path)
    assert summary["final/test_error"] == 12.5
    assert summary["best/test_error"] == 11.25
    assert summary["best/iteration"] == 400
    axes = {metric.name: metric.step_metric for metric in of_kind(tmp_path, "metric")}
    assert axes == {"iteration": "", "train_error": "iteration", "test_error": "iteration"}
    assert [record.exit_code for record in of_kind(tmp_path, "exit")] == [0]
    assert capfd.readouterr() == ("", "")


def test_offline_run_stays_on_the_machine_and_in_its_folder(tmp_path, monkeypatch, capfd):
    """Settings that ask for online, a foreign folder and telemetry, and a machine with a name."""
    spy = tmp_path / "spy"
    spy.mkdir()
    (spy / "sitecustomize.py").write_text(
        "import pathlib, socket, sys\n"
        "def look_up(*a, **k):\n"
        f"    pathlib.Path({str(tmp_path / 'looked-up')!r}).write_text(repr(a))\n"
        "    raise OSError('no network')\n"
        "socket.getaddrinfo = socket.create_connection = look_up\n"
        "socket.gethostname = lambda: 'telltale-host'\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(spy))
    for name in ("USER", "LOGNAME", "WANDB_USERNAME", "WANDB_ENTITY"):
        monkeypatch.setenv(name, "telltale-user")
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "true")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    folder = Path("results/run")  # relative, as a user would give it
    tracker = start(folder)
    tracker.log(row(200))
    tracker.finish()

    assert tracked_rows(folder) == rows(200)
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
    assert capfd.readouterr() == ("", "")


def test_image_is_kept_with_its_caption(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    pillow.new("RGB", (4, 3), "red").save(tmp_path / "figure1.png")
    folder = tmp_path / "run"
    tracker = start(folder, job_type="report")
    tracker.image("figure1", tmp_path / "figure1.png", "Two networks, one seed.")
    tracker.finish()

    (found,) = tracked_rows(folder)
    assert found["figure1/caption"] == "Two networks, one seed."
    (kept,) = folder.glob("wandb/offline-run-*/files/media/images/*.png")
    assert kept.read_bytes() == (tmp_path / "figure1.png").read_bytes()


# Starting again.


def test_resumed_run_holds_every_row_once(tmp_path):
    """Rows after the checkpoint were dropped, and come again."""
    tracker = start(tmp_path)
    for entry in rows(200, 400, 600):
        tracker.log(entry)
    tracker.finish(exit_code=143)
    assert [record.exit_code for record in of_kind(tmp_path, "exit")] == [143]

    tracker = start(tmp_path, resumed=True, rows=rows(200, 400))
    for entry in rows(600, 800):
        tracker.log(entry)
    tracker.finish()
    assert tracked_rows(tmp_path) == rows(200, 400, 600, 800)


def killed(folder: Path, when: str = "True") -> None:
    """Start a run in a process of its own, and kill that once a condition holds."""
    script = (
        "import os, signal, sys, test_tracking as t; from pathlib import Path\n"
        "folder = Path(sys.argv[1]); tracker = t.start(folder)\n"
        "for entry in t.rows(200, 400, 600): tracker.log(entry)\n"
        f"t.wait_until(lambda: {when})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), str(SOURCE)])
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", script, str(folder)], env=environment)
    assert done.returncode == -signal.SIGKILL


def opened(folder: Path) -> bool:
    return any(folder.glob("wandb/*run-*/run-*.wandb"))


@pytest.mark.parametrize("when", ["True", "t.opened(folder)"], ids=["at once", "opened"])
def test_killed_run_resumes_while_its_wandb_is_still_alive(tmp_path, when):
    killed(tmp_path, when)
    tracker = start(tmp_path, resumed=True, rows=rows(200, 400))
    tracker.log(row(600))
    tracker.finish()
    assert tracked_rows(tmp_path) == rows(200, 400, 600)


def test_killed_run_keeps_its_rows(tmp_path):
    killed(tmp_path, "t.opened(folder)")
    wait_until(lambda: of_kind(tmp_path, "exit"))
    assert tracked_rows(tmp_path) == rows(200, 400, 600)
    assert [record.exit_code for record in of_kind(tmp_path, "exit")] == [1]


def test_fresh_start_replaces_the_run_and_leaves_others(tmp_path):
    other = tmp_path / "wandb/offline-run-20260101_000000-someone-elses"
    other.mkdir(parents=True)
    (other / "kept.txt").write_text("kept")
    for error in (1, 2):
        tracker = start(tmp_path, tags=[str(error)])
        tracker.log(row(200 * error))
        tracker.finish()
    assert tracked_rows(tmp_path) == rows(400)
    assert (other / "kept.txt").exists()


# A W&B that is missing, slow, broken or killed: a stand-in package in its place, or the real one
# with its processes killed.

STAND_IN = """
import json, os, time

def note(*what):
    with open({notes!r}, "a") as notes:
        notes.write(json.dumps(what) + "\\n")

class Settings(dict):
    pass

class Run:
    starting_step = {starting_step}
    dir = "wandb/run-1-x/files"
    summary = {{}}
    def define_metric(self, name, step_metric): pass
    def log(self, row, step=None, commit=None):
        note("log", row)
        {log}
    def finish(self, exit_code):
        note("finish", exit_code)
        {finish}

def init(mode, resume=None, **about):
    note("init", mode, resume)
    {init}
    return Run()

def teardown(): pass
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Put a package in W&B's place, with given statements at the end of its functions."""
    notes = tmp_path / "notes"

    def install(init="pass", log="pass", finish="pass", starting_step=0, package=STAND_IN):
        (tmp_path / "stand-in/wandb").mkdir(parents=True)
        text = package.format(
            notes=str(notes), init=init, log=log, finish=finish, starting_step=starting_step
        )
        (tmp_path / "stand-in/wandb/__init__.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stand-in"))

    def noted(kind: str) -> list:
        lines = notes.read_text().splitlines() if notes.exists() else []
        found = [json.loads(line) for line in lines]
        return [entry[1:] for entry in found if entry[0] == kind]

    install.noted = noted
    return install


def follow(folder: Path, **changes) -> None:
    """What a training does with a tracker, from beginning to end."""
    tracker = start(folder, **changes)
    for entry in rows(200, 400, 600):
        tracker.log(entry)
    tracker.summarize(final={"test_error": 12.5}, best={"test_error": 12.5})
    tracker.finish()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"package": "raise ImportError('No module named wandb')"}, "No module named wandb"),
        ({"init": "raise RuntimeError('no\\nspace')"}, "no"),
        ({"init": "raise SystemExit(3)"}, "ended with code 3"),
        ({"log": "raise OSError('disk full')"}, "disk full"),
        ({"log": "os.kill(os.getpid(), 9)"}, "ended with code -9"),
        ({"finish": "raise BrokenPipeError"}, "BrokenPipeError"),
    ],
    ids=["missing", "init", "exit", "log", "killed", "finish"],
)
def test_broken_wandb_is_one_warning(tmp_path, stand_in, capfd, fault, said):
    stand_in(**fault)
    follow(tmp_path / "run")
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("warning: W&B: ")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("place", ["init", "log", "finish"])
def test_hanging_wandb_is_ended(tmp_path, stand_in, capfd, monkeypatch, place):
    """It takes nothing from the pipe, and there is more to send than a pipe holds."""
    # Before it hangs there it must come to its end, on a machine however slow.
    limit = 10.0 if place == "finish" else 1.0
    monkeypatch.setattr(tracking, "FINISH_SECONDS", limit)
    stand_in(**{place: f"note('hangs', os.getpid()); time.sleep({10**6})"})
    tracker = start(tmp_path / "run", config={"long": "x" * 10**6})
    iterations = itertools.count(1)
    # It has come so far, on a machine however slow, when the second begins that it is given.
    sign = "init" if place == "finish" else "hangs"
    wait_until(lambda: tracker.log(row(next(iterations))) or stand_in.noted(sign))
    for iteration in itertools.islice(iterations, 10 if place == "finish" else 3000):
        tracker.log(row(iteration))
    tracker.finish()
    assert f"did not finish within {limit:g} seconds" in capfd.readouterr().err
    ((pid,),) = stand_in.noted("hangs")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_signals_for_the_training_do_not_reach_wandb(tmp_path, stand_in, capfd):
    """A scheduler signals every process of a job; the last rows and the exit code still count."""
    stand_in(init="note('process', os.getpid(), os.getsid(0))")
    tracker = start(tmp_path / "run")
    wait_until(lambda: stand_in.noted("process"))
    ((pid, session),) = stand_in.noted("process")
    assert session != os.getsid(0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    tracker.log(row(200))
    tracker.finish(exit_code=130)
    assert stand_in.noted("log") == [[row(200)]]
    assert stand_in.noted("finish") == [[130]]
    assert capfd.readouterr() == ("", "")


def parents() -> dict[int, int]:
    """Every process's parent."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            found[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has just ended
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the process in /proc")
def test_service_killed_mid_run_is_one_warning(tmp_path, capfd):
    def services() -> list[int]:
        tree = parents()
        return [pid for pid, parent in tree.items() if tree.get(parent) == os.getpid()]

    tracker = start(tmp_path)
    tracker.log(row(200))
    wait_until(lambda: opened(tmp_path) and tracked_rows(tmp_path))
    (service,) = services()
    os.kill(service, signal.SIGKILL)
    for entry in rows(400, 600):
        tracker.log(entry)
    tracker.finish()
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("warning: W&B: ")
    assert err.count("\n") == 1


# Online.


def test_online_without_credentials_warns_once_and_goes_offline(tmp_path, capfd):
    follow(tmp_path / "run", mode="online")
    assert tracked_rows(tmp_path / "run") == rows(200, 400, 600)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("warning: W&B: not online (")
    assert err.count("\n") == 1
    assert list((tmp_path / "home").iterdir()) == []


def test_online_that_asks_is_given_no_terminal(tmp_path, stand_in, capfd):
    stand_in(init="mode == 'offline' or input('API key: ')")
    follow(tmp_path / "run", mode="online")
    assert stand_in.noted("init") == [["online", None], ["offline", None]]
    assert stand_in.noted("log") == [[entry] for entry in rows(200, 400, 600)]
    assert capfd.readouterr().err.count("\n") == 1


def test_online_fresh_start_overwrites_the_run(tmp_path, stand_in):
    stand_in()
    follow(tmp_path / "run", mode="online")
    assert stand_in.noted("init") == [["online", None]]
    assert stand_in.noted("log") == [[entry] for entry in rows(200, 400, 600)]


def test_online_continuation_sends_only_rows_that_the_server_lacks(tmp_path, stand_in):
    """The server has rows up to 400: of the kept ones, and of those trained again, 600 is new."""
    stand_in(starting_step=401)
    tracker = start(tmp_path / "run", mode="online", resumed=True, rows=rows(200))
    for entry in rows(400, 600):
        tracker.log(entry)
    tracker.finish()
    assert stand_in.noted("init") == [["online", "allow"]]
    assert stand_in.noted("log") == [[row(600)]]


def test_unfinished_upload_names_the_command_that_completes_it(tmp_path, stand_in, capfd):
    stand_in(finish="raise TimeoutError")
    follow(tmp_path / "run", mode="online")
    assert f"`wandb sync {tmp_path / 'run/wandb/run-1-x'}`" in capfd.readouterr().err


# Without W&B.


def test_disabled_starts_and_writes_nothing(tmp_path, stand_in, capfd):
    stand_in()
    follow(tmp_path / "run", mode="disabled")
    assert not (tmp_path / "run").exists()
    assert stand_in.noted("init") == []
    assert capfd.readouterr() == ("", "")


def test_module_imports_neither_wandb_nor_tensorflow():
    code = (
        "import sys, degradation.training.tracking\n"
        "sys.exit(bool({'wandb', 'tensorflow', 'keras'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


# The id.


def test_run_id_follows_from_the_folder():
    folder = "results/runs/short/resnet20,shortcut=B/seed0"
    assert run_id(folder).startswith("short-resnet20-shortcut=B-seed0-")
    assert run_id(folder) == run_id(f"./{folder}/") == run_id(folder.replace("/", "\\"))
    folders = [folder, "results/runs/short/resnet20-shortcut=B/seed0", "a/b", "/a/b", "../a/b", "."]
    assert len({run_id(folder) for folder in folders}) == len(folders)


def test_folders_elsewhere_that_records_call_the_same_have_ids_of_their_own():
    there, here = (run_id(".../seed0", f"../../scratch/{name}/seed0") for name in "ab")
    assert there != here and there.startswith("seed0-") and "scratch" not in there


@pytest.mark.parametrize("folder", ["a b/c:d;e'f?g#h%i/ü", "x" * 500, ".", "/", "runs/short/p/s1"])
def test_run_id_is_valid(folder):
    made = run_id(folder)
    assert 0 < len(made) <= 128
    assert made.isascii()
    assert not set(made) & set(":;,#?/'\\% \t")
