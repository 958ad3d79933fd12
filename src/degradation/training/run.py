"""One run, top to bottom: from its configuration to its folder."""

import time
from dataclasses import asdict
from typing import Any

from omegaconf import DictConfig, OmegaConf

from degradation.config import ROOT, recorded, relative
from degradation.data import Dataset, load_dataset
from degradation.errors import Stopped
from degradation.output import say
from degradation.records import (
    RunFolder,
    describe_machine,
    git_state,
    package_versions,
)
from degradation.training import journal
from degradation.training.devices import Gpu, set_up, threads_for
from degradation.training.identity import check_same_run, identity
from degradation.training.interrupts import StopRequest, stop_requests
from degradation.training.learner import Learner
from degradation.training.progress import Progress
from degradation.training.protocol import parts_of
from degradation.training.tracking import Tracker


def train(config: DictConfig, folder: RunFolder, precision: str, gpu: Gpu | None = None) -> None:
    """Train the network of a validated `config` in `precision`, or continue where it stopped.

    It trains on `gpu`, or without one on the processor. Everything about the run goes into
    `folder`. Raises `UserError` for bad data and for a folder that holds another run (exit code
    2), for a folder that is in use (`IN_USE`), for a loss that is not finite and for a disk that is
    full (1), and `Stopped`, after saving, if a signal asked for it.
    """
    with stop_requests() as stop:
        # The data first: without it nothing is written.
        dataset = load_dataset(**OmegaConf.to_container(config.data), root=ROOT)
        stop.deferred = True

        with folder.lock():
            which = identity(config, precision)
            which["data.fingerprint"] = dataset.fingerprint
            if not config.overwrite:
                check_same_run(folder, which)
                if folder.status == "complete":
                    say(f"{relative(folder.path)} is complete; overwrite=true trains it again")
                    return

            # The network, in the precision and with the threads that it will train in.
            machine = describe_machine()
            cores = config.runtime.threads or machine["cores"]
            parts = parts_of(config.optimizer.batch, config.optimizer.ghost_batch)
            threads = threads_for(parts, cores)
            environment = {
                **git_state(ROOT),
                "packages": package_versions(),
                **machine,
                "gpu": gpu.name if gpu else None,
                "threads": cores,
                "thread_pools": asdict(threads),
                "xla": config.runtime.get("xla", False),
            }
            set_up(precision, threads, config.seed, gpu is not None)
            learner = Learner(config, dataset)
            _announce(config, folder, precision, dataset, learner, environment)

            # Where it stands: at its checkpoint, or at the beginning.
            if config.overwrite:
                folder.clear()  # not before: whatever fails until here costs nothing
            checkpoint = folder.load_checkpoint()
            if checkpoint:
                check_same_run(folder, which, checkpoint.state.get("identity", {}))
                learner.restore(checkpoint)
            if not checkpoint or folder.status is None:
                journal.start(config, folder, which, dataset, learner, environment)
            if checkpoint:
                journal.resume(folder, checkpoint, environment)
                say(f"{'resumed':<10}after {checkpoint.iteration:,} iterations")
            folder.write_rows(learner.meter.rows)

            # The updates, and how they ended.
            tracker = _tracker(config, folder, learner, resumed=checkpoint is not None)
            exit_code = 1
            try:
                _fit(config, folder, learner, which, tracker, stop)
                journal.keep_network(folder, learner)
                results = journal.results(learner)
                tracker.summarize(**results)
                journal.end(folder, learner, "complete", **results)
                exit_code = 0
            except BaseException as error:
                exit_code = getattr(error, "exit_code", 1)
                journal.fault(folder, learner, error)
                raise
            finally:
                tracker.finish(exit_code)


def _fit(
    config: DictConfig,
    folder: RunFolder,
    learner: Learner,
    which: dict,
    tracker: Tracker,
    stop: StopRequest,
) -> None:
    """Update until the schedule ends: a row every evaluation, a checkpoint now and then."""
    total, meter = config.schedule.iterations, learner.meter

    def save() -> float:
        arrays, state = learner.checkpoint()
        folder.save_checkpoint(meter.iteration, arrays, {**state, "identity": which})
        return time.monotonic()

    saved = time.monotonic()
    progress = Progress(meter, total, learner.measured)
    try:
        while meter.iteration < total:
            rate = learner.update()
            progress.update(rate)
            if meter.iteration == total or meter.iteration % config.schedule.evaluate_every == 0:
                row = learner.evaluate(rate)
                folder.write_rows(meter.rows)
                tracker.log(row)
                progress.evaluated(row)
                saved = save()
            elif time.monotonic() - saved >= config.runtime.checkpoint_every:
                saved = save()
            if stop.signal and meter.iteration < total:
                save()
                but = " without overwrite=true" if config.overwrite else ""
                raise Stopped(
                    stop.signal,
                    f"after {meter.iteration:,} iterations; the same command{but} continues from "
                    "there",
                )
    finally:
        progress.close()


def _announce(
    config: DictConfig,
    folder: RunFolder,
    precision: str,
    dataset: Dataset,
    learner: Learner,
    environment: dict[str, Any],
) -> None:
    schedule = config.schedule
    drops = ", ".join(f"{drop:,}" for drop in schedule.drops) or "none"
    unseen = "held-out" if config.data.holdout else "test"
    for name, text in {
        "network": f"{learner.model.name}, {learner.parameters:,} trainable parameters",
        "schedule": f"{schedule.name}: {schedule.iterations:,} iterations of "
        f"{config.optimizer.batch} images, drops at {drops}; seed {config.seed}",
        "data": f"{dataset.label}: {len(dataset.train_labels):,} training and "
        f"{len(dataset.test_labels):,} {unseen} images",
        "precision": f"{precision} (runtime.precision={config.runtime.precision})",
        "device": ", ".join(
            [
                *filter(None, [environment["gpu"]]),
                environment["cpu"],
                f"{environment['threads']} threads",
            ]
        ),
        "folder": relative(folder.path),
    }.items():
        say(f"{name:<10}{text}")


def _tracker(config: DictConfig, folder: RunFolder, learner: Learner, resumed: bool) -> Tracker:
    manifest = folder.manifest()
    # What the configuration leaves open (`precision: auto`), to filter by; older runs lack some.
    settled = ("parameters", "precision", "git_commit", "dataset")
    return Tracker(
        mode=config.tracking.mode,
        project=config.tracking.project,
        folder=folder.path,
        run_id=manifest["wandb_id"],
        name=f"{folder.path.parent.name} {config.schedule.name} seed{config.seed}",
        group=config.tracking.group,
        tags=[config.model.name, config.schedule.name, manifest["precision"], config.data.name],
        config=recorded(config) | {key: manifest.get(key) for key in settled},
        resumed=resumed,
        rows=learner.meter.rows,
    )
