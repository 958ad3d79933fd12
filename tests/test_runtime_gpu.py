"""`runtime=gpu`: which GPU, in which precision; and runs on a virtual device, for want of one."""

import pytest
from processes import QUICK, SYNTHETIC, finish, run, train
from same_run import untimed

from degradation.records.run_folder import RunFolder
from degradation.training import devices
from degradation.training.devices import Gpu


def have_gpu() -> None:
    """Take the processor for what TensorFlow sees of a GPU, one for which `auto` is float32."""
    from degradation.training import devices

    devices.list_gpus = lambda: [Gpu("Virtual GPU", (7, 5))]


@pytest.fixture(scope="module")
def processor(tmp_path_factory) -> RunFolder:
    """Train on the processor, in the precision of the others."""
    folder = RunFolder(tmp_path_factory.mktemp("processor") / "run")
    finish(folder, "runtime.precision=float32")
    return folder


# Which GPU


def test_without_a_gpu_nothing_starts(tree):
    """In one line, also for a job of a sweep whose others could start."""
    line = run("-m", "runtime=cpu,gpu", *QUICK, *SYNTHETIC, tree=tree).error()
    assert "runtime=gpu: TensorFlow sees no GPU" in line
    assert "make setup GPU=1" in line and "allowed: runtime=cpu" in line
    assert not (tree / "results").exists()


@pytest.fixture
def three_gpus(monkeypatch, tmp_path):
    """Have TensorFlow see three GPUs, none of which is taken."""
    details = [
        {"device_name": "A", "compute_capability": (8, 0)},
        {"device_name": "B", "compute_capability": (7, 5)},
        {},
    ]
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda kind: details)
    monkeypatch.setattr("tensorflow.config.experimental.get_device_details", lambda gpu: gpu)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield
    while devices._taken:
        devices._taken.pop().release()


def test_auto_precision_is_what_a_gpu_computes_in_hardware(three_gpus):
    found = [(gpu.name, gpu.precision) for gpu in devices.list_gpus()]
    assert found == [("A", "bfloat16"), ("B", "float32"), ("unknown GPU", "float32")]


def test_each_run_takes_a_gpu_of_its_own_as_long_as_there_is_one(three_gpus, monkeypatch):
    assert [devices.take_gpu().number for _ in range(4)] == [0, 1, 2, 0]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,2,8")  # the third of the first three is taken
    assert [devices.take_gpu().number for _ in range(3)] == [0, 2, 0]


@pytest.mark.parametrize(
    ("xla", "precision", "near"),
    [("false", "float32", 1e-2), ("true", "float32", 1e-2), ("true", "bfloat16", 5e-2)],
)
def test_a_gpu_trains_as_the_processor_does(processor, folder, xla, precision, near):
    """To rounding: the order of sums may be another one, and XLA compiles by default."""
    chosen = ("runtime=gpu", f"runtime.xla={xla}", f"runtime.precision={precision}")
    told = train(folder, *chosen, faults=[have_gpu]).output()
    assert "device    Virtual GPU, " in told
    row, expected = folder.rows()[0], processor.rows()[0]
    assert row["train_loss"] == pytest.approx(expected["train_loss"], rel=near)
    assert row["test_loss"] == pytest.approx(expected["test_loss"], rel=10 * near)
    manifest = folder.manifest()
    assert (manifest["status"], manifest["gpu"]) == ("complete", "Virtual GPU")
    assert (str(manifest["xla"]).lower(), manifest["precision"]) == (xla, precision)
    assert processor.manifest()["gpu"] is None
    assert folder.config()["runtime"]["name"] == "gpu"
    if xla == "true":
        assert untimed(folder.rows()) != untimed(processor.rows())  # it was compiled
    else:  # so one may continue for the other
        assert "is complete" in train(folder, f"runtime.precision={precision}").out
