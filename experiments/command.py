"""A Hydra command: compose, validate, start; every error one line and an exit code."""

import contextlib
import importlib
import io
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from degradation.config import CONF, flatten, options
from degradation.errors import Stopped, UserError
from degradation.output import complain, prepare_streams, say, silence
from degradation.records.files import faults_as_user_errors
from experiments.refusals import REFUSALS, defaults, explain, unknown_key

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
INTERRUPTED = tuple(128 + number for number in STOPS)
OTHER_PLACES = ("--con", "-cd", "-cn", "-cp")  # Hydra's flags for a configuration of another place
PATHS = ("run_dir", "data.dir", "runs", "out", "benchmark.out")  # keys whose value is a path


@dataclass(frozen=True)
class Job:
    """One composed configuration, and the overrides that it was composed from."""

    config: DictConfig
    overrides: list[str]


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
        jobs, sweep = compose(config_name, imply)
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


def compose(
    config_name: str, imply: Callable[[list[str]], list[str]] = lambda given: []
) -> tuple[list[Job], bool]:
    """Let Hydra compose the jobs of the command line, and say whether they are a sweep.

    There are none where it only printed (`--help`, `--cfg`). Raises `UserError` for whatever Hydra
    refuses.
    """
    given, flags = _read_arguments()
    implied = imply(given)
    overrides = [*implied, *given]
    composed, sweep = _ask_hydra(config_name, overrides, flags)
    if not composed and flags and {"-m", "--multirun"}.issuperset(flags):
        raise UserError(f"{' '.join(flags)}: no job: a glob() or range() of the sweep has no value")
    # Hydra keeps one override a key: an implied one may be gone.
    jobs = [
        Job(config, [o for o in kept if o in given or o not in implied])
        for config, kept in composed
    ]
    _check_keys(jobs, config_name, overrides)
    return jobs, sweep


def _read_arguments() -> tuple[list[str], list[str]]:
    """Read overrides and flags from `sys.argv`; raise `UserError` for what Hydra must not see."""
    # Without + and ++: there are no keys to add, and those that there are need none.
    given = [quote_path(a.lstrip("+")) for a in sys.argv[1:] if _is_override(a)]
    flags = [a for a in sys.argv[1:] if not _is_override(a)]
    for flag in flags:
        if flag.startswith(OTHER_PLACES):
            raise UserError(f"{flag}: allowed: the files of {CONF.name}/, chosen by GROUP=NAME")
    for override in given:
        if "${hydra:" in override:  # of this process: in those that it starts they are others
            raise UserError(f"{override}: allowed: keys of this command, such as ${{seed}}")
        key, _, value = override.partition("=")
        if key in ("hydra/launcher", "hydra/sweeper") and value != "basic":
            raise UserError(f"{override}: allowed: basic; jobs run here, one after the other")
    return given, flags


def _ask_hydra(
    config_name: str, overrides: list[str], flags: list[str]
) -> tuple[list[tuple[DictConfig, list[str]]], bool]:
    """Have Hydra compose each job's configuration and overrides, and say whether it sweeps."""
    composed = []
    sweep = False

    def collect(config: DictConfig) -> None:
        nonlocal sweep
        sweep = HydraConfig.get().mode == RunMode.MULTIRUN
        # Resolved now: Hydra's own interpolations are gone once it has returned.
        OmegaConf.resolve(config)
        for key in sorted(OmegaConf.missing_keys(config)):
            raise UserError(f"{key}=???: allowed: a value")
        composed.append((config, list(HydraConfig.get().overrides.task)))

    notices = io.StringIO()
    with faults_as_user_errors("cannot make a temporary folder"):
        temporary = tempfile.TemporaryDirectory()
    with temporary as scratch:
        # Hydra's own folders and logs are off; what it writes of a sweep all the same goes away.
        quiet = [
            "hydra.run.dir=.",
            f"hydra.sweep.dir='{scratch}'",
            "hydra.sweep.subdir=.",
            "hydra.output_subdir=null",
            "hydra/job_logging=none",
            "hydra/hydra_logging=none",
            f"hydra.help.app_name='python -m {_module()}'",
        ]
        arguments = sys.argv
        # In one row: overrides on both sides of a flag are more than Hydra's parser takes.
        sys.argv = [arguments[0], *overrides, *quiet, *flags]
        os.environ["HYDRA_FULL_ERROR"] = "1"  # errors as exceptions, not as Hydra's own pages
        run = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)
        try:
            with contextlib.redirect_stderr(notices):
                run(collect)()
        except REFUSALS as error:
            raise UserError(explain(error, config_name, overrides)) from error
        except SystemExit as end:
            if end.code:  # a wrong flag; the last line says which, those before how to use others
                line = notices.getvalue().splitlines()[-1].partition("error: ")[2]
                raise UserError(f"{line}; --help says what is allowed") from end
        finally:
            sys.argv = arguments
    sys.stderr.write(notices.getvalue())
    return composed, sweep


def _is_override(argument: str) -> bool:
    return not argument.startswith("-") and ("=" in argument or argument.startswith("~"))


def _check_keys(jobs: list[Job], config_name: str, overrides: list[str]) -> None:
    """Refuse what Hydra lets pass: keys added with `+`, deleted with `~`, no or several options."""
    for override in overrides:
        key, _, value = override.partition("=")
        # Of several options in a list Hydra would take the last.
        if value.strip().startswith(("{", "[")) and (CONF / key).is_dir():
            raise UserError(f"{override}: allowed: one of {', '.join(options(key))}")
    default = defaults(config_name)
    # Keys of a group's options depend on the option: they are checked with their values.
    apart = {
        key
        for key, node in default.items()
        if isinstance(node, DictConfig) and not {"name", "mode"} & node.keys()
    }
    known = _keys(default, apart)
    for job in jobs:
        for key in sorted(_keys(job.config, apart) ^ known):
            if key in known:
                raise UserError(f"{key}: missing, and needed; allowed: {key}=value")
            raise UserError(unknown_key(key, config_name, overrides))


def _keys(config: DictConfig, apart: set[str]) -> set[str]:
    """Keys of a configuration; in place of each in `apart` those within it, dotted."""
    tree = OmegaConf.to_container(config)
    return (tree.keys() - apart) | flatten({key: tree[key] for key in apart & tree.keys()}).keys()


def quote_path(argument: str) -> str:
    """Quote the value of a key in `PATHS`: names of run folders have commas, which Hydra reads."""
    key, equals, value = argument.partition("=")
    if key in PATHS and value not in ("", "null") and value[0] not in "'\"":
        return f"{key}{equals}'" + value.replace("'", r"\'") + "'"
    return argument


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
