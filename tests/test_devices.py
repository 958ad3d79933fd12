"""What a run computes on: precision, threads and seed are in force for the whole process."""

import json

import keras
import tensorflow as tf
from processes import Process

from degradation.models import build_model
from degradation.training.devices import Threads, set_up


def set_up_and_tell():
    """Set a process up that a user's keras.json has prepared otherwise, and print what is so."""
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float64")
    set_up("bfloat16", Threads(intra_op=3, inter_op=2), seed=7)
    weights = [first_weight()]
    for seed in (7, 8):
        keras.utils.set_random_seed(seed)
        weights.append(first_weight())
    told = {
        "policy": keras.mixed_precision.global_policy().name,
        "threads": [
            tf.config.threading.get_intra_op_parallelism_threads(),
            tf.config.threading.get_inter_op_parallelism_threads(),
        ],
        "keras": [keras.config.image_data_format(), keras.config.floatx()],
        "weights": weights,
    }
    print(json.dumps(told), flush=True)


def first_weight() -> float:
    return float(build_model("plain20", depth=8).weights[0][0, 0, 0, 0])


def test_precision_threads_and_seed_are_in_force():
    ended = Process(set_up_and_tell).wait()
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    same, again, other = told.pop("weights")
    assert same == again != other
    assert told == {
        "policy": "mixed_bfloat16",
        "threads": [3, 2],
        "keras": ["channels_last", "float32"],
    }
