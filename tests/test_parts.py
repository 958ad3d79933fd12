"""A batch computed in parts: gradients and moments, by hand and in Keras' own layers; threads."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from processes import finish
from same_run import differences

from degradation.benchmark.contenders import stock_network
from degradation.data.pipeline import BatchPlan, Sampler, augment, preprocess
from degradation.models import build_model
from degradation.records.run_folder import RunFolder
from degradation.training.devices import threads_for
from degradation.training.protocol import SGD, parts_of
from degradation.training.steps import make_averaging, make_update


@pytest.fixture(scope="module")
def data(synthetic):
    """A hundred images of noise: in flat ones, what one pixel does at a ReLU's kink many do."""
    noise = np.random.default_rng(0).integers(0, 256, synthetic.train_images.shape, np.uint8)
    return replace(synthetic, train_images=noise)


def parts_of_batch(plan: BatchPlan, parts: int) -> list[BatchPlan]:
    return [BatchPlan(*part) for part in zip(*(np.split(x, parts) for x in plan), strict=True)]


def images_and_labels(data, plan: BatchPlan):
    images = preprocess(data.train_images[plan.indices], data.mean_image)
    augmented = augment(images, tf.constant(plan.offsets), tf.constant(plan.flips))
    return augmented, data.train_labels[plan.indices]


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_the_gradient_is_the_mean_of_the_parts(data, parts):
    """One part after the other, in Keras' own batch normalisation, gives the same.

    One of three small batches does: in some, rounding crosses a ReLU's kink.
    """
    for number in range(3):
        keras.utils.set_random_seed(number)
        model = build_model("resnet20", depth=8)
        stock = stock_network(model)
        assert {type(x).__module__.partition(".")[0] for x in stock.layers} == {"keras"}
        stock.set_weights(model.get_weights())
        plan = Sampler(100, 8, seed=0).plan(number)
        gradients, losses, wrong = [], [], 0
        for part in parts_of_batch(plan, parts):
            images, labels = images_and_labels(data, part)
            with tf.GradientTape() as tape:
                logits = stock(images, training=True)
                loss = tf.reduce_mean(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                )
            gradients.append(tape.gradient(loss, stock.trainable_variables))
            losses.append(float(loss))
            wrong += int(np.sum(np.argmax(logits, axis=-1) != labels))
        # The first velocity is minus gradient and decay, which is no part of the loss.
        optimizer, before = SGD(1.0, momentum=0.9, l2=0.1, decay="all"), stock.trainable_variables
        result = make_update(model, optimizer, data, parts)(plan)
        assert result == (pytest.approx(np.mean(losses), rel=1e-5), wrong)
        means = [np.mean(of_parts, axis=0) for of_parts in zip(*gradients, strict=True)]
        triples = zip(optimizer.momentums, means, before, strict=True)
        apart = max(
            np.linalg.norm(v + mean + 0.1 * w) / np.linalg.norm(mean) for v, mean, w in triples
        )
        if apart < 1e-5:
            break
    assert apart < 1e-5


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("momentum", [0.9, 0.99])
def test_moments_are_averaged_over_the_parts(data, parts, momentum):
    """Mean and biased variance of the first convolution's output, in numpy."""
    images = keras.Input((32, 32, 3))
    conv = keras.layers.Conv2D(4, 3, padding="same")
    norm = keras.layers.BatchNormalization(momentum=momentum)
    pooled = keras.layers.GlobalAveragePooling2D()(norm(conv(images)))
    model = keras.Model(images, keras.layers.Dense(10)(pooled))
    plans = Sampler(100, 16, seed=0).plan_averaging(5)
    make_averaging(model, data, parts)(plans)
    responses = [
        conv(images_and_labels(data, part)[0]).numpy()
        for plan in plans
        for part in parts_of_batch(plan, parts)
    ]
    assert len(responses) == len(plans) * parts == 6 * parts
    mean = np.mean([x.mean(axis=(0, 1, 2)) for x in responses], axis=0)
    variance = np.mean([x.var(axis=(0, 1, 2), dtype=np.float64) for x in responses], axis=0)
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-4)


def test_bits_follow_from_the_parts_and_not_from_the_threads(tmp_path):
    """One core computes the parts one after the other, two side by side, in any process alike."""
    threads = {"one": 1, "two": 2}
    runs = {name: RunFolder(tmp_path / name) for name in threads}
    for name, count in threads.items():
        finish(runs[name], f"runtime.threads={count}")
    assert differences(runs["one"], runs["two"]) == []
    pools = {name: run.manifest()["thread_pools"] for name, run in runs.items()}
    assert pools["one"] == {"intra_op": 1, "inter_op": 1}
    assert pools["two"] == {"intra_op": 1, "inter_op": 2}


def test_threads_and_parts():
    assert (parts_of(128, 64), parts_of(128, None), parts_of(128, 128)) == (2, 1, 1)
    pools = [tuple(threads_for(2, threads).values()) for threads in (1, 2, 8)]
    assert pools == [(1, 1), (1, 2), (8, 2)]
