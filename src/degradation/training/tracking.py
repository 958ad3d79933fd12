"""Weights & Biases: a copy of a run's rows, made where it cannot disturb the training.

All that touches W&B happens on a thread of its own, one request after the other, and W&B itself
talks to its server from a process of its own. So a W&B that hangs, prompts or dies is a warning. A
server that does not answer holds up the end of a run, for one time-out, and nothing before.
"""

import contextlib
import hashlib
import os
import queue
import re
import shlex
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from degradation.config import ROOT, relative
from degradation.output import complain

FINISH_SECONDS = 40.0
"""How long a finished run waits for W&B to store or upload what is left."""

INTERRUPTED_SECONDS = 10.0
"""The same for a run that was stopped or failed: whoever stopped it is waiting."""

SETTINGS = dict(
    silent=True,
    console="off",
    # The machine and its user stay out of W&B's files.
    host="",
    username="",
    email="",
    program="degradation",
    disable_git=True,
    disable_code=True,
    x_disable_meta=True,
    x_disable_machine_info=True,
    x_disable_stats=True,
    x_save_requirements=False,
    symlink=False,
    x_transaction_log_flush_interval=1.0,  # what a killed run leaves can be synced
    init_timeout=15,  # seconds to reach the server; then the run goes offline
    finish_timeout=15,  # seconds for what is left to upload when an online run is closed
    finish_timeout_raises=True,
)


def run_id(folder: Path) -> str:
    """Return the W&B id of the run in `folder`: always the same, and that of no other folder.

    The end of its name in records, for people, and a hash of where it lies, counted from the
    repository: `short-plain56-seed0-1b2c3d4e`.
    """
    name = "-".join(relative(folder).split("/")[-3:])
    readable = re.sub(r"[^A-Za-z0-9_.=-]+", "-", name).strip("-.")
    place = os.path.relpath(folder, ROOT)
    return f"{readable[-100:]}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"


class Tracker:
    """Copies one run to W&B: its configuration, its rows, its results, a figure.

    No method raises on a W&B failure or waits for W&B, `finish` excepted, which waits for a limited
    time. A failure is one line on standard error, and the training goes on without W&B. Since the
    run folder holds everything, resuming the run makes the copy whole again.
    """

    def __init__(
        self,
        *,
        mode: str,
        folder: Path,
        run_id: str,
        resumed: bool,
        rows: Iterable[Mapping[str, float]] = (),
        **about: Any,
    ):
        """Open the W&B run of a folder; `mode`, not WANDB_MODE, says offline, online or disabled.

        W&B's files go to `folder/wandb`, in place of those of earlier starts. `rows` are the rows
        that the run already has, oldest first; W&B gets those that it does not hold yet. Without
        `resumed`, an online run replaces the one that has the same id. `about` is for `wandb.init`:
        project, name, group, tags, config, job_type.
        """
        self._requests: queue.SimpleQueue[Callable[[Any], None] | None] = queue.SimpleQueue()
        self._thread = None
        if mode == "disabled":
            return
        about |= {"id": run_id, "resume": "allow" if resumed else None}
        self._thread = threading.Thread(target=self._serve, args=(mode, folder, about), daemon=True)
        self._thread.start()
        for row in rows:
            self.log(row)

    def log(self, row: Mapping[str, float]) -> None:
        """Copy a row of `metrics.csv` under the same names, against its `iteration`."""

        def copy(run):
            if row["iteration"] >= run.starting_step:  # what is before, a resumed run holds
                run.log(dict(row), step=row["iteration"], commit=True)

        self._requests.put(copy)

    def summarize(self, final: Mapping[str, float], best: Mapping[str, float]) -> None:
        """Put the final and the best figures into the summary, as `final/…` and `best/…`."""
        summary = {f"final/{key}": value for key, value in final.items()}
        summary |= {f"best/{key}": value for key, value in best.items()}
        self._requests.put(lambda run: run.summary.update(summary))

    def image(self, name: str, path: Path, caption: str) -> None:
        """Add the picture at `path` (PNG or JPEG), which must stay there until `finish`."""

        def add(run):
            import wandb

            run.log({name: wandb.Image(str(path), caption=caption)})

        self._requests.put(add)

    def finish(self, exit_code: int = 0) -> None:
        """Close the W&B run, marked as failed unless `exit_code` is 0."""
        if self._thread is None:
            return

        def close(run):
            try:
                run.finish(exit_code)
            except TimeoutError:
                place = shlex.quote(str(Path(run.dir).parent))
                rest = f"`.venv/bin/wandb sync {place}` sends the rest"
                _warn(f"not all was uploaded in time; {rest}")

        self._requests.put(close)
        self._requests.put(None)
        limit = FINISH_SECONDS if exit_code == 0 else INTERRUPTED_SECONDS
        self._thread.join(limit)
        if self._thread.is_alive():
            _warn(f"did not finish within {limit:g} seconds; its copy is incomplete")

    def _serve(self, mode: str, folder: Path, about: dict[str, Any]) -> None:
        """Open the run, do what is requested, and clean up after W&B."""
        # No prompts, none of the telemetry that even offline runs send, nothing in the home folder.
        # And of modes the one asked for, whatever WANDB_MODE says.
        os.environ |= {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
        os.environ["WANDB_MODE"] = mode
        os.environ["WANDB_CACHE_DIR"] = os.path.relpath(folder / "wandb" / "cache")
        try:
            import wandb

            try:
                _remove_runs(folder, about["id"])
                run = self._open(wandb, mode, folder, about)
                run.define_metric("*", step_metric="iteration")
                while request := self._requests.get():
                    request(run)
                _remove_runs(folder, about["id"], but=Path(run.dir).parent.name)
            finally:
                with contextlib.suppress(Exception, SystemExit):
                    wandb.teardown()  # its process, which may have died
        except Exception as error:
            _warn(f"{_in_a_line(error)}; going on without it")

    def _open(self, wandb: Any, mode: str, folder: Path, about: dict[str, Any]) -> Any:
        """Open the run as asked; where online is impossible, offline."""
        folder.mkdir(parents=True, exist_ok=True)
        # Relative, so that W&B's files hold no path of this machine.
        about = {**about, "dir": os.path.relpath(folder), "settings": wandb.Settings(**SETTINGS)}
        if mode == "online":
            try:
                return wandb.init(mode="online", **about)
            except Exception as error:
                _warn(f"not online ({_in_a_line(error)}); going on offline")
                wandb.teardown()  # its process would say that the id is in use
                _remove_runs(folder, about["id"])
        return wandb.init(mode="offline", **about | {"resume": None})


def _remove_runs(folder: Path, run_id: str, but: str | None = None) -> None:
    """Remove the files of earlier starts: `wandb sync` takes all, and this one has every row.

    The service of a process that was killed may still write for a moment. What then cannot be
    removed at the beginning is removed at the end.
    """
    for path in folder.glob(f"wandb/*run-*-{run_id}*"):
        if path.name != but:
            shutil.rmtree(path, ignore_errors=but is None)


def _warn(message: str) -> None:
    complain(f"warning: W&B: {message}")


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
