"""DenseNet for 32×32 images (Huang et al. 2017, section 3): features concatenated, not added."""

import keras
from keras import layers

from degradation.models.blocks import bn_relu, classifier, conv


def densenet(
    name: str, depth: int, growth: int, bottleneck: bool, compression: float, classes: int
) -> keras.Model:
    """Build three dense blocks of equally many layers, on maps of 32×32, 16×16 and 8×8.

    Every layer reads the maps of all layers before it in its block, and adds `growth` of its own.
    With `bottleneck` it has two convolutions, a 1×1 to 4·`growth` maps and the 3×3. `depth` counts
    the first convolution, those of the blocks, the two transitions and the dense layer at the end.
    A transition keeps the part `compression` of its maps, rounded down. No dropout: the images are
    augmented.
    """
    images = keras.Input((32, 32, 3), name="images", dtype="float32")
    x = conv(images, 2 * growth if bottleneck else 16, name="stem")
    for block in (1, 2, 3):
        if block > 1:
            x = transition(x, compression, name=f"transition{block - 1}")
        for number in range(1, (depth - 4) // (6 if bottleneck else 3) + 1):
            x = dense_layer(x, growth, bottleneck, name=f"block{block}_layer{number}")
    x = layers.GlobalAveragePooling2D(name="pool")(bn_relu(x, name="end"))
    return keras.Model(images, classifier(x, classes), name=name)


def dense_layer(x, growth: int, bottleneck: bool, name: str):
    """Put `growth` new maps beside those of `x`, where a residual block would add to them."""
    new = x
    if bottleneck:
        new = conv(bn_relu(new, name=f"{name}_1"), 4 * growth, size=1, name=f"{name}_1")
    new = conv(bn_relu(new, name=f"{name}_2"), growth, name=f"{name}_2")
    return layers.Concatenate(name=f"{name}_concat")([x, new])


def transition(x, compression: float, name: str):
    """Halve height and width, and keep the part `compression` of the maps, one at least."""
    filters = max(1, int(compression * x.shape[-1]))
    x = conv(bn_relu(x, name=name), filters, size=1, name=name)
    return layers.AveragePooling2D(2, name=f"{name}_pool")(x)
