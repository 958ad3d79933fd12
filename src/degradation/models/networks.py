"""Networks by name: a file of `conf/model/` says which builder makes it, and from what."""

import keras
from omegaconf import OmegaConf

from degradation.config import check_models, read_option
from degradation.models.densenet import densenet
from degradation.models.residual import cifar_resnet, resnet
from degradation.models.vgg import vgg
from degradation.schema import check


def build_model(name: str, **settings) -> keras.Model:
    """Build the network that `conf/model/<name>.yaml` describes, with freshly drawn weights.

    Keywords are keys of that file or of its family, and count before it:
    `build_model("resnet20", shortcut="B")`. The model takes preprocessed float32 images
    `[batch, 32, 32, 3]` and gives float32 logits `[batch, classes]`, of ten classes unless the file
    says otherwise; between them it computes in Keras' global precision policy: float32,
    mixed_bfloat16 or mixed_float16. Keras' image data format must be its default, channels last.

    Raises `UserError` for an unknown name, an unknown keyword or a value that is not allowed.
    """
    check_models("model", [name])
    chosen = OmegaConf.to_container(read_option("model", name), resolve=True) | settings
    keys = check({"model": chosen}).model.model_dump()  # the schema's defaults included
    return BUILDERS[keys.pop("builder")](**keys)


BUILDERS = {"cifar_resnet": cifar_resnet, "resnet": resnet, "vgg": vgg, "densenet": densenet}
"""Function of a network's other settings, by the `builder` that its file names."""
