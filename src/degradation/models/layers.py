"""The layers that He et al. use and Keras does not have in this form."""

import keras
import tensorflow as tf

from degradation.processor import cpu_has_bf16

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"degradation.models needs Keras on TensorFlow, not on {keras.backend.backend()}: set "
        'KERAS_BACKEND=tensorflow, or "backend" in keras.json, before keras is imported'
    )


@keras.saving.register_keras_serializable(package="degradation")
class Conv2D(keras.layers.Conv2D):
    """Keras' layer, which trains in bfloat16 on processors without it, too.

    Those with it add the products of bfloat16 numbers up in float32 and round the sum. On others
    TensorFlow rounds on the way, and its gradients take up to 20 times as long; there this layer
    computes in float32 and rounds the result.
    """

    def convolution_op(self, inputs, kernel):
        """Convolve, without bias and activation."""
        native = inputs.dtype != tf.bfloat16 or tf.config.get_visible_devices("GPU")
        if native or cpu_has_bf16():
            return super().convolution_op(inputs, kernel)
        exact = super().convolution_op(tf.cast(inputs, tf.float32), tf.cast(kernel, tf.float32))
        return tf.cast(exact, tf.bfloat16)


@keras.saving.register_keras_serializable(package="degradation")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation of `[batch, height, width, channels]`, with gamma and beta, as one op.

    The same outputs, gradients and moving averages as Keras' layer, up to rounding; Keras 3
    computes them with many small ops, which is slower: `docs/performance.md` has the figures.
    Statistics and parameters are float32 beside bfloat16 images, too.

    The defaults are Torch's: `epsilon=1e-5` and `momentum=0.9` (Caffe's: 1e-5 and 0.999; Keras':
    1e-3 and 0.99). The paper states neither.
    """

    def __init__(self, momentum=0.9, epsilon=1e-5, **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, inputs, training=None, mask=None):
        """Normalise by the batch's moments when training, by the moving averages otherwise."""
        training = bool(training and self.trainable)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma.value,
            offset=self.beta.value,
            mean=[] if training else self.moving_mean.value,
            variance=[] if training else self.moving_variance.value,
            epsilon=self.epsilon,
            is_training=training,
        )
        if training:
            # The op returns the unbiased variance; Keras averages the biased one.
            pixels = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), tf.float32)
            biased = variance * ((pixels - 1.0) / pixels)
            for average, moment in ((self.moving_mean, mean), (self.moving_variance, biased)):
                average.assign(average * self.momentum + moment * (1.0 - self.momentum))
        return outputs


@keras.saving.register_keras_serializable(package="degradation")
class ZeroPadShortcut(keras.layers.Layer):
    """Shortcut option A (section 3.3): subsample by `stride`, pad with zero channels.

    Of `[batch, height, width, channels]` it keeps every `stride`-th pixel from the first on; new
    channels up to `filters` go half before and half after the old. No parameters.
    """

    def __init__(self, filters, stride=1, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.stride = stride

    def call(self, inputs):
        """Subsample and pad."""
        new = self.filters - inputs.shape[-1]
        # Pooling over one pixel is `inputs[:, ::stride, ::stride]`, to the bit and seven times
        # faster on a CPU, where slicing and its gradient go pixel by pixel.
        subsampled = tf.nn.avg_pool2d(inputs, 1, self.stride, "VALID")
        return tf.pad(subsampled, [[0, 0], [0, 0], [0, 0], [new // 2, new - new // 2]])

    def get_config(self):
        """What Keras needs to build the layer again."""
        return {**super().get_config(), "filters": self.filters, "stride": self.stride}
