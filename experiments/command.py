"""A command: compose, validate, start; every error one line and an exit code."""

import importlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from degradation.errors import Stopped, UserError
from degradation.output import complain, prepare_streams, say, silence
from experiments.compose import Job, compose_jobs

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
INTERRUPTED = tuple(128 + number for number in STOPS)


def command(
    config_name: str,
    validate: Callable[[Job], None],
    start: Callable[[Job], int | None],
    imply: Callable[[list[str]], list[str]] = lambda given: [],
    together: Callable[[list[Job]], None] = lambda jobs: None,
) -> int:
    """Run the command that `conf/<config_name>.yaml` configures; return its exit code.

    Arguments come from `sys.argv`; `imply` gives overrides that count before them. A sweep (`-m`)
    validates every job, and all of them `together`, before the first starts, runs each in a process
    of its own, all of them, and returns the worst code.
    """
    prepare_streams()
    try:
        jobs, sweep = compose_jobs(config_name, sys.argv[1:], imply)
        for job in jobs:
            validate(job)
        together(jobs)
        code = _run_all(jobs) if sweep else max((start(job) or 0 for job in jobs), default=0)
        _flush()
        return code
    except BrokenPipeError:  # what read the output has had enough of it, as `head` does
        silence(sys.stdout)
        return 128 + signal.SIGPIPE
    except (UserError, Stopped) as error:
        complain(f"error: {' '.join(str(error).split())}")
        return error.exit_code
    except KeyboardInterrupt:  # before there was anything to save
        return 128 + signal.SIGINT


def _flush() -> None:
    """Write what is still to be written, unless the terminal is gone: the work is done."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError:
        silence(sys.stdout)


def import_quietly(module: str, gpus: bool = False) -> ModuleType:
    """Import a module that imports TensorFlow, without TensorFlow's notices about itself.

    Without `gpus` TensorFlow sees the processor alone. The notices come from its C++ side before
    its log level is read, so that nothing but the file descriptor stops them. If the import fails
    they are shown after all.
    """
    if not gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # TensorFlow reads it once
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notices:
        os.dup2(notices.fileno(), 2)
        try:
            return importlib.import_module(module)
        except Exception:
            notices.seek(0)
            os.write(kept, notices.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _run_all(jobs: list[Job]) -> int:
    """Run the jobs of a sweep one after the other; none after one that a signal has stopped."""
    worst = 0
    for job in jobs:
        say(f"\n{' '.join(job.overrides)}")
        # A process of its own gives each job TensorFlow as a single run would find it.
        code = run_alone(_module(), job.overrides)
        worst = max(worst, code)
        if code in INTERRUPTED:
            break
    return worst


def _module() -> str:
    """Name of the command that runs, for `python -m`."""
    return f"experiments.{Path(sys.argv[0]).stem}"


def run_alone(module: str, overrides: list[str]) -> int:
    """Run `python -m module overrides…` in a process of its own and return its exit code.

    Signals that ask to stop are passed on, and the process is waited for: it saves first, but for
    SIGQUIT. Those that are ignored here (nohup) are ignored there as well. Ctrl-Z pauses both.
    """
    early, passed_on = [], []

    def keep(number, frame):
        early.append(number)

    def pass_on(number, frame):
        passed_on.append(number)
        child.send_signal(number)

    def pause(number, frame):
        child.send_signal(number)
        # Not SIGSTOP: without a shell above that could continue it, nothing must stop.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, pause)
        child.send_signal(signal.SIGCONT)

    # Before the child starts: a signal that ended this process alone would leave it an orphan.
    heard = [number for number in STOPS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, keep) for number in heard}
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", module, *overrides],
            process_group=0,  # Ctrl-C reaches this process alone, so that the child sees it once
        )
        for number in heard:
            signal.signal(number, pass_on)
        for number in early:
            pass_on(number, None)
        if signal.getsignal(signal.SIGTSTP) is not signal.SIG_IGN:
            before[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, pause)
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    code = code if code >= 0 else 128 - code
    # Even if it finished before it could stop, or failed in stopping, nothing comes after it.
    return 128 + passed_on[-1] if passed_on and code not in INTERRUPTED else code
