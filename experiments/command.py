"""A command: compose, validate, start; every error one line and an exit code."""

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from degradation.errors import Stopped, UserError
from degradation.output import complain, prepare_streams, silence
from experiments.compose import Job, compose_jobs
from experiments.launch import check_launcher, run_jobs

NOTICES = r"^(WARNING: All log messages before absl|[IW][0-9]{4} [0-9:]+)"  # of TensorFlow's C++


def command(
    config_name: str,
    validate: Callable[[Job], None],
    start: Callable[[Job], int | None],
    imply: Callable[[list[str]], list[str]] = lambda given: [],
    together: Callable[[list[Job]], None] = lambda jobs: None,
    launches: bool = False,
) -> int:
    """Run the command that `conf/<config_name>.yaml` configures; return its exit code.

    Arguments come from `sys.argv`; `imply` gives overrides that stand before them, which win. A
    sweep (`-m`) validates every job, and all of them `together`, before the first starts, runs each
    in a process of its own, all of them, and returns the worst code. With `launches` a launcher is
    taken without `-m`, too: `start` hands it runs.
    """
    prepare_streams()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would hide how a child ended
    for stop in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(stop) is signal.SIG_DFL:  # what nohup ignores stays ignored
            # As an exception, so that a report removes the file that it was writing.
            signal.signal(stop, lambda number, frame: sys.exit(128 + number))
    try:
        jobs, sweep = compose_jobs(config_name, sys.argv[1:], imply)
        for job in jobs:
            validate(job)
        together(jobs)
        launcher = jobs[0].launcher if jobs else []
        if launcher and not (sweep or launches):
            raise UserError(f"{launcher[0]}: allowed with -m, a job for each combination of values")
        if launcher:
            check_launcher(launcher)
        if sweep:
            module = f"experiments.{Path(sys.argv[0]).stem}"
            code = run_jobs(module, [job.overrides for job in jobs], launcher)
        else:
            code = max((start(job) or 0 for job in jobs), default=0)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # what read the output has had enough of it, as `head` does
        silence(sys.stdout)
        return 128 + signal.SIGPIPE
    except (UserError, Stopped) as error:
        complain(f"error: {' '.join(str(error).split())}")
        return error.exit_code
    except KeyboardInterrupt:  # before there was anything to save
        return 128 + signal.SIGINT


def import_quietly(module: str, gpus: bool = False) -> ModuleType:
    """Import a module that imports TensorFlow, without TensorFlow's notices about itself.

    Without `gpus` TensorFlow sees the processor alone. The notices come from its C++ side before
    its log level is read. A process of its own leaves them out, so that whatever else is written
    can be read, even where a library ends this process.
    """
    if not gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # TensorFlow reads it once
    sys.stderr.flush()
    kept = os.dup(2)
    grep = ["grep", "-Ev", "--line-buffered", NOTICES]
    with subprocess.Popen(grep, stdin=subprocess.PIPE, stdout=kept) as others:
        os.dup2(others.stdin.fileno(), 2)
        try:
            return importlib.import_module(module)
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
