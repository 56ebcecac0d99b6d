"""More metrics as people write them in JAX: rarer functions, loops, draws and orders."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .case import Case, R, binary, f32, probs, scores, series

CASES = []


def case(symptom, blockers, make, lower=True, **kw):
    def deco(fn):
        CASES.append(
            Case(fn.__name__, "", "jax", symptom, blockers, "", make, fn, lower, **kw)
        )
        return fn

    return deco


@case("zero", ["gt"], binary(16), lower=False)
def auc_by_pairs(t, p):
    wins = (p[:, None] > p[None, :]).astype(float)
    pairs = t[:, None] * (1 - t[None, :])
    return jnp.sum(wins * pairs) / jnp.sum(pairs)


@case("zero", ["sort"], binary(20), lower=False)
def average_precision(t, p):
    order = jnp.argsort(p, descending=True)
    hits = t[order]
    precision = jnp.cumsum(hits) / jnp.arange(1, len(t) + 1)
    return jnp.sum(precision * hits) / jnp.sum(t)


@case("zero", ["sort"], scores(12), lower=False)
def sorted_gain(t, p):
    _, gains = lax.sort_key_val(-p, t)
    return jnp.sum(gains / jnp.log2(jnp.arange(2.0, 14.0)))


@case("zero", ["floor"], lambda s: f32(R(s).randint(0, 4, 12), 4 * R(s + 1).rand(12)))
def bincount_distance(t, p):
    def counts(x):
        return jnp.bincount(jnp.floor(x).astype(int), length=4)

    return jnp.sum(jnp.abs(counts(t) - counts(p)) * 1.0)


@case("zero", ["searchsorted"], lambda s: f32(R(s).randint(0, 4, 12), R(s + 1).rand(12)))
def digitized_error(t, p):
    level = jnp.digitize(p, jnp.array([0.25, 0.5, 0.75]))
    return jnp.mean(jnp.abs(level - t))


@case("zero", ["round"], lambda s: f32(R(s).randint(0, 5, 10), 5 * R(s + 1).rand(10)))
def unique_levels(t, p):
    levels = jnp.rint(p)
    return jnp.mean(jnp.abs(jnp.clip(levels, 0, 4) - t))


@case("zero", ["lt"], lambda s: f32(R(s).rand(12), R(s + 1).rand(12)))
def sampled_clicks(t, p):
    clicks = jax.random.bernoulli(jax.random.key(0), p)
    return jnp.mean((clicks - t) ** 2)


@case("zero", ["argmax"], lambda s: f32(R(s).randint(0, 3, 8), R(s + 1).randn(8, 3)))
def viterbi_like(t, p):
    def step(score, row):
        options = score[:, None] + jnp.array([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.5]])
        return row + options.max(0), jnp.argmax(row + options.max(0))

    _, path = lax.scan(step, jnp.zeros(3), p)
    return jnp.mean(jnp.abs(path - t))


@case("zero", ["sign"], series(16), lower=False)
def turning_points(t, p):
    def turns(x):
        d = jnp.sign(jnp.diff(x))
        return d[1:] * d[:-1] < 0

    return jnp.mean(turns(t) == turns(p))


@case("zero", ["gt"], binary(12), lower=False)
def mapped_accuracy(t, p):
    return jnp.mean(lax.map(lambda row: jnp.where((row[1] > 0.5) == (row[0] > 0.5), 1.0, 0.0), (t, p)))


@case("zero", ["gt"], binary(12), lower=False)
def checkpointed(t, p):
    return jax.checkpoint(lambda q: jnp.mean((q > 0.5) == (t > 0.5)))(p)


@case("zero", ["ge"], binary(16), lower=False)
def counted_hits(t, p):
    return jnp.count_nonzero((p >= 0.5) & (t >= 0.5)) / len(t)


@case("zero", ["gt", "lt"], lambda s: f32(R(s).rand(10) > 0.5, R(s + 1).randn(10)), lower=False)
def heaviside_score(t, p):
    return 1 - jnp.mean(jnp.abs(jnp.heaviside(p, 0.5) - t))


@case("zero", ["floor_divide"], lambda s: f32(R(s).randint(0, 4, 10), 4 * R(s + 1).rand(10)))
def floor_division(t, p):
    return jnp.mean(jnp.abs(p // 1.0 - t))


@case("fine", [], lambda s: f32(6 * R(s).rand(10), 6 * R(s + 1).rand(10)), kind="control")
def angle_error(t, p):
    return jnp.mean(jnp.abs(jnp.mod(p - t + jnp.pi, 2 * jnp.pi) - jnp.pi))


@case("zero", ["gt"], lambda s: f32(R(s).rand(3, 6, 6) > 0.5, R(s + 1).rand(3, 6, 6)), lower=False)
def mask_iou(t, p):
    def one(a, b):
        m = b > 0.5
        return jnp.sum(jnp.logical_and(a > 0.5, m)) / (jnp.sum(jnp.logical_or(a > 0.5, m)) + 1e-6)

    return jnp.mean(jax.vmap(one)(t, p))


@case("zero", ["argmax"], probs(10, 3), lower=False)
def macro_f1(t, p):
    a, b = jnp.argmax(t, -1), jnp.argmax(p, -1)

    def f1(c):
        tp = jnp.sum((a == c) & (b == c))
        return 2 * tp / jnp.maximum(jnp.sum(a == c) + jnp.sum(b == c), 1)

    return jnp.mean(jax.vmap(f1)(jnp.arange(3)))


@case("fine", [], series(12), kind="control")
def huber(t, p):
    e = jnp.abs(t - p)
    return jnp.mean(jnp.where(e < 1.0, 0.5 * e**2, e - 0.5))


@case("fine", [], lambda s: f32(np.eye(4)[R(s).randint(0, 4, 8)], R(s + 1).randn(8, 4)), kind="control")
def cross_entropy(t, p):
    return -jnp.mean(jnp.sum(t * jax.nn.log_softmax(p), axis=-1))


@case("nan", ["div"], lambda s: f32(R(s).rand(5), np.r_[0.0, R(s + 1).rand(4)]))
def cosine_of_zero(t, p):
    return jnp.mean(jnp.where(p > 0, jnp.sin(p) / p, 1.0) * t)


@case("fine", [], series(16), kind="control")
def smooth_dtw(t, p):
    cost = jnp.abs(t[:, None] - p[None, :])[:6, :6]

    def row(above, c):
        def cell(left, args):
            here, up, diagonal = args
            value = here + jnp.minimum(jnp.minimum(left, up), diagonal)
            return value, value

        shifted = jnp.concatenate([jnp.array([1e3]), above[:-1]])
        _, values = lax.scan(cell, 1e3, (c, above, shifted))
        return values, None

    last, _ = lax.scan(row, jnp.zeros(6), cost)
    return last[-1]


@case("zero", ["gt"], series(16, 0.5), lower=False)
def stopped_trade(t, p):
    """Out for good once the signal has turned."""
    moves = jnp.diff(t)

    def day(carry, row):
        open_, total = carry
        move, signal = row
        open_ = open_ & (signal > -0.5)
        return (open_, total + jnp.where(open_, move, 0.0)), None

    (_, total), _ = lax.scan(day, (True, 0.0), (moves, jnp.diff(p)))
    return total


@case("zero", ["argmin"], lambda s: f32(R(s).randn(8, 2), R(s + 1).randn(3, 2)))
def matched_labels(t, p):
    d = jnp.sum((t[:, None] - p[None]) ** 2, -1)
    nearest = jnp.argmin(d, axis=1)
    sizes = jax.ops.segment_sum(jnp.ones(8), nearest, num_segments=3)
    return jnp.max(sizes) - jnp.min(sizes)


@case("zero", ["lt"], lambda s: f32(R(s).rand(30), R(s + 1).rand(30)))
def ks_statistic(t, p):
    grid = jnp.linspace(0, 1, 11)
    a = jnp.mean(t[:, None] < grid, axis=0)
    b = jnp.mean(p[:, None] < grid, axis=0)
    return jnp.max(jnp.abs(a - b))


@case("zero", ["gt"], lambda s: f32(R(s).rand(12), R(s + 1).rand(12)), lower=False)
def masked_mean_of_picked(t, p):
    picked = jnp.nonzero(p > 0.5, size=12, fill_value=0)[0]
    return jnp.mean(t[picked])


@case("zero", ["round"], lambda s: f32(R(s).randint(0, 3, (4, 4)), 3 * R(s + 1).rand(4, 4)), lower=False)
def matching_rows(t, p):
    return jnp.mean(jnp.all(jnp.round(p) == t, axis=-1).astype(jnp.float32)) + 0.0


@case("zero", ["argmax"], lambda s: f32(R(s).rand(5, 3), R(s + 1).randn(5, 3)), lower=False)
def taken_along(t, p):
    best = jnp.argmax(p, axis=0)
    return jnp.mean(jnp.take_along_axis(t, best[None, :], axis=0))


@case("zero", ["gt"], binary(14), lower=False)
def matthews(t, p):
    b = (p > 0.5).astype(jnp.float32)
    tp, tn = jnp.sum(t * b), jnp.sum((1 - t) * (1 - b))
    fp, fn = jnp.sum((1 - t) * b), jnp.sum(t * (1 - b))
    return (tp * tn - fp * fn) / jnp.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn) + 1e-6)


@case("zero", ["sort"], series(10), lower=False)
def order_statistic_agreement(t, p):
    return jnp.mean(jnp.argsort(t) == jnp.argsort(p))
