"""What a user starts: `python -m experiments.NAME`."""

import os

# Before anything imports Keras or TensorFlow, which read these once.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = (
    "-1"  # a run that is half on a GPU is not the run it says it is
)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
