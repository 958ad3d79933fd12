"""Fixtures that several test files share."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import REPOSITORY, make_tree

import experiments  # noqa: F401  it tells TensorFlow what commands tell it
from degradation.config import RECORDED, ROOT

# Before the first import of TensorFlow: the tests are about the processor.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

# Started by nohup or in the background, the tests would inherit that these are ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def seeded():
    """Have each test draw its weights from one seed; where Keras is not there, none are drawn."""
    if keras := sys.modules.get("keras"):
        keras.utils.set_random_seed(0)


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


@pytest.fixture
def tree(tmp_path) -> Path:
    """Give a checkout with empty results."""
    return make_tree(tmp_path / "tree")


@pytest.fixture
def folder(tmp_path):
    """Give the folder of a run that has not begun."""
    from degradation.records.run_folder import RunFolder

    return RunFolder(tmp_path / "run")


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Give the folder of a run that was trained in peace: twelve updates in three rows."""
    from processes import finish

    from degradation.records.run_folder import RunFolder

    folder = RunFolder(tmp_path_factory.mktemp("whole") / "run")
    finish(folder)
    return folder


@pytest.fixture(scope="session")
def synthetic():
    """Give a hundred training and thirty test images."""
    from degradation.data import load_dataset

    return load_dataset("synthetic", root=None, train_images=100, test_images=30)


@pytest.fixture
def parts(monkeypatch):
    """Give images and labels for six small files of CIFAR-10; files of that size are expected."""
    from cifar10_files import SIZE, draw_parts

    monkeypatch.setattr("degradation.data.archives.IMAGES_PER_FILE", SIZE)
    return draw_parts()


@pytest.fixture(scope="session")
def real_cifar10():
    """Give the folder of the real CIFAR-10, if a run would find one without downloading it."""
    from degradation.config import option_values
    from degradation.data.archives import find_files

    search = filter(None, option_values("data", "cifar10")["data.search"])
    places = [REPOSITORY / Path(place).expanduser() for place in search]
    place = next(filter(find_files, places), None)
    if place is None:
        pytest.skip(f"no CIFAR-10 in {', '.join(map(str, places))}")
    return place


@pytest.fixture
def all_committed():
    """Skip where `make record` has trained what README and reports do not have yet."""
    ask = ["git", "status", "--porcelain", str(RECORDED)]
    if subprocess.run(ask, cwd=ROOT, capture_output=True).stdout:
        pytest.skip("results/recorded has changes that are not committed")
