"""What a run computes on: told to TensorFlow before anything else happens in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from degradation.errors import UserError

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
BFLOAT16_CAPABILITY = (8, 0)  # Ampere, the first GPUs that compute bfloat16 in hardware


@dataclass(frozen=True)
class Gpu:
    """One GPU: its place ("GPU:0"), its model's name and its CUDA compute capability."""

    place: str
    name: str
    capability: tuple[int, int]


def gpus_for(batch: int) -> list[Gpu]:
    """Return the GPUs that TensorFlow sees, which share batches of `batch` images.

    Raises `UserError` if there is none, or if they cannot share such batches equally.
    """
    gpus = []
    for number, device in enumerate(tf.config.list_physical_devices("GPU")):
        details = tf.config.experimental.get_device_details(device)
        name = details.get("device_name", "unknown GPU")
        gpus.append(Gpu(f"GPU:{number}", name, details.get("compute_capability", (0, 0))))
    if not gpus:
        raise UserError(
            "runtime=gpu: TensorFlow sees no GPU; it needs a driver, and its CUDA libraries from "
            "make setup GPU=1; allowed: runtime=cpu"
        )
    if batch % len(gpus):
        raise UserError(
            f"optimizer.batch={batch}: the {len(gpus)} GPUs cannot share it equally; allowed: a "
            f"multiple of {len(gpus)}, or fewer GPUs by CUDA_VISIBLE_DEVICES"
        )
    return gpus


def gpu_precision(gpus: Sequence[Gpu]) -> str:
    """Return what `auto` picks: bfloat16 if each of `gpus` has it in hardware, else float32."""
    capable = all(gpu.capability >= BFLOAT16_CAPABILITY for gpu in gpus)
    return "bfloat16" if capable else "float32"


def set_up(
    precision: str, threads: int, seed: int, gpus: Sequence[Gpu] = ()
) -> tf.distribute.Strategy:
    """Fix devices, precision policy, threads and the initialisers' seed, for this process.

    Gives the strategy in whose scope the network is to be built: one replica on each of `gpus`, or
    without any one on the processor. Threads can only be set before TensorFlow has computed
    anything; a later call with another count raises `RuntimeError`.
    """
    if gpus:
        # A GPU's fastest kernels add up in an order that changes from run to run.
        tf.config.experimental.enable_op_determinism()
        # By default its float32 convolutions keep ten bits of each factor.
        tf.config.experimental.enable_tensor_float_32_execution(False)
    else:
        tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    # Whatever the user's keras.json says.
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.mixed_precision.set_global_policy(POLICIES[precision])
    keras.utils.set_random_seed(seed)
    if len(gpus) > 1:
        return tf.distribute.MirroredStrategy([gpu.place for gpu in gpus])
    return tf.distribute.get_strategy()
