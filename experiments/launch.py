"""Jobs in processes of their own: one after the other, or as a launcher of Hydra has them."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import joblib
import psutil
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from degradation.config import ROOT, relative
from degradation.errors import IN_USE, Stopped, UserError
from degradation.output import complain, say
from degradation.records.files import faults_as_user_errors
from degradation.training.interrupts import WARNINGS, handling
from experiments.compose import explained, key_of, quote

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
INTERRUPTED = tuple(128 + number for number in (*STOPS, *WARNINGS))
LAUNCHED = ROOT / "results" / "launched"  # what launchers write: their jobs' output
QUIET = (
    "hydra.sweep.subdir=.",
    "hydra.output_subdir=null",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
)


def run_jobs(module: str, jobs: list[list[str]], launcher: list[str]) -> int:
    """Run `python -m module overrides…` for each job; return the worst exit code.

    Without `launcher`, the overrides that choose and set one, they run one after the other, and
    none after one that a signal has stopped. With one, as `launch` does.
    """
    if launcher:
        codes = launch(module, jobs, launcher)
    else:
        codes = []
        for number, overrides in enumerate(jobs, 1):
            say(f"\n{' '.join(overrides)}")
            # A process of its own gives each job TensorFlow as a single run would find it.
            codes.append(run_alone(module, overrides))
            if codes[-1] in INTERRUPTED:
                if rest := [" ".join(job) for job in jobs[number:]]:
                    complain(f"warning: not begun: {'; '.join(rest)}")
                break
    # The highest; that of a run in use, which may begin later, counts least.
    return max(codes, key=lambda code: (code not in (0, IN_USE), code))


def run_alone(module: str, overrides: list[str], label: str = "") -> int:
    """Run `python -m module overrides…` in a process of its own and return its exit code.

    Signals that ask to stop are passed on, and the process is waited for: it saves first, but for
    SIGQUIT. Those that are ignored here (nohup) are ignored there as well, and warnings of a time
    limit are left to who already listens to them. Ctrl-Z pauses both. With `label` each line of its
    output is printed after it, for processes that share a terminal.
    """
    started, early, passed_on = [], [], []

    def pass_on(number, frame):
        (passed_on if started else early).append(number)
        for child in started:
            child.send_signal(number)

    def pause(number, frame):
        child.send_signal(number)
        # Not SIGSTOP: without a shell above that could continue it, nothing must stop.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, pause)
        child.send_signal(signal.SIGCONT)

    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True} if label else {}
    with (
        # Before the child starts: a signal that ended this process alone would leave it an orphan.
        handling(_stops(), pass_on),
        # `with`: whatever happens here, the child is waited for.
        subprocess.Popen(
            [sys.executable, "-m", module, *overrides],
            process_group=0,  # Ctrl-C reaches this process alone, so that the child sees it once
            **pipes,
        ) as child,
    ):
        started.append(child)
        for number in early:
            pass_on(number, None)
        with handling([signal.SIGTSTP], pause):
            for line in child.stdout or ():
                say(f"{label} | {line.rstrip()}")
            code = child.wait()
    code = code if code >= 0 else 128 - code
    # Even if it finished before it could stop, or failed in stopping, nothing comes after it.
    return 128 + passed_on[-1] if passed_on and code not in INTERRUPTED else code


def _stops() -> list[int]:
    """What asks to stop here: also a warning of a time limit, if nobody listens to it yet."""
    return [*STOPS, *(n for n in WARNINGS if signal.getsignal(n) is signal.SIG_DFL)]


# ---------------------------------------------------------------- launchers


def check_launcher(chosen: list[str]) -> None:
    """Raise `UserError` if the overrides in `chosen` do not make a launcher."""
    _launcher(Task("experiments.run", [], LAUNCHED), chosen)


def launch(module: str, jobs: list[list[str]], chosen: list[str]) -> list[int]:
    """Hand the jobs to a launcher and wait for all; return their exit codes.

    A signal that asks to stop ends jobs that run here, which save first, and the waiting for those
    elsewhere, which go on.
    """
    folder = LAUNCHED / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    place = relative(folder)
    with faults_as_user_errors(f"cannot make {place}"):
        folder.mkdir(parents=True, exist_ok=True)
    stop = folder / "stop"  # once it is there, no further job begins here
    # An idle worker that dies of Ctrl-C would take all others with it, and their runs.
    loky = partial(joblib.parallel.BACKENDS["loky"], initializer=_hear_nothing)
    joblib.register_parallel_backend("loky", loky)

    def end(number, frame):
        stop.touch()
        stopped = 0
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):  # of one that has just ended
                if module in child.cmdline():
                    child.send_signal(signal.SIGTERM)
                    stopped += 1
        if not stopped:
            raise Stopped(number, f"while waiting for {len(jobs)} jobs; those elsewhere go on")

    say(f"{len(jobs)} jobs by {' '.join(chosen)}; what a cluster's jobs print goes below {place}")
    try:
        with handling(_stops(), end):
            launcher = _launcher(Task(module, jobs, folder), chosen)
            results = launcher.launch([[f"+job={number}"] for number in range(len(jobs))], 0)
        with contextlib.suppress(OSError):  # of a cluster, whose jobs print there
            folder.rmdir()
        codes = [result.return_value for result in results]
    except Exception as error:  # of an engine that cannot run the jobs, or has lost one
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{' '.join(chosen)}: {reason}; see {place}", exit_code=1) from error
    for overrides, code in zip(jobs, codes, strict=True):
        if code not in (0, IN_USE, *INTERRUPTED):  # what a cluster's job said is in a file there
            complain(f"warning: exit code {code}: {' '.join(overrides)}")
    return codes


def _hear_nothing() -> None:
    """Leave the terminal's signals to the process that launches, and to the runs themselves."""
    for number in (*STOPS, *WARNINGS):
        signal.signal(number, lambda *_: None)  # unlike SIG_IGN, not inherited


class Task:
    """What a launcher calls for each job: the command, in a process of its own."""

    def __init__(self, module: str, jobs: list[list[str]], folder: Path):
        self.module, self.jobs, self.folder = module, jobs, folder
        self.stop, self.made_by = folder / "stop", os.getpid()

    def __call__(self, config: DictConfig) -> int:
        """Run job number `config.job`, unless the process above was to stop; return its code."""
        here = psutil.Process()
        if self.stop.exists() and self.made_by in [p.pid for p in (here, *here.parents())]:
            return 128 + signal.SIGTERM
        overrides = self.jobs[config.job]
        if int(os.environ.get("SLURM_RESTART_COUNT", 0)):
            # Queued again after a time limit: it goes on, where overwriting would begin again.
            overrides = [o for o in overrides if key_of(o) != "overwrite"]
        told = [o for o in overrides if key_of(o) in ("model", "schedule", "seed")]
        code = run_alone(self.module, overrides, label=" ".join(told or overrides))
        if code in INTERRUPTED and os.getpid() == self.made_by:
            self.stop.touch()  # `run_alone` has heard the signal in place of `launch`
        return code


def _launcher(task: Task, chosen: list[str]) -> Launcher:
    """Return a launcher of a task; raises `UserError` if the overrides in `chosen` make none."""
    logging.getLogger("hydra").setLevel(logging.WARNING)
    name = task.module.rpartition(".")[2]
    own = [f"hydra.sweep.dir={quote(str(task.folder))}", f"hydra.job.name={name}", *QUIET]
    with explained("config", chosen):
        engine = GlobalHydra.instance().hydra

        def compose(given: list[str]) -> DictConfig:
            mode = RunMode.MULTIRUN
            return engine.compose_config("config", given, mode, with_log_configuration=False)

        known = engine.config_loader.get_group_options("hydra/launcher")
        engines = [override for override in chosen if key_of(override) == "hydra/launcher"]
        for override in engines:
            if override.partition("=")[2] not in known:
                raise UserError(f"{override}: allowed: one of {', '.join(known)}")
        names = {*compose(engines).hydra.launcher} - {"_target_"}
        keys = sorted(f"hydra.launcher.{name}" for name in names)
        for override in chosen:
            key = ".".join(key_of(override).split(".")[:3])  # what lies below is for Hydra to check
            if override not in engines and key not in keys:
                allowed = ", ".join(keys) or "none without hydra/launcher=NAME"
                raise UserError(f"{override}: unknown key; allowed: {allowed}")
        return Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(engine.config_loader, Callbacks()),
            task_function=task,
            config=compose([*own, *chosen]),
        )
