"""Plain and residual networks on CIFAR-10, to test the degradation result of He et al. 2015."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

__all__ = ["load_network", "load_recorded"]


def load_network(folder: Path | str) -> "keras.Model":
    """Load the network of a finished run from its folder, with the preprocessing in front.

    It takes images as they are, uint8 or float `[batch, 32, 32, 3]` in 0..255, and gives float32
    logits `[batch, classes]`: the mean image is subtracted inside. It needs no data. It computes in
    the precision that it was trained in; `degradation.models.to_float32` changes that. The network
    itself, with its layers, is in it: `network.get_layer(network.name)`.

    Raises `UserError` for a folder without a network, and if that is damaged or would run code.
    """
    # Here, because TensorFlow takes seconds.
    import keras
    import numpy as np

    import degradation.models  # noqa: F401  Keras finds the layers by it
    from degradation.data.pipeline import SCALE
    from degradation.errors import UserError

    def read(name, reader, **options):
        file = Path(folder, name)
        if not file.is_file():
            raise UserError(f"{folder}: no {name}; allowed: the folder of a finished run")
        try:
            return reader(file, **options)
        except Exception as error:  # whatever it trips over, the file is not one that a run wrote
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(f"{folder}: {name} cannot be loaded: {reason}") from error

    network = read("model.keras", keras.models.load_model, compile=False)
    mean, takes = read("mean.npy", np.load), network.input_shape[1:]
    if takes != mean.shape:
        raise UserError(
            f"{folder}: model.keras cannot be loaded: it takes {takes}, not {mean.shape}"
        )
    images = keras.Input(mean.shape, name="pixels")
    # What `preprocess` does: subtract the mean image, divide by a constant.
    preprocess = keras.layers.Normalization(
        axis=(1, 2, 3), mean=mean, variance=np.full_like(mean, SCALE**2), dtype="float32"
    )
    return keras.Model(images, network(preprocess(images)), name=network.name)


def load_recorded(run: Path | str) -> "keras.Model":
    """Load the network of a recorded run, such as `paper/resnet20/seed0`, as `load_network` does.

    Raises `UserError` for a run whose network is not recorded, and where no results are: they are
    in a clone of the repository, not in the installed package.
    """
    from degradation.config import RECORDED
    from degradation.errors import UserError

    run = Path(run).as_posix()
    known = sorted(p.parent.relative_to(RECORDED).as_posix() for p in RECORDED.rglob("model.keras"))
    if not known:
        raise UserError(f"{run}: no recorded networks here; allowed: those of a clone")
    if run not in known:
        raise UserError(f"{run}: no recorded network; allowed: {', '.join(known)}")
    return load_network(RECORDED / run)
