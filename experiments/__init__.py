"""What a user starts: `python -m experiments.NAME`."""

import os
import sys
from pathlib import Path

import degradation
from degradation.processor import cpuinfo

# Before anything imports Keras or TensorFlow, which read these once.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if not os.environ.get("WANDB_PROJECT"):  # empty counts as not set
    os.environ.pop("WANDB_PROJECT", None)
_flags = cpuinfo("flags").split()
if _flags and {"avx512_vnni", "avx_vnni"}.isdisjoint(_flags):
    # There TensorFlow leaves oneDNN off, which makes training slower (docs/performance.md).
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

_here, _library = Path(__file__).parents[1], Path(degradation.__file__).parent
_own = _here / "src" / "degradation"
if not (_own.exists() and _own.samefile(_library)):
    print(
        f"error: the commands are of {_here}, and the library is another's, {_library}; allowed: "
        "both of one clone: use its own .venv, made by make setup, and unset PYTHONPATH",
        file=sys.stderr,
    )
    sys.exit(2)
