"""What a user starts: `python -m experiments.NAME`."""

import os
import sys
from pathlib import Path

# The library of this clone, whatever else is installed or on PYTHONPATH.
sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from degradation.processor import cpuinfo  # noqa: E402

# Before anything imports Keras or TensorFlow, which read these once.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if not os.environ.get("WANDB_PROJECT"):  # empty counts as not set
    os.environ.pop("WANDB_PROJECT", None)
_flags = cpuinfo("flags").split()
if _flags and {"avx512_vnni", "avx_vnni"}.isdisjoint(_flags):
    # There TensorFlow leaves oneDNN off, which makes training slower (docs/performance.md).
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
