"""The graphs of a run: an update, the moments to test with, a pass over the test images.

All of them compute a batch in parts: each is normalised by its own moments, and none waits for
another, so that a core each computes them side by side.
"""

import functools
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from keras.optimizers import Optimizer

from degradation.data import Dataset
from degradation.data.pipeline import BatchPlan, augment, preprocess
from degradation.errors import UserError

EVALUATION_BATCH = 500  # images; no influence on the result

_PLAN = [  # how a graph is given a `BatchPlan`
    tf.TensorSpec([None], tf.int32),
    tf.TensorSpec([None, 2], tf.int32),
    tf.TensorSpec([None], tf.bool),
]


def make_update(
    model: keras.Model, optimizer: Optimizer, dataset: Dataset, parts: int = 1, xla: bool = False
) -> Callable[[BatchPlan], tuple[float, int]]:
    """Compile one update of `model` by `optimizer` on a planned batch of augmented images.

    The result is called with a `BatchPlan`, whose batch it cuts into equal `parts`, in the plan's
    order; it gives the batch's mean cross-entropy, without the L2 term, and how many of its images
    were classified wrongly, both before the update. `make_learn` says how it learns.
    """
    learn = make_learn(model, optimizer, parts, xla)
    cut = _make_cut(dataset, parts)

    @tf.function(input_signature=_PLAN)
    def update(*plan):
        return learn(cut(*plan))

    def run(plan: BatchPlan) -> tuple[float, int]:
        loss, wrong = update(*plan)
        return float(loss), int(wrong)

    return run


def make_learn(
    model: keras.Model, optimizer: Optimizer, parts: int = 1, xla: bool = False
) -> Callable[[Iterator[tuple[tf.Tensor, tf.Tensor]]], tuple[tf.Tensor, tf.Tensor]]:
    """Make what updates `model`, inside a graph, by the mean of the gradients of equal `parts`.

    It is given each part's preprocessed images `[n, 32, 32, 3]` and int32 labels `[n]`. A part has
    batch normalisation's moments of its own (ghost batch normalisation, Hoffer et al. 2017; so,
    presumably, He et al. 2015 on two GPUs). The gradient is that of the mean
    cross-entropy and of the losses of the model's own layers, if they have any; what is not
    trainable, such as moving averages, stays as it is. It gives the mean cross-entropy and how many
    images were classified wrongly. With `xla`, XLA compiles what comes before the update.

    Raises `UserError` for a model with random layers: they would draw the same at every update;
    and with a batch normalisation within another layer: nothing would set its moving averages.
    """
    paths = [v.path for v in model.non_trainable_variables]
    if any("seed_generator" in path for path in paths):
        raise UserError(f"model={model.name}: allowed: no random layers, such as Dropout")
    if sum("moving_mean" in path for path in paths) > len(normalizations(model)):
        raise UserError(
            f"model={model.name}: allowed: batch normalisations in model.layers alone, none within "
            "another layer or model"
        )
    weights = model.trainable_variables
    optimizer.build(weights)

    def differentiate(values, averages, images, labels):
        with tf.GradientTape() as tape:
            tape.watch(values)
            # Stateless: parts that assigned moving averages would have to take turns.
            logits, _, declared = model.stateless_call(
                values, averages, images, training=True, return_losses=True
            )
            loss = tf.reduce_mean(cross_entropy(labels, logits))
            total = sum(declared, start=loss)  # such as a kernel's regulariser; most have none
        wrong = tf.math.count_nonzero(tf.argmax(logits, -1, tf.int32) != labels, dtype=tf.int32)
        return tape.gradient(total, values), loss, wrong

    differentiate = _side_by_side(differentiate, parts, xla)

    def learn(batch):
        state = state_of(model)
        gradients, losses, wrong = zip(*(differentiate(*state, *x) for x in batch), strict=True)
        mean = [tf.add_n(of_parts) / parts for of_parts in zip(*gradients, strict=True)]
        optimizer.apply(mean, weights)
        return tf.add_n(losses) / parts, tf.add_n(wrong)

    return learn


def make_averaging(
    model: keras.Model, dataset: Dataset, parts: int = 1
) -> Callable[[list[BatchPlan]], None]:
    """Compile what sets the moving averages of `model` to moments averaged over batches.

    The result is called with the plans of these batches. It takes the mean and the biased variance
    by which each batch normalisation normalises each of the `parts` in training, and puts their
    averages over all parts in place of its moving averages ("strictly computed using average (not
    moving average)", the authors' deep-residual-networks README).
    """
    averages, moments_of = make_moments(model)
    if not averages:
        return lambda plans: None
    cut = _make_cut(dataset, parts)
    measure = _side_by_side(lambda *given: tf.concat(moments_of(*given), axis=0), parts)

    @tf.function(input_signature=_PLAN)
    def moments(*plan):
        values, before = state_of(model)
        zeros = [tf.zeros_like(x) for x in before]
        return [measure(values, zeros, images) for images, _ in cut(*plan)]

    def run(plans: list[BatchPlan]) -> None:
        of_parts = [part for plan in plans for part in moments(*plan)]
        mean = np.mean(of_parts, axis=0, dtype=np.float64).astype(np.float32)
        ends = np.cumsum([average.shape[0] for average in averages])
        for average, moment in zip(averages, np.split(mean, ends[:-1]), strict=True):
            average.assign(moment)

    return run


def make_moments(model: keras.Model) -> tuple[list[keras.Variable], Callable[..., list[tf.Tensor]]]:
    """List the moving averages of `model`, and make what measures, in a graph, a batch's moments.

    It is given the values of the trainable variables, zeros for the others, and images. For each of
    the averages, in order, it gives the mean or biased variance `[channels]` by which its batch
    normalisation normalises these images in training.
    """
    norms = normalizations(model)
    averages = [average for x in norms for average in (x.moving_mean, x.moving_variance)]
    shares = [1.0 - x.momentum for x in norms for _ in range(2)]
    places = {id(v): place for place, v in enumerate(model.non_trainable_variables)}

    def moments(values, zeros, images):
        _, after = model.stateless_call(values, zeros, images, training=True)
        # One step of a moving average that begins at 0 gives the moment, times its share.
        moved = [after[places[id(average)]] for average in averages]
        return [x / share for x, share in zip(moved, shares, strict=True)]

    return averages, moments


def normalizations(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """List the batch normalisations among the model's own layers."""
    return [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]


def make_evaluation(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, mean: np.ndarray, parts: int = 1
) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    """Compile the evaluation of `model` on the one original view of each image.

    `images` is uint8 `[n, 32, 32, 3]`, `labels` int32 `[n]`, `mean` the training set's mean image.
    As many batches are computed side by side as an update has `parts`. The result gives, for every
    image in order, the cross-entropy (float32 `[n]`) and the predicted class (int32 `[n]`).
    """
    images, labels, mean = tf.constant(images), tf.constant(labels), tf.constant(mean)

    def classify(values, averages, images, labels):
        images = preprocess(images, mean)
        logits, _ = model.stateless_call(values, averages, images, training=False)
        return cross_entropy(labels, logits), tf.argmax(logits, -1, tf.int32)

    classify = _side_by_side(classify, parts)

    @tf.function
    def evaluate(starts):
        state = state_of(model)
        # The last one ends with the images.
        slices = [slice(start, start + EVALUATION_BATCH) for start in tf.unstack(starts)]
        results = [classify(*state, images[s], labels[s]) for s in slices]
        losses, predictions = zip(*results, strict=True)
        return tf.concat(losses, axis=0), tf.concat(predictions, axis=0)

    def run() -> tuple[np.ndarray, np.ndarray]:
        starts = np.arange(0, len(labels), EVALUATION_BATCH, np.int32)
        groups = [starts[k : k + parts] for k in range(0, len(starts), parts)]
        results = [evaluate(tf.constant(group)) for group in groups]
        losses, predictions = zip(*results, strict=True)
        return np.concatenate(losses), np.concatenate(predictions)

    return run


@functools.lru_cache(maxsize=1)  # a constant is a copy of all images
def _make_cut(dataset: Dataset, parts: int) -> Callable[..., Iterator[tuple[tf.Tensor, tf.Tensor]]]:
    """Make what yields a planned batch of `dataset` in equal parts: augmented images and labels."""
    with tf.device("CPU:0"):  # where all images are: a GPU gets those of its batch alone
        images, labels = tf.constant(dataset.train_images), tf.constant(dataset.train_labels)
    mean = tf.constant(dataset.mean_image)

    def cut(*plan):
        for indices, offsets, flips in zip(*(tf.split(x, parts) for x in plan), strict=True):
            with tf.device("CPU:0"):
                chosen, answers = tf.gather(images, indices), tf.gather(labels, indices)
            yield augment(preprocess(chosen, mean), offsets, flips), answers

    return cut


def _side_by_side(function: Callable, parts: int, xla: bool = False) -> Callable:
    """Trace `function` once, so that each of several `parts` calls of it in a graph has one core.

    A part is then run op by op on one thread, where ops on several threads would wait for the
    slowest; whoever sets the threads (`devices.set_up`) sees to it that there is one for each.
    """
    if parts == 1:
        return tf.function(function, jit_compile=xla)
    traced = tf.function(function, jit_compile=xla, experimental_attributes={"_noinline": not xla})

    def call(*arguments):
        with tf.experimental.function_executor_type("SINGLE_THREADED_EXECUTOR"):
            return traced(*arguments)

    return call


def state_of(model: keras.Model) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Values of the trainable variables and of the others, as `stateless_call` takes them."""
    return tuple(
        [tf.convert_to_tensor(variable.value) for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    )


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of each image, `[n]`, of int labels `[n]` and logits `[n, classes]`."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
