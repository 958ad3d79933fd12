"""A saved network on the images that its run was tested on."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

import degradation.models  # noqa: F401  (lets Keras read the layers that a run saved)
from degradation.config import ROOT, relative
from degradation.data import load_dataset
from degradation.data.pipeline import mean_image
from degradation.errors import UserError
from degradation.records import RunFolder, describe_machine
from degradation.training.devices import set_up
from degradation.training.steps import make_evaluation


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy, error and error per class (both in percent), on which data."""

    loss: float
    error: float
    class_errors: dict[str, float]
    images: int
    data: str
    same_data: bool  # as in training, by fingerprint


def evaluate(folder: RunFolder, data_dir: str | None = None) -> Evaluation:
    """Evaluate `model.keras` of a run on its test images, or on the held-out ones if it had such.

    The precision is that of the run; `data_dir` replaces where its configuration finds the data.
    Raises `UserError` if there is no finished run or no saved network, or for bad data.
    """
    config, manifest = folder.config(), folder.manifest()
    path = folder.path / "model.keras"
    if manifest.get("status") != "complete" or not path.is_file():
        raise UserError(
            f"run_dir={relative(folder.path)}: needs a finished run with its model.keras; status "
            f"here: {manifest.get('status', 'no run')}"
        )
    settings: dict[str, Any] = dict(config["data"])
    holdout = settings.pop("holdout")
    if data_dir:
        settings["dir"] = data_dir
    dataset = load_dataset(**settings, root=ROOT).holdout(holdout)

    set_up(manifest["precision"], describe_machine()["cores"], config["seed"])
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, TypeError, KeyError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{relative(path)} cannot be loaded: {reason}") from error
    labels = dataset.test_labels
    losses, predictions = make_evaluation(
        model, dataset.test_images, labels, mean_image(dataset.train_images)
    )()
    wrong = predictions != labels
    return Evaluation(
        loss=float(np.mean(losses, dtype=np.float64)),
        error=_percent(wrong),
        class_errors={
            name: _percent(wrong[labels == number]) for number, name in enumerate(dataset.classes)
        },
        images=len(labels),
        data=dataset.label,
        same_data=dataset.fingerprint == manifest["dataset"]["fingerprint"],
    )


def _percent(wrong: np.ndarray) -> float:
    return 100.0 * int(np.sum(wrong)) / len(wrong) if len(wrong) else 0.0
