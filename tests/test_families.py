"""Networks written out: an independent forward pass over the same weights, family by family."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from small_networks import FAMILIES, STAGES, VGG, draw_images, of_type, shake

from degradation.models import build_model

IMAGENET = {**STAGES, "stem": "imagenet"}


class Reference:
    """Layers of a network in TensorFlow's own ops, in training mode; weights by layer name.

    A convolution has zeros on both sides of each map, where `padding="same"` pads only after.
    """

    def __init__(self, model):
        self.layer = model.get_layer
        self.bare = not of_type(model, layers.BatchNormalization)

    def conv(self, x, name, stride=1):
        layer = self.layer(f"{name}_conv")
        border = [layer.kernel.shape[0] // 2] * 2
        y = tf.nn.conv2d(x, layer.kernel.value, stride, [[0, 0], border, border, [0, 0]])
        return y + layer.bias if layer.use_bias else y

    def norm(self, x, name):
        if self.bare:
            return x
        layer = self.layer(f"{name}_bn")
        moments = tf.nn.moments(x, [0, 1, 2])
        return tf.nn.batch_normalization(x, *moments, layer.beta, layer.gamma, 1e-5)

    def conv_norm(self, x, name, stride=1):
        return self.norm(self.conv(x, name, stride), name)

    def conv_relu_norm(self, x, name, stride=1):
        return self.norm(tf.nn.relu(self.conv(x, name, stride)), name)

    def norm_relu_conv(self, x, name, stride=1):
        return self.conv(tf.nn.relu(self.norm(x, name)), name, stride)

    def dense(self, x, name="logits"):
        layer = self.layer(name)
        return x @ layer.kernel + layer.bias


def subsample_and_pad(x, stride, channels):
    new = (channels - x.shape[-1]) // 2
    return tf.pad(x[:, ::stride, ::stride], [[0, 0], [0, 0], [0, 0], [new, new]])


def blocks_of_two():
    """Name and stride of the blocks of three stages, two blocks each."""
    for stage in (1, 2, 3):
        for number in (1, 2):
            yield f"stage{stage}_block{number}", 2 if stage > 1 and number == 1 else 1


def cifar(net, x, option=None):
    """Section 4.2, plain or with a shortcut of option A, B or C."""
    x = tf.nn.relu(net.conv_norm(x, "stem"))
    for name, stride in blocks_of_two():
        y = tf.nn.relu(net.conv_norm(x, f"{name}_1", stride))
        y = net.conv_norm(y, f"{name}_2")
        if option == "C" or (option == "B" and stride == 2):
            y += net.conv_norm(x, f"{name}_shortcut", stride)
        elif option is not None:
            y += subsample_and_pad(x, stride, y.shape[-1])
        x = tf.nn.relu(y)
    return net.dense(tf.reduce_mean(x, [1, 2]))


def bottleneck(net, x, option):
    """ImageNet stem. The first stage widens fourfold at stride 1, which is a change too."""
    x = tf.nn.relu(net.conv_norm(x, "stem", 2))
    low = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=-np.inf)
    x = tf.nn.max_pool2d(low, 3, 2, "VALID")
    for block, stride in (("stage1_block1", 1), ("stage2_block1", 2), ("stage2_block2", 1)):
        y = tf.nn.relu(net.conv_norm(x, f"{block}_1", stride))
        y = tf.nn.relu(net.conv_norm(y, f"{block}_2"))
        y = net.conv_norm(y, f"{block}_3")
        if option == "C" or (option == "B" and block.endswith("1")):
            assert net.layer(f"{block}_shortcut_conv").kernel_size == (1, 1)
            x = net.conv_norm(x, f"{block}_shortcut", stride)
        else:
            x = subsample_and_pad(x, stride, y.shape[-1])
        x = tf.nn.relu(x + y)
    return net.dense(tf.reduce_mean(x, [1, 2]))


def preactivation(net, x, projected=False):
    """Option A or, `projected`, C. The first activation comes before the split where it counts."""
    x = tf.nn.relu(net.conv_norm(x, "stem"))
    for name, stride in blocks_of_two():
        active = x if name == "stage1_block1" else tf.nn.relu(net.norm(x, f"{name}_1"))
        if projected:
            x = net.conv(active, f"{name}_shortcut", stride)
        elif stride == 2:
            x = subsample_and_pad(active, stride, 2 * active.shape[-1])
        y = net.conv(active, f"{name}_1", stride)
        x = x + net.norm_relu_conv(y, f"{name}_2")
    return net.dense(tf.reduce_mean(tf.nn.relu(net.norm(x, "end")), [1, 2]))


def relu_first(net, x):
    x = net.conv_relu_norm(x, "stem")
    for block, stride in (("stage1_block1", 1), ("stage2_block1", 2), ("stage2_block2", 1)):
        y = net.conv_relu_norm(x, f"{block}_1", stride)
        y = net.conv_relu_norm(y, f"{block}_2")
        y = net.conv_relu_norm(y, f"{block}_3")
        if block.endswith("1"):
            assert net.layer(f"{block}_shortcut_conv").kernel_size == (3, 3)
            x = net.conv_norm(x, f"{block}_shortcut", stride)
        x = tf.nn.relu(x + y)
    return net.dense(tf.reduce_mean(x, [1, 2]))


def dense512(net, x):
    x = tf.pad(x, [[0, 0], [3, 3], [3, 3], [0, 0]])
    x = tf.nn.relu(net.conv_norm(x, "stem", 2))
    x = tf.nn.max_pool2d(x, 3, 2, [[0, 0], [1, 1], [1, 1], [0, 0]])
    assert x.shape[1:3] == (10, 10)
    for stage in (1, 2, 3, 4):
        name, stride = f"stage{stage}_block1", 1 if stage == 1 else 2
        y = tf.nn.relu(net.conv_norm(x, f"{name}_1", stride))
        y = net.conv_norm(y, f"{name}_2")
        x = tf.nn.relu(y + (x if stage == 1 else net.conv(x, f"{name}_shortcut", stride)))
    assert x.shape[1:3] == (2, 2)
    return net.dense(tf.nn.relu(net.dense(tf.reduce_mean(x, [1, 2]), "hidden")))


def vgg(net, x, skip=False):
    for stage, depth in enumerate(VGG["depths"], start=1):
        entered = x
        for number in range(1, depth + 1):
            x = net.conv_norm(x, f"stage{stage}_{number}")
            if skip and stage == 5 and number == 2:
                x += entered
            x = tf.nn.relu(x)
        x = tf.nn.max_pool2d(x, 2, 2, "VALID")
    return net.dense(x[:, 0, 0])


def densenet(net, x, bottleneck=False):
    x = net.conv(x, "stem")
    for block in (1, 2, 3):
        if block > 1:
            x = tf.nn.avg_pool2d(net.norm_relu_conv(x, f"transition{block - 1}"), 2, 2, "VALID")
        for name in (f"block{block}_layer1", f"block{block}_layer2"):
            new = net.norm_relu_conv(x, f"{name}_1") if bottleneck else x
            x = tf.concat([x, net.norm_relu_conv(new, f"{name}_2")], -1)
    return net.dense(tf.reduce_mean(tf.nn.relu(net.norm(x, "end")), [1, 2]))


@pytest.mark.parametrize(
    ("name", "settings", "reference"),
    [
        ("plain20", {"depth": 14}, cifar),
        ("resnet20", {"depth": 14, "shortcut": "A"}, partial(cifar, option="A")),
        ("resnet20", {"depth": 14, "shortcut": "B"}, partial(cifar, option="B")),
        ("resnet20", {"depth": 14, "shortcut": "C"}, partial(cifar, option="C")),
        ("plain20", {"depth": 14, "norm": "none"}, cifar),
        ("resnet20", {"depth": 14, "shortcut": "B", "norm": "none"}, partial(cifar, option="B")),
        *(("resnet50", {**IMAGENET, "shortcut": x}, partial(bottleneck, option=x)) for x in "ABC"),
        ("preresnet20", {"depth": 14}, preactivation),
        ("preresnet20", {"depth": 14, "shortcut": "C"}, partial(preactivation, projected=True)),
        ("preresnet20", {"depth": 14, "norm": "none"}, preactivation),
        ("resnet50_relu_first", STAGES, relu_first),
        ("resnet34_dense512", {"widths": [4, 8, 8, 16], "depths": [1, 1, 1, 1]}, dense512),
        (*FAMILIES["VGG"], vgg),
        (*FAMILIES["VGG with a shortcut"], partial(vgg, skip=True)),
        (*FAMILIES["DenseNet"], densenet),
        (*FAMILIES["DenseNet-BC"], partial(densenet, bottleneck=True)),
    ],
)
def test_logits_of_a_network_written_out(name, settings, reference):
    model = shake(build_model(name, **settings))
    chance = np.random.default_rng(0)
    for layer in of_type(model, layers.Conv2D, layers.Dense):
        if layer.use_bias:
            layer.bias.assign(chance.normal(size=layer.bias.shape))
    logits = model(draw_images(), training=True)
    expected = reference(Reference(model), draw_images())
    assert np.std(expected) > 1e-3
    np.testing.assert_allclose(logits, expected, atol=1e-3 * np.abs(expected).max())
