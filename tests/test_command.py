"""The command line: what is refused, in one line and before anything is written; help; sweeps."""

import os
import runpy
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pytest
from command_line import REPOSITORY, arguments, environment, make_tree, wait_until
from omegaconf import OmegaConf

import degradation.config
from degradation.config import options
from degradation.errors import Stopped, UserError
from experiments import command
from experiments.compose import compose_jobs, quote_path

MODELS = ", ".join(options("model"))


class Result:
    """How a command ended that ran in this process."""

    def __init__(self, code: int, stdout: str, stderr: str):
        self.code, self.stdout, self.stderr = code, stdout, stderr


@pytest.fixture
def start(tmp_path, monkeypatch, capsys):
    """Give a function that runs `python -m experiments.<name> <arguments>` in this process.

    In an empty folder, with an empty folder for temporary files; nothing is ever trained.
    """
    work, scratch = tmp_path / "work", tmp_path / "scratch"
    work.mkdir()
    scratch.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setattr(degradation.config, "RUNS", work / "results" / "runs")

    def refuse(*arguments):
        raise AssertionError(f"started {arguments}")

    monkeypatch.setattr(command, "import_quietly", refuse)
    monkeypatch.setattr(command, "run_alone", refuse)

    def call(name: str, line: str) -> Result:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *shlex.split(line)])
        monkeypatch.delitem(sys.modules, f"experiments.{name}", raising=False)
        with pytest.raises(SystemExit) as end:
            runpy.run_module(f"experiments.{name}", run_name="__main__")
        assert list(work.iterdir()) == list(scratch.iterdir()) == []
        return Result(end.value.code or 0, *capsys.readouterr())

    return call


# Refusals, of each kind a few: command, arguments, and words that its one line must have.
WRONG = [
    # keys that are not there
    ("run", "modle=plain20", ["modle=plain20", "did you mean model?"]),
    ("run", "batch=64", ["batch=64", "did you mean optimizer.batch?"]),
    ("run", "SEED=3", ["SEED=3", "did you mean seed?"]),
    ("run", "seed.foo=3", ["seed.foo=3", "did you mean seed?"]),
    ("run", "model/depth=20", ["model/depth=20", "did you mean model.depth?"]),
    ("run", "nonsense=1", ["nonsense=1", "unknown key", "allowed:", "optimizer.rate", "run_dir"]),
    ("run", "+optimizer.rat=1", ["optimizer.rat=1", "unknown key", "optimizer.rate"]),
    ("run", "++optimizer.nesterov=true", ["optimizer.nesterov=true", "unknown key"]),
    ("run", "model=plain20 model.shortcut=A", ["model.shortcut=A", "allowed:", "model.depth"]),
    ("reproduce", "sedes=[0]", ["sedes=[0]", "did you mean seeds?"]),
    ("report", "run=elsewhere", ["run=elsewhere", "did you mean runs?"]),
    ("report", "figure=figure4 model.depth=26", ["model.depth=26", "allowed:"]),
    # keys left out
    ("run", "~schedule.drops", ["schedule.drops: missing", "allowed: schedule.drops="]),
    ("run", "~model", ["model: missing", "allowed: model="]),
    # options that are not there
    ("run", "model=plain57", ["model=plain57", MODELS]),
    ("run", "schedule=shrt", ["schedule=shrt", "brief, medium, paper, short, smoke"]),
    ("run", "model=", ["model=", MODELS]),
    ("run", "model=null", ["model=null", MODELS]),
    ("run", "model={}", ["model={}", "plain110", "resnet20"]),
    ("run", "model=[plain20,plain56]", ["model=[plain20,plain56]: allowed: one of", "resnet20"]),
    ("run", "hydra/launcher=slurm", ["hydra/launcher=slurm", "jobs run here"]),
    ("run", "hydra.run.dir=elsewhere", ["hydra.run.dir", "allowed: keys of the"]),
    ("run", "-m hydra.verbose=true seed=0,1", ["hydra.verbose", "allowed: keys of the"]),
    ("reproduce", "figure=figure9", ["figure=figure9", "figure1"]),
    ("report", "figure=null", ["figure=null", "figure1"]),
    # values: numbers, choices, lists, flags
    ("run", "seed=abc", ["seed=abc", "allowed: an integer from 0"]),
    ("run", "seed=true", ["seed=true", "allowed: an integer"]),
    ("run", "seed=4294967296", ["seed=4294967296", "4294967295"]),
    ("run", "seed={a:1}", ["seed={a:1}", "allowed: an integer"]),
    ("run", "optimizer.rate=nan", ["optimizer.rate=nan", "allowed: a number"]),
    ("run", "optimizer.momentum=1", ["optimizer.momentum=1:", "0 to below 1"]),
    ("run", "model.depth=21", ["model.depth=21", "allowed: 6n+2", "20, 26"]),
    ("run", "runtime.precision=float16", ["runtime.precision=float16", "auto, float32, bfloat16"]),
    ("run", r"""runtime.precision='"a\nb"'""", ["runtime.precision=", "allowed: auto"]),
    ("run", "schedule.drops=[3000,2000]", ["schedule.drops=[3000,2000]", "allowed: a rising"]),
    ("run", "schedule.drops=[0,10]", ["schedule.drops=[0,10]", "allowed: a rising"]),
    ("run", "overwrite=yes", ["overwrite=yes", "allowed: true or false"]),
    ("run", "optimizer.warmup=null", ["optimizer.warmup=null", "optimizer.warmup.rate"]),
    ("run", "model.builder=vgg", ["model.builder=vgg", "allowed: cifar_resnet"]),
    ("run", "data=synthetic data.train_images=15", ["data.train_images=15", "multiple of 10"]),
    ("run", "tracking.project=team/name", ["tracking.project=team/name", "none of /", "W&B"]),
    ("reproduce", "seeds=[]", ["seeds=[]", "allowed: a list such as [0,1,2]"]),
    ("reproduce", "seeds=[0,1,0]", ["seeds=[0,1,0]", "allowed: a list", "once"]),
    ("report", "seeds=[a]", ["seeds=[a]", "allowed: a list"]),
    ("reproduce", "figure.panels=[]", ["figure.panels=[]", "allowed: a list of panels"]),
    ("reproduce", "figure.panels=[{title:a,models:[vgg]}]", ["figure.panels", "vgg", MODELS]),
    # values that do not go together, and places where nothing is
    ("run", "schedule.drops=[4000]", ["schedule.drops=[4000]", "schedule.iterations=4000"]),
    ("run", "optimizer.batch=96", ["optimizer.ghost_batch=64", "optimizer.batch=96, or null"]),
    ("run", "data.holdout=50000", ["data.holdout=50000", "allowed: an integer from 0 to 49999"]),
    ("run", "data.dir=/nonexistent", ["data.dir=/nonexistent", "allowed:", "cifar-10-batches-bin"]),
    ("reproduce", "data.dir=/nonexistent", ["data.dir=/nonexistent", "allowed:"]),
    # interpolations and blanks
    ("run", "seed='${foo}'", ["seed=${foo}", "'foo' not found"]),
    ("run", "run_dir='???'", ["run_dir=???", "allowed: a value"]),
    ("run", "-m seed=0,1 'run_dir=a/${hydra:job.num}'", ["${hydra:job.num}", "such as ${seed}"]),
    # what is no override at all
    ("run", "seed=[", ["seed=[", "allowed: key=value"]),
    ("run", "=3", ["=3", "allowed: key=value"]),
    ("run", "plain20", ["plain20", "allowed: key=value"]),
    ("run", "model=plain20,", ["model=plain20,", "allowed: key=value"]),
    ("run", "model=plain20,plain56", ["model=plain20,plain56", "allowed: one value, or -m"]),
    ("run", "--forty-two", ["--forty-two", "allowed"]),
    ("run", "--cfg jobs seed=1", ["jobs", "job", "allowed"]),
    ("run", "--config-name=other", ["--config-name=other: allowed: the files of conf/"]),
    ("run", "-cd . -m seed=1,2", ["-cd: allowed: the files of conf/"]),
    # sweeps: one wrong value among right ones
    ("run", "-m seed=0,-1", ["seed=-1", "allowed: an integer"]),
    ("run", "seed=0,1 -m model=plain20,plain57", ["model=plain57", MODELS]),
    ("run", "-m optimizer.rat=1,2", ["optimizer.rat=1", "did you mean optimizer.rate?"]),
    ("run", "-m model=resnet20,plain20 model.shortcut=B", ["model.shortcut=B", "unknown key"]),
    ("run", "-m schedule=[paper,short] seed=0,1", ["schedule=[paper,short]: allowed: one of"]),
    ("run", "-m seed=range(3,0)", ["no job"]),
    # what a figure decides, in a sweep too
    ("reproduce", "model.depth=26", ["model.depth=26", "figure="]),
    ("reproduce", "seed=1", ["seed=1", "seeds="]),
    ("reproduce", "run_dir=x", ["run_dir=", "figure="]),
    ("reproduce", "-m figure=figure1 seed=0,1", ["seed=0", "decided by the figure", "seeds="]),
    ("reproduce", "-m figure=figure4,figure1 model=vgg13", ["model=vgg13: decided by the figure"]),
    ("report", "model=plain20", ["model=plain20", "decided by the figure"]),
    # reports of runs that are not there
    ("report", "runs=nowhere", ["no finished run on schedule=short", "figure=figure1"]),
    ("report", "runs=nowhere figure=figure1", ["plain20 seed 0", "experiments.reproduce"]),
    ("report", "runs=nowhere figure=figure4 model.widths=[4,8,8,8]", ["with widths=4-8-8-8"]),
    ("report", "runs=nowhere model.growth=24", ["experiments.run model=densenet40", "growth=24"]),
    # the other commands
    ("evaluate", "run_dir=. +data.holdout=5000", ["data.holdout=5000", "allowed: data.dir"]),
    ("benchmark", "benchmark=3", ["benchmark=3", "allowed: benchmark.networks, benchmark.repeats"]),
    ("benchmark", "++model.depth=26", ["model.depth=26", "allowed: benchmark.networks"]),
    ("benchmark", "benchmark.networks={}", ["benchmark.networks={}"]),
    ("benchmark", "benchmark.networks=[vgg16]", ["benchmark.networks: vgg16", "plain20, ", "[vgg"]),
]


@pytest.mark.parametrize(
    ("name", "line", "words"), WRONG, ids=[f"{name} {line}" for name, line, _ in WRONG]
)
def test_wrong_input_is_one_line_and_leaves_nothing(start, name, line, words):
    result = start(name, line)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize("name", ["", "config.yaml", "metrics.csv", "wandb/notes"])
@pytest.mark.parametrize("overwrite", ["", "overwrite=true"])
def test_run_dir_with_files_of_something_else_is_refused(start, tmp_path, name, overwrite):
    """And one that is a file itself."""
    theirs = tmp_path / "theirs" / name
    theirs.parent.mkdir(parents=True, exist_ok=True)
    theirs.write_text("seed: 0\n")
    result = start("run", f"run_dir={tmp_path / 'theirs'} {overwrite}")
    assert (result.code, result.stderr.count("\n")) == (2, 1)
    reason = f"its {name.split('/')[0]} is not a run's; allowed:" if name else "allowed: a folder"
    assert reason in result.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [theirs]
    assert theirs.read_text() == "seed: 0\n"


@pytest.mark.parametrize("path", ["~nobody-here/x", "x" * 300], ids=["user", "length"])
@pytest.mark.parametrize(
    ("name", "key"),
    [("run", "run_dir"), ("run", "data.dir"), ("evaluate", "run_dir"), ("report", "runs")],
)
def test_path_that_there_cannot_be_is_refused(start, name, key, path):
    result = start(name, f"{key}={path}")
    assert (result.code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith(f"error: {key}={path}: ") and "; allowed: " in result.stderr


# What only prints


@pytest.mark.parametrize("name", ["run", "reproduce", "report"])
def test_help_lists_options_and_values(start, name):
    result = start(name, "schedule=smoke --help")
    assert (result.code, result.stderr) == (0, "")
    assert f"python -m experiments.{name}" in result.stdout
    assert "schedule: brief, medium, paper, short, smoke" in result.stdout


@pytest.mark.parametrize("line", ["-c job seed=3", "seed=3 --cfg job model=plain20"])
def test_cfg_job_prints_the_configuration_wherever_it_stands(start, line):
    result = start("run", line)
    assert (result.code, result.stderr) == (0, "")
    assert "seed: 3\n" in result.stdout and "schedule:\n  name: short\n" in result.stdout
    assert "hydra" not in result.stdout


def test_output_that_nobody_reads_ends_a_command_as_a_shell_expects(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)  # what `| head` does once it has its lines
    tree = make_tree(tmp_path)
    ended = subprocess.run(
        arguments("run", "--help"),
        cwd=tree,
        env=environment(tree),
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=300,
    )
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, b"")


# Jobs


@pytest.fixture
def jobs(start, monkeypatch):
    """Give a function that runs a command; its jobs are noted instead of run, with these codes."""

    def call(line: str, codes: list[int]) -> tuple[Result, list[list[str]]]:
        noted, codes = [], iter(codes)

        def note(module, overrides):
            assert module == "experiments.run"
            noted.append(overrides)
            return next(codes)

        monkeypatch.setattr(command, "run_alone", note)
        return start("run", line), noted

    return call


def test_sweep_runs_every_combination(jobs):
    result, noted = jobs("-m model=plain20,plain56 seed=0,1 schedule=smoke", [0, 0, 0, 0])
    assert (result.code, result.stderr) == (0, "")
    assert noted == [
        ["model=plain20", "seed=0", "schedule=smoke"],
        ["model=plain20", "seed=1", "schedule=smoke"],
        ["model=plain56", "seed=0", "schedule=smoke"],
        ["model=plain56", "seed=1", "schedule=smoke"],
    ]
    assert "model=plain56 seed=1" in result.stdout


@pytest.mark.parametrize("killed", [2, 137])
def test_sweep_runs_all_jobs_and_exits_with_the_worst_code(jobs, killed):
    result, noted = jobs("seed=0,1,2 'run_dir=out/seed${seed}' --multirun", [1, killed, 0])
    assert (result.code, len(noted)) == (killed, 3)


@pytest.mark.parametrize("code", [129, 130, 143])
def test_sweep_ends_with_a_job_that_a_signal_stopped(jobs, code):
    result, noted = jobs("-m seed=0,1,2", [0, code, 0])
    assert (result.code, len(noted)) == (code, 2)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-m seed=0,1 run_dir=out", ["run_dir='out': its folder, ", "out, is that of another"]),
        ("-m seed=0,0", ["seed=0: its folder, .../seed0, is that of another job"]),
    ],
)
def test_sweep_whose_jobs_would_share_a_folder_is_refused(start, line, words):
    result = start("run", line)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1 and all(word in result.stderr for word in words)


def test_sweep_passes_paths_on_as_they_were_given(jobs):
    _, (first,) = jobs("-m seed=0 'run_dir=a,b/c=d'", [0])
    assert quote_path(first[1]) == "run_dir='a,b/c=d'"


def composed(*line: str, name: str = "config") -> dict:
    jobs, sweep = compose_jobs(name, list(line), lambda given: [])
    assert not sweep and len(jobs) == 1
    return jobs[0].config


def test_jobs_hold_resolved_values_and_nothing_of_hydras():
    """Of two values for a key the last counts."""
    config = composed("schedule.evaluate_every=${seed}", "seed=1", "seed=5")
    assert config.schedule.evaluate_every == 5
    assert "hydra" not in config


@pytest.mark.parametrize("path", ["plain20,shortcut=B", "with space", "it's", "5", "[1]"])
@pytest.mark.parametrize(
    ("name", "key"), [("config", "run_dir"), ("report", "runs"), ("benchmark", "benchmark.out")]
)
def test_paths_need_no_quotes(name, key, path):
    assert OmegaConf.select(composed(f"{key}={path}", name=name), key) == path


# How a command ends


def end(monkeypatch, start_job) -> int:
    monkeypatch.setattr(sys, "argv", ["run.py"])
    return command.command("config", lambda job: None, start_job)


def test_an_error_is_one_line_whatever_is_in_it(monkeypatch, capsys):
    def fail(job):
        raise UserError("two\nlines", exit_code=1)

    assert end(monkeypatch, fail) == 1
    assert capsys.readouterr().err == "error: two lines\n"


def test_a_stop_is_one_line_and_the_code_of_its_signal(monkeypatch, capsys):
    def stop(job):
        raise Stopped(signal.SIGTERM, "before the run began")

    assert end(monkeypatch, stop) == 143
    assert capsys.readouterr().err == "error: stopped by SIGTERM before the run began\n"


def test_ctrl_c_before_there_is_anything_to_save(monkeypatch, capsys):
    def interrupt(job):
        raise KeyboardInterrupt

    assert end(monkeypatch, interrupt) == 130
    assert "Traceback" not in capsys.readouterr().err


CHILD = """
import signal, sys, time
from pathlib import Path
def stop(number, frame):
    Path("stopped").write_text(str(number))
    sys.exit(128 + number)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, stop)
Path("ready").touch()
time.sleep(60)
"""


@pytest.mark.parametrize("number", command.STOPS)
def test_a_signal_is_passed_on_to_the_job_which_ends_by_itself(tmp_path, monkeypatch, number):
    (tmp_path / "child.py").write_text(CHILD)
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(number)

    def stop_when_ready():
        wait_until((tmp_path / "ready").exists)
        os.kill(os.getpid(), number)

    threading.Thread(target=stop_when_ready, daemon=True).start()
    assert command.run_alone("child", []) == 128 + number
    assert (tmp_path / "stopped").read_text() == str(int(number))
    assert signal.getsignal(number) is before


def test_ctrl_z_pauses_the_job_as_well(tmp_path):
    (tmp_path / "child.py").write_text(
        "import time\n"
        "from pathlib import Path\n"
        "while not Path('go').exists():\n"
        "    time.sleep(0.01)\n"
        "    with open('beats', 'a') as file: file.write('.')\n"
    )
    code = "import sys\nfrom experiments import command\nsys.exit(command.run_alone('child', []))"
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(tmp_path)])},
        process_group=0,  # a shell's job, that the shell can continue
    )

    def beats() -> int:
        return len((tmp_path / "beats").read_text())

    try:
        wait_until(lambda: (tmp_path / "beats").exists() or parent.poll() is not None)
        assert parent.poll() is None
        parent.send_signal(signal.SIGTSTP)
        _, status = os.waitpid(parent.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        time.sleep(0.2)  # the child's own stop may come a moment later
        before = beats()
        time.sleep(0.3)
        assert beats() == before
        parent.send_signal(signal.SIGCONT)
        wait_until(lambda: beats() > before)
    finally:
        (tmp_path / "go").touch()
        parent.send_signal(signal.SIGCONT)
        assert parent.wait(timeout=60) == 0


def test_a_killed_job_has_the_shells_code(tmp_path, monkeypatch):
    (tmp_path / "child.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.chdir(tmp_path)
    assert command.run_alone("child", []) == 137


def test_a_quiet_import_shows_the_notices_of_one_that_fails(tmp_path, monkeypatch, capfd):
    (tmp_path / "loud.py").write_text("import os; os.write(2, b'notice\\n')")
    (tmp_path / "broken.py").write_text("import os; os.write(2, b'why\\n'); import nowhere_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    assert command.import_quietly("loud").__name__ == "loud"
    assert capfd.readouterr().err == ""
    with pytest.raises(ModuleNotFoundError, match="nowhere_at_all"):
        command.import_quietly("broken")
    assert capfd.readouterr().err == "why\n"
