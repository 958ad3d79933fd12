"""The two graphs of a run: one update, and one pass over the test images."""

from collections.abc import Callable
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from degradation.data import Dataset
from degradation.data.pipeline import BatchPlan, augment, mean_image, preprocess

EVALUATION_BATCH = 500  # images; no influence on the result


def make_update(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    dataset: Dataset,
    xla: bool = False,
) -> Callable[[BatchPlan], tuple[float, int]]:
    """Compile one update of `model` by `optimizer` on a planned batch of augmented images.

    The result is called with a `BatchPlan`; it gives the batch's mean cross-entropy, without the L2
    term, and how many of its images were classified wrongly, both before the update. Under a
    `tf.distribute` strategy each replica takes an equal part of the batch, in the plan's order, and
    normalises it by its own moments; the update is by the mean of the replicas' gradients. With
    `xla`, XLA compiles what comes before the gradients are put together.
    """
    strategy = tf.distribute.get_strategy()
    with tf.device("CPU:0"):
        images = tf.constant(dataset.train_images)
        labels = tf.constant(dataset.train_labels)
    mean = tf.constant(mean_image(dataset.train_images))
    optimizer.build(model.trainable_variables)
    learn_from = make_xla_learn(model, optimizer) if xla else partial(learn, model, optimizer)

    def on_replica(*plan):
        indices, offsets, flips = map(part_of_replica, plan)
        with tf.device("CPU:0"):  # where all images are: a GPU gets those of its batch alone
            chosen, answers = tf.gather(images, indices), tf.gather(labels, indices)
        return learn_from(augment(preprocess(chosen, mean), offsets, flips), answers)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, 2], tf.int32),
            tf.TensorSpec([None], tf.bool),
        ]
    )
    def update(indices, offsets, flips):
        losses, wrong = strategy.run(on_replica, (indices, offsets, flips))
        loss = strategy.reduce(tf.distribute.ReduceOp.MEAN, losses, axis=None)
        return loss, strategy.reduce(tf.distribute.ReduceOp.SUM, wrong, axis=None)

    def run(plan: BatchPlan) -> tuple[float, int]:
        loss, wrong = update(*plan)
        return float(loss), int(wrong)

    return run


def learn(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, images: tf.Tensor, labels: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Update `model` on preprocessed images `[batch, 32, 32, 3]` and int32 labels `[batch]`.

    It learns by the mean cross-entropy and the losses of its own layers, if they have any. Gives
    the mean cross-entropy and how many images were classified wrongly, both scalars. On one
    of several replicas these are of its images, and the optimiser adds up what each contributes.
    """
    weights = model.trainable_variables
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        loss = tf.reduce_mean(_cross_entropy(labels, logits))
        # Terms that layers declare, such as a kernel's regulariser; most networks have none.
        total = sum(model.losses, start=loss)
        scaled = optimizer.scale_loss(total / replicas)
    optimizer.apply(tape.gradient(scaled, weights), weights)
    return loss, _count_wrong(labels, logits)


def make_xla_learn(
    model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Make what `learn` does of images and labels, compiled by XLA up to the gradients.

    XLA can neither communicate with other replicas nor, then, assign: it gets the variables'
    values, and gives gradients and moving averages back.
    """
    weights, averages = model.trainable_variables, model.non_trainable_variables

    @tf.function(jit_compile=True)
    def differentiate(weights, averages, images, labels, scale):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            logits, averages, further = model.stateless_call(
                weights, averages, images, training=True, return_losses=True
            )
            loss = tf.reduce_mean(_cross_entropy(labels, logits))
            scaled = sum(further, start=loss) * scale
        return tape.gradient(scaled, weights), averages, loss, _count_wrong(labels, logits)

    def learn_from(images, labels):
        share = tf.constant(1.0 / tf.distribute.get_strategy().num_replicas_in_sync)
        values = [[tf.convert_to_tensor(v.value) for v in group] for group in (weights, averages)]
        gradients, moved, loss, wrong = differentiate(
            *values, images, labels, optimizer.scale_loss(share)
        )
        optimizer.apply(gradients, weights)
        for average, value in zip(averages, moved, strict=True):
            average.assign(value)
        return loss, wrong

    return learn_from


def part_of_replica(batch: tf.Tensor) -> tf.Tensor:
    """Return the replica's part of a batch: all of it where there is one, else an equal share."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return batch
    size = tf.shape(batch)[0] // context.num_replicas_in_sync
    start = size * context.replica_id_in_sync_group
    return batch[start : start + size]


def make_evaluation(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, mean: np.ndarray
) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    """Compile the evaluation of `model` on the one original view of each image.

    `images` is uint8 `[n, 32, 32, 3]`, `labels` int32 `[n]`, `mean` the training set's mean image.
    The result gives, for every image in order, the cross-entropy (float32 `[n]`) and the predicted
    class (int32 `[n]`).
    """
    images, labels, mean = tf.constant(images), tf.constant(labels), tf.constant(mean)

    @tf.function
    def evaluate(start, stop):
        logits = model(preprocess(images[start:stop], mean), training=False)
        return _cross_entropy(labels[start:stop], logits), tf.argmax(logits, -1, tf.int32)

    def run() -> tuple[np.ndarray, np.ndarray]:
        total = len(labels)
        starts = range(0, total, EVALUATION_BATCH)
        parts = [
            evaluate(tf.constant(s), tf.constant(min(s + EVALUATION_BATCH, total))) for s in starts
        ]
        losses, predictions = zip(*parts, strict=True)
        return np.concatenate(losses), np.concatenate(predictions)

    return run


def _cross_entropy(labels, logits):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def _count_wrong(labels, logits):
    return tf.math.count_nonzero(tf.argmax(logits, -1, tf.int32) != labels, dtype=tf.int32)
