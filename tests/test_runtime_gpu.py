"""`runtime=gpu`: which GPUs, in which precision; and runs on virtual devices, as no GPU is at hand.

What two replicas compute is in `test_replicas.py`.
"""

import shutil
import signal
from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from command_line import files, make_tree
from command_line import run as run_command
from processes import SMALL, SYNTHETIC, Ended, run
from sabotage import at_update, kill
from same_run import differences, untimed

from degradation.config import run_name
from degradation.data import load_dataset
from degradation.data.pipeline import Sampler
from degradation.errors import UserError
from degradation.models import build_model
from degradation.records import RunFolder
from degradation.training.devices import Gpu, gpu_precision, gpus_for
from degradation.training.protocol import SGD
from degradation.training.steps import make_update
from experiments.refusals import compose_again

GPU = ("runtime=gpu", "runtime.xla=false")


def have_gpus(count: int) -> None:
    """Divide the processor into virtual devices, and take them for what TensorFlow sees of GPUs."""
    from degradation.training import devices

    processor = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration()] * count
    tf.config.set_logical_device_configuration(processor, parts)
    # Of a capability for which `auto` is float32.
    seen = [Gpu(f"CPU:{number}", "Virtual GPU", (7, 5)) for number in range(count)]
    devices.gpus_for = lambda batch: seen


def train(folder: RunFolder, *overrides: str, gpus: int = 0, faults=()) -> Ended:
    given = [partial(have_gpus, gpus)] if gpus else []
    runtime = GPU if gpus else ("runtime.precision=float32",)
    path = f"run_dir={folder.path}"
    return run(*SMALL, *SYNTHETIC, path, *runtime, *overrides, faults=[*given, *faults])


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> RunFolder:
    """Train on two GPUs."""
    folder = RunFolder(tmp_path_factory.mktemp("two") / "run")
    ended = train(folder, gpus=2)
    assert (ended.code, ended.err) == (0, "")
    assert "device    Virtual GPU, Virtual GPU, " in ended.out
    return folder


@pytest.fixture(scope="module")
def processor(tmp_path_factory) -> RunFolder:
    """Train on the processor, in the precision of the others."""
    folder = RunFolder(tmp_path_factory.mktemp("processor") / "run")
    assert train(folder).code == 0
    return folder


# Which GPUs


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


def see(monkeypatch, *gpus: dict) -> None:
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda kind: list(gpus))
    monkeypatch.setattr("tensorflow.config.experimental.get_device_details", lambda gpu: gpu)


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ([(8, 0)], "bfloat16"),
        ([(9, 0), (8, 6)], "bfloat16"),
        ([(10, 0)], "bfloat16"),
        ([(7, 5)], "float32"),
        ([(8, 0), (7, 5)], "float32"),
        ([None], "float32"),
    ],
)
def test_auto_precision_is_what_every_gpu_computes_in_hardware(
    capabilities, precision, monkeypatch
):
    details = [{"device_name": "A", "compute_capability": c} if c else {} for c in capabilities]
    see(monkeypatch, *details)
    gpus = gpus_for(batch=128)
    assert [gpu.place for gpu in gpus] == [f"GPU:{k}" for k in range(len(capabilities))]
    assert {gpu.name for gpu in gpus} <= {"A", "unknown GPU"}
    assert gpu_precision(gpus) == precision


def test_gpus_that_cannot_share_a_batch_equally_are_refused(monkeypatch):
    see(monkeypatch, {}, {}, {})
    assert len(gpus_for(batch=129)) == 3
    with pytest.raises(
        UserError, match="optimizer.batch=128: the 3 GPUs .* a multiple of 3"
    ) as error:
        gpus_for(batch=128)
    assert error.value.exit_code == 2


def test_the_benchmark_is_of_the_processor(tmp_path):
    ended = run("runtime=gpu", f"benchmark.out={tmp_path / 'out'}", name="benchmark")
    assert ended.code == 2
    assert "runtime=gpu: the benchmark allows runtime=cpu alone" in ended.err
    assert not (tmp_path / "out").exists()


def test_replicas_are_in_the_folders_name_where_there_are_several():
    config = compose_again("config", ["runtime=gpu", "model=plain56"])
    assert run_name(config, "float32", "float32", replicas=2) == "plain56,replicas=2"
    assert run_name(config, "float32", "float32", replicas=1) == "plain56"


# Runs


def test_records_have_the_same_shape_on_two_gpus(two, processor):
    ours, theirs = two.manifest(), processor.manifest()
    assert list(ours) == list(theirs)
    assert (ours["gpus"], ours["replicas"]) == (["Virtual GPU"] * 2, 2)
    assert (theirs["gpus"], theirs["replicas"]) == ([], 1)
    assert ours["precision"] == "float32"
    assert two.config()["runtime"]["name"] == "gpu"
    assert [row["iteration"] for row in two.rows()] == [4, 8, 12]
    assert list(two.rows()[0]) == list(processor.rows()[0])
    assert {p.name for p in two.path.rglob("*")} == {p.name for p in processor.path.rglob("*")}
    shapes = [
        {name: array.shape for name, array in run.load_checkpoint().arrays.items()}
        for run in (two, processor)
    ]
    assert shapes[0] == shapes[1]


def test_two_gpus_train_as_the_processor_does_but_for_the_moments(two, processor):
    """The first rows tell: the same images in the same order, normalised in halves."""
    for ours, theirs in zip(two.rows(), processor.rows(), strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=0.2)
        assert ours["train_loss"] != theirs["train_loss"]


def test_one_gpu_trains_as_the_processor_does(processor, tmp_path):
    """To rounding, as the order of sums is another one: so one may continue for the other."""
    folder = RunFolder(tmp_path / "run")
    assert train(folder, gpus=1).code == 0
    for ours, theirs in zip(folder.rows(), processor.rows(), strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-2)
    assert folder.manifest()["gpus"] == ["Virtual GPU"]
    assert "is complete" in train(folder).out


def test_resumed_on_two_gpus_to_the_last_bit(two, tmp_path):
    """Each replica has its weights, momenta and moving averages back."""
    folder = RunFolder(tmp_path / "run")
    assert train(folder, gpus=2, faults=[partial(at_update, 6, kill)]).code == -signal.SIGKILL
    ended = train(folder, gpus=2)
    assert (ended.code, ended.err) == (0, "")
    assert folder.manifest()["resumes"][0]["iteration"] == 4
    assert differences(folder, two) == []


@pytest.mark.parametrize("gpus", [0, 1])
def test_another_number_of_replicas_is_another_run(two, gpus):
    before = files(two.path)
    ended = train(two, gpus=gpus)
    assert ended.code == 2
    (line,) = ended.err.splitlines()
    assert "replicas is 2 there and 1 here" in line
    assert files(two.path) == before


def test_network_from_two_gpus_is_evaluated_on_the_processor(two):
    ended = run(f"run_dir={two.path}", name="evaluate")
    assert ended.code == 0
    assert f"error     {two.rows()[-1]['test_error']:.2f} %" in ended.out


def test_float16_scales_its_loss_on_two_gpus(tmp_path):
    """On request; the losses in its rows are not scaled."""
    folder = RunFolder(tmp_path / "run")
    ended = train(folder, "runtime.precision=float16", gpus=2)
    assert (ended.code, ended.err) == (0, "")
    assert folder.manifest()["precision"] == "float16"
    assert folder.rows()[0]["train_loss"] < 4


def test_a_run_from_before_there_were_replicas_goes_on(processor, tmp_path):
    folder = RunFolder(tmp_path / "run")
    assert train(folder, faults=[partial(at_update, 6, kill)]).code == -signal.SIGKILL
    checkpoint = folder.load_checkpoint()
    del checkpoint.state["identity"]["replicas"]
    folder.save_checkpoint(checkpoint.iteration, checkpoint.arrays, checkpoint.state)
    folder.update_manifest(drop=("replicas",))
    older = RunFolder(shutil.copytree(folder.path, tmp_path / "older"))
    assert (older.path / "manifest.json").read_text().find("replicas") == -1
    assert train(older).code == 0
    assert differences(older, processor) == []
    assert "replicas is 1 there and 2 here" in train(folder, gpus=2).err


# XLA


def test_update_compiled_by_xla_is_the_same_to_rounding():
    """Loss, errors, moving averages, and gradients where no rounding crosses a ReLU's kink.

    In batches of 32 one crosses in every second; both ways are then as far from float64.
    """
    data = load_dataset("synthetic", root=None, train_images=200, test_images=10)
    # Noise: in flat images, what one pixel does at a kink many do.
    noise = np.random.default_rng(0).integers(0, 256, data.train_images.shape, np.uint8)
    data = replace(data, train_images=noise)
    sampler = Sampler(200, 8, seed=0)
    models, updates, optimizers = [], [], []
    for xla in (False, True):
        keras.utils.set_random_seed(0)
        models.append(build_model("resnet20", depth=8))
        # At rate 1 without momentum's memory, one update's velocity is the gradient.
        optimizers.append(SGD(1.0, momentum=0.9, l2=0.0))
        updates.append(make_update(models[-1], optimizers[-1], data, xla=xla))
    fresh, still = models[0].get_weights(), [v.numpy() for v in optimizers[0].variables]
    gradients_apart = []
    for k in range(3):
        results = []
        for model, optimizer, update in zip(models, optimizers, updates, strict=True):
            model.set_weights(fresh)
            for variable, value in zip(optimizer.variables, still, strict=True):
                variable.assign(value)
            results.append(update(sampler.plan(k)))
        (loss, wrong), (xla_loss, xla_wrong) = results
        assert xla_loss == pytest.approx(loss, rel=1e-5)
        assert xla_wrong == wrong
        averages = [[v.numpy() for v in model.non_trainable_variables] for model in models]
        assert apart(*averages) < 1e-4
        momenta = [[v.numpy() for v in optimizer.momentums] for optimizer in optimizers]
        gradients_apart.append(apart(*momenta))
    assert min(gradients_apart) < 1e-4
    assert max(gradients_apart) < 5e-2


def apart(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """The largest relative distance, by the Euclidean norm, of any array from its like."""
    pairs = zip(ours, theirs, strict=True)
    return max(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-9) for a, b in pairs)


@pytest.mark.parametrize(("precision", "near"), [("float32", 1e-2), ("bfloat16", 5e-2)])
def test_a_run_compiled_by_xla_on_two_gpus(two, precision, near, tmp_path):
    """The default of runtime=gpu: its rows are those of the run without, to rounding."""
    folder = RunFolder(tmp_path / "run")
    ended = train(folder, "runtime.xla=true", f"runtime.precision={precision}", gpus=2)
    assert (ended.code, ended.err) == (0, "")
    row, expected = folder.rows()[0], two.rows()[0]
    assert row["train_loss"] == pytest.approx(expected["train_loss"], rel=near)
    assert row["test_loss"] == pytest.approx(expected["test_loss"], rel=10 * near)
    assert untimed(folder.rows()) != untimed(two.rows())  # it was compiled
    manifest = folder.manifest()
    assert (manifest["status"], manifest["xla"]) == ("complete", True)
    assert manifest["precision"] == precision
