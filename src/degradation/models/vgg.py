"""VGG for 32×32 images (Simonyan and Zisserman 2014, section 2.1), with batch normalisation."""

import keras
from keras import layers

from degradation.models.blocks import classifier, conv_bn


def vgg(name: str, depths: list[int], widths: list[int], skip: bool, classes: int) -> keras.Model:
    """Build stages of 3×3 convolutions, a 2×2 max-pool after each, and one dense layer.

    Stage i has `depths[i]` convolutions of `widths[i]` filters, each with batch normalisation and
    a ReLU; five stages leave one pixel of 32×32. With `skip` the input of the last two convolutions
    is added to their output before its ReLU: where they are no help, they need only give zeros.
    """
    images = keras.Input((32, 32, 3), name="images", dtype="float32")
    x, inputs = images, []
    for stage, (depth, filters) in enumerate(zip(depths, widths, strict=True), start=1):
        for number in range(1, depth + 1):
            inputs.append(x)
            x = conv_bn(x, filters, name=f"stage{stage}_{number}")
            if skip and (stage, number) == (len(depths), depth):
                x = layers.Add(name="skip_add")([x, inputs[-2]])
            x = layers.ReLU(name=f"stage{stage}_{number}_relu")(x)
        x = layers.MaxPooling2D(name=f"stage{stage}_pool")(x)
    return keras.Model(images, classifier(layers.Flatten(name="flatten")(x), classes), name=name)
