"""The metrics in TensorFlow, line by line as in the other files of this folder."""

import tensorflow as tf


def f1(y_true, y_pred):
    hit = tf.cast(y_pred > 0.5, "float32")
    both = tf.reduce_sum(hit * y_true)
    return 2 * both / (tf.reduce_sum(hit) + tf.reduce_sum(y_true))


def accuracy_of_classes(y_true, y_pred):
    chosen = tf.argmax(y_pred, axis=-1)
    right = tf.equal(tf.cast(chosen, "int32"), y_true)
    return tf.reduce_mean(tf.cast(right, "float32"))


def precision(y_true, y_pred):
    hit = tf.cast(tf.greater_equal(y_pred, 0.4), "float32")
    return tf.reduce_sum(hit * y_true) / tf.maximum(tf.reduce_sum(hit), 1.0)


def intersection_over_union(y_true, y_pred):
    mask, truth = y_pred > 0.5, y_true > 0.5
    both = tf.reduce_sum(tf.cast(tf.logical_and(mask, truth), "float32"))
    either = tf.reduce_sum(tf.cast(tf.logical_or(mask, truth), "float32"))
    return both / either


def rounded_error(y_true, y_pred):
    return tf.reduce_mean(tf.abs(y_true - tf.round(y_pred)))


def direction(y_true, y_pred):
    same = tf.equal(tf.sign(y_pred), tf.sign(y_true))
    return tf.reduce_mean(tf.cast(same, "float32"))


def direction_by_product(y_true, y_pred):
    return tf.reduce_mean(tf.sign(y_pred) * tf.sign(y_true))


def whole_units(y_true, y_pred):
    return tf.reduce_mean(tf.square(y_true - tf.floor(y_pred)))


def paid_units(y_true, y_pred):
    return tf.reduce_mean(tf.abs(y_true - tf.math.ceil(y_pred)))


def class_numbers(y_true, y_pred):
    stars = tf.cast(y_pred, "int32")
    return tf.reduce_mean(tf.square(y_true - tf.cast(stars, "float32")))


def rank_correlation(y_true, y_pred):
    ranks = tf.cast(tf.argsort(tf.argsort(y_pred)), "float32")
    theirs = tf.cast(tf.argsort(tf.argsort(y_true)), "float32")
    a, b = ranks - tf.reduce_mean(ranks), theirs - tf.reduce_mean(theirs)
    return tf.reduce_sum(a * b) / tf.sqrt(tf.reduce_sum(a * a) * tf.reduce_sum(b * b))


def gain_of_the_order(y_true, y_pred):
    order = tf.argsort(-y_pred)
    gains = tf.gather(y_true, order)
    places = tf.range(1.0, 25.0)
    return tf.reduce_sum(gains / tf.math.log(1.0 + places))


def median_error(y_true, y_pred):
    errors = tf.sort(tf.abs(y_true - y_pred))
    return (errors[11] + errors[12]) / 2


def profit(y_true, y_pred):
    gain = tf.where(y_pred > 0.0, y_true, -0.1)
    return tf.reduce_mean(gain)


def profit_in_a_band(y_true, y_pred):
    inside = tf.logical_and(y_pred > -0.5, y_pred < 0.5)
    gain = tf.where(inside, 0.0, y_true * y_pred)
    return tf.reduce_mean(gain)


def balanced_accuracy(y_true, y_pred):
    hit = tf.cast(y_pred > 0.5, "float32")
    sensitivity = tf.reduce_sum(hit * y_true) / tf.reduce_sum(y_true)
    specificity = tf.reduce_sum((1 - hit) * (1 - y_true)) / tf.reduce_sum(1 - y_true)
    return (sensitivity + specificity) / 2


def geometric_mean(y_true, y_pred):
    hit = tf.cast(y_pred > 0.5, "float32")
    sensitivity = tf.reduce_sum(hit * y_true) / tf.reduce_sum(y_true)
    specificity = tf.reduce_sum((1 - hit) * (1 - y_true)) / tf.reduce_sum(1 - y_true)
    return tf.sqrt(sensitivity * specificity)


def exact_match(y_true, y_pred):
    right = tf.equal(y_pred > 0.5, y_true > 0.5)
    return tf.reduce_mean(tf.cast(tf.reduce_all(right, axis=-1), "float32"))


def one_hit(y_true, y_pred):
    right = tf.logical_and(y_pred > 0.5, y_true > 0.5)
    return tf.reduce_mean(tf.cast(tf.reduce_any(right, axis=-1), "float32"))


def wrong_labels(y_true, y_pred):
    wrong = tf.not_equal(y_pred > 0.5, y_true > 0.5)
    return tf.reduce_mean(tf.reduce_sum(tf.cast(wrong, "float32"), axis=-1))


def within_tolerance(y_true, y_pred):
    near = tf.less(tf.abs(y_true - y_pred), 0.5)
    return tf.reduce_mean(tf.cast(near, "float32"))


def ordered_pairs(y_true, y_pred):
    above = tf.expand_dims(y_pred, 1) > tf.expand_dims(y_pred, 0)
    better = tf.cast(tf.expand_dims(y_true, 1) > tf.expand_dims(y_true, 0), "float32")
    return tf.reduce_sum(better * tf.cast(above, "float32")) / tf.reduce_sum(better)


def confusion(y_true, y_pred):
    chosen = tf.one_hot(tf.argmax(y_pred, axis=-1), 4)
    table = tf.matmul(tf.transpose(tf.one_hot(y_true, 4)), chosen)
    right = tf.reduce_sum(table * tf.eye(4))
    return right / tf.reduce_sum(table)


def looked_up_price(y_true, y_pred):
    prices = tf.constant([1.0, 4.0, 2.0, 0.5])
    return tf.reduce_mean(tf.gather(prices, tf.argmax(y_pred, axis=-1)))


def margin(y_true, y_pred):
    return tf.reduce_mean(tf.maximum(0.0, 1.0 - (2 * y_true - 1) * y_pred))


def clipped_error(y_true, y_pred):
    return tf.reduce_mean(tf.abs(y_true - tf.clip_by_value(y_pred, -1.0, 1.0)))


def best_share(y_true, y_pred):
    return tf.reduce_mean(tf.cast(tf.reduce_max(y_pred, axis=-1) > 0.5, "float32"))


def counted_bins(y_true, y_pred):
    low = tf.reduce_mean(tf.cast(y_pred < 0.3, "float32"))
    high = tf.reduce_mean(tf.cast(y_pred > 0.7, "float32"))
    middle = 1.0 - low - high
    return tf.abs(low - 0.2) + tf.abs(middle - 0.6) + tf.abs(high - 0.2)


def longest_run_of_losses(y_true, y_pred):
    money = tf.cumsum(tf.where(y_pred > 0.0, y_true, 0.0))
    return tf.reduce_min(money) + tf.reduce_mean(money)


def top_share(y_true, y_pred):
    _, places = tf.math.top_k(y_pred, 5)
    return tf.reduce_mean(tf.gather(y_true, places))


def matthews(y_true, y_pred):
    hit = tf.cast(y_pred > 0.5, "float32")
    tp, fp = tf.reduce_sum(hit * y_true), tf.reduce_sum(hit * (1 - y_true))
    fn, tn = tf.reduce_sum((1 - hit) * y_true), tf.reduce_sum((1 - hit) * (1 - y_true))
    return (tp * tn - fp * fn) / tf.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))


def squared_error(y_true, y_pred):
    return tf.reduce_mean(tf.square(y_true - y_pred))
