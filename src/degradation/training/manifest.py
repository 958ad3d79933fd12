"""What a run says of itself: its manifest, from its start to its end."""

import contextlib
from typing import Any

from degradation.config import flatten, recorded, relative
from degradation.errors import Stopped, UserError
from degradation.output import complain
from degradation.records.checkpoints import Checkpoint
from degradation.records.machine import utc_now
from degradation.records.run_folder import PROTOCOL, RunFolder
from degradation.training.learner import Diverged, Learner
from degradation.training.tracking import run_id


def start(folder: RunFolder, learner: Learner, environment: dict[str, Any]) -> None:
    """Write configuration and manifest of a run that begins."""
    config, dataset = learner.config, learner.dataset
    folder.write_config(recorded(config))
    folder.update_manifest(
        status="running",
        protocol=PROTOCOL,
        model=learner.model.name,
        parameters=learner.parameters,
        schedule=config.schedule.name,
        seed=config.seed,
        dataset={
            "name": dataset.name,
            "label": dataset.label,
            "fingerprint": dataset.fingerprint,
            "canonical": dataset.canonical,
        },
        **environment,
        started=utc_now(),
        resumes=[],
        wandb_id=run_id(folder.path),
    )


def resume(folder: RunFolder, checkpoint: Checkpoint, environment: dict[str, Any]) -> None:
    """Note in the manifest that a run goes on, and warn if machine or program are others.

    The manifest describes those that go on; the note keeps which code had trained until then.
    """
    before = folder.manifest()
    # Memory is nothing that a result depends on, and what a container has of it changes.
    compared = [key for key in environment if key in before and key != "memory_gib"]
    old, new = (flatten({key: it[key] for key in compared}) for it in (before, environment))
    notes = [
        f"{key}: {old.get(key)} → {new.get(key)}"
        for key in old | new
        if old.get(key) != new.get(key)
    ]
    if notes:
        changes = "; ".join(notes)
        complain(f"warning: resumed under other conditions, the last bits may differ: {changes}")
    notes += [checkpoint.note] if checkpoint.note else []
    entry = {
        "at": utc_now(),
        "iteration": checkpoint.iteration,
        "trained_by": {key: before.get(key) for key in ("git_commit", "git_dirty")},
        "note": "; ".join(notes),
    }
    resumes = [*before.get("resumes", []), entry]
    ended = ("ended", "failure", "diverged_at")
    folder.update_manifest(drop=ended, status="running", resumes=resumes, **environment)


def results(learner: Learner) -> dict[str, dict]:
    """Losses and errors of the last row, and the evaluation with the lowest error."""
    rows, error = learner.meter.rows, f"{learner.measured}_error"
    names = ("iteration", "train_loss", "train_error", f"{learner.measured}_loss", error)
    best = min(rows, key=lambda row: row[error])
    return {
        "final": {name: rows[-1][name] for name in names},
        "best": {name: best[name] for name in ("iteration", error)},
    }


def end(folder: RunFolder, learner: Learner, status: str, **fields: Any) -> None:
    """Note in the manifest how a run ended and how long it took."""
    folder.update_manifest(
        status=status,
        ended=utc_now(),
        wall_seconds=round(learner.meter.wall_seconds, 1),
        images_per_second=round(learner.meter.images_per_second, 1),
        **fields,
    )


def fault(folder: RunFolder, learner: Learner, error: BaseException) -> None:
    """Note in the manifest, if it can be written, what ended a run before its end."""
    # Where the disk is full, the fault that ended the run is the one to report.
    with contextlib.suppress(UserError):
        if isinstance(error, Stopped):
            end(folder, learner, "interrupted")
            return
        message = str(error).replace(str(folder.path), relative(folder.path))
        if not isinstance(error, UserError):
            # Messages of others have stacks, and with them paths; the terminal shows them whole.
            line = message.partition("\n")[0]
            message = type(error).__name__ + f": {line}" * bool(line and "/" not in line)
        if isinstance(error, Diverged):
            end(folder, learner, "diverged", failure=message, diverged_at=learner.meter.iteration)
        else:
            end(folder, learner, "failed", failure=message)
