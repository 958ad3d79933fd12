"""The paper's training protocol: the optimiser's update and the learning rate of every update."""

import keras
import tensorflow as tf


class SGD(keras.optimizers.SGD):
    """SGD with momentum and L2 decay inside the gradient, as Caffe has it.

    Update: `v ← momentum·v − rate·(g + l2·w)`, then `w ← w + v`; the decay is on kernels alone
    (`decay="kernels"`: what has two dimensions or more) or on every trainable variable
    (`decay="all"`). Keras' own `weight_decay` shrinks the weights outside the velocity, which
    with momentum 0.9 is ten times weaker.
    """

    def __init__(self, learning_rate=0.1, momentum=0.9, *, l2=1e-4, decay="kernels"):
        super().__init__(learning_rate=learning_rate, momentum=momentum)
        self.l2 = l2
        self.decay = decay

    def update_step(self, gradient, variable, learning_rate):
        """Update one variable and, in the same op, its velocity."""
        if self.decay == "all" or len(variable.shape) > 1:
            gradient = gradient + self.l2 * variable
        if not self.momentums:
            super().update_step(gradient, variable, learning_rate)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[self._get_variable_index(variable)].value.handle,
            lr=learning_rate,
            grad=gradient,
            momentum=self.momentum,
        )


class LearningRate:
    """The rate of every update: divided by ten at each drop, preceded by the deep nets' warm-up.

    Updates count from 0: with a drop at 32,000, update 32,000 is the first at a tenth of the rate.
    The warm-up (section 4.2, 110 layers) keeps to its own rate until the training error, over
    windows of 100 updates, is below a threshold; it is never above the rate of that time. `state`
    and `restore` carry it over a resume.
    """

    WINDOW = 100  # updates

    def __init__(
        self, rate: float, drops: list[int], warmup_rate: float | None, until_error: float
    ):
        self.rate = rate
        self.drops = drops
        self.warmup_rate = warmup_rate
        self.until_error = until_error
        self.warming = warmup_rate is not None
        self._errors: list[float] = []

    def __call__(self, iteration: int) -> float:
        """Rate of update `iteration`, counted from 0."""
        rate = self.rate / 10 ** sum(iteration >= drop for drop in self.drops)
        return min(rate, self.warmup_rate) if self.warming else rate

    def observe(self, error: float) -> None:
        """Take the training error of the update just made, in percent; ends the warm-up."""
        if not self.warming:
            return
        self._errors.append(error)
        if len(self._errors) == self.WINDOW:
            self.warming = sum(self._errors) / self.WINDOW >= self.until_error
            self._errors = []

    def state(self) -> dict:
        """What a checkpoint needs to keep."""
        return {"warming": self.warming, "errors": self._errors}

    def restore(self, state: dict) -> None:
        """Continue from `state`."""
        self.warming, self._errors = state["warming"], list(state["errors"])


def parts_of(batch: int, ghost_batch: int | None) -> int:
    """Number of parts that a batch is computed in, `ghost_batch` images each (None: all in one)."""
    return batch // (ghost_batch or batch)
