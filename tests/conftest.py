"""Fixtures that several test files share."""

import os
import signal
from pathlib import Path

import pytest

# Before the first import of TensorFlow: the tests are about the processor, and quiet.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# Started by nohup or in the background, the tests would inherit that these are ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def set_policy():
    """Give the function that sets Keras' global precision policy; afterwards it is as before."""
    import keras  # here, so that tests without this fixture start without TensorFlow

    before = keras.mixed_precision.global_policy()
    yield keras.mixed_precision.set_global_policy
    keras.mixed_precision.set_global_policy(before)


@pytest.fixture(params=["float32", "mixed_bfloat16"])
def policy(request, set_policy):
    """Set one of the policies that networks train in; give its name."""
    set_policy(request.param)
    return request.param


@pytest.fixture(scope="session")
def cifar10_slice():
    """Give the first 1,000 training images and labels of the real CIFAR-10, if there is one."""
    from degradation.data import layouts, load_dataset

    places = [os.environ.get("CIFAR10_DIR"), REPOSITORY.parent / "shared" / "cifar10"]
    place = next((p for p in map(Path, filter(None, places)) if layouts.find_layout(p)), None)
    if place is None:
        pytest.skip("no CIFAR-10 in $CIFAR10_DIR or ../shared/cifar10")
    dataset = load_dataset("cifar10", root=REPOSITORY, dir=str(place), url="")
    return dataset.train_images[:1000].copy(), dataset.train_labels[:1000].copy()
