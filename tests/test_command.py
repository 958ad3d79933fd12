"""The command line: what is refused, in one line and before anything is written; help; sweeps."""

import os
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil
import pytest
from command_line import (
    PATH,
    REPOSITORY,
    Ended,
    arguments,
    environment,
    run_code,
    run_program,
    wait_until,
    with_path,
)
from omegaconf import OmegaConf

import degradation.config
import degradation.report.make  # noqa: F401  before `start` changes RUNS, whichever test is first
from degradation.benchmark import measure
from degradation.config import options
from degradation.errors import IN_USE
from experiments import command, launch
from experiments.compose import compose_jobs, quote_path
from experiments.run import imply_tracking

MODELS = ", ".join(options("model"))
JOBLIB = "-m seed=0,1 hydra/launcher=joblib hydra.launcher.n_jobs"
SLURM, MORE = "hydra/launcher=slurm hydra.launcher", "additional_parameters.reservation"
PLAN = '"plan=[{{schedule: smoke, models: [{}], seeds: [0], overrides: [{}]}}]"'
LONG = "x" * 300


@pytest.fixture
def start(tmp_path, monkeypatch, capsys):
    """Give a function that runs `python -m experiments.<name> <arguments>` in this process.

    In an empty folder, with an empty folder for temporary files; nothing is trained or measured.
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
    monkeypatch.setattr(measure, "measure", refuse)
    monkeypatch.setattr(launch, "run_alone", refuse)

    def call(name: str, line: str) -> Ended:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *shlex.split(line)])
        monkeypatch.delitem(sys.modules, f"experiments.{name}", raising=False)
        with pytest.raises(SystemExit) as end:
            runpy.run_module(f"experiments.{name}", run_name="__main__")
        assert list(work.iterdir()) == list(scratch.iterdir()) == []
        return Ended(end.value.code or 0, *capsys.readouterr())

    return call


# Refusals, one for each thing that is checked; `test_build_model` and `test_config` have those of
# the schema. Command, arguments, and words that its one line must have.
WRONG = [
    # keys that are not there
    ("run", "modle=plain20", ["modle=plain20", "did you mean model?"]),
    ("run", "batch=64", ["batch=64", "did you mean optimizer.batch?"]),
    ("run", "model/depth=20", ["model/depth=20", "did you mean model.depth?"]),
    ("run", "nonsense=1", ["nonsense=1: unknown key; allowed:", "optimizer.rate", "run_dir"]),
    ("run", "++optimizer.nesterov=true", ["optimizer.nesterov=true", "allowed: optimizer.batch"]),
    ("run", "-m model=resnet20,plain20 model.shortcut=B", ["model.shortcut=B", "unknown key"]),
    ("report", "figure=figure4 model.depth=26", ["model.depth=26", "allowed:"]),
    ("run", "~schedule.drops", ["schedule.drops: missing", "allowed: schedule.drops="]),
    # options that are not there
    ("run", "model=plain57", ["model=plain57", MODELS]),
    ("run", "model=[plain20,plain56]", ["model=[plain20,plain56]: allowed: one of", "resnet20"]),
    ("report", "figure=null", ["figure=null", "figure1"]),
    # of Hydra, and its launchers
    ("run", "hydra.run.dir=elsewhere", ["hydra.run.dir", "allowed: keys of the"]),
    ("run", "hydra=x", ["hydra=x: allowed: keys of the"]),
    ("run", "-m hydra.launcher.n_jobs=2", ["n_jobs=2", "allowed: none without hydra/launcher"]),
    ("run", f"{JOBLIB}=2 hydra.launcher._target_=os.system", ["_target_=os.system: unknown key"]),
    ("run", "hydra/launcher=joblib", ["hydra/launcher=joblib: allowed with -m"]),
    ("run", "-m hydra/launcher=jobli", ["hydra/launcher=jobli: allowed: one of", "joblib"]),
    ("record", f"{SLURM}.time=3", ["hydra.launcher.time=3", "timeout_min"]),
    ("run", f"{JOBLIB}=x", ["hydra.launcher.n_jobs=x: Value 'x'", "Integer"]),
    ("run", f"{JOBLIB}s=2", ["hydra.launcher.n_jobss=2: unknown key; allowed: ", "r.n_jobs, "]),
    ("record", f"{SLURM}.{MORE}=x", [f"'hydra.launcher.{MORE}'", "use +hydra.launcher"]),
    # values
    ("run", "seed=abc", ["seed=abc: allowed: a valid integer"]),
    ("run", "optimizer.rate=nan", ["optimizer.rate=nan: allowed: a finite number"]),
    ("run", r"""runtime.precision='"a\nb"'""", ["runtime.precision=", "allowed: 'auto'"]),
    ("run", "overwrite=yes", ["overwrite=yes", "allowed: true or false"]),
    ("run", "optimizer.warmup=null", ["optimizer.warmup=null: allowed: ", "until_error"]),
    ("run", "tracking.project=team/name", ["tracking.project=team/name: allowed: 1 to 128 char"]),
    ("report", "figure=figure1 figure.name=figure6", ["figure.name=figure6: allowed: figure=N"]),
    ("run", "model.name=plain56", ["model.name=plain56: allowed: model=NAME"]),
    ("reproduce", "seeds=range(0,3)", ["allowed: one value, or -m to run a job for each\n"]),
    ("run", "schedule.iterations=100", ["schedule.drops=[2000,3000]", "such as [50], above"]),
    ("run", "optimizer.batch=96", ["optimizer.ghost_batch=64", "optimizer.batch=96, or null"]),
    ("run", "optimizer.ghost_batch=0", ["optimizer.ghost_batch=0: allowed: a divisor", "or null"]),
    ("run", "model=densenet40 model.depth=4", ["model.depth=4: allowed: 3n+4, n from 1"]),
    ("reproduce", "seeds=[]", ["seeds=[]: allowed: at least 1 item\n"]),
    ("reproduce", "seeds=[0,1,0]", ["seeds=[0,1,0]: allowed: each once"]),
    ("reproduce", "seeds=0,1", ["seeds=0,1: allowed: one value, or -m", "a list is [0,1]"]),
    ("report", "seeds=[a]", ["seeds.0=a: allowed: a valid integer"]),
    ("reproduce", "figure.panels=[{title:a,models:[vgg]}]", ["figure.panels", "vgg", MODELS]),
    ("reproduce", "data.dir=/nonexistent", ["data.dir=/nonexistent", "allowed:", "cifar-10-batch"]),
    # interpolations and blanks
    ("run", "seed=1 seed='${foo}'", ["seed=${foo}", "'foo' not found"]),
    ("run", "run_dir='???'", ["run_dir=???", "allowed: a value"]),
    ("run", "-m seed=0,1 'run_dir=a/${hydra:job.num}'", ["${hydra:job.num}", "such as ${seed}"]),
    # what is no override at all
    ("run", "plain20", ["plain20", "allowed: key=value"]),
    ("run", "model=plain20,plain56", ["model=plain20,plain56", "allowed: one value, or -m"]),
    ("run", "--config-name=other", ["--config-name=other: allowed: the files of conf/"]),
    ("run", "--cfg jobs seed=1", ["jobs", "job", "allowed"]),
    # sweeps
    ("run", "-m seed=0,-1", ["seed=-1: allowed: greater than or equal to 0"]),
    ("run", "-m seed=range(3,0)", ["no job"]),
    ("run", "-m seed=range(0,4,0)", ["seed=range(0,4,0): range() arg 3 must not be zero"]),
    ("run", "schedule.drops.a=3", ["schedule.drops.a=3: invalid literal for int()"]),
    ("run", "-m seed=0,1 run_dir=out", ["run_dir='out': its folder, ", "out, is that of another"]),
    # what a figure decides
    ("reproduce", "-m figure=figure1 seed=0,1", ["seed=0", "decided by the figure", "seeds="]),
    ("report", "model=plain20", ["model=plain20", "decided by the figure"]),
    # reports of runs that are not there
    ("report", "runs=nowhere", ["no finished run on schedule=short", "figure=figure1"]),
    ("report", "runs=nowhere figure=figure1", ["plain20 seed 0", "; to train in results/runs: "]),
    ("report", "runs=nowhere figure=figure4 model.widths=[4,8,8,8]", ["with widths=4-8-8-8"]),
    ("report", "runs=nowhere model.widths=[64,128,256,512]", ["no finished run on schedule=short"]),
    (
        "report",
        "figure=figure1 'figure.panels=[{title: t, models: [vgg]}]'",
        ["figure.panels: vgg is no model", MODELS],
    ),
    ("report", "runs=nowhere model.growth=24", ["experiments.run model=densenet40", "growth=24"]),
    # the other commands
    ("evaluate", "run_dir=. +data.holdout=5000", ["data.holdout=5000", "allowed: data.dir"]),
    ("benchmark", "++model.depth=26", ["model.depth=26: unknown key"]),
    ("benchmark", "benchmark.networks=[vgg]", ["benchmark.networks: vgg is no model", MODELS]),
    ("benchmark", "probe=layers", ["probe=layers: unknown key", "allowed: benchmark"]),
    ("reproduce", "figure=relu_first model.stem=cifar", ["resnet50, resnet50_relu_first,stem"]),
    ("benchmark", "runtime=gpu", ["runtime=gpu: the benchmark allows runtime=cpu alone"]),
    ("benchmark", "-m optimizer.batch=64,128", ["one folder; allowed: one for each"]),
    ("benchmark", "-m hydra/launcher=joblib", ["hydra/launcher=joblib: allowed: none"]),
    ("benchmark", "benchmark.repeats=0", ["benchmark.repeats=0", "allowed: "]),
    ("benchmark", "data.dir=nowhere", ["data.dir=nowhere", "no CIFAR-10 there"]),
    ("record", "plan=[]", ["plan=[]: allowed: at least 1 item"]),
    ("record", "only=else", ["only=else: allowed: recorded, why, or null"]),
    ("record", PLAN.format("plain", ""), ["model=plain: allowed: one of "]),
    ("record", PLAN.format("plain20", "'run_dir=a'"), ["run_dir=a: a planned run's folder"]),
    # paths that there cannot be: through a file, of nobody's home, and too long
    ("run", f"run_dir={__file__}/x", [f"run_dir={__file__}/x: Not a directory; allowed: a folder"]),
    ("benchmark", f"benchmark.out={__file__}", ["benchmark.out=", "allowed: a folder"]),
    ("record", f"out={__file__}", [f"out={__file__}: Not a directory; allowed: a folder"]),
    ("run", "run_dir=~nobody-here/x", ["error: run_dir=~nobody-here/x: ", "; allowed: "]),
    ("run", f"data.dir={LONG}", [f"error: data.dir={LONG}: ", "; allowed: "]),
    ("evaluate", f"run_dir={LONG}", [f"error: run_dir={LONG}: ", "; allowed: "]),
    ("report", "runs=~nobody-here/x", ["error: runs=~nobody-here/x: ", "; allowed: "]),
]


@pytest.mark.parametrize(
    ("name", "line", "words"), WRONG, ids=[f"{name} {line}" for name, line, _ in WRONG]
)
def test_wrong_input_is_one_line_and_leaves_nothing(start, name, line, words):
    result = start(name, line)
    assert result.error() and result.out == ""
    for word in words:
        assert word in result.err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((name, "seed: 0\n") for name in ("", "config.yaml", "metrics.csv", "wandb/notes")),
        *(("config.yaml", text) for text in ("model: !include a\n", "model: a\nschedule: b\n")),
        *(("manifest.json", text) for text in ('{"status": "complete"}', "{")),
    ],
)
@pytest.mark.parametrize("overwrite", ["", "overwrite=true"])
def test_run_dir_with_files_of_something_else_is_refused(start, tmp_path, name, text, overwrite):
    """And one that is a file itself."""
    theirs = tmp_path / "theirs" / name
    theirs.parent.mkdir(parents=True, exist_ok=True)
    theirs.write_text(text)
    result = start("run", f"run_dir={tmp_path / 'theirs'} {overwrite}")
    reason = f"its {name.split('/')[0]} is not a run's; allowed:" if name else "allowed: a folder"
    assert reason in result.error()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [theirs]
    assert theirs.read_text() == text


@pytest.mark.parametrize(
    "place", ["seed0", "plain20/seed0", "short/plain20/seed0", "why/short/plain20/seed0"]
)
def test_run_dir_above_other_runs_is_refused(start, tmp_path, place):
    """Reports would find the run in it alone."""
    theirs = tmp_path / place / "manifest.json"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("{}")
    line = start("run", f"run_dir={tmp_path}").error()
    assert f"run_dir={tmp_path}: holds the run {place}; allowed: a folder without runs" in line
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [theirs]


# What only prints


@pytest.mark.parametrize("name", ["run", "reproduce", "report"])
def test_help_lists_options_and_values(start, name):
    told = start(name, "schedule=smoke --help").output()
    assert f"python -m experiments.{name}" in told
    assert "\nGroups, " in told and "schedule: brief, medium, paper, short, smoke" in told


@pytest.mark.parametrize("name, key", [("evaluate", "run_dir"), ("models", "models")])
def test_help_of_a_command_without_groups_speaks_of_none(start, name, key):
    told = start(name, "--help").output()
    assert "Groups" not in told and f"\n\n{key}: null\n" in told


@pytest.mark.parametrize(
    "line", ["-c job seed=3", "seed=3 --cfg job model=plain20", "-m --cfg job seed=2,3"]
)
def test_cfg_job_prints_the_configuration_wherever_it_stands(start, line):
    told = start("run", line).output()
    assert "seed: 3\n" in told and "schedule:\n  name: short\n" in told
    assert "hydra" not in told


def test_output_that_nobody_reads_ends_a_command_as_a_shell_expects(tree):
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    words = arguments("run", "--help")
    with subprocess.Popen(words, cwd=tree, env=environment(tree), **pipes) as process:
        process.stdout.close()  # what `| head` does once it has its lines
        process.stdout = None
        assert process.communicate(timeout=300)[1] == b""
    assert process.returncode == 128 + signal.SIGPIPE


# Jobs


@pytest.fixture
def jobs(start, monkeypatch):
    """Give a function that runs a command; its jobs are noted instead of run, with these codes."""

    def call(line: str, codes: list[int]) -> tuple[Ended, list[list[str]]]:
        noted, codes = [], iter(codes)

        def note(module, overrides):
            assert module == "experiments.run"
            noted.append(overrides)
            return next(codes)

        monkeypatch.setattr(launch, "run_alone", note)
        return start("run", line), noted

    return call


def test_sweep_runs_every_combination(jobs):
    ended, noted = jobs("-m model=plain20,plain56 seed=0,1 schedule=smoke", [0, 0, 0, 0])
    assert noted == [
        ["model=plain20", "seed=0", "schedule=smoke"],
        ["model=plain20", "seed=1", "schedule=smoke"],
        ["model=plain56", "seed=0", "schedule=smoke"],
        ["model=plain56", "seed=1", "schedule=smoke"],
    ]
    assert "model=plain56 seed=1" in ended.output()


@pytest.mark.parametrize(("code", "started"), [(2, 3), (137, 3), (129, 2), (130, 2), (143, 2)])
def test_sweep_runs_all_jobs_unless_a_signal_stops_one(jobs, code, started):
    """Its code is the worst one; that of a run which others write hides none."""
    result, noted = jobs("seed=0,1,2 'run_dir=out/seed${seed}' --multirun", [IN_USE, code, 0])
    assert (result.code, len(noted)) == (code, started)
    assert result.err.startswith("warning: not begun: seed=2 ") is (started == 2)


def test_a_launcher_takes_jobs_whatever_this_machine_has(start, monkeypatch):
    """`start` fails where a GPU is looked for. The code is the worst one."""
    monkeypatch.setattr(launch, "launch", lambda *what: [0, 2])
    ended = start("run", "-m runtime=cpu,gpu 'run_dir=${runtime.name}' hydra/launcher=joblib")
    assert (ended.code, ended.err) == (2, "")


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


@pytest.mark.parametrize(
    ("name", "key", "path"),
    [
        *(("config", "run_dir", path) for path in ("plain20,shortcut=B", "it's", "[1]", "a\\")),
        ("report", "runs", "with space"),
        ("benchmark", "benchmark.out", "5"),
    ],
)
def test_paths_need_no_quotes(name, key, path):
    assert OmegaConf.select(composed(f"{key}={path}", name=name), key) == path


# How a command ends


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


def stop_when_ready(folder, number):
    """Have this process receive a signal once the child is ready in `folder`."""
    wait_until((folder / "ready").exists)
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", launch.STOPS)
def test_a_signal_is_passed_on_to_the_job_which_ends_by_itself(tmp_path, monkeypatch, number):
    (tmp_path / "child.py").write_text(CHILD)
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(number)
    threading.Thread(target=stop_when_ready, args=(tmp_path, number), daemon=True).start()
    assert launch.run_alone("child", []) == 128 + number
    assert (tmp_path / "stopped").read_text() == str(int(number))
    assert signal.getsignal(number) is before


def test_a_signal_begins_no_other_job_where_a_launcher_runs_them_here(tmp_path, monkeypatch):
    """In this process, one after the other, as `basic` does and joblib with n_jobs=1."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "run.py").write_text(CHILD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch, "LAUNCHED", tmp_path / "launched")
    stop = threading.Thread(target=stop_when_ready, args=(tmp_path, signal.SIGTERM), daemon=True)
    stop.start()
    codes = launch.launch("jobs.run", [["seed=0"], ["seed=1"]], ["hydra/launcher=basic"])
    assert codes == [128 + signal.SIGTERM] * 2


def test_ctrl_z_pauses_the_job_as_well(tmp_path):
    (tmp_path / "child.py").write_text(CHILD)
    code = "import sys\nfrom experiments.launch import run_alone\nsys.exit(run_alone('child', []))"
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=with_path(*PATH, tmp_path),
        process_group=0,  # a shell's job, that the shell can continue
    )
    try:
        wait_until((tmp_path / "ready").exists)
        above = psutil.Process(parent.pid)
        both = [above, *above.children()]
        parent.send_signal(signal.SIGTSTP)
        wait_until(lambda: [one.status() for one in both] == [psutil.STATUS_STOPPED] * 2)
        parent.send_signal(signal.SIGCONT)
        wait_until(lambda: psutil.STATUS_STOPPED not in [one.status() for one in both])
        parent.terminate()
        assert parent.wait(timeout=60) == 128 + signal.SIGTERM
    finally:
        parent.kill()


def test_a_killed_job_has_the_shells_code(tmp_path, monkeypatch):
    (tmp_path / "child.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.chdir(tmp_path)
    assert launch.run_alone("child", []) == 137


LOUD = (
    "import os\n"
    "os.write(2, b'I0000 00:00:1795883412.930881   21113 port.cc:153] oneDNN is on\\n')\n"
    "os.write(2, b'this processor lacks AVX\\n')\n"
)


@pytest.mark.parametrize("then", ["", "import nowhere_at_all", "os.abort()"])
def test_a_quiet_import_leaves_out_notices_alone(tmp_path, then):
    """Also where the import fails, or a library ends the process."""
    (tmp_path / "loud.py").write_text(LOUD + then)
    code = "from experiments.command import import_quietly; import_quietly('loud')"
    ended = run_code(code, *PATH, tmp_path)
    lines = ended.err.splitlines()
    assert lines[0] == "this processor lacks AVX"
    assert (ended.code, lines[1:]) == (0, []) if not then else ended.code != 0


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """Give a copy of conf/ that commands use, for a test to change."""
    for module in ("degradation.config", "experiments.compose"):
        monkeypatch.setattr(f"{module}.CONF", tmp_path / "conf")
    return shutil.copytree(REPOSITORY / "conf", tmp_path / "conf")


@pytest.mark.parametrize(
    ("name", "slip", "said"),
    [
        ("report", "name: figure1", "allowed: keys and values, with name: mine"),
        ("reproduce", "name: mine\ndraws: layers", "figure.draws=layers: allowed: "),
    ],
    ids=["name", "value"],
)
def test_a_slip_in_any_figure_is_told_for_a_report_draws_all(start, conf, name, slip, said):
    text = (conf / "figure/figure1.yaml").read_text()
    (conf / "figure/mine.yaml").write_text(text.replace("name: figure1", slip))
    result = start(name, "figure=figure1 schedule=smoke")
    assert result.error().startswith("error: conf/figure/mine.yaml: ") and said in result.err
    assert result.out == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name: mine\nbuilder: cifar_resnet\ndepth:26\n", "cannot be read: while scanning"),
        (b"name: mine # f\xfcr\n", "cannot be read: 'utf-8' codec"),
        (b"- mine\n", "allowed: keys and values, with name: mine"),
        (b"name: other\nbuilder: cifar_resnet\ndepth: 26\n", "with name: mine"),
    ],
)
def test_a_slip_in_a_file_of_conf_is_told_with_its_name(start, conf, content, said):
    """Where it is chosen; one that cannot be read, where it is the default, too."""
    (conf / "model/mine.yaml").write_bytes(content)
    config = conf / "config.yaml"
    config.write_text(config.read_text().replace("model: resnet20", "model: mine"))
    for line in ("model=mine", *["optimizer.rate=1"] * said.startswith("cannot be read")):
        result = start("run", line)
        assert result.error().startswith("error: conf/model/mine.yaml: ") and said in result.err
        assert result.out == ""


def test_wandbs_own_switch_counts_where_no_tracking_was_given(start, monkeypatch):
    def mode(line: str) -> str:
        return compose_jobs("config", shlex.split(line), imply_tracking)[0][0].config.tracking.mode

    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert [mode(line) for line in ("", "tracking=online", "tracking.mode=offline")] == [
        *("disabled", "online", "offline")
    ]
    monkeypatch.setenv("WANDB_MODE", "dryrun")
    assert mode("") == "offline"
    monkeypatch.setenv("WANDB_MODE", "shared")
    for name in ("run", "record"):
        error = start(name, "").error()
        assert error == "error: WANDB_MODE=shared: allowed: disabled, offline, online"


def test_the_library_is_that_of_the_commands_own_clone(tree):
    """Whatever PYTHONPATH says, or is installed."""
    code = "import experiments, degradation; print(degradation.__file__)"
    ended = run_code(code, REPOSITORY / "src", folder=tree)
    assert Path(ended.output().strip()).is_relative_to(tree)


@pytest.mark.parametrize("shell", ["trap '' CHLD; exec {}", "exec {} 0<&- 1>&- 2>&-"])
def test_jobs_that_fail_are_told_whatever_the_parent_does(tree, shell):
    """Signals ignored, or outputs closed, by a sweep's parent; its only job finds no data."""
    words = ["-m", "data.dir=nowhere", "hydra/launcher=joblib"]
    command = shlex.join(arguments("run", *words, "hydra.launcher.n_jobs=1"))
    words = ["sh", "-c", shell.format(command)]
    assert run_program(words, tree, environment(tree)).code == 2
    assert (tree / "results" / "launched").is_dir()  # it came to the job
