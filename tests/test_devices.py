"""What a run computes on: precision and threads are in force for the whole process."""

import importlib
import os

import keras
import pytest
import tensorflow as tf
from processes import Process

import experiments
from degradation import processor
from degradation.training.devices import set_up


def set_up_a_process():
    """One that a user's keras.json has prepared otherwise."""
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float64")
    set_up("bfloat16", {"intra_op": 3, "inter_op": 2}, seed=7)
    assert keras.mixed_precision.global_policy().name == "mixed_bfloat16"
    assert tf.config.threading.get_intra_op_parallelism_threads() == 3
    assert tf.config.threading.get_inter_op_parallelism_threads() == 2
    assert (keras.config.image_data_format(), keras.config.floatx()) == ("channels_last", "float32")


def test_precision_and_threads_are_in_force():
    ended = Process(set_up_a_process).wait()
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    ("cpuinfo", "asked", "expected"),
    [
        ("flags : avx2 fma\n", None, "1"),
        ("flags : avx2 fma\n", "0", "0"),
        ("flags : avx2 avx512f avx512_vnni\n", None, None),
        ("Features : asimd\n", None, None),
    ],
)
def test_onednn_is_turned_on_where_tensorflow_leaves_it_off(
    tmp_path, monkeypatch, cpuinfo, asked, expected
):
    """Unless the user has said what it shall be."""
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", asked or "")
    if asked is None:
        monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    importlib.reload(experiments)
    assert os.environ.get("TF_ENABLE_ONEDNN_OPTS") == expected
