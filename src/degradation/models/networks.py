"""Networks by name: a file of `conf/model/` says which builder makes it, and from what."""

from pathlib import Path

import keras
import yaml

from degradation.config import check_builder
from degradation.errors import UserError
from degradation.models.densenet import densenet
from degradation.models.residual import cifar_resnet, resnet
from degradation.models.vgg import vgg
from degradation.schema import check

CONF = Path(__file__).parents[3] / "conf" / "model"


def model_names() -> list[str]:
    """Every name that `build_model` knows: the files of `conf/model/`."""
    return sorted(path.stem for path in CONF.glob("*.yaml"))


def build_model(name: str, **settings) -> keras.Model:
    """Build the network that `conf/model/<name>.yaml` describes, with freshly drawn weights.

    Keywords replace values of that file: `build_model("resnet20", shortcut="B")`. The model takes
    preprocessed float32 images `[batch, 32, 32, 3]` and gives float32 logits `[batch, classes]`, of
    ten classes unless the file says otherwise; between them it computes in Keras' global precision
    policy, which it takes as it finds it.

    Raises `UserError` for an unknown name, an unknown keyword or a value that is not allowed.
    """
    if name not in model_names():
        raise UserError(f"model={name}: unknown; allowed: {', '.join(model_names())}")
    known = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
    known.setdefault("builder", None)
    if unknown := settings.keys() - known.keys():
        allowed = ", ".join(sorted(known.keys() - {"name", "builder"}))
        raise UserError(f"model.{min(unknown)}: {name} has no such key; allowed: {allowed}")
    chosen = {**known, **settings}
    check_builder(chosen, known["builder"])
    check({"model": chosen})
    builder = chosen.pop("builder")
    if builder not in BUILDERS:
        raise UserError(f"model.builder={builder}: unknown; allowed: {', '.join(BUILDERS)}")
    layout = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_last")  # the images', whatever keras.json says
    try:
        return BUILDERS[builder](**chosen)
    finally:
        keras.config.set_image_data_format(layout)


BUILDERS = {"cifar_resnet": cifar_resnet, "resnet": resnet, "vgg": vgg, "densenet": densenet}
"""Function of a network's other settings, by the `builder` that its file names."""
