"""Where and when a run was made: processor, memory, versions, git state. No host or user names."""

import importlib.metadata
import math
import os
import platform
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PACKAGES = ("tensorflow", "keras", "numpy", "hydra-core", "wandb")
"""Distributions whose version may change a run's numbers or its records."""


def utc_now() -> str:
    """Return the time of day in UTC to the second, as "2026-01-31T12:00:00Z"."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def describe_machine(root: Path = Path("/")) -> dict[str, Any]:
    """Return `cpu` (the model's name), `cores` (usable ones) and `memory_gib` (None if unknown).

    Both are those of the machine or, if less, what the control group of this process allows, as of
    `docker run --cpus=2 --memory=8g`.
    `root` is where `proc` and `sys` are.
    """
    memory = _memory_bytes(root)
    return {
        "cpu": _cpu_model(root),
        "cores": min([_usable_cores(), *_cpu_limits(root)]),
        "memory_gib": None if memory is None else round(memory / 2**30, 1),
    }


def cpu_has_bf16(root: Path = Path("/")) -> bool:
    """Say whether the processor multiplies bfloat16 in hardware; False where Linux cannot tell."""
    flags = (_cpuinfo(root, "flags") or _cpuinfo(root, "Features") or "").split()
    return not {"amx_bf16", "avx512_bf16", "bf16"}.isdisjoint(flags)


def package_versions() -> dict[str, str | None]:
    """Return the versions of Python and of `PACKAGES`; None for one that is not installed."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def git_state(root: Path | str) -> dict[str, Any]:
    """Return `git_commit` and `git_dirty` (tracked files differ from it) of the checkout at `root`.

    Runs and reports in `results/`, and the README that quotes them, are no part of the program:
    changes there do not count. Both are None if `root` is no checkout, has no commit, or git is not
    there.
    """
    commit = changes = None
    if (Path(root) / ".git").exists():  # git itself would go on to a repository further up
        commit = _output("git", "-C", str(root), "rev-parse", "--verify", "HEAD")
        records = (":(exclude)results", ":(exclude)README.md")
        tracked = ("status", "--porcelain", "--untracked-files=no", "--", ":/", *records)
        changes = _output("git", "-C", str(root), *tracked)
    if commit is None or changes is None:
        return {"git_commit": None, "git_dirty": None}
    return {"git_commit": commit, "git_dirty": bool(changes)}


def _output(*command: str) -> str | None:
    # A hook's GIT_DIR must not lead elsewhere, nor may `git status` wait for or take a lock.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    try:
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def _cpu_model(root: Path) -> str:
    return (
        _cpuinfo(root, "model name")
        or (platform.system() == "Darwin" and _output("sysctl", "-n", "machdep.cpu.brand_string"))
        or platform.processor()
        or platform.machine()
    )


def _cpuinfo(root: Path, key: str) -> str | None:
    """Return the first value of `key` in /proc/cpuinfo: that of the first processor."""
    for line in (_text(root / "proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def _usable_cores() -> int:
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_bytes(root: Path) -> int | None:
    try:
        physical = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (ValueError, OSError):
        physical = []
    return min([*physical, *_memory_limits(root)], default=None)


def _memory_limits(root: Path) -> Iterator[int]:
    """Yield what limits the memory, in bytes."""
    for folder in _control_groups(root, "memory"):
        # Version 2, and version 1, where "no limit" is about 2**63.
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = (_text(folder / name) or "").strip()
            if limit.isdigit():  # not "max"
                yield int(limit)


def _cpu_limits(root: Path) -> Iterator[int]:
    """Yield what limits the time on all cores together, in cores; a part of one counts as one."""
    for folder in _control_groups(root, "cpu"):
        # Version 2 has microseconds and their period in one file, version 1 in two.
        texts = [_text(folder / f"cpu.{name}") for name in ("max", "cfs_quota_us", "cfs_period_us")]
        match " ".join(filter(None, texts)).split():
            case quota, period if quota.isdigit() and period.isdigit():  # not "max", not "-1"
                yield max(1, math.ceil(int(quota) / int(period)))


def _control_groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control group and of those above it."""
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":  # version 2
            top = root / "sys/fs/cgroup"
        elif controller in controllers.split(","):  # version 1
            top = root / "sys/fs/cgroup" / controller
        else:
            continue
        relative = Path(group.lstrip("/"))
        yield from (top / folder for folder in (relative, *relative.parents))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None
