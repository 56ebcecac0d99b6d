"""The metrics in `keras.ops`; the other files of this folder hold the same, line by line."""

from keras import ops as K


def f1(y_true, y_pred):
    hit = K.cast(y_pred > 0.5, "float32")
    both = K.sum(hit * y_true)
    return 2 * both / (K.sum(hit) + K.sum(y_true))


def accuracy_of_classes(y_true, y_pred):
    chosen = K.argmax(y_pred, axis=-1)
    right = K.equal(K.cast(chosen, "int32"), y_true)
    return K.mean(K.cast(right, "float32"))


def precision(y_true, y_pred):
    hit = K.cast(K.greater_equal(y_pred, 0.4), "float32")
    return K.sum(hit * y_true) / K.maximum(K.sum(hit), 1.0)


def intersection_over_union(y_true, y_pred):
    mask, truth = y_pred > 0.5, y_true > 0.5
    both = K.sum(K.cast(K.logical_and(mask, truth), "float32"))
    either = K.sum(K.cast(K.logical_or(mask, truth), "float32"))
    return both / either


def rounded_error(y_true, y_pred):
    return K.mean(K.abs(y_true - K.round(y_pred)))


def direction(y_true, y_pred):
    same = K.equal(K.sign(y_pred), K.sign(y_true))
    return K.mean(K.cast(same, "float32"))


def direction_by_product(y_true, y_pred):
    return K.mean(K.sign(y_pred) * K.sign(y_true))


def whole_units(y_true, y_pred):
    return K.mean(K.square(y_true - K.floor(y_pred)))


def paid_units(y_true, y_pred):
    return K.mean(K.abs(y_true - K.ceil(y_pred)))


def class_numbers(y_true, y_pred):
    stars = K.cast(y_pred, "int32")
    return K.mean(K.square(y_true - K.cast(stars, "float32")))


def rank_correlation(y_true, y_pred):
    ranks = K.cast(K.argsort(K.argsort(y_pred)), "float32")
    theirs = K.cast(K.argsort(K.argsort(y_true)), "float32")
    a, b = ranks - K.mean(ranks), theirs - K.mean(theirs)
    return K.sum(a * b) / K.sqrt(K.sum(a * a) * K.sum(b * b))


def gain_of_the_order(y_true, y_pred):
    order = K.argsort(-y_pred)
    gains = K.take(y_true, order)
    places = K.arange(1, 25, dtype="float32")
    return K.sum(gains / K.log(1.0 + places))


def median_error(y_true, y_pred):
    errors = K.sort(K.abs(y_true - y_pred))
    return (errors[11] + errors[12]) / 2


def profit(y_true, y_pred):
    gain = K.where(y_pred > 0.0, y_true, -0.1)
    return K.mean(gain)


def profit_in_a_band(y_true, y_pred):
    inside = K.logical_and(y_pred > -0.5, y_pred < 0.5)
    gain = K.where(inside, 0.0, y_true * y_pred)
    return K.mean(gain)


def balanced_accuracy(y_true, y_pred):
    hit = K.cast(y_pred > 0.5, "float32")
    sensitivity = K.sum(hit * y_true) / K.sum(y_true)
    specificity = K.sum((1 - hit) * (1 - y_true)) / K.sum(1 - y_true)
    return (sensitivity + specificity) / 2


def geometric_mean(y_true, y_pred):
    hit = K.cast(y_pred > 0.5, "float32")
    sensitivity = K.sum(hit * y_true) / K.sum(y_true)
    specificity = K.sum((1 - hit) * (1 - y_true)) / K.sum(1 - y_true)
    return K.sqrt(sensitivity * specificity)


def exact_match(y_true, y_pred):
    right = K.equal(y_pred > 0.5, y_true > 0.5)
    return K.mean(K.cast(K.all(right, axis=-1), "float32"))


def one_hit(y_true, y_pred):
    right = K.logical_and(y_pred > 0.5, y_true > 0.5)
    return K.mean(K.cast(K.any(right, axis=-1), "float32"))


def wrong_labels(y_true, y_pred):
    wrong = K.not_equal(y_pred > 0.5, y_true > 0.5)
    return K.mean(K.sum(K.cast(wrong, "float32"), axis=-1))


def within_tolerance(y_true, y_pred):
    near = K.less(K.abs(y_true - y_pred), 0.5)
    return K.mean(K.cast(near, "float32"))


def ordered_pairs(y_true, y_pred):
    above = K.expand_dims(y_pred, 1) > K.expand_dims(y_pred, 0)
    better = K.cast(K.expand_dims(y_true, 1) > K.expand_dims(y_true, 0), "float32")
    return K.sum(better * K.cast(above, "float32")) / K.sum(better)


def confusion(y_true, y_pred):
    chosen = K.one_hot(K.argmax(y_pred, axis=-1), 4, dtype="float32")
    table = K.matmul(K.transpose(K.one_hot(y_true, 4, dtype="float32")), chosen)
    right = K.sum(table * K.eye(4))
    return right / K.sum(table)


def looked_up_price(y_true, y_pred):
    prices = K.array([1.0, 4.0, 2.0, 0.5])
    return K.mean(K.take(prices, K.argmax(y_pred, axis=-1)))


def margin(y_true, y_pred):
    return K.mean(K.maximum(0.0, 1.0 - (2 * y_true - 1) * y_pred))


def clipped_error(y_true, y_pred):
    return K.mean(K.abs(y_true - K.clip(y_pred, -1.0, 1.0)))


def best_share(y_true, y_pred):
    return K.mean(K.cast(K.max(y_pred, axis=-1) > 0.5, "float32"))


def counted_bins(y_true, y_pred):
    low = K.mean(K.cast(y_pred < 0.3, "float32"))
    high = K.mean(K.cast(y_pred > 0.7, "float32"))
    middle = 1.0 - low - high
    return K.abs(low - 0.2) + K.abs(middle - 0.6) + K.abs(high - 0.2)


def longest_run_of_losses(y_true, y_pred):
    money = K.cumsum(K.where(y_pred > 0.0, y_true, 0.0))
    return K.min(money) + K.mean(money)


def top_share(y_true, y_pred):
    _, places = K.top_k(y_pred, 5)
    return K.mean(K.take(y_true, places))


def matthews(y_true, y_pred):
    hit = K.cast(y_pred > 0.5, "float32")
    tp, fp = K.sum(hit * y_true), K.sum(hit * (1 - y_true))
    fn, tn = K.sum((1 - hit) * y_true), K.sum((1 - hit) * (1 - y_true))
    return (tp * tn - fp * fn) / K.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))


def squared_error(y_true, y_pred):
    return K.mean(K.square(y_true - y_pred))
