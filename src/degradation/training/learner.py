"""A network in training: everything that an update changes, and that a checkpoint brings back."""

import math
import time

import keras
import numpy as np
from omegaconf import DictConfig, OmegaConf

from degradation.data import Dataset
from degradation.data.pipeline import Sampler
from degradation.errors import UserError
from degradation.models import build_model
from degradation.models.summary import summarize
from degradation.records.checkpoints import Checkpoint
from degradation.training.meter import Meter
from degradation.training.protocol import SGD, LearningRate, parts_of
from degradation.training.steps import make_averaging, make_evaluation, make_update


class Diverged(UserError):
    """The loss is not a finite number: the run cannot go on, and came out so."""


class Learner:
    """Model, optimiser, learning rate and counts of one run, taken from its configuration.

    `set_up` of `devices` must have been called: precision, threads and seed come from there.
    """

    def __init__(self, config: DictConfig, dataset: Dataset):
        self.config, self.dataset = config, dataset
        self.model = build_model(**OmegaConf.to_container(config.model))
        self.parameters = summarize(self.model).parameters
        optimizer, warmup = config.optimizer, config.optimizer.warmup
        # Whole numbers are allowed, and Keras takes none.
        rate, momentum, l2 = (float(optimizer[k]) for k in ("rate", "momentum", "weight_decay"))
        self.optimizer = SGD(rate, momentum, l2=l2, decay=optimizer.decay)
        deep = config.model.get("depth", 0) >= warmup.min_depth
        warmup_rate = warmup.rate if deep else None
        drops = list(config.schedule.drops)
        self.rate = LearningRate(optimizer.rate, drops, warmup_rate, warmup.until_error)
        self.sampler = Sampler(len(dataset.train_labels), optimizer.batch, config.seed)
        self.meter = Meter()
        self.measured = "val" if config.data.holdout else "test"
        self.parts = parts = parts_of(optimizer.batch, optimizer.ghost_batch)
        pools = any(isinstance(x, keras.layers.MaxPooling2D) for x in self.model.layers)
        # XLA has no deterministic gradient of max-pooling.
        self.xla = config.runtime.get("xla", False) and not pools
        self._update = make_update(self.model, self.optimizer, dataset, parts, self.xla)
        self._average = make_averaging(self.model, dataset, parts)
        self._evaluate = make_evaluation(
            self.model, dataset.test_images, dataset.test_labels, dataset.mean_image, parts
        )
        self._current_rate: float | None = None  # of the last update that this process made
        self._warm = False  # whether this process has traced the update yet

    def update(self) -> float:
        """Make the next update and count it; return its learning rate.

        Raises `Diverged` if the loss, before the update, is not a finite number.
        """
        iteration, batch = self.meter.iteration, self.sampler.batch
        rate = self.rate(iteration)
        if rate != self._current_rate:
            self.optimizer.learning_rate = self._current_rate = rate
        began = time.perf_counter()
        loss, wrong = self._update(self.sampler.plan(iteration))
        seconds = time.perf_counter() - began
        self.meter.count(loss, wrong, batch, seconds if self._warm else None)
        self._warm = True
        self._check_finite(loss, "loss")
        self.rate.observe(100.0 * wrong / batch)
        return rate

    def evaluate(self) -> dict[str, float]:
        """Evaluate on all test (or held-out) images and close the row that began after the last.

        The moving averages are set to moments averaged over training batches, for this and for the
        model that is saved; training reads none. Raises `Diverged` if the loss is not a finite
        number: an update that breaks the network shows in the loss after it.
        """
        self._average(self.sampler.plan_averaging(self.meter.iteration))
        losses, predictions = self._evaluate()
        loss = float(np.mean(losses, dtype=np.float64))
        self._check_finite(loss, f"{self.measured} loss")
        wrong = int(np.sum(predictions != self.dataset.test_labels))
        return self.meter.close_row(
            epoch=self.meter.iteration * self.sampler.batch / self.sampler.size,
            rate=self._current_rate,
            **{
                f"{self.measured}_loss": loss,
                f"{self.measured}_error": 100.0 * wrong / len(losses),
            },
        )

    def predict(self) -> np.ndarray:
        """Classes of all test (or held-out) images, int32 `[n]`, by the moments of `evaluate`."""
        return self._evaluate()[1]

    def checkpoint(self) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays and JSON state from which `restore` continues, to the last bit."""
        arrays = {name: variable.numpy() for name, variable in self._variables().items()}
        return arrays, {"meter": self.meter.state(), "rate": self.rate.state()}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint of the same configuration.

        Raises `UserError` if it lacks something: another version of the program wrote it.
        """
        try:
            for name, variable in self._variables().items():
                variable.assign(checkpoint.arrays[name])
            self.meter = Meter(**checkpoint.state["meter"])
            self.rate.restore(checkpoint.state["rate"])
        except (LookupError, TypeError, ValueError) as error:
            raise UserError(
                f"the checkpoint of iteration {checkpoint.iteration} is not one that this version "
                "of the program writes; overwrite=true trains the run again"
            ) from error
        self._current_rate = None  # the optimiser now has the one it was saved with

    def _check_finite(self, loss: float, name: str) -> None:
        if not math.isfinite(loss):
            raise Diverged(
                f"the {name} is {loss} at iteration {self.meter.iteration}; the last learning rate "
                f"was {self._current_rate:g}",
                exit_code=1,
            )

    def _variables(self) -> dict[str, keras.Variable]:
        # Moving averages and momenta included. Numbered: paths differ from process to process.
        variables = [*self.model.variables, *self.optimizer.variables]
        return {f"{number:04d}": variable for number, variable in enumerate(variables)}
