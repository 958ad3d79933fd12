"""What a run computes on: precision and threads are in force for the whole process."""

import json

import keras
import tensorflow as tf
from processes import Process

from degradation.training.devices import Threads, set_up


def set_up_and_tell():
    """Set a process up that a user's keras.json has prepared otherwise, and print what is so."""
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float64")
    set_up("bfloat16", Threads(intra_op=3, inter_op=2), seed=7)
    told = {
        "policy": keras.mixed_precision.global_policy().name,
        "threads": [
            tf.config.threading.get_intra_op_parallelism_threads(),
            tf.config.threading.get_inter_op_parallelism_threads(),
        ],
        "keras": [keras.config.image_data_format(), keras.config.floatx()],
    }
    print(json.dumps(told), flush=True)


def test_precision_and_threads_are_in_force():
    ended = Process(set_up_and_tell).wait()
    assert ended.code == 0, ended.err
    assert json.loads(ended.out) == {
        "policy": "mixed_bfloat16",
        "threads": [3, 2],
        "keras": ["channels_last", "float32"],
    }
