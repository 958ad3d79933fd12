"""Plain and residual networks (He et al. 2015 and 2016, and tutorials), one builder for all."""

from functools import partial

import keras
from keras import layers

from degradation.models.blocks import (
    BLOCKS,
    Position,
    bn_relu,
    classifier,
    conv_bn_relu,
    conv_relu_bn,
)


def cifar_resnet(
    name: str, depth: int, shortcut: str | None = None, block: str = "basic", classes: int = 10
) -> keras.Model:
    """Build a network of 6n+2 layers for CIFAR-10 (section 4.2).

    A 3×3 convolution, then n blocks of two 3×3 convolutions in each of three stages, with 16, 32
    and 64 filters on maps of 32×32, 16×16 and 8×8, global average pooling and a dense layer.
    """
    blocks = (depth - 2) // 6
    return resnet(name, "cifar", block, [16, 32, 64], [blocks] * 3, shortcut, classes=classes)


def resnet(
    name: str,
    stem: str,
    block: str,
    widths: list[int],
    depths: list[int],
    shortcut: str | None = None,
    head: str = "linear",
    classes: int = 10,
) -> keras.Model:
    """Build a network from its parts: plain without `shortcut`, residual with option A, B or C.

    Stage i is `depths[i]` blocks of `widths[i]` filters; each stage but the first begins by halving
    the map. `stem` is what comes before them, `head` what comes after: names in `STEMS`, `HEADS`
    and, for `block`, in `degradation.models.blocks.BLOCKS`. Table 1 has the paper's for ImageNet.
    """
    images = keras.Input((32, 32, 3), name="images", dtype="float32")
    x = STEMS[stem](images, widths[0])
    for stage, (filters, blocks) in enumerate(zip(widths, depths, strict=True), start=1):
        for number in range(1, blocks + 1):
            x = BLOCKS[block](x, filters, Position(stage, number), shortcut)
    if block == "preactivation":
        x = bn_relu(x, name="end")  # its blocks activate what comes in, not what goes out
    logits = HEADS[head](x, classes)
    return keras.Model(images, logits, name=name)


# ---------------------------------------------------------------- stems


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
    "cifar": partial(conv_bn_relu, name="stem"),  # 3×3, which leaves the size of the map as it is
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
