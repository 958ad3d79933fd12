"""One run, top to bottom: from its configuration to its folder."""

import contextlib
import time
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from degradation.config import ROOT, recorded, shown
from degradation.data import load_dataset
from degradation.errors import Stopped, UserError
from degradation.models.summary import convolutions
from degradation.output import complain, say
from degradation.processor import cpu_precision
from degradation.records.checkpoints import Checkpoint
from degradation.records.files import replace_file
from degradation.records.machine import (
    describe_machine,
    environment_switches,
    git_state,
    package_versions,
)
from degradation.records.run_folder import PROTOCOL, RunFolder
from degradation.setting import Setting
from degradation.training import manifest
from degradation.training.devices import Gpu, set_up, threads_for
from degradation.training.evaluation import errors_by_class
from degradation.training.identity import check_same_run
from degradation.training.interrupts import StopRequest, stop_requests
from degradation.training.learner import Learner
from degradation.training.probe import UPDATES, Probe
from degradation.training.progress import Progress
from degradation.training.protocol import parts_of
from degradation.training.tracking import Tracker


def train(config: DictConfig, setting: Setting, folder: RunFolder, gpu: Gpu | None) -> None:
    """Train the network of a `config`, whose `setting` this is, or continue where it stopped.

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
            if not config.overwrite:
                check_same_run(folder, setting, dataset.fingerprint)
                if folder.status == "complete":
                    lacks = config.probe.name != folder.manifest().get("probe", "none") == "none"
                    but = ", without the probe" * lacks
                    say(f"{shown(folder.path)} is complete{but}; overwrite=true trains it again")
                    return

            checkpoint = None if config.overwrite else folder.load_checkpoint()

            # The network, in the precision and with the threads that it will train in.
            machine = describe_machine()
            cores = config.runtime.threads or machine["cores"]
            parts = parts_of(config.optimizer.batch, config.optimizer.ghost_batch)
            threads = threads_for(parts, cores)
            precision = _precision(config, folder, setting, gpu)
            environment = {
                **git_state(ROOT),
                "packages": package_versions(),
                **machine,
                "gpu": gpu.name if gpu else None,
                "threads": cores,
                "thread_pools": threads,
                "precision": precision,
                "emulated": precision == "bfloat16" != _fastest(gpu),
                "probe": _probe(config, folder, checkpoint),
                "switches": environment_switches(),
            }
            set_up(precision, threads, config.seed, gpu)
            learner = Learner(config, dataset)
            # Before a checkpoint replaces the initial weights.
            probe = Probe(learner.model, dataset) if environment["probe"] == "layers" else None
            environment["xla"] = learner.xla
            _announce(folder, learner, environment)

            # Where it stands: at its checkpoint, or at the beginning.
            if stop.signal:
                raise Stopped(stop.signal, "before the run began")
            if checkpoint:
                learner.restore(checkpoint)
            else:
                # What is damaged is not read to be replaced.
                if not config.overwrite and folder.rows():
                    what = "has rows but no checkpoint, and begins again from iteration 0"
                    complain(f"warning: {shown(folder.path)} {what}")
                folder.clear()  # not before: whatever fails until here costs nothing
            if not checkpoint or folder.status is None:
                manifest.start(folder, learner, environment)
            if checkpoint:
                manifest.resume(folder, checkpoint, environment)
                say(f"{'resumed':<10}after {checkpoint.iteration:,} iterations")
            # Those after the checkpoint are made again.
            folder.write_table("metrics", learner.meter.rows)

            # The updates, and how they ended.
            tracker = _tracker(setting, folder, learner, resumed=checkpoint is not None)
            try:
                _fit(folder, learner, probe, tracker, stop)
                _keep_network(folder, learner)
                results = manifest.results(learner)
                tracker.summarize(**results)
                manifest.end(folder, learner, "complete", **results)
            except BaseException as error:
                manifest.fault(folder, learner, error)
                tracker.finish(getattr(error, "exit_code", 1))
                raise
            tracker.finish()


def _fit(
    folder: RunFolder, learner: Learner, probe: Probe | None, tracker: Tracker, stop: StopRequest
) -> None:
    """Update until the schedule ends: a row every evaluation, a checkpoint now and then."""
    config, meter = learner.config, learner.meter
    total = config.schedule.iterations
    # Rows of now, and of a future that was given up, are measured again, to the same bits.
    known = folder.table("probe") if probe else []
    probed = [row for row in known if row["update"] < meter.iteration]

    def save() -> float:
        folder.save_checkpoint(meter.iteration, *learner.checkpoint())
        return time.monotonic()

    def measure() -> None:
        if probe and meter.iteration in UPDATES:
            began = time.monotonic()
            probed.extend(probe.measure(meter.iteration, learner.rate(meter.iteration)))
            folder.write_table("probe", probed)
            progress.leave_out(time.monotonic() - began)

    saved = time.monotonic()
    with contextlib.closing(Progress(meter, total, learner.measured)) as progress:
        measure()
        while meter.iteration < total:
            progress.update(learner.update())
            measure()
            if meter.iteration == total or meter.iteration % config.schedule.evaluate_every == 0:
                row = learner.evaluate()
                folder.write_table("metrics", meter.rows)
                tracker.log(row)
                progress.evaluated(row)
                saved = save()
            elif time.monotonic() - saved >= config.runtime.checkpoint_every:
                saved = save()
            if stop.signal and meter.iteration < total:
                save()
                but = " without overwrite=true" if config.overwrite else ""
                again = f"the same command{but} continues from there"
                raise Stopped(stop.signal, f"after {meter.iteration:,} iterations; {again}")


def _precision(config: DictConfig, folder: RunFolder, setting: Setting, gpu: Gpu | None) -> str:
    """Settle the precision: the one asked for, or for `auto` what began before, or the fastest.

    What began before is the run itself, or the `auto` runs beside it, if they share a precision.
    """
    chosen = config.runtime.precision
    if chosen != "auto":
        return chosen
    fastest = _fastest(gpu)
    began = None if config.overwrite else folder.manifest().get("precision")
    beside = set() if began else _precisions_beside(folder, setting)
    settled = began or (beside.pop() if len(beside) == 1 else fastest)
    if settled != fastest:
        reason = "as it began" if began else "as the runs beside it"
        slower = f"; {fastest} is faster here" if fastest == "bfloat16" else ""
        complain(f"warning: {shown(folder.path)} trains in {settled}, {reason}{slower}")
    return settled


def _fastest(gpu: Gpu | None) -> str:
    return gpu.precision if gpu else cpu_precision()


def _precisions_beside(folder: RunFolder, setting: Setting) -> set[str]:
    """The precisions of the other `auto` runs on the schedule; none where `run_dir` led away."""
    runs, found = folder.path.parent.parent, set()
    if folder.path == setting.folder(runs.parent):
        for path in {*runs.glob("*/seed*")} - {folder.path}:
            with contextlib.suppress(UserError, LookupError):  # damaged, or of another protocol
                about, other = RunFolder(path).manifest(), Setting.of(RunFolder(path).config())
                automatic = other.values["runtime.precision"] == "auto"
                if automatic and about["protocol"] == PROTOCOL:
                    found.add(about["precision"])
    return found


def _probe(config: DictConfig, folder: RunFolder, checkpoint: Checkpoint | None) -> str:
    """Settle what is measured of layers: as the run began, for its beginning is over."""
    asked = config.probe.name
    before = folder.manifest().get("probe", "none") if checkpoint else asked
    if before != asked:
        complain(f"warning: {shown(folder.path)} goes on with probe={before}, as it began")
    return before


def _keep_network(folder: RunFolder, learner: Learner) -> None:
    """Write what a finished run leaves: network, mean image to subtract, layers, classes."""
    with replace_file(folder.path / "model.keras") as path:
        learner.model.save(path)
    with replace_file(folder.path / "mean.npy") as path:
        np.save(path, learner.dataset.mean_image)
    folder.write_table("layers", convolutions(learner.model))
    folder.write_table("classes", errors_by_class(learner.predict(), learner.dataset))


def _announce(folder: RunFolder, learner: Learner, environment: dict[str, Any]) -> None:
    config, dataset = learner.config, learner.dataset
    schedule = config.schedule
    drops = ", ".join(f"{drop:,}" for drop in schedule.drops) or "none"
    unseen = "held-out" if config.data.holdout else "test"
    devices = filter(None, [environment["gpu"], environment["cpu"]])
    threads = environment["threads"]
    for name, text in {
        "network": f"{learner.model.name}, {learner.parameters:,} trainable parameters",
        "schedule": f"{schedule.name}: {schedule.iterations:,} iterations of "
        f"{config.optimizer.batch} images, drops at {drops}; seed {config.seed}",
        "data": f"{dataset.label}: {len(dataset.train_labels):,} training and "
        f"{len(dataset.test_labels):,} {unseen} images",
        "precision": f"{environment['precision']} (runtime.precision={config.runtime.precision})",
        "device": f"{', '.join(devices)}, {threads} thread{'s' * (threads > 1)}",
        "folder": shown(folder.path),
    }.items():
        say(f"{name:<10}{text}")


def _tracker(setting: Setting, folder: RunFolder, learner: Learner, resumed: bool) -> Tracker:
    config, noted = learner.config, folder.manifest()
    # What the configuration leaves open (`precision: auto`), to filter by.
    settled = ("parameters", "precision", "git_commit", "dataset")
    return Tracker(
        mode=config.tracking.mode,
        project=config.tracking.project,
        folder=folder.path,
        run_id=noted["wandb_id"],
        name=f"{setting.folder(Path()).parent.name} {setting.schedule} seed{setting.seed}",
        group=config.tracking.group,
        job_type="train",
        tags=[config.model.name, config.schedule.name, noted["precision"], config.data.name],
        config=recorded(config) | {key: noted[key] for key in settled},
        resumed=resumed,
        rows=learner.meter.rows,
    )
