"""`runtime=gpu`: which GPU, in which precision; and runs on a virtual device, for want of one."""

import pytest
from command_line import files, make_tree
from command_line import run as run_command
from processes import SMALL, SYNTHETIC, Ended, run
from same_run import untimed

from degradation.records import RunFolder
from degradation.training.devices import Gpu, first_gpu

GPU = ("runtime=gpu", "runtime.xla=false")


def have_gpu() -> None:
    """Take the processor for what TensorFlow sees of a GPU, one for which `auto` is float32."""
    from degradation.training import devices

    devices.first_gpu = lambda: Gpu("Virtual GPU", (7, 5))


def train(folder: RunFolder, *overrides: str, gpu: bool = False) -> Ended:
    faults, runtime = ([have_gpu], GPU) if gpu else ([], ())
    about = f"run_dir={folder.path}", "runtime.precision=float32"
    return run(*SMALL, *SYNTHETIC, *about, *runtime, *overrides, faults=faults)


@pytest.fixture(scope="module")
def processor(tmp_path_factory) -> RunFolder:
    """Train on the processor, in the precision of the others."""
    folder = RunFolder(tmp_path_factory.mktemp("processor") / "run")
    assert train(folder).code == 0
    return folder


# Which GPU


def test_without_a_gpu_nothing_starts(tmp_path):
    """In one line, also for a job of a sweep whose others could start."""
    tree = make_tree(tmp_path / "tree")
    before = files(tree)
    ended = run_command(tree, "run", "-m", "runtime=cpu,gpu", "data=synthetic", "schedule=smoke")
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert "runtime=gpu: TensorFlow sees no GPU" in line
    assert "make setup GPU=1" in line and "allowed: runtime=cpu" in line
    assert files(tree) == before


@pytest.mark.parametrize(
    ("capability", "precision"),
    [((8, 0), "bfloat16"), ((7, 5), "float32"), (None, "float32")],
)
def test_auto_precision_is_what_the_first_gpu_computes_in_hardware(
    capability, precision, monkeypatch
):
    details = {"device_name": "A", "compute_capability": capability} if capability else {}
    second = {"device_name": "B", "compute_capability": (9, 0)}
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda kind: [details, second])
    monkeypatch.setattr("tensorflow.config.experimental.get_device_details", lambda gpu: gpu)
    gpu = first_gpu()
    assert gpu.name == ("A" if capability else "unknown GPU")
    assert gpu.precision == precision


def test_the_benchmark_is_of_the_processor(tmp_path):
    ended = run("runtime=gpu", f"benchmark.out={tmp_path / 'out'}", name="benchmark")
    assert ended.code == 2
    assert "runtime=gpu: the benchmark allows runtime=cpu alone" in ended.err
    assert not (tmp_path / "out").exists()


# Runs


def test_a_gpu_trains_as_the_processor_does(processor, tmp_path):
    """To rounding, as the order of sums may be another one: so one may continue for the other."""
    folder = RunFolder(tmp_path / "run")
    ended = train(folder, gpu=True)
    assert (ended.code, ended.err) == (0, "")
    assert "device    Virtual GPU, " in ended.out
    for ours, theirs in zip(folder.rows(), processor.rows(), strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-2)
    assert (folder.manifest()["gpu"], processor.manifest()["gpu"]) == ("Virtual GPU", None)
    assert folder.config()["runtime"]["name"] == "gpu"
    assert "is complete" in train(folder).out


# XLA


@pytest.mark.parametrize(("precision", "near"), [("float32", 1e-2), ("bfloat16", 5e-2)])
def test_a_run_compiled_by_xla(processor, precision, near, tmp_path):
    """The default of runtime=gpu: its rows are those of the run without, to rounding."""
    folder = RunFolder(tmp_path / "run")
    ended = train(folder, "runtime.xla=true", f"runtime.precision={precision}", gpu=True)
    assert (ended.code, ended.err) == (0, "")
    row, expected = folder.rows()[0], processor.rows()[0]
    assert row["train_loss"] == pytest.approx(expected["train_loss"], rel=near)
    assert row["test_loss"] == pytest.approx(expected["test_loss"], rel=10 * near)
    assert untimed(folder.rows()) != untimed(processor.rows())  # it was compiled
    manifest = folder.manifest()
    assert (manifest["status"], manifest["xla"]) == ("complete", True)
    assert manifest["precision"] == precision
