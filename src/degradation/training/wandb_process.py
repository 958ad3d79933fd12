"""The process that talks to W&B for one run. `tracking.Tracker` starts it and sends it requests.

Requests are JSON objects, a line each, on standard input: `open`, then any number of `row`,
`summary` and `image`, then `finish`. What it prints on standard output are warnings for the user,
a line each. When its input ends without `finish`, the training has died, and the run is closed
as failed.
"""

import fcntl
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

INIT_SECONDS = 15
"""How long W&B may take to reach its server before the run goes offline."""

UPLOAD_SECONDS = 15
"""How long closing an online run waits for its upload."""

LIFE_AFTER_FINISH = 60
"""When this process dies, whatever W&B is doing, counted from the end of the run."""

FOLDER = Path("wandb")  # the working directory is the run's folder


def main() -> None:
    """Serve requests until the run is finished or the training has died."""
    # These reach a whole process group or container; the training alone decides what they mean.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    requests, warnings = _take_standard_streams()

    def warn(message: str) -> None:
        print(message, file=warnings, flush=True)

    try:
        if _claim_folder(parent=int(sys.argv[1])):
            serve(requests, warn)
    except Exception as error:
        warn(f"{_first_line(error)}; going on without it")
        os._exit(0)  # W&B's exit hooks may hang after a failure


def _claim_folder(parent: int) -> bool:
    """Wait for the process of an earlier start to close its run; tell whether to go on.

    When a training is killed and started again, the processes of both are alive for a moment. One
    whose training died before its turn came must not write over the run of the other.
    """
    FOLDER.mkdir(exist_ok=True)
    lock = os.open(FOLDER / "lock", os.O_CREAT | os.O_WRONLY)  # until the process ends
    fcntl.flock(lock, fcntl.LOCK_EX)
    return os.getppid() == parent


def serve(requests: TextIO, warn: Callable[[str], None]) -> None:
    """Open the run, copy what comes, close the run."""
    import wandb

    start = json.loads(requests.readline())
    _remove_runs(start["id"])
    run = _open(wandb, start, warn)
    first = run.starting_step  # a resumed online run already holds the rows before it
    axis_defined = False
    exit_code = 1
    for line in requests:
        content = json.loads(line)
        match content["request"]:
            case "row":
                row = content["row"]
                if not axis_defined:
                    _define_axis(run, row)
                    axis_defined = True
                if row["iteration"] >= first:
                    run.log(row, step=row["iteration"], commit=True)
            case "summary":
                run.summary.update(content["summary"])
            case "image":
                picture = wandb.Image(content["path"], caption=content["caption"])
                run.log({content["name"]: picture})
            case "finish":
                exit_code = content["exit_code"]
                break
    signal.alarm(LIFE_AFTER_FINISH)
    own = Path(run.dir).parent.name
    try:
        run.finish(exit_code)
    except TimeoutError:
        written = Path(start["folder"]) / FOLDER / own
        warn(f"not all was uploaded in time; `wandb sync {written}` sends the rest")
    _remove_runs(start["id"], but=own)


def _open(wandb: Any, start: dict[str, Any], warn: Callable[[str], None]) -> Any:
    """Open the run as asked; where online is impossible, offline."""
    about = {
        "project": start["project"],
        "id": start["id"],
        "name": start["name"],
        "group": start["group"],
        "tags": start["tags"],
        "config": start["config"],
        "job_type": start["job_type"],
        "dir": ".",
    }
    if start["mode"] == "online":
        resume = "allow" if start["resumed"] else None
        try:
            return wandb.init(mode="online", resume=resume, settings=_settings(wandb), **about)
        except Exception as error:
            warn(f"not online ({_first_line(error)}); going on offline")
            wandb.teardown()  # its service would say that the id is in use
            _remove_runs(start["id"])
    return wandb.init(mode="offline", settings=_settings(wandb), **about)


def _settings(wandb: Any) -> Any:
    """Return settings that keep W&B quiet, and the machine and its user out of its files."""
    return wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        save_code=False,
        label_disable=True,
        symlink=False,
        host="",
        username="",
        email="",
        program="degradation",
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_disable_stats=True,
        x_save_requirements=False,
        x_transaction_log_flush_interval=1.0,  # what a killed run leaves can be synced
        init_timeout=INIT_SECONDS,
        finish_timeout=UPLOAD_SECONDS,
        finish_timeout_raises=True,
    )


def _define_axis(run: Any, row: dict[str, float]) -> None:
    """Have every column drawn against `iteration`."""
    for name in row:
        run.define_metric(name, step_metric=None if name == "iteration" else "iteration")


def _remove_runs(run_id: str, but: str | None = None) -> None:
    """Remove the files of earlier starts: `wandb sync` takes all, and this one has every row.

    The service of a process that was killed may still write for a moment. What then cannot be
    removed at the beginning is removed at the end.
    """
    for folder in FOLDER.glob(f"*run-*-{run_id}*"):
        if folder.name != but:
            shutil.rmtree(folder, ignore_errors=but is None)


def _take_standard_streams() -> tuple[TextIO, TextIO]:
    """Take over input and output; W&B and its service, which print and prompt, get neither."""
    requests, warnings = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    return requests, warnings


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


if __name__ == "__main__":
    main()
