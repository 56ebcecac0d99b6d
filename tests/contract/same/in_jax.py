"""The metrics in JAX, line by line as in the other files of this folder."""

import jax
import jax.numpy as jnp


def f1(y_true, y_pred):
    hit = (y_pred > 0.5).astype("float32")
    both = jnp.sum(hit * y_true)
    return 2 * both / (jnp.sum(hit) + jnp.sum(y_true))


def accuracy_of_classes(y_true, y_pred):
    chosen = jnp.argmax(y_pred, axis=-1)
    right = jnp.equal(chosen.astype("int32"), y_true)
    return jnp.mean(right.astype("float32"))


def precision(y_true, y_pred):
    hit = jnp.greater_equal(y_pred, 0.4).astype("float32")
    return jnp.sum(hit * y_true) / jnp.maximum(jnp.sum(hit), 1.0)


def intersection_over_union(y_true, y_pred):
    mask, truth = y_pred > 0.5, y_true > 0.5
    both = jnp.sum(jnp.logical_and(mask, truth).astype("float32"))
    either = jnp.sum(jnp.logical_or(mask, truth).astype("float32"))
    return both / either


def rounded_error(y_true, y_pred):
    return jnp.mean(jnp.abs(y_true - jnp.round(y_pred)))


def direction(y_true, y_pred):
    same = jnp.equal(jnp.sign(y_pred), jnp.sign(y_true))
    return jnp.mean(same.astype("float32"))


def direction_by_product(y_true, y_pred):
    return jnp.mean(jnp.sign(y_pred) * jnp.sign(y_true))


def whole_units(y_true, y_pred):
    return jnp.mean(jnp.square(y_true - jnp.floor(y_pred)))


def paid_units(y_true, y_pred):
    return jnp.mean(jnp.abs(y_true - jnp.ceil(y_pred)))


def class_numbers(y_true, y_pred):
    stars = y_pred.astype("int32")
    return jnp.mean(jnp.square(y_true - stars.astype("float32")))


def rank_correlation(y_true, y_pred):
    ranks = jnp.argsort(jnp.argsort(y_pred)).astype("float32")
    theirs = jnp.argsort(jnp.argsort(y_true)).astype("float32")
    a, b = ranks - jnp.mean(ranks), theirs - jnp.mean(theirs)
    return jnp.sum(a * b) / jnp.sqrt(jnp.sum(a * a) * jnp.sum(b * b))


def gain_of_the_order(y_true, y_pred):
    order = jnp.argsort(-y_pred)
    gains = y_true[order]
    places = jnp.arange(1, 25, dtype="float32")
    return jnp.sum(gains / jnp.log(1.0 + places))


def median_error(y_true, y_pred):
    errors = jnp.sort(jnp.abs(y_true - y_pred))
    return (errors[11] + errors[12]) / 2


def profit(y_true, y_pred):
    gain = jnp.where(y_pred > 0.0, y_true, -0.1)
    return jnp.mean(gain)


def profit_in_a_band(y_true, y_pred):
    inside = jnp.logical_and(y_pred > -0.5, y_pred < 0.5)
    gain = jnp.where(inside, 0.0, y_true * y_pred)
    return jnp.mean(gain)


def balanced_accuracy(y_true, y_pred):
    hit = (y_pred > 0.5).astype("float32")
    sensitivity = jnp.sum(hit * y_true) / jnp.sum(y_true)
    specificity = jnp.sum((1 - hit) * (1 - y_true)) / jnp.sum(1 - y_true)
    return (sensitivity + specificity) / 2


def geometric_mean(y_true, y_pred):
    hit = (y_pred > 0.5).astype("float32")
    sensitivity = jnp.sum(hit * y_true) / jnp.sum(y_true)
    specificity = jnp.sum((1 - hit) * (1 - y_true)) / jnp.sum(1 - y_true)
    return jnp.sqrt(sensitivity * specificity)


def exact_match(y_true, y_pred):
    right = jnp.equal(y_pred > 0.5, y_true > 0.5)
    return jnp.mean(jnp.all(right, axis=-1).astype("float32"))


def one_hit(y_true, y_pred):
    right = jnp.logical_and(y_pred > 0.5, y_true > 0.5)
    return jnp.mean(jnp.any(right, axis=-1).astype("float32"))


def wrong_labels(y_true, y_pred):
    wrong = jnp.not_equal(y_pred > 0.5, y_true > 0.5)
    return jnp.mean(jnp.sum(wrong.astype("float32"), axis=-1))


def within_tolerance(y_true, y_pred):
    near = jnp.less(jnp.abs(y_true - y_pred), 0.5)
    return jnp.mean(near.astype("float32"))


def ordered_pairs(y_true, y_pred):
    above = y_pred[:, None] > y_pred[None, :]
    better = (y_true[:, None] > y_true[None, :]).astype("float32")
    return jnp.sum(better * above.astype("float32")) / jnp.sum(better)


def confusion(y_true, y_pred):
    chosen = jax.nn.one_hot(jnp.argmax(y_pred, axis=-1), 4)
    table = jnp.matmul(jnp.transpose(jax.nn.one_hot(y_true, 4)), chosen)
    right = jnp.sum(table * jnp.eye(4))
    return right / jnp.sum(table)


def looked_up_price(y_true, y_pred):
    prices = jnp.array([1.0, 4.0, 2.0, 0.5])
    return jnp.mean(prices[jnp.argmax(y_pred, axis=-1)])


def margin(y_true, y_pred):
    return jnp.mean(jnp.maximum(0.0, 1.0 - (2 * y_true - 1) * y_pred))


def clipped_error(y_true, y_pred):
    return jnp.mean(jnp.abs(y_true - jnp.clip(y_pred, -1.0, 1.0)))


def best_share(y_true, y_pred):
    return jnp.mean((jnp.max(y_pred, axis=-1) > 0.5).astype("float32"))


def counted_bins(y_true, y_pred):
    low = jnp.mean((y_pred < 0.3).astype("float32"))
    high = jnp.mean((y_pred > 0.7).astype("float32"))
    middle = 1.0 - low - high
    return jnp.abs(low - 0.2) + jnp.abs(middle - 0.6) + jnp.abs(high - 0.2)


def longest_run_of_losses(y_true, y_pred):
    money = jnp.cumsum(jnp.where(y_pred > 0.0, y_true, 0.0))
    return jnp.min(money) + jnp.mean(money)


def top_share(y_true, y_pred):
    _, places = jax.lax.top_k(y_pred, 5)
    return jnp.mean(y_true[places])


def matthews(y_true, y_pred):
    hit = (y_pred > 0.5).astype("float32")
    tp, fp = jnp.sum(hit * y_true), jnp.sum(hit * (1 - y_true))
    fn, tn = jnp.sum((1 - hit) * y_true), jnp.sum((1 - hit) * (1 - y_true))
    return (tp * tn - fp * fn) / jnp.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))


def squared_error(y_true, y_pred):
    return jnp.mean(jnp.square(y_true - y_pred))
