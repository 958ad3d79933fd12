"""What this repository's update is measured against, in Keras.

Each contender gives a function that makes one update on one batch and waits until it is done.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from omegaconf import DictConfig, OmegaConf

from degradation.data import Dataset
from degradation.data.pipeline import PADDING, SCALE
from degradation.models.layers import BatchNormalization, Conv2D, ZeroPadShortcut
from degradation.models.networks import build_model
from degradation.training.learner import Learner
from degradation.training.steps import make_learn

Step = Callable[[], None]


def stock_keras(config: DictConfig, dataset: Dataset) -> Step:
    """The network in stock Keras layers, fed by a per-image `tf.data` map, as in tutorials."""
    model = stock_network(build_model(**OmegaConf.to_container(config.model)))
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    size, mean = dataset.train_images.shape[1], tf.constant(dataset.mean_image)

    def augment(image, label):
        image = (tf.cast(image, tf.float32) - mean) / SCALE
        image = tf.image.resize_with_crop_or_pad(image, size + 2 * PADDING, size + 2 * PADDING)
        image = tf.image.random_crop(image, [size, size, 3])
        return tf.image.random_flip_left_right(image), label

    batches = (
        tf.data.Dataset.from_tensor_slices((dataset.train_images, dataset.train_labels))
        .shuffle(10_000)
        .repeat()
        .map(augment, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(config.optimizer.batch, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )
    iterator = iter(batches)
    model.make_train_function()
    # What `fit` calls for each batch.
    return lambda: float(model.train_function(iterator)["loss"])


def constant_batch(config: DictConfig, dataset: Dataset) -> Step:
    """This repository's update alone, on one batch that is ready, with nothing counted."""
    learner = Learner(config, dataset)
    batch = config.optimizer.batch
    images = tf.random.stateless_normal([batch, *dataset.train_images.shape[1:]], seed=[0, 0])
    labels = tf.constant(np.resize(dataset.train_labels, batch))
    learn = make_learn(learner.model, learner.optimizer, learner.parts)
    parts = (tf.split(x, learner.parts) for x in (images, labels))
    ready = list(zip(*parts, strict=True))
    update = tf.function(lambda: learn(ready)[0])
    return lambda: float(update())


def stock_network(network: keras.Model) -> keras.Model:
    """Build the same network of Keras' own layers, with freshly drawn weights."""
    return keras.models.clone_model(network, clone_function=_stock_layer)


def _stock_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    if isinstance(layer, ZeroPadShortcut):
        stride, new = layer.stride, layer.filters - layer.input.shape[-1]
        padding = [[0, 0], [0, 0], [0, 0], [new // 2, new - new // 2]]
        return keras.layers.Lambda(
            lambda x: keras.ops.pad(x[:, ::stride, ::stride], padding), name=layer.name
        )
    stock = {Conv2D: keras.layers.Conv2D, BatchNormalization: keras.layers.BatchNormalization}
    return stock.get(type(layer), type(layer)).from_config(layer.get_config())
