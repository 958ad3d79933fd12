"""What a run computes on: told to TensorFlow before anything else happens in it."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf
from filelock import FileLock, Timeout

from degradation.errors import UserError

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
BFLOAT16_CAPABILITY = (8, 0)  # Ampere, the first GPUs that compute bfloat16 in hardware


@dataclass(frozen=True)
class Gpu:
    """One GPU: its model's name, its CUDA compute capability, its number for TensorFlow."""

    name: str
    capability: tuple[int, int]
    number: int = 0

    @property
    def precision(self) -> str:
        """What `auto` picks on it: bfloat16 if it has that in hardware, else float32."""
        return "bfloat16" if self.capability >= BFLOAT16_CAPABILITY else "float32"


def list_gpus() -> list[Gpu]:
    """List the GPUs that TensorFlow sees; raises `UserError` if there is none."""
    gpus = []
    for number, device in enumerate(tf.config.list_physical_devices("GPU")):
        details = tf.config.experimental.get_device_details(device)
        name = details.get("device_name", "unknown GPU")
        gpus.append(Gpu(name, details.get("compute_capability", (0, 0)), number))
    if not gpus:
        raise UserError(
            "runtime=gpu: TensorFlow sees no GPU; it needs a driver, and its CUDA libraries from "
            "make setup GPU=1; allowed: runtime=cpu"
        )
    return gpus


_taken: list[FileLock] = []  # until this process ends


def take_gpu() -> Gpu:
    """Return the first GPU that no other run of this user has taken here; if all are, the first.

    Raises `UserError` as `list_gpus` does.
    """
    gpus = list_gpus()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = dict(enumerate(visible)) if all(visible) else {}
    for gpu in gpus:
        name = f"degradation-{os.getuid()}-gpu{names.get(gpu.number, gpu.number)}.lock"
        lock = FileLock(Path(tempfile.gettempdir(), name))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        _taken.append(lock)
        return gpu
    return gpus[0]


def threads_for(parts: int, threads: int) -> dict[str, int]:
    """Divide `threads` between the ops of a batch that is computed in `parts` (`steps`).

    Gives the sizes of TensorFlow's two pools: of threads within an op, and of ops at a time. Two
    cores are best used by a part on each; with more, each part's ops share all of them.
    """
    within = 1 if parts > 1 and threads <= 2 else threads
    return {"intra_op": within, "inter_op": threads if parts == 1 else min(parts, threads)}


def set_up(precision: str, threads: dict[str, int], seed: int, gpu: Gpu | None = None) -> None:
    """Fix device, precision policy, threads and the initialisers' seed, for this process.

    The device is `gpu`, whose memory is taken as needed, or the processor. Threads can only be set
    before TensorFlow has computed anything; a later call with other numbers raises `RuntimeError`.
    """
    devices = tf.config.list_physical_devices("GPU")[gpu.number :][:1] if gpu else []
    tf.config.set_visible_devices(devices, "GPU")
    for device in devices:
        tf.config.experimental.set_memory_growth(device, True)
    if gpu:
        # A GPU's fastest kernels add up in an order that changes from run to run.
        tf.config.experimental.enable_op_determinism()
        # By default its float32 convolutions keep ten bits of each factor.
        tf.config.experimental.enable_tensor_float_32_execution(False)
    tf.config.threading.set_intra_op_parallelism_threads(threads["intra_op"])
    tf.config.threading.set_inter_op_parallelism_threads(threads["inter_op"])
    # Whatever the user's keras.json says.
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy(POLICIES[precision])
    keras.utils.set_random_seed(seed)
