"""After training: a saved network on the images that its run was tested on.

While a run trains, `Learner.evaluate` evaluates.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from degradation import load_network
from degradation.config import ROOT, option_values, shown
from degradation.data import Dataset, load_dataset
from degradation.errors import UserError
from degradation.records.machine import describe_machine
from degradation.records.run_folder import RunFolder
from degradation.setting import Setting
from degradation.training.devices import set_up, threads_for
from degradation.training.steps import EVALUATION_BATCH, cross_entropy


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy, error in percent, rows as `errors_by_class` has them, on which data."""

    loss: float
    error: float
    classes: list[dict[str, Any]]
    images: int
    data: str
    same_data: bool  # as in training, by fingerprint


def evaluate(folder: RunFolder, data_dir: str | None = None) -> Evaluation:
    """Evaluate `model.keras` of a run on its test images, or on the held-out ones if it had such.

    The precision is that of the run. The data are looked for where a run would find them now, or in
    `data_dir` alone: records do not say where they were. Raises `UserError` if there is no finished
    run, for a network that is missing, damaged or would run code, and for bad data.
    """
    manifest = folder.manifest()
    lacking = [n for n in ("model.keras", "mean.npy") if not (folder.path / n).is_file()]
    if manifest.get("status") != "complete" or lacking:
        name = lacking[0] if lacking else "model.keras"
        raise UserError(
            f"run_dir={shown(folder.path)}: needs a finished run with its {name}; status here: "
            f"{manifest.get('status', 'no run')}"
        )
    config = folder.config()
    try:
        setting = Setting.of(config)
        precision, fingerprint = manifest["precision"], manifest["dataset"]["fingerprint"]
    except (KeyError, UserError) as error:
        reason = f"missing: {error}" if isinstance(error, KeyError) else error
        raise UserError(
            f"run_dir={shown(folder.path)}: needs config.yaml and manifest.json as a run of "
            f"this version writes them; {reason}"
        ) from error
    values = setting.values
    options = {
        key.removeprefix("data."): value
        for key, value in (option_values("data", values["data.name"]) | values).items()
        if key.startswith("data.")
    }
    if data_dir is not None:
        if "dir" not in options:
            raise UserError(
                f"data.dir={data_dir}: allowed: null, for a run on {options['name']} data"
            )
        options["dir"] = data_dir
    dataset = load_dataset(**options, root=ROOT)

    set_up(precision, threads_for(1, describe_machine()["cores"]), setting.seed)
    # The warnings: an error that says the same follows.
    with warnings.catch_warnings(action="ignore"):
        network = load_network(folder.path)
    takes, gives = network.input_shape[1:], network.output_shape[1:]
    expected = (values["model.classes"],)
    if gives != expected:
        raise UserError(
            f"{shown(folder.path)}: model.keras cannot be loaded: it goes from {takes} to "
            f"{gives}, not {takes} to {expected}"
        )
    labels = dataset.test_labels
    logits = network.predict(dataset.test_images, EVALUATION_BATCH, verbose=0)
    losses, predictions = cross_entropy(labels, logits).numpy(), logits.argmax(axis=1)
    return Evaluation(
        loss=float(np.mean(losses, dtype=np.float64)),
        error=100.0 * int(np.sum(predictions != labels)) / len(labels),
        classes=errors_by_class(predictions, dataset),
        images=len(labels),
        data=dataset.label,
        same_data=dataset.fingerprint == fingerprint,
    )


def errors_by_class(predictions: np.ndarray, dataset: Dataset) -> list[dict[str, Any]]:
    """Rows of classes.csv: each class, how many of the test images are of it, and their error.

    `predictions` has integers `[n]`. Errors are percent; None for a class without images.
    """
    rows = []
    for number, name in enumerate(dataset.classes):
        of_class = predictions[dataset.test_labels == number]
        wrong, images = int(np.sum(of_class != number)), len(of_class)
        error = 100.0 * wrong / images if images else None
        rows.append({"class": name, "images": images, "error": error})
    return rows
