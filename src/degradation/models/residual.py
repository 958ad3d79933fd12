"""Plain and residual networks (He et al. 2015 and 2016, and tutorials), one builder for all."""

from functools import partial

import keras
from keras import layers

from degradation.models.blocks import (
    BLOCKS,
    FIRST_BLOCKS,
    bn_relu,
    classifier,
    conv_bn_relu,
    conv_relu_bn,
)


def cifar_resnet(
    name: str, depth: int, shortcut: str | None, block: str, init: str, norm: str, classes: int
) -> keras.Model:
    """Build a network of 6n+2 layers for CIFAR-10 (section 4.2).

    A 3×3 convolution, then n blocks of two 3×3 convolutions in each of three stages, with 16, 32
    and 64 filters on maps of 32×32, 16×16 and 8×8, global average pooling and a dense layer.
    `shortcut` and `block` are those of `resnet`.

    `init` is how the kernels of convolutions begin: He normal; `dirac`, near the identity, but for
    the stem's; `gaussian`, N(0, 0.01²). With `norm="none"` convolutions have biases, and no batch
    normalisation follows them. Neither is the paper's.
    """
    widths, depths, how = [16, 32, 64], [(depth - 2) // 6] * 3, {"init": init, "norm": norm}
    return resnet(name, "cifar", block, widths, depths, shortcut, "linear", classes, **how)


def resnet(
    name: str,
    stem: str,
    block: str,
    widths: list[int],
    depths: list[int],
    shortcut: str | None,
    head: str,
    classes: int,
    **how: str,
) -> keras.Model:
    """Build a network from its parts: plain without `shortcut`, residual with option A, B or C.

    Stage i is `depths[i]` blocks of `widths[i]` filters; each stage but the first begins by halving
    the map. `stem` is what comes before them, `head` what comes after: names in `STEMS`, `HEADS`
    and, for `block`, in `degradation.models.blocks.BLOCKS`. Table 1 has the paper's for ImageNet.
    `how` is `init` and `norm` of `cifar_resnet`, for stem and blocks that take them.
    """
    images = keras.Input((32, 32, 3), name="images", dtype="float32")
    x = STEMS[stem](images, widths[0], **how)
    for stage, (filters, blocks) in enumerate(zip(widths, depths, strict=True), start=1):
        for number in range(1, blocks + 1):
            stride = 2 if stage > 1 and number == 1 else 1
            place = f"stage{stage}_block{number}"
            blocks_here = FIRST_BLOCKS if stage == number == 1 else BLOCKS
            x = blocks_here[block](x, filters, stride, shortcut, name=place, **how)
    if block == "preactivation":  # its blocks activate what comes in, not what goes out
        x = bn_relu(x, how.get("norm", "batch"), name="end")
    logits = HEADS[head](x, classes)
    return keras.Model(images, logits, name=name)


# ---------------------------------------------------------------- stems


def cifar_stem(images, filters: int, init: str = "he", **how):
    """A 3×3 convolution, which leaves the size of the map as it is.

    With `init="dirac"` it is He's: what comes in are three colours, not features to be handed on.
    """
    init = "he" if init == "dirac" else init
    return conv_bn_relu(images, filters, name="stem", init=init, **how)


def imagenet_stem(images, filters: int, bias: bool = False):
    """A 7×7 convolution and a 3×3 max-pooling, both of stride 2: the map is a quarter as wide."""
    x = conv_bn_relu(images, filters, stride=2, size=7, bias=bias, name="stem")
    # Both sides, as in the convolutions. After a ReLU a border of zeros is never the maximum.
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    return layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)


def bordered_stem(images, filters: int):
    """`imagenet_stem` with biases, on images in a border of 3 zeros besides its own padding."""
    return imagenet_stem(layers.ZeroPadding2D(3, name="border")(images), filters, bias=True)


STEMS = {
    "cifar": cifar_stem,
    "imagenet": imagenet_stem,
    "bordered": bordered_stem,
    "relu_first": partial(conv_relu_bn, name="stem"),
}


# ---------------------------------------------------------------- heads


def linear_head(x, classes: int, l2: float | None = None):
    """Global average pooling and the classifier, with an L2 term of its own if `l2` is given."""
    return classifier(layers.GlobalAveragePooling2D(name="pool")(x), classes, l2)


def dense512_head(x, classes: int):
    """2×2 average pooling and a layer of 512 units before the classifier."""
    x = layers.AveragePooling2D(2, padding="same", name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(512, "relu", kernel_initializer="he_normal", name="hidden")(x)
    return classifier(x, classes)


HEADS = {"linear": linear_head, "l2": partial(linear_head, l2=1e-4), "dense512": dense512_head}
