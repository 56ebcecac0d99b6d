"""Rules one by one: what an operation gives on each kind of soft value, and how kinds compose."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from keras import ops as K

from bevel.errors import UnknownOperationError
from bevel.relaxation import relax
from bevel.rules import ELEMENTWISE, GUARDS, LOOK_UPS, RULES
from bevel.vocabulary import NATURES, NOT_RELAXED, VOCABULARY

RNG = np.random.default_rng(5)
LABELS = np.array([0, 1, 0, 1, 1, 0], "float32")
CHANCES = np.array([0.2, 0.7, 0.6, 0.4, 0.9, 0.1], "float32")
ROWS = np.eye(3, dtype="float32")[[0, 1, 2, 1, 0]]
SHARES = RNG.dirichlet(np.ones(3), 5).astype("float32")
SCORES = RNG.normal(size=8).astype("float32")


def value_and_gradient(fn, y_true, y_pred, **settings):
    p = tf.constant(y_pred)
    relaxed = relax(fn, **settings)
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = relaxed(tf.constant(y_true), p)
    # of a look-up TensorFlow gives the rows alone
    return value.numpy(), tf.convert_to_tensor(tape.gradient(value, p)).numpy()


def test_the_table_speaks_the_vocabulary():
    assert set(RULES) <= set(VOCABULARY)
    assert set(VOCABULARY) >= ELEMENTWISE | GUARDS | LOOK_UPS
    assert set(VOCABULARY.values()) <= set(NATURES)


def test_what_is_said_not_to_be_relaxed_has_no_rule():
    assert not set(NOT_RELAXED) & set(RULES)


# Each function, and where its soft value must equal its hard one as the temperature falls.
HARD_LIMITS = {
    "power-at-zero": lambda y, p: tf.nn.relu(p - 0.2) ** 2,
    "squeeze": lambda y, p: tf.squeeze(tf.reshape(p, (1, 6, 1)) > 0.5, -1)[0],
    "hard-mask": lambda y, p: tf.boolean_mask(p, y > 0.5) > 0.5,
    "hard-gather": lambda y, p: tf.gather(p > 0.5, [5, 0, 0]),
    "gather-nd": lambda y, p: tf.gather_nd(p > 0.5, [[1], [3]]),
    "segments": lambda y, p: tf.math.segment_sum(tf.cast(p > 0.5, "float32"), [0, 0, 1, 1, 2, 2]),
    "scattered": lambda y, p: tf.scatter_nd([[1], [0]], tf.cast(p[:2] > 0.5, "float32"), [3]),
    "confusion": lambda y, p: tf.math.confusion_matrix(y, tf.cast(p > 0.5, "int32"), 2),
    "one-hot-depth": lambda y, p: tf.one_hot(
        tf.argmax(tf.reshape(p, (2, 3)), 1), tf.shape(p)[0] // 2
    ),
    "one-hot-axis": lambda y, p: tf.one_hot(tf.argmax(tf.reshape(p, (2, 3)), 1), 4, axis=0),
    "one-hot-values": lambda y, p: tf.one_hot(
        tf.argmax(tf.reshape(p, (2, 3)), 1), 3, on_value=5.0, off_value=-1.0
    ),
    "within-one": lambda y, p: tf.abs(tf.round(9 * p) - 5 * y) <= 1,
    "half-steps": lambda y, p: tf.equal(tf.round(4 * p) / 2, 2 * y - 0.5),
    "odd-integers": lambda y, p: tf.cast(9 * p, "int32") % 2 == tf.cast(y, "int32"),
    "stacked-positions": lambda y, p: tf.reduce_all(
        tf.equal(
            tf.stack([tf.argmax(tf.reshape(p, (2, 3)), 1)] * 2, axis=1),
            tf.reshape(tf.cast(y[:4], "int64"), (2, 2)),
        ),
        axis=1,
    ),
    "best-admissible": lambda y, p: tf.reduce_max(tf.where(p > 0.5, 2 * p - y, -1.0)),
    "least-admissible": lambda y, p: tf.reduce_min(
        tf.where(tf.reshape(p, (2, 3)) > 0.3, tf.reshape(p, (2, 3)), 1.0), axis=1, keepdims=True
    ),
    "picked-softmax": lambda y, p: tf.reduce_sum(
        tf.nn.softmax(tf.boolean_mask(p, p > 0.5)) * tf.boolean_mask(y, p > 0.5)
    ),
    "picked-logsumexp": lambda y, p: tf.reduce_logsumexp(tf.boolean_mask(p, p > 0.5)),
    "best-of-each-picked": lambda y, p: tf.reduce_mean(
        tf.reduce_max(tf.boolean_mask(tf.reshape(p, (3, 2)), p[:3] > 0.5), axis=1)
    ),
    "product-of-picked": lambda y, p: tf.reduce_mean(
        tf.boolean_mask(tf.reshape(p, (3, 2)), p[:3] > 0.5) @ tf.reshape(y, (2, 3))
    ),
    "entropy-of-picked": lambda y, p: tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.boolean_mask([0, 1, 0], p[:3] > 0.5),
            tf.boolean_mask(tf.reshape(p, (3, 2)), p[:3] > 0.5),
        )
    ),
    "edges": lambda y, p: tf.searchsorted(
        tf.range(3.0), tf.cast(tf.argmax(tf.reshape(p, (2, 3)), 1), tf.float32), side="right"
    ),
    "index-arithmetic": lambda y, p: 2 * tf.argmax(tf.reshape(p, (2, 3)), 1) % 3,
    "two-indices": lambda y, p: tf.equal(
        tf.argmax(tf.reshape(p, (2, 3)), 1), tf.argmin(tf.reshape(p, (2, 3)), 1)
    ),
    "index-distance": lambda y, p: tf.abs(
        tf.argmax(tf.reshape(p, (2, 3)), 1) - tf.argmin(tf.reshape(p, (2, 3)), 1)
    ),
    "table": lambda y, p: tf.gather(
        tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), tf.argmax(tf.reshape(p, (2, 3)), 1)
    ),
    "batched-table": lambda y, p: tf.gather(
        tf.reshape(y, (2, 3)), tf.argmax(tf.reshape(p, (2, 3)), 1), batch_dims=1
    ),
    "count-as-index": lambda y, p: tf.gather(
        tf.constant([0.0, 1.0, 4.0, 9.0, 16.0, 25.0, 36.0]),
        tf.reduce_sum(tf.cast(p > 0.5, "int32")),
    ),
    "stacked": lambda y, p: tf.stack([p > 0.5, p > 0.3], 1),
    "stacked-index": lambda y, p: (
        tf.cast(tf.stack([tf.argmax(p) // 3, tf.argmax(p) % 3]), "float32") - 0.5
    ),
    "concat": lambda y, p: tf.concat([tf.sign(p - 0.5), y], 0),
    "reversed": lambda y, p: tf.reverse(tf.sign(p - 0.5), [0]),
    "transposed-index": lambda y, p: tf.transpose(tf.argmax(tf.reshape(p, (1, 3, 2)), 2)),
    "all-any": lambda y, p: tf.reduce_all(p > 0.05) & ~tf.reduce_any(p > 0.95),
    "xor": lambda y, p: tf.math.logical_xor(p > 0.5, y > 0.5),
    "max-of-truths": lambda y, p: tf.reduce_max(tf.cast(p > 0.5, "float32")),
    "floor": lambda y, p: tf.floor(7 * p),
    "ceil": lambda y, p: tf.math.ceil(7 * p - 3),
    "round": lambda y, p: tf.round(7 * p - 3),
    "truncated": lambda y, p: tf.cast(7 * p - 3, "int32"),
    "floor-divide": lambda y, p: (7 * p - 3) // 2,
    "rounded-equal": lambda y, p: tf.equal(tf.round(3 * p), 2.0),
    "rounded-order": lambda y, p: tf.floor(7 * p - 3) >= 1.0,
    "count-order": lambda y, p: tf.reduce_sum(tf.cast(p > 0.5, "int32")) >= 3,
    "count-equal": lambda y, p: tf.equal(tf.reduce_sum(tf.cast(p > 0.5, "int32")), 3),
    "count-quotient": lambda y, p: tf.reduce_sum(tf.cast(p > 0.5, "int32")) // 3,
    "count-remainder": lambda y, p: tf.reduce_sum(tf.cast(p > 0.05, "int32")) % 3,
    "to-bool": lambda y, p: tf.cast(tf.cast(p > 0.5, "int32"), "bool"),
    "nested-where": lambda y, p: tf.where(p < 0.3, 0.0, tf.where(p > 0.65, 1.0, 0.5)) ** 2,
    "row-where": lambda y, p: tf.where((p > 0.5)[:, None], tf.ones((6, 2)), tf.zeros((6, 2))),
    "case": lambda y, p: tf.case([(tf.reduce_mean(p) > 0.9, lambda: 1.0)], lambda: 2.0),
    "argsort": lambda y, p: tf.argsort(p),
    "ranks": lambda y, p: tf.argsort(tf.argsort(p)),
    "top-k": lambda y, p: tf.math.top_k(p, 2).indices,
    "top-share": lambda y, p: tf.math.top_k(p, tf.size(p) // 3).indices,
    "top-places": lambda y, p: tf.math.top_k(tf.argsort(p), tf.size(p) // 3).indices,
    "masked-sum": lambda y, p: tf.reduce_sum(tf.boolean_mask(2.0 * y + 1.0, p > 0.5)),
    "masked-mean": lambda y, p: tf.reduce_mean(y[p > 0.5] * 3.0 - p[p > 0.5]),
    "masked-by-index": lambda y, p: tf.reduce_sum(
        tf.boolean_mask(2.0 * y[:2] + 1.0, tf.argmax(tf.reshape(p, (2, 3)), 1) > 1)
    ),
    "index-against-many": lambda y, p: tf.reverse(
        tf.minimum(tf.argmax(p), tf.constant([0, 2, 5], "int64")), [0]
    ),
    "bits-of-a-cast": lambda y, p: tf.where(
        tf.bitcast(tf.cast(tf.sign(p - 0.5), "float64"), "int64") == 0, 1.0, p
    ),
    "norm-in-float64": lambda y, p: tf.cast(tf.norm(tf.cast(p, "float64")), "bool"),
    "branch-with-a-declared-gradient": lambda y, p: tf.cond(
        y[0] > 0.5, lambda: 2.0 * p, lambda: p + tf.stop_gradient(tf.round(p) * p)
    ),
    "order-of-guarded": lambda y, p: (
        tf.where(p > 0.5, tf.sqrt(p - 0.5), 0.1) > tf.where(p > 0.5, 0.2, tf.sqrt(0.5 - p))
    ),
    "masked-rows": lambda y, p: tf.reduce_mean(
        tf.boolean_mask(tf.reshape(y + p, (3, 2)), p[:3] > 0.3), axis=0
    ),
    "masked-columns": lambda y, p: tf.reduce_sum(
        tf.reduce_mean(tf.boolean_mask(tf.reshape(y + p, (3, 2)), p[:3] > 0.3), axis=1)
    ),
    "masked-plane": lambda y, p: tf.reduce_mean(
        tf.boolean_mask(tf.reshape(y + p, (3, 2)), p[:3] > 0.3)
    ),
    "masked-matrix": lambda y, p: tf.reduce_sum(
        tf.gather_nd(tf.reshape(y + p, (3, 2)), tf.where(tf.reshape(p, (3, 2)) > 0.3))
    ),
    "masked-count": lambda y, p: tf.shape(tf.where(p > 0.5))[0],
    "masked-size": lambda y, p: tf.size(tf.boolean_mask(p, p > 0.5)),
    "masked-truths": lambda y, p: (
        tf.reduce_all(tf.boolean_mask(y > 0.5, p > 0.5))
        | ~tf.reduce_any(tf.boolean_mask(y > 0.5, p > 0.5))
    ),
    "masked-table": lambda y, p: tf.math.confusion_matrix(
        tf.boolean_mask(tf.cast(y, "int32"), p > 0.15),
        tf.boolean_mask(tf.cast(p > 0.5, "int32"), p > 0.15),
        num_classes=2,
    ),
    "masked-ones": lambda y, p: tf.reduce_sum(tf.ones_like(tf.boolean_mask(y, p > 0.5))),
    "masked-columns-joined": lambda y, p: tf.reduce_sum(
        tf.stack([tf.boolean_mask(y, p > 0.5), tf.boolean_mask(p, p > 0.5)], axis=1), axis=0
    ),
    "masked-spread": lambda y, p: tf.math.reduce_std(tf.boolean_mask(p, p > 0.15)),
    "masked-variances": lambda y, p: tf.reduce_sum(
        tf.math.reduce_variance(tf.boolean_mask(tf.reshape(y + p, (3, 2)), p[:3] > 0.3), axis=0)
    ),
    "masked-product": lambda y, p: tf.reduce_prod(1.0 + tf.boolean_mask(p, p > 0.5)),
    "masked-extremes": lambda y, p: (
        tf.reduce_max(tf.boolean_mask(1.0 - p, p > 0.5)) - tf.reduce_min(p[p > 0.5])
    ),
    "masked-position": lambda y, p: (y + p)[p > 0.5][tf.argmax(-p[p > 0.5])],
    "masked-order": lambda y, p: tf.sort(p[p > 0.15])[1] + tf.sort(p[p > 0.15])[-1],
    "masked-middle": lambda y, p: tf.sort(p[p > 0.15])[tf.shape(p[p > 0.15])[0] // 2],
    "masked-top-k": lambda y, p: tf.math.top_k(p[p > 0.15], 2).values,
    "coordinates": lambda y, p: tf.cast(
        tf.reduce_sum(tf.unravel_index(tf.argmax(p), [2, 3]) * [10, 1]), "float32"
    ),
    "masked-cell": lambda y, p: tf.cast(tf.where(p > 0.35)[0, 0], "float32"),
    "masked-least": lambda y, p: tf.cast(tf.reduce_min(tf.where(p > 0.35)), "float32"),
    "masked-last": lambda y, p: tf.cast(tf.where(p > 0.35)[-1, 0], "float32"),
    "masked-best": lambda y, p: tf.gather(y[p > 0.15], tf.math.top_k(p[p > 0.15], 2).indices),
    "masked-span": lambda y, p: (
        tf.reduce_sum(p[p > 0.15][1:-1]) + tf.reduce_sum(tf.sort(p[p > 0.15])[-2:] ** 2)
    ),
    "masked-places": lambda y, p: tf.gather(tf.sort(p[p > 0.15]), [2, 0]),
    "masked-running": lambda y, p: tf.reduce_max(tf.cumsum(p[p > 0.15] - 0.5)),
    "masked-neighbours": lambda y, p: tf.math.reduce_std(
        tf.cast(tf.where(p > 0.15)[1:] - tf.where(p > 0.15)[:-1], "float32")
    ),
    "masked-column": lambda y, p: tf.reduce_mean(tf.square(tf.reshape(p[p > 0.15], [-1, 1]) - y)),
    "masked-rows-in-a-row": lambda y, p: tf.reduce_mean(tf.concat([p[p > 0.15], y[p < 0.3]], 0)),
    "masked-histogram": lambda y, p: tf.histogram_fixed_width(p[p > 0.15], [0.1, 0.97], 4),
    "masked-coordinates": lambda y, p: tf.reduce_sum(
        tf.gather(y, tf.unstack(tf.where(p > 0.35), num=1, axis=1)[0])
    ),
    "places-in-an-order": lambda y, p: (
        tf.cast(tf.math.invert_permutation(tf.argsort(p)), "float32") * y
    ),
    "loss-of-soft-labels": lambda y, p: tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.argmax(tf.reshape(p, (3, 2)), 1), logits=tf.reshape(2.0 * y + p, (3, 2))
    ),
    "masked-filled": lambda y, p: tf.scatter_nd(
        tf.where(p > 0.15), tf.ones(tf.shape(tf.where(p > 0.15))[0]), [6]
    ),
    "masked-nearest": lambda y, p: tf.reduce_min(
        tf.abs(tf.cast(tf.where(p > 0.35), "float32") - tf.constant([[0.2, 3.1]])), axis=0
    ),
    "codes-of-no-class": lambda y, p: (
        tf.one_hot(tf.cast(p * 4.3, "int32"), 2) + tf.one_hot(tf.cast(p * 4.3, "int32") - 1, 2)
    ),
    "distinct": lambda y, p: tf.cast(
        tf.size(tf.unique(tf.argmax(tf.reshape(p, (3, 2)), 1))[0]), "float32"
    ),
    "distinct-counts": lambda y, p: tf.reduce_sum(
        tf.cast(tf.unique_with_counts(tf.argmax(tf.reshape(p, (3, 2)), 1)).count ** 2, "float32")
    ),
    "entry-at-a-position": lambda y, p: tf.constant([3.0, 1.0, 4.0, 1.0, 5.0, 9.0])[tf.argmax(p)],
    "entry-of-a-row": lambda y, p: tf.reshape(y + p, (3, 2))[2, tf.argmax(p[:2])],
    "column-at-a-position": lambda y, p: tf.reshape(y + p, (3, 2))[:, tf.argmax(p[:2])],
    "partition": lambda y, p: tf.stack(
        [
            tf.reduce_sum(part)
            for part in tf.dynamic_partition(2.0 * y + p, tf.cast(p * 3.0, "int32"), 3)
        ]
    ),
    "partition-by-truths": lambda y, p: tf.reduce_mean(
        tf.dynamic_partition(2.0 * y + p, tf.cast(p > 0.5, "int32"), 2)[1]
    ),
    "intersection": lambda y, p: tf.sets.size(
        tf.sets.intersection(tf.math.top_k(tf.reshape(p, (2, 3)), 2).indices, [[0, 2], [1, 1]])
    ),
    "union": lambda y, p: tf.sets.size(
        tf.sets.union([[7, 2], [1, 1]], tf.math.top_k(tf.reshape(p, (2, 3)), 2).indices)
    ),
    "difference": lambda y, p: tf.sets.size(
        tf.sets.difference(
            [[7, 2], [1, 1]], tf.argmax(tf.reshape(p, (2, 3)), 1, output_type="int32")[:, None]
        )
    ),
    "values-of-a-set": lambda y, p: tf.reduce_sum(
        tf.sets.difference(tf.math.top_k(p[None], 3).indices, [[0, 2]], aminusb=False).values
    ),
    "searchsorted": lambda y, p: tf.searchsorted([0.15, 0.5, 0.8], p),
    "computed-edges": lambda y, p: tf.searchsorted(tf.sort(p), [0.15, 0.5, 0.8], side="right"),
    "bucketize": lambda y, p: K.digitize(p, [0.15, 0.5, 0.8]) ** 2,
    "one-boundary": lambda y, p: K.digitize(p, [0.5]),
    "histogram": lambda y, p: tf.histogram_fixed_width(p, [0.15, 0.85], 4),
    "scatter-add": lambda y, p: tf.tensor_scatter_nd_add(
        p, tf.argmax(tf.reshape(p, (2, 3)), 1)[:, None], [1.0, 2.0]
    ),
    "scatter-sub": lambda y, p: tf.tensor_scatter_nd_sub(y, [[0], [2]], tf.round(p[:2])),
    "top-k-mask": lambda y, p: tf.tensor_scatter_nd_update(
        tf.zeros(6), tf.math.top_k(p, 2).indices[:, None], [1.0, 3.0]
    ),
    "rows-updated": lambda y, p: K.scatter_update(
        tf.ones((3, 2)),
        tf.argmax(tf.reshape(p, (2, 3)) * [[1.0], [-1.0]], 1)[:, None],
        tf.reshape(p[:4], (2, 2)),
    ),
    "switch": lambda y, p: tf.switch_case(
        tf.argmax(p[:3], output_type="int32"), [lambda: p[0], lambda: p[1] * 2, lambda: y[2]]
    ),
    "in-top-k": lambda y, p: tf.math.in_top_k([0, 2], tf.reshape(p, (2, 3)), 1),
    "complex": lambda y, p: tf.math.real(tf.cast(p > 0.5, "complex64")),
    "pooled": lambda y, p: (
        tf.nn.max_pool1d(tf.cast(p > 0.5, "float32")[None, :, None], 3, 1, "SAME")
        - tf.cast(p > 0.5, "float32")[None, :, None]
        > 0
    ),
    "beside-a-label": lambda y, p: tf.where(
        y[:2] > 0.5, True, tf.argmax(tf.reshape(p, (2, 3)), 1) == 2
    ),
    "running-product": lambda y, p: tf.math.cumprod(tf.cast(p > 0.3, tf.int32)) > 0,
    "keras-argmax": lambda y, p: K.argmax(K.reshape(p, (2, 3)), axis=-1),
    "keras-floor": lambda y, p: K.floor(K.multiply(p, 4)),
}


@pytest.mark.parametrize("name", HARD_LIMITS)
def test_the_hard_limit(name):
    fn = HARD_LIMITS[name]
    hard = np.asarray(tf.function(fn)(tf.constant(LABELS), tf.constant(CHANCES)), "float64")
    soft = np.asarray(relax(fn, temperature=1e-5)(LABELS, CHANCES), "float64")
    assert soft.shape == hard.shape
    np.testing.assert_allclose(soft, hard, atol=2e-3)


def test_a_cast_to_an_integer_sees_the_next_one_from_below_a_half():
    def looked_up(y_true, y_pred):
        return tf.reduce_sum(tf.gather([0.0, 1.0, 4.0], tf.cast(y_pred, tf.int32)))

    value, gradient = value_and_gradient(looked_up, LABELS, np.float32([0.1, 0.4, 0.6, 1.2]))
    assert np.all(gradient > 0)
    assert abs(value - 1.0) < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("name", HARD_LIMITS)
def test_gradients_are_finite(name):
    def total(y_true, y_pred):
        return tf.reduce_sum(tf.cast(HARD_LIMITS[name](y_true, y_pred), "float32") * 1.5)

    value, gradient = value_and_gradient(total, LABELS, CHANCES)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))


def test_the_remainder_of_a_count_jumps_half_way_between_integers():
    def odd_one_out(y_true, y_pred):
        return tf.reduce_sum(tf.cast(y_pred > 0.05, "int32")) % 3

    assert odd_one_out(LABELS, CHANCES) == 0
    assert abs(float(relax(odd_one_out)(LABELS, CHANCES))) < 0.5


# How kinds compose.


def test_what_is_computed_from_one_index_moves_with_it():
    def wrapped(y_true, y_pred):
        place = tf.argmax(y_pred, 1)
        return tf.cast(tf.where(place > 1, place - 3, place), "float32")

    soft = relax(wrapped)(ROWS, SHARES)
    weights = relax(lambda y, p: tf.one_hot(tf.argmax(p, 1), 3))(ROWS, SHARES)
    np.testing.assert_allclose(soft, weights.numpy() @ [0.0, 1.0, -1.0], rtol=1e-5)


def test_the_expectation_of_a_cost_is_taken_over_positions_not_of_the_mean_position():
    def cost(y_true, y_pred):
        return tf.cast((tf.argmax(y_pred, 1) - tf.argmax(y_true, 1)) ** 2, "float32")

    soft = relax(cost)(ROWS, SHARES)
    weights = relax(lambda y, p: tf.one_hot(tf.argmax(p, 1), 3))(ROWS, SHARES).numpy()
    costs = (np.arange(3)[None] - ROWS.argmax(1)[:, None]) ** 2
    np.testing.assert_allclose(soft, np.sum(weights * costs, 1), rtol=1e-5)


def test_probabilities_of_a_sort_give_each_element_one_rank():
    ranks = relax(lambda y, p: tf.one_hot(tf.argsort(p), 8))(SCORES, SCORES).numpy()
    np.testing.assert_allclose(ranks.sum(0), np.ones(8), atol=0.02)
    np.testing.assert_allclose(ranks.sum(1), np.ones(8), atol=1e-5)


def _ranks(x):
    return tf.cast(tf.argsort(tf.argsort(x)), "float32")


MANY = np.random.default_rng(3).permuted(np.arange(800.0).reshape(2, 400), axis=1)
MANY = MANY.astype("float32")


def test_ranks_of_many_scores_need_no_weights_for_each_pair():
    def correlation(y_true, y_pred):
        a, b = (r - tf.reduce_mean(r) for r in (_ranks(y_true), _ranks(y_pred)))
        return tf.reduce_sum(a * b) / tf.sqrt(tf.reduce_sum(a * a) * tf.reduce_sum(b * b))

    y, p = np.random.default_rng(4).normal(size=(2, 100_000)).astype("float32")
    value, gradient = value_and_gradient(correlation, y, y + p)
    assert abs(value - correlation(y, y + p)) < 2e-3
    assert np.all(np.isfinite(gradient))
    assert np.mean(gradient != 0) > 0.999


@pytest.mark.parametrize("direction", ["ASCENDING", "DESCENDING"])
@pytest.mark.parametrize("size", [(400,), (None,), (3, None), (3, 400)])
def test_ranks_without_weights_tend_to_the_hard_ones(size, direction):
    def ranks(y_true, y_pred):
        again = tf.argsort(tf.argsort(y_pred, direction=direction))
        return tf.cast(again, "float32")

    scores = np.resize(MANY[0], (3, 400) if len(size) == 2 else (400,))
    relaxed = tf.function(relax(ranks, temperature=1e-5))
    spec = tf.TensorSpec(size, "float32")
    found = relaxed.get_concrete_function(spec, spec)(tf.constant(scores), tf.constant(scores))
    np.testing.assert_allclose(found, ranks(scores, scores), atol=0.05)


def test_a_rank_that_picks_has_weights_however_many_scores_there_are():
    def placed(y_true, y_pred):
        return tf.scatter_nd(tf.argsort(tf.argsort(y_pred))[:, None], y_true, [400])

    value, _ = value_and_gradient(placed, MANY[0], MANY[1], temperature=1e-7)
    np.testing.assert_allclose(value, placed(*MANY), atol=0.05)
    one, gradient = value_and_gradient(placed, np.eye(400, dtype="float32")[7], MANY[1])
    assert np.count_nonzero(one) > 100
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("rows", [False, True], ids=["one", "rows"])
@pytest.mark.parametrize("direction", ["ASCENDING", "DESCENDING"])
def test_numbers_in_their_own_order_are_exact(direction, rows):
    def own(y_true, y_pred):
        order = tf.argsort(y_pred, direction=direction)[..., :7]
        return tf.gather(y_pred, order, batch_dims=1 if rows else 0) * 1.5

    x = MANY if rows else MANY[0]
    value, gradient = value_and_gradient(own, x, x)
    np.testing.assert_allclose(value, own(x, x), rtol=1e-6)
    assert np.sum(gradient) == pytest.approx(1.5 * np.size(value))
    assert np.count_nonzero(gradient) == np.size(value)


def test_numbers_in_the_order_of_others_are_not():
    def other(y_true, y_pred):
        return tf.gather(2.0 * y_pred, tf.argsort(y_pred))

    value, _ = value_and_gradient(other, SCORES, SCORES)
    assert np.max(np.abs(value - other(SCORES, SCORES))) > 1e-3
    value, _ = value_and_gradient(other, SCORES, SCORES, temperature=1e-5)
    np.testing.assert_allclose(value, other(SCORES, SCORES), atol=1e-3)


def test_a_question_about_bits_is_answered_hard():
    def guarded(y_true, y_pred):
        return tf.reduce_sum(tf.where(tf.math.is_finite(y_pred), y_pred, 0.0))

    value, gradient = value_and_gradient(guarded, LABELS, CHANCES)
    np.testing.assert_allclose(value, CHANCES.sum(), rtol=1e-6)
    np.testing.assert_array_equal(gradient, np.ones(6))


def test_equality_of_floats_is_branched_on_hard():
    def guarded(y_true, y_pred):
        return tf.reduce_sum(tf.where(tf.equal(y_pred, 0.0), 1.0, y_pred))

    value, _ = value_and_gradient(guarded, LABELS, CHANCES)
    np.testing.assert_allclose(value, CHANCES.sum(), rtol=1e-6)


@pytest.mark.parametrize(
    ("fn", "at", "expected"),
    [
        (lambda y, p: tf.reduce_sum(tf.nn.relu(p) ** 2), [0.0, -1.0, 3.0], [0, 0, 6]),
        (lambda y, p: tf.reduce_sum(tf.sqrt(p)), [0.0, 4.0], [0, 0.25]),
        (lambda y, p: tf.reduce_sum(tf.atan2(p, p)), [0.0, 1.0], [0, 0]),
        (lambda y, p: tf.reduce_sum(1.0 / p), [2.0, -1.0], [-0.25, -1]),
    ],
    ids=["power", "sqrt", "atan2", "reciprocal"],
)
def test_singular_functions_keep_their_values_and_slopes(fn, at, expected):
    at = np.array(at, "float32")
    value, gradient = value_and_gradient(fn, at, at)
    np.testing.assert_allclose(value, fn(at, tf.constant(at)), rtol=1e-6)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_soft_values_cross_a_hard_branch():
    def counted(y_true, y_pred):
        total = tf.round(3 * y_pred[0])
        if y_true[1] > 0.5:
            total += 1.0
        else:
            total *= 2.0
        return total

    value, gradient = value_and_gradient(counted, LABELS, CHANCES)
    assert np.isfinite(value)
    assert gradient[0] > 0


def test_a_loop_compiles_with_its_gradient():
    def total(y_true, y_pred):
        gained = 0.0
        for i in tf.range(6):
            if y_pred[i] > 0.5:
                gained += y_true[i]
        return gained

    relaxed = relax(total)

    @tf.function(jit_compile=True)
    def gradient(p):
        with tf.GradientTape() as tape:
            tape.watch(p)
            value = relaxed(tf.constant(LABELS), p)
        return tape.gradient(value, p)

    found = gradient(tf.constant(CHANCES)).numpy()
    assert np.all(np.isfinite(found))
    assert np.all(found[LABELS == 1] > 0)


RATINGS = RNG.integers(0, 10, 32).astype("float32")
GUESSES = (9 * RNG.random(32)).astype("float32")


@pytest.mark.parametrize(
    "metric",
    [
        lambda y, p: tf.abs(tf.round(p) - y) <= 1,
        lambda y, p: tf.equal(tf.round(2 * p) / 2, y),
        lambda y, p: (tf.round(p) - y) ** 2 > 2,
        lambda y, p: tf.abs(tf.floor(p * 10) / 10 - y) < 0.2,
        lambda y, p: tf.abs(tf.cast(tf.round(p), "int32") - tf.cast(y, "int32")) < 2,
    ],
    ids=["within-one", "half-steps", "squared", "tenths", "integers"],
)
def test_a_comparison_behind_a_rounding_reaches_every_element(metric):
    """The two integers nearest to a number mostly lie on the same side of such a comparison."""

    def share(y, p):
        return tf.reduce_mean(tf.cast(metric(y, p), "float32"))

    _, slope = value_and_gradient(share, RATINGS, GUESSES)
    assert np.all(slope != 0)


def test_stacked_positions_are_compared_part_by_part():
    """The chance that two positions are both right is the product of the two chances."""
    scores = RNG.normal(size=(5, 2, 4)).astype("float32")
    wanted = RNG.integers(0, 4, (5, 2))

    def hits(y, p):
        found = tf.stack([tf.argmax(p[:, 0], -1), tf.argmax(p[:, 1], -1)], axis=1)
        return tf.cast(tf.equal(found, y), "float32")

    def both(y, p):
        return tf.reduce_prod(hits(y, p), axis=1)

    each, _ = value_and_gradient(hits, wanted, scores)
    alone = [
        value_and_gradient(
            lambda y, p, n=n: tf.cast(tf.equal(tf.argmax(p[:, n], -1), y[:, n]), "float32"),
            wanted,
            scores,
        )[0]
        for n in range(2)
    ]
    assert each == pytest.approx(np.stack(alone, 1), rel=1e-5)
    assert value_and_gradient(both, wanted, scores)[0] == pytest.approx(alone[0] * alone[1])


def test_the_element_that_equals_the_largest_is_a_position():
    """`s == max(s)` is argmax in other words, and gets its weights."""

    def attended(y, p):
        largest = tf.reduce_max(p, axis=1, keepdims=True)
        return tf.cast(tf.equal(p, largest), "float32")

    def by_position(y, p):
        return tf.one_hot(tf.argmax(p, axis=1), 3)

    scores = RNG.normal(size=(4, 3)).astype("float32")
    found, _ = value_and_gradient(attended, ROWS[:4], scores)
    assert found == pytest.approx(value_and_gradient(by_position, ROWS[:4], scores)[0])
    assert found.sum(1) == pytest.approx(np.ones(4))


@pytest.mark.parametrize(
    "metric",
    [
        lambda y, p: tf.one_hot(tf.cast(tf.floor(p * 4), "int32"), 4)[:, 3],
        lambda y, p: tf.cast(
            tf.math.confusion_matrix(tf.cast(y, "int32"), tf.cast(p * 4, "int32"), 4), "float32"
        )[:, 3],
        lambda y, p: tf.scatter_nd(tf.cast(p * 4, "int32")[:, None], tf.ones(6), [4])[3:],
    ],
    ids=["one-hot", "confusion", "scatter"],
)
def test_a_rounded_number_reaches_positions_beyond_the_next(metric):
    _, slope = value_and_gradient(lambda y, p: tf.reduce_sum(metric(y, p)), LABELS, CHANCES * 0.5)
    assert np.all(slope > 0)


def test_a_running_maximum_of_counts_stays_small():
    """Each step could double the values that a count may have."""

    def longest(y, p):
        run = best = tf.constant(0.0)
        for i in range(12):
            run = tf.where(p[i] > 0, run + 1, 0.0)
            best = tf.maximum(best, run)
        return best

    scores = RNG.normal(size=12).astype("float32")
    relaxed = relax(longest)
    graph = tf.function(relaxed).get_concrete_function(scores, tf.constant(scores)).graph
    assert len(graph.get_operations()) < 6000


def test_a_loop_that_only_counts_its_rounds_is_an_error():
    def rounds(y, p):
        i, total = 0, tf.constant(0.0)
        while total < 2.0 and i < 6:
            total += p[i]
            i += 1
        return tf.cast(i, "float32")

    with pytest.raises(UnknownOperationError, match="how many rounds") as caught:
        value_and_gradient(rounds, LABELS, CHANCES)
    assert caught.value.loc.text.strip().startswith("while")


def test_a_mapped_function_with_a_choice_has_a_gradient():
    def mapped(y, p):
        costs = tf.map_fn(
            lambda a: tf.where(a[1] < a[0], 3.0, 0.0), (y, p), fn_output_signature=tf.float32
        )
        return tf.reduce_mean(costs)

    _, slope = value_and_gradient(mapped, 0.5 * LABELS + 0.25, CHANCES)
    assert np.all(slope < 0)


def test_an_overflow_in_the_branch_not_taken_leaves_no_trace():
    def softplus(y, p):
        stable = tf.where(p > 20, p, tf.math.log(1 + tf.exp(p)))
        return tf.reduce_sum(stable - y * p)

    far = np.array([100.0, -1.0, np.nan], "float32")
    value, slope = value_and_gradient(softplus, LABELS[:3], far)
    assert np.isnan(value)
    assert slope[0] == pytest.approx(1.0, rel=1e-3)
    assert np.isfinite(slope[1])
    assert np.isnan(slope[2])


def test_the_largest_of_what_is_not_admissible_yet_has_a_gradient():
    """As a recall where no threshold has the precision that is asked for."""

    def best(y, p):
        return tf.reduce_max(tf.where(p > 0.95, y, 0.0))

    _, slope = value_and_gradient(best, LABELS + 1, CHANCES)
    assert np.all(slope > 0)


def confusion(y, p):
    """As Keras counts: positions out of bounds are moved to 0 with no weight."""
    label, found = tf.argmax(y, -1), tf.argmax(p, -1)
    known = (label >= 0) & (label < 3) & (found >= 0) & (found < 3) & (label != 2)
    label, found = tf.where(known, label, 0), tf.where(known, found, 0)
    counts = tf.where(known, tf.ones_like(found), 0)
    return tf.cast(tf.scatter_nd(tf.stack([label, found], 1), counts, (3, 3)), "float32")


def test_a_cross_table_is_the_same_by_a_matrix_product(monkeypatch):
    def weighted(y, p):
        return tf.reduce_sum(confusion(y, p) * tf.reshape(tf.range(9.0), (3, 3)))

    products = value_and_gradient(weighted, ROWS, SHARES)
    table = relax(confusion)(ROWS, SHARES).numpy()
    np.testing.assert_allclose(table.sum(axis=1), [2, 2, 0], rtol=1e-6)
    monkeypatch.setattr("bevel.rules.scatter._MOST_ROWS", 0)
    for found, expected in zip(products, value_and_gradient(weighted, ROWS, SHARES), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_what_holds_at_every_position_stays_hard():
    def asked(y, p):
        found = tf.argmax(p, -1)
        inside, beyond = (found >= 0) & (found < 3), found > 2
        return tf.cast(inside, "float32") + 2 * tf.cast(beyond, "float32")

    relaxed = relax(asked)
    assert "greater" not in {r.op for r in relaxed.explain(ROWS, SHARES).entries}
    np.testing.assert_array_equal(relaxed(ROWS, SHARES), np.ones(5))
    value, gradient = value_and_gradient(
        lambda y, p: tf.reduce_mean(tf.cast(tf.argmax(p, -1) > 1, "float32")), ROWS, SHARES
    )
    assert 0 < value < 1
    assert np.any(gradient)


def test_a_value_that_is_not_taken_and_is_nan_takes_no_gradient_away():
    def share(y, p):
        spread = tf.reduce_sum((p - tf.reduce_mean(p)) ** 2)
        known = tf.where(spread > 1e-6, tf.reduce_sum(p * y), float("nan"))
        return known / spread

    def unguarded(y, p):
        return tf.reduce_sum(p * y) / tf.reduce_sum((p - tf.reduce_mean(p)) ** 2)

    p = tf.Variable(CHANCES)
    with tf.GradientTape() as tape:
        exact = unguarded(LABELS, p)
    value, gradient = value_and_gradient(share, LABELS, CHANCES)
    np.testing.assert_allclose(value, exact, rtol=1e-5)
    np.testing.assert_allclose(gradient, tape.gradient(exact, p), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_hard_choice_keeps_a_position(is_first):
    mask = tf.constant([True, False, True, False, True])

    def table(y, p):
        found = tf.argmax(p, -1)
        chosen = (
            tf.where(mask, found, 1) if is_first else tf.where(mask, tf.constant(1, "int64"), found)
        )
        return tf.one_hot(chosen, 3)

    soft = relax(lambda y, p: tf.one_hot(tf.argmax(p, -1), 3))(ROWS, SHARES).numpy()
    kept = mask.numpy() if is_first else ~mask.numpy()
    expected = np.where(kept[:, None], soft, np.eye(3, dtype="float32")[1])
    np.testing.assert_allclose(relax(table)(ROWS, SHARES), expected, rtol=1e-6)


def test_a_table_of_picked_rows_counts_each_by_its_chance():
    labels, shares = tf.constant([0, 1, 2, 1, 0]), tf.constant(SHARES)

    def table(y, p):
        picked = p[:, 0] > 0.3
        found = tf.boolean_mask(tf.argmax(p, -1, output_type="int32"), picked)
        return tf.math.confusion_matrix(tf.boolean_mask(y, picked), found, num_classes=3)

    chance = relax(lambda y, p: tf.cast(p[:, 0] > 0.3, "float32"))(labels, shares)
    weights = relax(lambda y, p: tf.one_hot(tf.argmax(p, -1), 3))(labels, shares)
    expected = tf.einsum("n,nk,nj->kj", chance, tf.one_hot(labels, 3), weights)
    np.testing.assert_allclose(relax(table)(labels, shares), expected, rtol=1e-5)


def test_the_entry_at_a_position_is_the_expected_one():
    prices = tf.constant([[10.0, 1.0], [20.0, 5.0], [35.0, 2.0]])
    weights = relax(lambda y, p: tf.one_hot(tf.argmax(p), 3))(ROWS, SHARES[0])
    row = relax(lambda y, p: prices[tf.argmax(p)])(ROWS, SHARES[0])
    np.testing.assert_allclose(row, tf.linalg.matvec(prices, weights, transpose_a=True), rtol=1e-6)
    squared = relax(lambda y, p: prices[:, 0][tf.argmax(p)] ** 2)(ROWS, SHARES[0])
    np.testing.assert_allclose(squared, tf.reduce_sum(weights * prices[:, 0] ** 2), rtol=1e-6)


def test_what_a_loop_hands_on_unchanged_keeps_its_kind():
    def bought(y, p):
        order, i, got = tf.argsort(-p), tf.constant(0), tf.constant(0.0)
        while i < 3:
            got += y[order[i]]
            i += 1
        return got

    def in_one_go(y, p):
        return tf.reduce_sum(tf.gather(y, tf.argsort(-p)[:3]))

    in_a_loop, outside = (value_and_gradient(fn, LABELS, CHANCES) for fn in (bought, in_one_go))
    for found, expected in zip(in_a_loop, outside, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


TABLE = np.array([[0.2, 0.45, 0.6], [0.9, 0.55, 0.3], [0.7, 0.2, 0.8], [0.1, 0.2, 0.6]], "float32")
TRUTHS = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 1], [0, 0, 1]], "float32")
HIT = lambda p: tf.cast(p > 0.5, tf.float32)  # noqa: E731
COUNTS_AS_FLOATS = {
    "sum": lambda y, p: tf.reduce_sum(HIT(p), -1),
    "rounded": lambda y, p: tf.reduce_sum(tf.round(p), -1),
    "right": lambda y, p: tf.reduce_sum(tf.cast(HIT(p) == y, tf.float32), -1) - 1.0,
    "product": lambda y, p: tf.matmul(HIT(p), tf.ones((3, 1))),
    "labels": lambda y, p: tf.reduce_sum(HIT(p) * y, -1),
    "running": lambda y, p: tf.cumsum(HIT(p), -1),
    "a share": lambda y, p: 2.0 * tf.reduce_mean(tf.cast(HIT(p) == y, tf.float32), -1),
}
ASKED = {
    "where": lambda n: tf.where(n == 2.0, 1.0, 0.0),
    "cast": lambda n: tf.cast(n == 2.0, tf.float32),
    "cond": lambda n: tf.map_fn(
        lambda v: tf.cond(v != 2.0, lambda: 0.0, lambda: 1.0), tf.reshape(n, (-1,))
    ),
}


@pytest.mark.parametrize(
    ("count", "asked"),
    [*((n, "where") for n in COUNTS_AS_FLOATS), ("sum", "cast"), ("sum", "cond")],
)
def test_counts_that_are_floats_may_be_equal(count, asked):
    def fn(y_true, y_pred):
        return tf.reduce_mean(ASKED[asked](COUNTS_AS_FLOATS[count](y_true, y_pred)))

    hard = float(fn(TRUTHS, TABLE))
    assert hard > 0
    value, gradient = value_and_gradient(fn, TRUTHS, TABLE)
    assert value == pytest.approx(hard, abs=0.35)
    assert np.any(gradient)
    assert float(relax(fn, temperature=1e-3)(TRUTHS, TABLE)) == pytest.approx(hard, abs=0.01)


def test_whether_floats_that_move_smoothly_are_equal_guards_only():
    def fn(y_true, y_pred):
        total = tf.reduce_sum(y_pred)
        return tf.reduce_sum(HIT(y_pred)) / tf.where(total == 0.0, 1.0, total)

    value, _ = value_and_gradient(fn, TRUTHS, np.zeros_like(TABLE))
    assert np.isfinite(value)


@pytest.mark.parametrize("first", [lambda w: w[0], tf.reduce_min], ids=["entry", "least"])
def test_the_first_position_that_a_mask_picks_descends(first):
    def fn(y_true, y_pred):
        found = [tf.cast(first(tf.where(row > 0.5)[:, 0]), tf.float32) for row in y_pred]
        return tf.reduce_mean(tf.abs(tf.stack(found) - y_true))

    y_true = np.array([2, 5, 7], "float32")
    logits = tf.Variable(np.random.default_rng(0).normal(size=(3, 9)).astype("float32"))
    relaxed = relax(lambda y_true, z: fn(y_true, tf.unstack(tf.sigmoid(z))))
    optimizer = tf.keras.optimizers.Adam(0.05)
    for _ in range(300):
        with tf.GradientTape() as tape:
            value = relaxed(y_true, logits)
        optimizer.apply_gradients([(tape.gradient(value, logits), logits)])
    assert float(fn(y_true, tf.unstack(tf.sigmoid(logits)))) == 0


STATES = {
    "larger": tf.autograph.experimental.do_not_convert(lambda s: s > 0.0),
    "equal": tf.autograph.experimental.do_not_convert(lambda s: tf.equal(s, 1.0)),
    "differs": tf.autograph.experimental.do_not_convert(lambda s: tf.not_equal(s, 0.0)),
}


@pytest.mark.parametrize("asked", STATES)
def test_a_state_of_a_loop_may_be_a_float(asked):
    """0 and 1 for out and in, kept from round to round."""
    is_in = STATES[asked]

    def rounds(y_true, y_pred):
        state = total = tf.constant(0.0)
        for n in tf.range(tf.shape(y_pred)[0]):
            if y_pred[n] > 0.7:
                state = tf.constant(1.0)
            elif y_pred[n] < 0.3:
                state = tf.constant(0.0)
            if is_in(state):
                total += 1.0
        return total

    p = np.array([0.1, 0.8, 0.5, 0.6, 0.2, 0.5, 0.9, 0.4], "float32")
    hard = float(tf.function(rounds)(p, tf.constant(p)))
    assert hard == 5
    value, gradient = value_and_gradient(rounds, p, p)
    assert value == pytest.approx(hard, abs=0.8)
    assert np.all(gradient > 0)
    assert float(relax(rounds, temperature=1e-3)(p, p)) == pytest.approx(hard, abs=0.01)


LONG_ROW, FIRST = 30_000, 300
FIRST_PLACES = {
    "top_k": lambda p: tf.math.top_k(p, FIRST).indices,
    "falling": lambda p: tf.argsort(p, direction="DESCENDING")[:FIRST],
    "negative": lambda p: tf.argsort(-p)[:FIRST],
    "last": lambda p: tf.argsort(p)[-FIRST:],
    "turned": lambda p: tf.argsort(p)[::-1][:FIRST],
}
COUNTED = {
    "sum": lambda found: tf.reduce_sum(found),
    "mean": lambda found: FIRST * tf.reduce_mean(found, keepdims=True)[0],
    "gain": lambda found: tf.reduce_sum(2.0**found - 1),
    "equal": lambda found: tf.reduce_sum(tf.cast(tf.equal(found, 1.0), tf.float32)),
}


@pytest.mark.parametrize(("place", "count"), [*zip(FIRST_PLACES, [*COUNTED, "sum"], strict=True)])
def test_what_stands_first_is_counted_without_weights(place, count):
    """Weights for each element at each rank would need 3.4 GiB."""
    rng = np.random.default_rng(0)
    y_pred = rng.normal(size=LONG_ROW).astype("float32")
    y_true = (y_pred + rng.normal(size=LONG_ROW) > 2).astype("float32")

    def found(y_true, y_pred):
        return COUNTED[count](tf.gather(y_true, FIRST_PLACES[place](y_pred)))

    value, gradient = value_and_gradient(found, y_true, y_pred, temperature=0.01)
    assert value == pytest.approx(float(found(y_true, y_pred)), rel=0.03)
    assert np.mean(gradient != 0) > 0.9
    assert np.mean(gradient[y_true == 1]) > 0 > np.mean(gradient[y_true == 0])


@pytest.mark.parametrize(("start", "stop"), [(0, 2), (0, 1), (5, 8), (398, 400)])
def test_each_rank_is_counted_once_without_weights(start, stop):
    order = np.argsort(-MANY[1])
    for outside in (start - 1, stop):
        among = np.ones(400, "float32")
        among[order[outside % 400]] = 100

        def found(y_true, y_pred):
            places = tf.argsort(y_pred, direction="DESCENDING")[start:stop]
            return tf.reduce_sum(tf.gather(y_true, places))

        value, _ = value_and_gradient(found, among, MANY[1], temperature=1e-4)
        assert value == pytest.approx(
            stop - start + 99 * (outside % 400 in range(start, stop)), abs=0.2
        )


def test_what_stands_first_is_counted_inside_and_outside_of_a_loop():
    def found(y_true, y_pred):
        best = tf.math.top_k(y_pred, 30).indices
        total = tf.constant(0.0)
        for n in tf.range(2):
            total += tf.cast(n, tf.float32) * tf.reduce_sum(tf.gather(y_true, best[:10]))
            total += tf.reduce_sum(tf.gather(y_true, best))
        return total + tf.reduce_mean(tf.gather(y_true, best))

    hard = float(tf.function(found)(*MANY))
    assert float(relax(found, temperature=1e-4)(*MANY)) == pytest.approx(hard, rel=0.01)


@pytest.mark.parametrize("scores", [tf.identity, tf.argsort], ids=["values", "positions"])
def test_top_k_of_a_share_of_a_batch_of_unknown_size(scores):
    def found(y_true, y_pred):
        _, best = tf.math.top_k(scores(y_pred), tf.size(y_pred) // 3)
        return tf.reduce_sum(tf.gather(y_true, best))

    relaxed = relax(found, temperature=1e-3)

    @tf.function(input_signature=[tf.TensorSpec([None])] * 2, autograph=False)
    def compiled(y_true, y_pred):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = relaxed(y_true, y_pred)
        return value, tape.gradient(value, y_pred)

    for size in (6, 9):
        y_true, y_pred = np.random.default_rng(size).random((2, size), dtype="float32")
        value, gradient = compiled(y_true, y_pred)
        assert float(value) == pytest.approx(float(found(y_true, y_pred)), abs=0.05)
        assert np.all(np.isfinite(gradient))
        assert np.any(gradient)


def test_differences_of_single_numbers_are_compared_on_the_scale_of_all():
    """A double loop over pairs, which has for each of them no other to be measured by."""

    def one_by_one(y, p):
        pairs = [(i, j) for i in range(4) for j in range(i)]
        return sum(tf.sign(y[i] - y[j]) * tf.sign(p[i] - p[j]) for i, j in pairs) / 6

    def at_once(y, p):
        return tf.reduce_sum(tf.sign(y[:, None] - y) * tf.sign(p[:, None] - p)) / 12

    y, p = np.array([0.0, 2.0, 1.0, 3.0], "float32"), np.array([1.5, 0.2, 1.4, 0.8], "float32")
    value, slope = value_and_gradient(one_by_one, y, p)
    expected_value, expected = value_and_gradient(at_once, y, p)
    assert value == pytest.approx(expected_value, abs=0.1)
    np.testing.assert_allclose(slope, expected, rtol=0.5, atol=0.1)
    _, larger = value_and_gradient(one_by_one, y, 100 * p)
    np.testing.assert_allclose(100 * larger, slope, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("measured", ["norm", "root", "steps"])
def test_the_distance_of_a_soft_position_is_its_expectation(measured):
    """Its coordinates move together: not the distance of the mean position."""
    point = tf.constant([1.0, 2.0])

    def distance(y, p):
        place = tf.argmax(p)
        apart = tf.cast(tf.stack([place // 4, place % 4]), tf.float32) - point
        if measured == "steps":
            return tf.reduce_sum(tf.abs(apart))
        return tf.norm(apart) if measured == "norm" else tf.sqrt(tf.reduce_sum(apart**2))

    scores = np.random.default_rng(1).normal(size=12).astype("float32")
    value, slope = value_and_gradient(distance, LABELS, scores, wrt=1)
    chances = relax(lambda p: tf.one_hot(tf.argmax(p), 12))(tf.constant(scores)).numpy()
    apart = np.stack(np.divmod(np.arange(12), 4), -1) - point.numpy()
    order = 1 if measured == "steps" else 2
    assert value == pytest.approx(chances @ np.linalg.norm(apart, order, axis=1), rel=1e-5)
    assert np.all(np.isfinite(slope))
    assert np.all(slope != 0)
