"""A run's updates and rows, and what it counts and times."""

from operator import attrgetter

import keras
import numpy as np
import pytest

from degradation.data.pipeline import Sampler
from degradation.models import build_model
from degradation.training.learner import Learner
from degradation.training.meter import Meter
from degradation.training.protocol import SGD, LearningRate
from degradation.training.steps import make_update
from experiments.compose import compose


def make_learner(dataset, *overrides, model="model.depth=8"):
    """A learner of eight layers and batches of 16, as the command line would configure it."""
    small = [model, "schedule.drops=[4]", "schedule.iterations=8"]
    small += ["optimizer.batch=16", "optimizer.ghost_batch=8"]
    keras.utils.set_random_seed(0)
    return Learner(compose("config", [*small, *overrides]), dataset)


def expected(dataset, updates):
    """Loss and wrong answers of `make_learner`'s first updates, at 0.1 and then at 0.01."""
    keras.utils.set_random_seed(0)
    model, optimizer = build_model("resnet20", depth=8), SGD(0.1, 0.9, l2=1e-4, decay="kernels")
    update, sampler = make_update(model, optimizer, dataset, parts=2), Sampler(100, 16, seed=0)
    results = []
    for iteration in range(updates):
        results.append(update(sampler.plan(iteration)))
        optimizer.learning_rate = 0.01
    return results


def test_rows(synthetic):
    """Means since the row before, errors in percent."""
    learner, results = make_learner(synthetic, "schedule.drops=[1]"), expected(synthetic, 3)
    assert learner.parameters == 75_290
    rates = [learner.update() for _ in range(2)]
    assert rates == [0.1, 0.01]
    row = learner.evaluate()
    assert (row["iteration"], row["epoch"], row["learning_rate"]) == (2, 2 * 16 / 100, 0.01)
    assert row["train_loss"] == np.mean([loss for loss, _ in results[:2]])
    assert row["train_error"] == np.mean([wrong / 0.16 for _, wrong in results[:2]])
    # By hand: the training images' mean is subtracted, from test images too.
    images = (synthetic.test_images - synthetic.train_images.mean(axis=0)) / 64
    logits = learner.model(images.astype(np.float32), training=False).numpy()
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(30), synthetic.test_labels]
    assert row["test_loss"] == pytest.approx(losses.mean(), rel=1e-4)
    wrong = logits.argmax(axis=1) != synthetic.test_labels
    assert row["test_error"] == pytest.approx(100 * wrong.mean())
    assert row["images_per_second"] > 0
    learner.update()
    assert learner.evaluate()["train_loss"] == results[2][0]
    assert learner.meter.rows[0] is row


def test_an_evaluation_leaves_training_alone(synthetic):
    """Weights and momenta after it are the same, to the bit; the moving averages are its own.

    They hold the moments, which are a function of seed and iteration, whatever came before.
    """
    learners = [make_learner(synthetic) for _ in range(2)]
    for number in range(4):
        for learner in learners:
            learner.update()
        if number % 2:
            learners[0].evaluate()
    for group in ("model.trainable_variables", "optimizer.variables"):
        ours, theirs = (attrgetter(group)(learner) for learner in learners)
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
    averages = learners[1].model.non_trainable_variables
    assert {float(x) for average in averages for x in average.numpy()} == {0.0, 1.0}

    learners[1].evaluate()
    ours, theirs = (learner.meter.rows[-1]["test_loss"] for learner in learners)
    assert ours == theirs
    averages = [learner.model.non_trainable_variables for learner in learners]
    for ours, theirs in zip(*averages, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert not np.isin(ours, [0.0, 1.0]).all()


def test_warm_up_is_for_deep_networks_until_their_error_in_percent_is_low(synthetic, monkeypatch):
    """By the configuration's rule, here with 8 layers as deep; as a fraction it were below five."""
    monkeypatch.setattr(LearningRate, "WINDOW", 2)
    assert make_learner(synthetic).rate(0) == 0.1
    deep = ["optimizer.warmup.min_depth=8", "optimizer.warmup.until_error=5"]
    learner = make_learner(synthetic, *deep)
    assert [learner.update() for _ in range(4)] == [0.01] * 4
    assert float(learner.optimizer.learning_rate) == pytest.approx(0.01)
    assert learner.checkpoint()[1]["rate"]["warming"] is True


def test_configuration_reaches_the_optimiser(synthetic):
    """Whole numbers, too; Keras itself takes fractions alone."""
    values = ("optimizer.momentum=0", "optimizer.weight_decay=0.002", "optimizer.decay=all")
    learner = make_learner(synthetic, "optimizer.rate=1", *values)
    optimizer = learner.optimizer
    assert (optimizer.momentum, optimizer.l2, optimizer.decay) == (0, 0.002, "all")
    assert learner.update() == 1
    assert float(optimizer.learning_rate) == 1


# ---------------------------------------------------------------- counts and times


def test_meter_weighs_batches_by_their_images():
    meter = Meter()
    meter.count(loss=1.0, wrong=3, images=30, seconds=None)
    meter.count(loss=4.0, wrong=7, images=10, seconds=2.0)
    assert meter.train_error == 25.0
    row = meter.close_row(epoch=0.5, rate=0.1, test_error=9.0)
    assert (row["train_loss"], row["train_error"], row["test_error"]) == (1.75, 25.0, 9.0)
    assert row["images_per_second"] == 5.0  # the first update, without a time, does not count
    meter.count(loss=2.0, wrong=1, images=10, seconds=0.5)
    row = meter.close_row(epoch=0.6, rate=0.1)
    assert (row["iteration"], row["train_loss"], row["train_error"]) == (3, 2.0, 10.0)
    assert row["images_per_second"] == 20.0
    assert meter.images_per_second == 20 / 2.5
    assert meter.rows[-1] is row


def test_xla_leaves_max_pooling_networks_alone(synthetic):
    """It has no deterministic gradient of max-pooling."""
    assert make_learner(synthetic, "runtime=gpu").xla
    assert not make_learner(synthetic, "runtime=gpu", model="model=vgg13").xla
