"""What a user starts: `python -m experiments.NAME`."""

import os

# Before anything imports Keras or TensorFlow, which read these once.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
