"""After training: a saved network on the images that its run was tested on.

While a run trains, `Learner.evaluate` evaluates.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import degradation.models  # noqa: F401  lets Keras read the layers of saved networks
from degradation.config import ROOT, option_values, relative
from degradation.data import Dataset, load_dataset
from degradation.errors import UserError
from degradation.records.machine import describe_machine
from degradation.records.run_folder import RunFolder
from degradation.setting import Setting
from degradation.training.devices import set_up, threads_for
from degradation.training.protocol import parts_of
from degradation.training.steps import make_evaluation


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
    path = folder.path / "model.keras"
    if manifest.get("status") != "complete" or not path.is_file():
        raise UserError(
            f"run_dir={relative(folder.path)}: needs a finished run with its model.keras; status "
            f"here: {manifest.get('status', 'no run')}"
        )
    config = folder.config()
    try:
        setting = Setting.of(config)
        precision, fingerprint = manifest["precision"], manifest["dataset"]["fingerprint"]
    except (KeyError, UserError) as error:
        reason = f"missing: {error}" if isinstance(error, KeyError) else error
        raise UserError(
            f"run_dir={relative(folder.path)}: needs config.yaml and manifest.json as a run of "
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

    parts = parts_of(values["optimizer.batch"], values["optimizer.ghost_batch"])
    set_up(precision, threads_for(parts, describe_machine()["cores"]), setting.seed)
    model = _load(path, values["model.classes"])
    labels = dataset.test_labels
    losses, predictions = make_evaluation(
        model, dataset.test_images, labels, dataset.mean_image, parts
    )()
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

    `predictions` is int32 `[n]`. Errors are percent; None for a class without images.
    """
    rows = []
    for number, name in enumerate(dataset.classes):
        of_class = predictions[dataset.test_labels == number]
        wrong, images = int(np.sum(of_class != number)), len(of_class)
        error = 100.0 * wrong / images if images else None
        rows.append({"class": name, "images": images, "error": error})
    return rows


def _load(path: Path, classes: int) -> keras.Model:
    """Load a model of so many classes; raises `UserError`, whatever else the file holds."""
    try:
        # The warnings: an error that says the same follows.
        with warnings.catch_warnings(action="ignore"):
            model = keras.models.load_model(path, compile=False, safe_mode=True)
        shapes = model.input_shape[1:], model.output_shape[1:]
        expected = (32, 32, 3), (classes,)
        if shapes != expected:
            raise ValueError("it goes from {} to {}, not {} to {}".format(*shapes, *expected))
    except Exception as error:  # whatever Keras trips over, the file is not one that a run wrote
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{relative(path)} cannot be loaded: {reason}") from error
    return model
