"""A Hydra command: compose, validate, start; every error one line and an exit code."""

import difflib
import importlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from degradation.config import CONF, flatten, options
from degradation.errors import UserError


@dataclass(frozen=True)
class Job:
    """One composed configuration, and the overrides that it was composed from."""

    config: DictConfig
    overrides: list[str]


def command(
    config_name: str, validate: Callable[[DictConfig], None], start: Callable[[Job], int | None]
) -> int:
    """Run the command that `conf/<config_name>.yaml` configures; return its exit code.

    Arguments come from `sys.argv`. A sweep (`-m`) validates every job before the first starts, runs
    each in a process of its own, all of them, and returns the worst code.
    """
    try:
        jobs, sweep = compose(config_name)
        for job in jobs:
            validate(job.config)
        if sweep:
            return max(_run_job(job) for job in jobs)
        return max((start(job) or 0 for job in jobs), default=0)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def compose(config_name: str) -> tuple[list[Job], bool]:
    """Let Hydra compose the jobs of the command line; none where it only printed (`--help`, `--cfg`).

    Raises `UserError` for whatever Hydra refuses.
    """
    jobs = []
    sweep = False

    def collect(config: DictConfig) -> None:
        nonlocal sweep
        sweep = HydraConfig.get().mode == RunMode.MULTIRUN
        # Resolved now: Hydra's own interpolations are gone once it has returned.
        OmegaConf.resolve(config)
        jobs.append(Job(config, list(HydraConfig.get().overrides.task)))

    with tempfile.TemporaryDirectory() as scratch:
        # Hydra's own folders and logs are off; what it writes of a sweep all the same goes away.
        quiet = [
            "hydra.run.dir=.",
            f"hydra.sweep.dir='{scratch}'",
            "hydra.sweep.subdir=.",
            "hydra.output_subdir=null",
            "hydra/job_logging=none",
            "hydra/hydra_logging=none",
        ]
        arguments = sys.argv
        sys.argv = [*map(quote_path, arguments), *quiet]
        os.environ["HYDRA_FULL_ERROR"] = "1"  # errors as exceptions, not as Hydra's own pages
        try:
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(
                collect
            )()
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise UserError(explain(error, config_name)) from error
        finally:
            sys.argv = arguments
    return jobs, sweep


def quote_path(argument: str) -> str:
    """Quote the value of `run_dir=` and `data.dir=`: run folders have commas, which Hydra reads."""
    key, equals, value = argument.partition("=")
    if key in ("run_dir", "data.dir") and value not in ("", "null") and value[0] not in "'\"":
        return f"{key}{equals}'{value}'"
    return argument


def explain(error: Exception, config_name: str) -> str:
    """Say in one line what Hydra says in several, with the nearest right key where there is one."""
    text = str(error)
    if (match := re.search(r"Could not override '([^']+)'", text)) or (match := re.search(r"Key '([^']+)' (?:is not in struct|not found)", text)):
        key = match[1]
    elif match := re.search(r"Could not find '([^']+)/([^']+)'", text):
        group, name = match.groups()
        return f"{group}={name}: unknown; allowed: {', '.join(options(group))}"
    else:
        first, *rest = [line.strip() for line in text.splitlines() if line.strip()] or [repr(error)]
        return f"{first}{' ' + rest[0] if first.endswith(':') and rest else ''}"
    keys = _keys(config_name)
    near = difflib.get_close_matches(key, keys, n=1) or difflib.get_close_matches(
        key.split(".")[-1], [k.split(".")[-1] for k in keys], n=1
    )
    near = [k for k in keys if k == near[0] or k.split(".")[-1] == near[0]][:1] if near else []
    hint = f"; did you mean {near[0]}?" if near else f"; allowed: {', '.join(sorted(keys))}"
    return f"{key}: unknown key{hint}"


def compose_again(config_name: str, overrides: list[str]) -> DictConfig:
    """Compose `conf/<config_name>.yaml` with overrides, outside of Hydra's own command line."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose(config_name, overrides)


def _keys(config_name: str) -> list[str]:
    tree = compose_again(config_name, [])
    groups = [path.name for path in CONF.iterdir() if path.is_dir()]
    return [*flatten(OmegaConf.to_container(tree, resolve=False)), *groups]


def import_quietly(module: str) -> ModuleType:
    """Import a module that imports TensorFlow, without TensorFlow's notices about itself.

    They come from its C++ side before its log level is read, so that nothing but the file
    descriptor stops them. If the import fails they are shown after all.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notices:
        os.dup2(notices.fileno(), 2)
        try:
            return importlib.import_module(module)
        except BaseException:
            notices.seek(0)
            os.write(kept, notices.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _run_job(job: Job) -> int:
    print(f"\n{' '.join(job.overrides)}", flush=True)
    # A process of its own gives each job TensorFlow as a single run would find it.
    return run_alone(sys.modules["__main__"].__spec__.name, job.overrides)


def run_alone(module: str, overrides: list[str]) -> int:
    """Run `python -m module overrides…` in a process of its own and return its exit code.

    Signals that ask to stop are passed on, and the process is waited for: it saves first.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", module, *overrides],
        process_group=0,  # Ctrl-C reaches this process alone, so that the child sees it once
    )
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {n: signal.signal(n, lambda number, _: child.send_signal(number)) for n in numbers}
    try:
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code
