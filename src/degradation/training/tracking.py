"""Weights & Biases: a copy of a run's rows, made where it cannot disturb the training.

W&B runs in a process of its own (`wandb_process.py`), fed with one JSON message a line through a
pipe. Its import and start-up then cost the training nothing, its signal, exit and exception hooks
stay out of ours, and a W&B that hangs, prompts or dies is a warning. Nothing here imports it.
"""

import contextlib
import hashlib
import json
import os
import posixpath
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from degradation.output import complain

FINISH_SECONDS = 40.0
"""How long a finished run waits for W&B to store or upload what is left."""

INTERRUPTED_SECONDS = 10.0
"""The same for a run that was stopped or failed: whoever stopped it is waiting."""


def run_id(folder: str, place: str | None = None) -> str:
    """Return the W&B id of the run in `folder`, a path relative to the repository.

    The same folder always gives the same id, and different folders different ones: the last three
    parts of the path, for people, and a hash of the whole, such as `short-plain56-seed0-1b2c3d4e`.
    Where `folder` does not tell it from others, as records have it of one elsewhere, `place` does.
    """
    path, place = (
        posixpath.normpath(p.replace("\\", "/"))
        for p in (folder, folder if place is None else place)
    )
    readable = re.sub(r"[^A-Za-z0-9_.=-]+", "-", "-".join(path.split("/")[-3:])).strip("-.")
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
        project: str,
        folder: Path,
        run_id: str,
        name: str,
        group: str | None,
        tags: Iterable[str],
        config: Mapping[str, Any],
        resumed: bool,
        rows: Iterable[Mapping[str, float]] = (),
        job_type: str = "train",
    ):
        """Open the W&B run of a run folder; `mode` is `offline`, `online` or `disabled`.

        W&B's files go to `folder/wandb`, in place of those of earlier starts. `rows` are the rows
        that the run already has, oldest first; W&B gets those that it does not hold yet. Without
        `resumed`, an online run replaces the one that has the same id.
        """
        self._process: subprocess.Popen | None = None
        self._unsent = bytearray()
        self._ending = False
        if mode == "disabled":
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._process = _start_process(mode, folder)
        except OSError as error:
            _warn(f"could not start: {error}; going on without it")
            return
        os.set_blocking(self._process.stdin.fileno(), False)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._send(
            "open",
            mode=mode,
            folder=str(folder),
            project=project,
            id=run_id,
            name=name,
            group=group,
            tags=list(tags),
            config=config,
            resumed=resumed,
            job_type=job_type,
        )
        for row in rows:
            self.log(row)

    def log(self, row: Mapping[str, float]) -> None:
        """Copy a row of `metrics.csv` under the same names, against its `iteration`."""
        self._send("row", row=row)

    def summarize(self, final: Mapping[str, float], best: Mapping[str, float]) -> None:
        """Put the final and the best figures into the summary, as `final/…` and `best/…`."""
        summary = {f"final/{key}": value for key, value in final.items()}
        summary |= {f"best/{key}": value for key, value in best.items()}
        self._send("summary", summary=summary)

    def image(self, name: str, path: Path, caption: str) -> None:
        """Add the picture at `path` (PNG or JPEG), which must stay there until `finish`."""
        self._send("image", name=name, path=str(path.resolve()), caption=caption)

    def finish(self, exit_code: int = 0) -> None:
        """Close the W&B run, marked as failed unless `exit_code` is 0, and end its process."""
        if self._process is None:
            return
        self._send("finish", exit_code=exit_code)
        limit = FINISH_SECONDS if exit_code == 0 else INTERRUPTED_SECONDS
        deadline = time.monotonic() + limit
        while self._process.poll() is None and time.monotonic() < deadline:
            self._flush()
            time.sleep(0.02)
        self._ending = True
        if self._process.poll() is None:
            self._process.kill()
            _warn(f"did not finish within {limit:g} seconds and was ended; its copy is incomplete")
        self._process.wait()
        self._listener.join(timeout=1.0)
        self._process = None

    def _send(self, request: str, **content: Any) -> None:
        if self._process is not None:
            line = json.dumps({"request": request, **content}, default=_plain)
            self._unsent += line.encode() + b"\n"
            self._flush()

    def _flush(self) -> None:
        """Write what the pipe takes now: a W&B that hangs must not hold up the training."""
        pipe = self._process.stdin.fileno()
        with contextlib.suppress(BlockingIOError, BrokenPipeError):  # full; ended, _listen says so
            while self._unsent:
                del self._unsent[: os.write(pipe, self._unsent)]

    def _listen(self) -> None:
        """Show the process's warnings as they come, and its death."""
        process = self._process
        for line in process.stdout:
            _warn(line.decode().strip())
        if process.wait() != 0 and not self._ending:
            _warn(f"its process ended with code {process.returncode}; going on without it")


def _start_process(mode: str, folder: Path) -> subprocess.Popen:
    """Start `wandb_process.py` in `folder`, out of reach of the terminal and its signals."""
    environment = dict(os.environ)
    if mode == "offline":  # nothing in the user's settings may take an offline run online
        environment = {k: v for k, v in environment.items() if not k.startswith("WANDB_")}
        environment |= {"WANDB_MODE": "offline", "WANDB_CONFIG_DIR": "wandb/config"}
    environment |= {
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",  # W&B's own telemetry, sent even by offline runs
        "WANDB_CACHE_DIR": "wandb/cache",
        "WANDB_DATA_DIR": "wandb/data",
    }
    script = Path(__file__).resolve().with_name("wandb_process.py")
    return subprocess.Popen(
        # -P: the modules beside the script are not for it to import.
        [sys.executable, "-P", str(script), str(os.getpid())],
        cwd=folder,  # so that W&B's files hold relative paths
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _plain(value: Any) -> Any:
    """Return what JSON can hold: numpy scalars as Python numbers, anything else as text."""
    return value.item() if hasattr(value, "item") else str(value)


def _warn(message: str) -> None:
    complain(f"warning: W&B: {message}")
