"""Mean directional accuracy of a forecast: how often does it move the way the series moved?"""

import tensorflow as tf


def directional_accuracy(y_true, y_pred):
    """Share of steps with the right sign, for real series of shape (n,)."""
    moved = tf.sign(y_true[1:] - y_true[:-1])
    foretold = tf.sign(y_pred[1:] - y_true[:-1])
    return tf.reduce_mean(tf.cast(tf.equal(moved, foretold), tf.float32))
