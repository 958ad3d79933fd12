"""What networks are made of: convolutions, residual blocks and their shortcuts, the classifier.

A block is a function of its input, the number of its filters, its stride, the option of its
shortcut (None for a plain block, or A, B, C of He et al. 2015, section 3.3), and the name that the
names of its layers begin with. Those of `cifar_resnet` also take `init`, how kernels begin (a name
in `INITIALIZERS`), and `norm`: "batch", or "none" for convolutions with biases alone.
"""

from collections.abc import Callable
from functools import partial

import keras
import numpy as np
from keras import layers

from degradation.models.layers import BatchNormalization, Conv2D, ZeroPadShortcut
from degradation.schema import SHORTCUT

# ---------------------------------------------------------------- layers


@keras.saving.register_keras_serializable(package="degradation")
class Dirac(keras.initializers.HeNormal):
    """The identity plus half of He's noise, after DiracNets (Zagoruyko & Komodakis 2017).

    A kernel `[height, width, in, out]` begins as a Dirac delta: a one at its middle for each of the
    first min(in, out) channels. The noise is half of what He's initialisation would draw.
    """

    def __call__(self, shape, dtype=None):
        """Draw a kernel of this shape."""
        height, width, *channels = shape
        delta = np.zeros(shape, np.float32)
        delta[height // 2, width // 2] = np.eye(*channels)
        return delta + 0.5 * super().__call__(shape, dtype)


INITIALIZERS = {
    "he": keras.initializers.HeNormal,
    "dirac": Dirac,
    "gaussian": partial(keras.initializers.RandomNormal, stddev=0.01),
}


def conv(x, filters: int, stride: int = 1, size: int = 3, *, name: str, bias=False, init="he"):
    """A convolution whose windows centre on every `stride`-th pixel."""
    padding = "same"
    if stride > 1 and size > 1:
        # Keras' "same" pads an even map only after it, which moves the windows off the pixels
        # that a shortcut's subsampling picks; Caffe and Torch pad both sides.
        x = layers.ZeroPadding2D((size - 1) // 2, name=f"{name}_pad")(x)
        padding = "valid"
    return Conv2D(
        filters,
        size,
        strides=stride,
        padding=padding,
        use_bias=bias,
        kernel_initializer=INITIALIZERS[init](),
        name=f"{name}_conv",
    )(x)


def bn(x, norm: str = "batch", *, name: str):
    """Batch normalisation, or nothing."""
    return x if norm == "none" else BatchNormalization(name=f"{name}_bn")(x)


def conv_bn(x, filters: int, stride: int = 1, size: int = 3, *, name: str, norm="batch", **how):
    """A convolution followed by batch normalisation, or by none and with biases."""
    if norm == "none":
        how["bias"] = True
    return bn(conv(x, filters, stride, size, name=name, **how), norm, name=name)


def conv_bn_relu(x, filters: int, stride: int = 1, size: int = 3, *, name: str, **how):
    """`conv_bn`, and a ReLU."""
    return layers.ReLU(name=f"{name}_relu")(conv_bn(x, filters, stride, size, name=name, **how))


def conv_relu_bn(x, filters: int, stride: int = 1, size: int = 3, *, name: str):
    """A convolution with the ReLU before the batch normalisation, where the paper has it after."""
    x = layers.ReLU(name=f"{name}_relu")(conv(x, filters, stride, size, name=name))
    return BatchNormalization(name=f"{name}_bn")(x)


def bn_relu(x, norm: str = "batch", *, name: str):
    """What comes before a convolution in a network of pre-activation blocks."""
    return layers.ReLU(name=f"{name}_relu")(bn(x, norm, name=name))


def classifier(x, classes: int, l2: float | None = None):
    """The dense layer that gives float32 logits, whatever the precision before it.

    `l2` puts an L2 term of its own on the kernel, which is added to the loss.
    """
    return layers.Dense(
        classes,
        # He normal makes the first updates at rate 0.1 blow up; N(0, 0.01²) is Caffe's convention.
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        kernel_regularizer=None if l2 is None else keras.regularizers.L2(l2),
        dtype="float32",
        name="logits",
    )(x)


# ---------------------------------------------------------------- shortcuts

projection = partial(conv_bn, size=1)


def add_shortcut(y, x, stride: int, option: str | None, name: str, project: Callable = projection):
    """Add the shortcut from `x` to `y`, a block's output; in a plain network there is none.

    Section 3.3 and Table 3: with option A it is the identity, zero-padded where the width grows;
    with B a projection where the shape changes; with C a projection everywhere.
    """
    if option is None:
        return y
    filters, beside = y.shape[-1], f"{name}{SHORTCUT}"
    changes = stride != 1 or x.shape[-1] != filters
    if option == "C" or (option == "B" and changes):
        x = project(x, filters, stride, name=beside)
    elif changes:
        x = ZeroPadShortcut(filters, stride, name=beside)(x)
    return layers.Add(name=f"{name}_add")([y, x])


# ---------------------------------------------------------------- blocks


def basic(
    x, filters: int, stride: int, shortcut: str | None, *, name: str, project=projection, **how
):
    """Two 3×3 convolutions (Figure 5, left)."""
    y = conv_bn_relu(x, filters, stride, name=f"{name}_1", **how)
    y = conv_bn(y, filters, name=f"{name}_2", **how)
    y = add_shortcut(y, x, stride, shortcut, name, partial(project, **how))
    return layers.ReLU(name=f"{name}_2_relu")(y)


def bottleneck(x, filters: int, stride: int, shortcut: str | None, *, name: str):
    """A 1×1 convolution, a 3×3 and a 1×1 to four times as many maps (Figure 5, right).

    The stride is in the first, as in the paper; others moved it to the 3×3 later.
    """
    y = conv_bn_relu(x, filters, stride, size=1, name=f"{name}_1")
    y = conv_bn_relu(y, filters, name=f"{name}_2")
    y = conv_bn(y, 4 * filters, size=1, name=f"{name}_3")
    y = add_shortcut(y, x, stride, shortcut, name)
    return layers.ReLU(name=f"{name}_3_relu")(y)


def preactivation(
    x,
    filters: int,
    stride: int,
    shortcut: str | None,
    *,
    name: str,
    activated: bool = False,
    init: str = "he",
    norm: str = "batch",
):
    """Two 3×3 convolutions, a batch normalisation and ReLU before each (He et al. 2016).

    Figure 4(e) there. Nothing follows the addition, so that an identity shortcut stays one through
    all blocks. The shortcut leaves after the first activation where the shape changes, as in the
    authors' code, and in the network's first block, as in their appendix: there `x` is `activated`,
    by the stem. A projection is always of what is activated: it has no batch norm of its own.
    """
    alone = partial(conv, bias=norm == "none", init=init)
    active = x if activated else bn_relu(x, norm, name=f"{name}_1")
    y = alone(active, filters, stride, name=f"{name}_1")
    y = alone(bn_relu(y, norm, name=f"{name}_2"), filters, name=f"{name}_2")
    projected = shortcut == "C" or stride != 1 or x.shape[-1] != filters
    start = active if projected else x
    return add_shortcut(y, start, stride, shortcut, name, partial(alone, size=1))


def relu_first(x, filters: int, stride: int, shortcut: str | None, *, name: str):
    """`bottleneck` with each ReLU before the batch normalisation, and with 3×3 projections."""
    y = conv_relu_bn(x, filters, stride, size=1, name=f"{name}_1")
    y = conv_relu_bn(y, filters, name=f"{name}_2")
    y = conv_relu_bn(y, 4 * filters, size=1, name=f"{name}_3")
    y = add_shortcut(y, x, stride, shortcut, name, conv_bn)
    return layers.ReLU(name=f"{name}_relu")(y)


BLOCKS = {
    "basic": basic,
    # As tutorials have it: biases, of which batch normalisation leaves nothing, and none of it
    # on the projections.
    "basic_biased": partial(basic, bias=True, project=partial(conv, size=1, bias=True)),
    "bottleneck": bottleneck,
    "preactivation": preactivation,
    "relu_first": relu_first,
}

FIRST_BLOCKS = BLOCKS | {"preactivation": partial(preactivation, activated=True)}
"""For a network's first block, whose input the stem has activated."""
