"""Precision and threads: what TensorFlow is told before anything else happens in it."""

import keras
import tensorflow as tf

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def set_up(precision: str, threads: int, seed: int) -> None:
    """Fix precision policy, thread count and the seed of the initialisers, for this process.

    Threads can only be set before TensorFlow has computed anything; a later call with another
    count raises `RuntimeError`.
    """
    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    keras.mixed_precision.set_global_policy(POLICIES[precision])
    keras.utils.set_random_seed(seed)
