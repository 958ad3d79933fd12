"""A network's precision, changed after it was built."""

import keras


def to_float32(model: keras.Model) -> keras.Model:
    """Build the same network, with the same weights, computing in float32 throughout.

    So a network that was trained in bfloat16 goes on in float32, in whatever precision it was
    saved. `model` is a functional one, as `build_model`, `keras.models.load_model` and
    `load_recorded` give it; it stays as it is. Raises `ValueError` for one that is not.
    """
    twin = keras.models.clone_model(model, clone_function=_in_float32, recursive=True)
    twin.set_weights(model.get_weights())
    return twin


def _in_float32(layer: keras.layers.Layer) -> keras.layers.Layer:
    return layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})
