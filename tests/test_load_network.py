"""Trained networks as anyone uses them: images in, the recorded error out."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import refusal

import degradation
from degradation import config
from degradation.data.cifar10 import load_cifar10
from degradation.records.run_folder import RunFolder

RUN = "paper/resnet20/seed0"


@pytest.mark.slow
def test_a_recorded_network_has_its_error_on_images_as_they_are(real_cifar10):
    folder = RunFolder(config.RECORDED / RUN)
    if not (folder.path / "model.keras").is_file():
        pytest.skip(f"{RUN} is not recorded yet")
    data = load_cifar10(real_cifar10, dir=str(real_cifar10))
    if data.fingerprint != folder.manifest()["dataset"]["fingerprint"]:
        pytest.skip("these are not the data that it was trained on")
    network = degradation.load_recorded(RUN)
    logits = network.predict(data.test_images, batch_size=500, verbose=0)
    assert (logits.shape, logits.dtype) == ((10_000, 10), np.float32)
    error = 100 * np.mean(logits.argmax(axis=1) != data.test_labels)
    # To the last digit where it was trained; other processors round otherwise.
    assert error == pytest.approx(folder.manifest()["final"]["test_error"], abs=0.05)


def test_what_is_not_recorded_is_refused_in_one_line(monkeypatch, tmp_path):
    message = refusal(degradation.load_recorded, "paper/vgg16/seed0")
    assert message.startswith("paper/vgg16/seed0: no recorded network; allowed: ")
    monkeypatch.setattr(config, "RECORDED", tmp_path)
    message = refusal(degradation.load_recorded, Path(RUN))
    assert message == f"{RUN}: no recorded networks here; allowed: those of a clone"


def test_a_network_of_a_run_has_its_error_on_images_as_they_are(whole, synthetic):
    logits = degradation.load_network(whole.path).predict(synthetic.test_images, verbose=0)
    error = 100 * np.mean(logits.argmax(axis=1) != synthetic.test_labels)
    assert error == pytest.approx(whole.manifest()["final"]["test_error"])


def test_a_damaged_mean_image_is_named(whole, tmp_path):
    copy = shutil.copytree(whole.path, tmp_path / "run")
    (copy / "mean.npy").write_bytes((copy / "mean.npy").read_bytes()[:100])
    message = refusal(degradation.load_network, copy)
    assert message.startswith(f"{copy}: mean.npy cannot be loaded: ")


def test_a_folder_without_a_network_is_refused_in_one_line(tmp_path):
    message = refusal(degradation.load_network, tmp_path)
    assert message == f"{tmp_path}: no model.keras; allowed: the folder of a finished run"
