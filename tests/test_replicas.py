"""Two replicas, on two virtual CPU devices, against one device that takes the halves in turn."""

import json

import numpy as np
import pytest
from processes import Process


def two_devices():
    """Divide the processor in two; give the strategy that trains on both."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def compare() -> None:
    """Print how far an update on two devices is from what updates on its halves give.

    For each factor of the decay, which at 0 leaves the gradient alone.
    """
    import keras

    strategy = two_devices()
    from degradation.data import load_dataset
    from degradation.data.pipeline import BatchPlan, Sampler
    from degradation.models import build_model
    from degradation.training.protocol import SGD
    from degradation.training.steps import make_update

    data = load_dataset("synthetic", root=None, train_images=200, test_images=10)
    plan = Sampler(200, 32, seed=0).plan(3)

    def distances(l2: float) -> dict:
        keras.utils.set_random_seed(0)
        with strategy.scope():
            model, optimizer = build_model("resnet20", depth=8), SGD(1.0, momentum=0.9, l2=l2)
            update = make_update(model, optimizer, data)
        start = model.get_weights()
        loss, wrong = update(plan)
        # After one update at rate 1: the gradient and the decay.
        both = [-v.numpy() for v in optimizer.momentums]
        moments = [v.numpy() for v in model.non_trainable_variables]

        halves = []
        for half in (slice(0, 16), slice(16, 32)):
            single = build_model("resnet20", depth=8)
            single.set_weights(start)
            alone = SGD(1.0, momentum=0.9, l2=l2)
            result = make_update(single, alone, data)(BatchPlan(*(part[half] for part in plan)))
            averages = [v.numpy() for v in single.non_trainable_variables]
            halves.append((result, [-v.numpy() for v in alone.momentums], averages))
        one, two = halves
        return {
            "update": worst(both, means(one[1], two[1])),
            "moments": worst(moments, means(one[2], two[2])),
            "loss": abs(loss - (one[0][0] + two[0][0]) / 2),
            "wrong": [wrong, one[0][1] + two[0][1]],
            "apart": worst(one[1], two[1]),
        }

    print(json.dumps({"gradient": distances(l2=0.0), "decayed": distances(l2=0.5)}))


def means(ours: list[np.ndarray], theirs: list[np.ndarray]) -> list[np.ndarray]:
    return [(a + b) / 2 for a, b in zip(ours, theirs, strict=True)]


def worst(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """The largest difference, in parts of the largest number expected beside it."""
    return max(
        float(np.abs(f - e).max() / max(np.abs(e).max(), 1e-6))
        for f, e in zip(found, expected, strict=True)
    )


@pytest.fixture(scope="module")
def two_replicas():
    """Compare in a process of its own: devices are divided before TensorFlow computes anything."""
    ended = Process(compare).wait()
    assert ended.code == 0, ended.err[-2000:]
    return json.loads(ended.out.splitlines()[-1])


def test_gradient_is_the_mean_of_the_halves(two_replicas):
    """Each half with batch statistics of its own; the halves' gradients differ from each other."""
    assert two_replicas["gradient"]["update"] < 1e-5
    assert two_replicas["gradient"]["apart"] > 0.1


def test_the_decay_counts_once(two_replicas):
    assert two_replicas["decayed"]["update"] < 1e-5


def test_loss_and_errors_are_those_of_the_whole_batch(two_replicas):
    assert two_replicas["gradient"]["loss"] < 1e-5
    wrong, of_the_halves = two_replicas["gradient"]["wrong"]
    assert wrong == of_the_halves


def test_moving_averages_are_the_mean_over_the_replicas(two_replicas):
    assert two_replicas["gradient"]["moments"] < 1e-5


def overflow() -> None:
    """Print a weight and the loss scale after updates of which some overflow on one replica."""
    import keras
    import tensorflow as tf

    strategy = two_devices()
    from degradation.training.protocol import SGD, LossScaleOptimizer

    with strategy.scope():
        weight = keras.Variable([1.0])
        optimizer = LossScaleOptimizer(SGD(1.0, momentum=0.0, l2=0.0), initial_scale=8.0)
        optimizer.build([weight])

    @tf.function
    def update(gradients):
        def on_replica():
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            optimizer.apply([gradients[number]], [weight])

        strategy.run(on_replica)

    told = []
    for gradients in ([[1.0], [1.0]], [[1.0], [np.inf]], [[np.nan], [1.0]], [[1.0], [1.0]]):
        update(tf.constant(gradients))
        told.append([float(weight.numpy()[0]), float(optimizer.dynamic_scale.numpy())])
    print(json.dumps(told))


def test_an_overflow_on_any_replica_is_one_on_all():
    """The update is left out, and the scale halved."""
    ended = Process(overflow).wait()
    assert ended.code == 0, ended.err[-2000:]
    assert json.loads(ended.out.splitlines()[-1]) == [[0.75, 8], [0.75, 4], [0.75, 2], [-0.25, 2]]
