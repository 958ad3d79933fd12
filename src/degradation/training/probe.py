"""What every convolution of a network in training is like, at a few updates: `probe=layers`."""

from collections import defaultdict

import keras
import numpy as np
import tensorflow as tf

from degradation.data import Dataset
from degradation.data.pipeline import preprocess
from degradation.models.summary import convolutions, on_shortcut
from degradation.training.steps import cross_entropy, make_moments, state_of

UPDATES = (0, 1, 2, 5, 10, 20, 50, 100, 200, 400, 800, 1600, 4000, 8000, 16_000)
"""After how many updates there are measurements: most of them where weights change fastest."""

IMAGES = 512
PERTURBED = 64  # of them; the others' moments normalise these
NOISE = 0.05  # standard deviation, of preprocessed pixels


class Probe:
    """Measurements of a network in training, which stays as it is, to the last bit.

    They are of the first `IMAGES` training images, as they are, in one batch that is normalised by
    its own moments, in the precision of the training. The `model` that a probe is made of must have
    its initial weights, with which later ones are compared.
    """

    def __init__(self, model: keras.Model, dataset: Dataset):
        found = [model.get_layer(row["layer"]) for row in convolutions(model)]
        self._kernels = {layer.name: layer.kernel for layer in found}
        self._initial = {name: kernel.numpy() for name, kernel in self._kernels.items()}
        readers = _readers(model)
        relus = {x.name: _relu_after(x, readers) for x in found if not on_shortcut(x)}
        relus = {name: relu for name, relu in relus.items() if relu}
        self._activated = list(relus)
        self._model = model
        self._open = keras.Model(  # the same network, which also gives what is in it
            model.input, [model.output, *(layer.output for layer in (*found, *relus.values()))]
        )
        images = tf.constant(dataset.train_images[:IMAGES])
        self._images = preprocess(images, dataset.mean_image)
        self._labels = tf.constant(dataset.train_labels[:IMAGES])

    def measure(self, update: int, rate: float) -> list[dict]:
        """Give the rows of probe.csv after `update` updates; `rate` is that of the next one.

        A row a convolution, in the order of layers.csv:

        - `kernel_norm`, `response_std`: as in layers.csv. All norms are Euclidean.
        - `kernel_gradient_norm`, `output_gradient_norm`: of the gradient of the mean cross-entropy
          with respect to the kernel, and to the convolution's output on all images.
        - `relative_step`: rate·‖gradient‖/‖kernel‖, without momentum and decay.
        - `cosine`: of the angle between the kernel and the initial one.
        - `dead_share`: the share of channels whose ReLU is above 0 nowhere in any image.
        - `effective_rank` of the ReLU's output as a matrix [images, height·width·channels]: the
          exponential of the entropy of its singular values, which are divided by their sum (Roy and
          Vetterli 2007). Rounding makes it at least about 1.3.
        - `channel_rank`: the same of the matrix [images·height·width, channels], less each
          channel's mean: how many channels are not alike, nor sums of others.

        The ReLU is the first after the convolution, in residual blocks after the addition; the last
        three are of the main path alone. Then a row with `layer` = `network`:

        - `loss`: the mean cross-entropy.
        - `shattering` (after Balduzzi et al. 2017): the mean cosine between the gradients of the
          true logit with respect to an image and to the image with noise, where other images'
          moments are fixed; over the images that have a gradient. Computed on the processor.

        What a row lacks, or is None, does not apply; what is not finite is NaN or infinite.
        """
        loss, measured = tf.nest.map_structure(float, self._look_at_layers())
        rows = []
        with np.errstate(all="ignore"):  # of a network that has just diverged
            for row in convolutions(self._model):
                name, norm = row["layer"], row["kernel_norm"]
                gradient = measured[name]["kernel_gradient_norm"]
                relative_step = float(np.divide(rate * gradient, norm))
                cosine = _cosine(self._kernels[name].numpy(), self._initial[name])
                seen = measured[name] | {"relative_step": relative_step, "cosine": cosine}
                rows.append({"update": update, **row, **seen})
        # A GPU has no deterministic gradient of batch normalisation by fixed moments.
        with tf.device("CPU:0"):
            shattering = float(self._look_at_noise())
        network = {"layer": "network", "loss": loss, "shattering": shattering}
        return [*rows, {"update": update, **network}]

    @tf.function
    def _look_at_layers(self):
        """The loss; and by each convolution's name what is of its gradients and of its ReLU."""
        values, averages = state_of(self._open)
        places = {id(v): place for place, v in enumerate(self._open.trainable_variables)}
        kernels = [values[places[id(kernel)]] for kernel in self._kernels.values()]
        with tf.GradientTape() as tape:
            tape.watch(kernels)
            (logits, *outputs), _ = self._open.stateless_call(
                values, averages, self._images, training=True
            )
            loss = tf.reduce_mean(cross_entropy(self._labels, logits))
        responses, activations = outputs[: len(kernels)], outputs[len(kernels) :]
        gradients = zip(*tape.gradient(loss, [kernels, responses]), strict=True)
        measured = {
            name: {"kernel_gradient_norm": _norm(kernel), "output_gradient_norm": _norm(response)}
            for name, (kernel, response) in zip(self._kernels, gradients, strict=True)
        }
        for name, x in zip(self._activated, activations, strict=True):
            measured[name] |= _look_at_features(x)
        return loss, measured

    @tf.function
    def _look_at_noise(self):
        """The mean cosine between gradients by images without noise and with it."""
        # Small synthetic data have fewer images.
        count = min(PERTURBED, len(self._images) // 2)
        clean, others = self._images[:count], self._images[count:]
        noise = np.random.default_rng(0).normal(0.0, NOISE, clean.shape).astype(np.float32)
        images = tf.concat([clean, clean + noise], axis=0)
        labels = tf.tile(self._labels[:count], [2])

        values, state = state_of(self._open)
        averages, moments_of = make_moments(self._open)
        moments = moments_of(values, [tf.zeros_like(x) for x in state], others)
        fixed = {id(average): x for average, x in zip(averages, moments, strict=True)}
        variables = self._open.non_trainable_variables
        state = [fixed.get(id(v), value) for v, value in zip(variables, state, strict=True)]
        with tf.GradientTape() as tape:
            tape.watch(images)
            (logits, *_), _ = self._open.stateless_call(values, state, images, training=False)
            answers = tf.gather(logits, labels, batch_dims=1)
        # An answer depends on its own image alone, so that each image has its own gradient.
        gradients = tf.reshape(tape.gradient(answers, images), [2, count, -1])
        one, other = tf.unstack(gradients / tf.norm(gradients, axis=-1, keepdims=True))
        cosines = tf.reduce_sum(one * other, axis=-1)
        # Behind a dead layer there is no gradient.
        return tf.reduce_mean(tf.boolean_mask(cosines, tf.math.is_finite(cosines)))


def _readers(model: keras.Model) -> dict[int, list[keras.layers.Layer]]:
    """The layers that read a tensor, by its identity, in the order of `model.layers`."""
    readers = defaultdict(list)
    for layer in model.layers:
        for tensor in keras.tree.flatten(layer.input):
            readers[id(tensor)].append(layer)
    return readers


def _relu_after(layer: keras.layers.Layer, readers: dict) -> keras.layers.ReLU | None:
    """The first ReLU after `layer`, if nothing but normalisations and additions is between."""
    for reader in readers[id(layer.output)]:
        if isinstance(reader, keras.layers.ReLU):
            return reader
        between = keras.layers.BatchNormalization, keras.layers.Add
        if isinstance(reader, between) and (relu := _relu_after(reader, readers)):
            return relu
    return None


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    one, other = (x.astype(np.float64).ravel() for x in (one, other))
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


def _norm(x: tf.Tensor) -> tf.Tensor:
    x = tf.cast(x, tf.float32)
    largest = tf.reduce_max(tf.abs(x))
    # Scaled: the squares of what is as small as 1e-20, or as large as 1e20, are no floats.
    return largest * tf.norm(tf.math.divide_no_nan(x, largest))


def _look_at_features(x: tf.Tensor) -> dict[str, tf.Tensor]:
    """What is of a ReLU's output `[n, height, width, channels]`; NaN if not all of it is finite."""
    x = tf.cast(x, tf.float32)
    x = tf.math.divide_no_nan(x, tf.reduce_max(x))  # scaled as in `_norm`
    rows, pixels = tf.reshape(x, [x.shape[0], -1]), tf.reshape(x, [-1, x.shape[-1]])
    mean = tf.reduce_mean(pixels, axis=0)
    dead = tf.reduce_mean(tf.cast(mean == 0.0, tf.float32))
    products = tf.matmul(pixels, pixels, transpose_a=True) / pixels.shape[0]
    return {
        "dead_share": tf.where(tf.reduce_all(tf.math.is_finite(mean)), dead, np.nan),
        "effective_rank": _effective_rank(tf.matmul(rows, rows, transpose_b=True)),
        "channel_rank": _effective_rank(products - mean[:, None] * mean),
    }


def _effective_rank(gram: tf.Tensor) -> tf.Tensor:
    """Effective rank of a matrix by its Gram matrix, which is small; NaN if that is not finite."""
    # Decomposing what is not finite is an error; zeros give 0/0.
    gram = tf.where(tf.reduce_all(tf.math.is_finite(gram)), gram, tf.zeros_like(gram))
    singular = tf.sqrt(tf.maximum(tf.linalg.eigvalsh(tf.cast(gram, tf.float64)), 0.0))
    share = singular / tf.reduce_sum(singular)
    return tf.exp(-tf.reduce_sum(tf.math.xlogy(share, share)))
