"""What a user starts: `python -m experiments.NAME`."""

import os
import platform
import sys
from pathlib import Path

import degradation

# Before anything imports Keras or TensorFlow, which read these once.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if platform.machine() in ("x86_64", "AMD64"):
    # By default TensorFlow leaves oneDNN out on processors without AVX512-VNNI or AVX-VNNI, which
    # train 1.7 times as fast with it.
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
