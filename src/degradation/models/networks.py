"""Plain and residual networks for CIFAR-10 (He et al. 2015, section 4.2), one builder for all."""

from pathlib import Path

import keras
import yaml
from keras import layers

from degradation.errors import UserError
from degradation.models.layers import BatchNormalization, ZeroPadShortcut

CONF = Path(__file__).parents[3] / "conf" / "model"


def model_names() -> list[str]:
    """Every name that `build_model` knows: the files of `conf/model/`."""
    return sorted(path.stem for path in CONF.glob("*.yaml"))


def build_model(name: str, **settings) -> keras.Model:
    """Build the network that `conf/model/<name>.yaml` describes, with freshly drawn weights.

    Keywords replace values of that file: `build_model("resnet20", shortcut="B")`. The model takes
    preprocessed float32 images `[batch, 32, 32, 3]` and gives float32 logits `[batch, 10]`; between
    them it computes in Keras' global precision policy, which it takes as it finds it.

    Raises `UserError` for an unknown name, an unknown keyword or a value that is not allowed.
    """
    if name not in model_names():
        raise UserError(f"model={name}: unknown; allowed: {', '.join(model_names())}")
    known = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
    if unknown := settings.keys() - known.keys():
        allowed = ", ".join(sorted(known.keys() - {"name", "builder"}))
        raise UserError(f"model.{min(unknown)}: {name} has no such key; allowed: {allowed}")
    if empty := [key for key, value in settings.items() if value is None]:
        raise UserError(f"model.{empty[0]}=null: needs a value, such as {known[empty[0]]}")
    chosen = {**known, **settings}
    builder = chosen.pop("builder")
    if builder not in BUILDERS:
        raise UserError(f"model.builder={builder}: unknown; allowed: {', '.join(BUILDERS)}")
    return BUILDERS[builder](**chosen)


def cifar_resnet(name: str, depth: int, shortcut: str | None = None) -> keras.Model:
    """Build a network of 6n+2 layers: plain without `shortcut`, residual with option A, B or C.

    A 3×3 convolution, then n blocks of two 3×3 convolutions in each of three stages, with 16, 32
    and 64 filters on maps of 32×32, 16×16 and 8×8, global average pooling and a dense layer.
    """
    if not isinstance(depth, int) or depth < 8 or depth % 6 != 2:
        raise UserError(f"model.depth={depth}: must be 6n+2 (8, 14, 20, 26, 32, ...)")
    if shortcut not in (None, "A", "B", "C"):
        raise UserError(f"model.shortcut={shortcut}: allowed: A, B, C")

    images = keras.Input((32, 32, 3), name="images", dtype="float32")
    x = conv_bn(images, 16, name="stem")
    x = layers.ReLU(name="stem_relu")(x)
    for stage, filters in enumerate((16, 32, 64), start=1):
        for block in range(1, (depth - 2) // 6 + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = basic_block(x, filters, stride, shortcut, name=f"stage{stage}_block{block}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    # He normal here makes the first updates at rate 0.1 blow up; N(0, 0.01) is Caffe's custom.
    gaussian = keras.initializers.RandomNormal(stddev=0.01)
    logits = layers.Dense(10, kernel_initializer=gaussian, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name=name)


def basic_block(x, filters: int, stride: int, shortcut: str | None, name: str):
    """Two 3×3 convolutions. A residual block differs from a plain one in the one `Add` below."""
    y = conv_bn(x, filters, stride, name=f"{name}_1")
    y = layers.ReLU(name=f"{name}_1_relu")(y)
    y = conv_bn(y, filters, name=f"{name}_2")
    if shortcut is not None:
        y = layers.Add(name=f"{name}_add")([y, shortcut_path(x, filters, stride, shortcut, name)])
    return layers.ReLU(name=f"{name}_2_relu")(y)


def shortcut_path(x, filters: int, stride: int, option: str, name: str):
    """What a residual block adds to its output (section 3.3 and Table 3).

    A: the identity, zero-padded where the width grows. B: a projection where the shape changes.
    C: a projection everywhere.
    """
    changes = stride != 1 or x.shape[-1] != filters
    if option == "C" or (option == "B" and changes):
        return conv_bn(x, filters, stride, size=1, name=f"{name}_shortcut")
    return ZeroPadShortcut(filters, stride, name=f"{name}_shortcut")(x) if changes else x


def conv_bn(x, filters: int, stride: int = 1, size: int = 3, *, name: str):
    """A convolution without bias, He-initialised, followed by batch normalisation."""
    padding = "same"
    if stride > 1 and size > 1:
        # Keras' "same" pads an even map only after it, which moves the windows off the pixels
        # that a shortcut's subsampling picks; Caffe and Torch pad both sides.
        x = layers.ZeroPadding2D((size - 1) // 2, name=f"{name}_pad")(x)
        padding = "valid"
    x = layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding=padding,
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return BatchNormalization(name=f"{name}_bn")(x)


BUILDERS = {"cifar_resnet": cifar_resnet}
