"""Where and when a run was made: processor, memory, versions, git state. No host or user names."""

import importlib.metadata
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import psutil

from degradation.output import complain
from degradation.processor import cpuinfo

PACKAGES = ("tensorflow", "keras", "numpy", "hydra-core", "wandb")
"""Distributions whose version may change a run's numbers or its records."""

SWITCHES = (
    *("TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS", "XLA_FLAGS"),
    *("TF_DETERMINISTIC_OPS", "TF_CUDNN_DETERMINISTIC", "NVIDIA_TF32_OVERRIDE"),
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
)
"""Environment variables that change the digits of a training, or its speed."""


def utc_now() -> str:
    """Return the time of day in UTC to the second, as "2026-01-31T12:00:00Z"."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def describe_machine() -> dict[str, Any]:
    """Return `cpu` (its name, family and model), `cores` and `memory_gib`.

    Cores are those this process may use: what affinity and a container leave (`docker run
    --cpus=2`). Memory is the machine's.
    """
    return {
        "cpu": _cpu_model(),
        "cores": joblib.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }


def environment_switches() -> dict[str, str]:
    """Return those of `SWITCHES` that are set. A value with a path is cut off before it."""
    values = {name: os.environ.get(name, "") for name in SWITCHES}
    return {name: re.sub("/.*", "…", value) for name, value in values.items() if value}


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of `PACKAGES`."""
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version()} | packages


def git_state(root: Path | str) -> dict[str, Any]:
    """Return `git_commit` and `git_dirty` (tracked files differ from it) of the checkout at `root`.

    Runs and reports in `results/`, and the README that quotes them, are no part of the program:
    changes there do not count. Both are None if `root` is no checkout, or, with a warning, if git
    does not tell: it is not there, or finds that the files are somebody else's.
    """
    if (Path(root) / ".git").exists():  # git itself would go on to a repository further up
        records = (":(exclude)results", ":(exclude)README.md")
        try:
            commit = _git(root, "rev-parse", "--verify", "HEAD")
            changes = _git(
                root, "status", "--porcelain", "--untracked-files=no", "--", ":/", *records
            )
            return {"git_commit": commit, "git_dirty": bool(changes)}
        except (OSError, subprocess.CalledProcessError) as error:
            reason = (getattr(error, "stderr", None) or str(error)).splitlines()[0]
            complain(f"warning: the commit is not recorded, git does not tell it: {reason}")
    return {"git_commit": None, "git_dirty": None}


def _git(root: Path | str, *arguments: str) -> str:
    # A hook's GIT_DIR must not lead elsewhere, nor may `git status` wait for or take a lock.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return subprocess.run(
        ["git", "-C", str(root), *arguments],
        env=environment | {"GIT_OPTIONAL_LOCKS": "0"},
        capture_output=True,
        text=True,
        errors="replace",
        check=True,
    ).stdout.strip()


def _cpu_model() -> str:
    if platform.system() == "Darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.check_output(command, text=True).strip()
    name = cpuinfo("model name") or platform.processor() or platform.machine()
    family, model = cpuinfo("cpu family"), cpuinfo("model")
    # Clouds give several generations one name; their numbers differ, and so do the last bits.
    return f"{name} (family {family}, model {model})" if family and model else name
