"""Metrics as people write them in JAX: what stops the gradient, and what Bevel says of it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .case import Case, R, binary, f32, probs, scores, series

CASES = []


def case(symptom, blockers, make, lower=True, **kw):
    def deco(fn):
        name = fn.__name__
        CASES.append(Case(name, "", "jax", symptom, blockers, "", make, fn, lower, **kw))
        return fn

    return deco


@case("zero", ["gt"], binary(16), lower=False)
def f1_by_comparison(t, p):
    hard = (p > 0.5).astype(jnp.float32)
    tp = jnp.sum(hard * t)
    precision = tp / (jnp.sum(hard) + 1e-7)
    recall = tp / (jnp.sum(t) + 1e-7)
    return 2 * precision * recall / (precision + recall + 1e-7)


@case("zero", ["argmax"], probs(12, 4), lower=False)
def accuracy_by_argmax(t, p):
    return jnp.mean(jnp.argmax(p, axis=-1) == jnp.argmax(t, axis=-1))


@case("zero", ["top_k"], lambda s: f32(np.eye(5)[np.arange(10) % 5], R(s).randn(10, 5)), lower=False)
def top2_recall(t, p):
    _, best = lax.top_k(p, 2)
    return jnp.mean(jnp.any(best == jnp.argmax(t, -1)[:, None], axis=-1))


@case("zero", ["sort"], scores(12), lower=False)
def ndcg(t, p):
    order = jnp.argsort(-p)
    gains = (2.0 ** t[order] - 1) / jnp.log2(jnp.arange(2, 2 + len(t)))
    best = (2.0 ** -jnp.sort(-t) - 1) / jnp.log2(jnp.arange(2, 2 + len(t)))
    return jnp.sum(gains) / jnp.sum(best)


@case("zero", ["sort"], series(12), lower=False)
def rank_correlation(t, p):
    def ranks(x):
        return jnp.argsort(jnp.argsort(x)).astype(jnp.float32)

    a, b = ranks(t), ranks(p)
    a, b = a - a.mean(), b - b.mean()
    return jnp.sum(a * b) / jnp.sqrt(jnp.sum(a * a) * jnp.sum(b * b))


def boxes(seed):
    r = R(seed)
    a = r.rand(6, 2) * 0.4
    t = np.concatenate([a, a + 0.3 + 0.2 * r.rand(6, 2)], 1)
    return f32(t, t + 0.1 * r.randn(6, 4))


@case("fine", [], boxes, lower=False, kind="control")
def iou_of_boxes(t, p):
    low = jnp.maximum(t[:, :2], p[:, :2])
    high = jnp.minimum(t[:, 2:], p[:, 2:])
    inter = jnp.prod(jnp.clip(high - low, 0), axis=-1)

    def area(b):
        return jnp.prod(jnp.clip(b[:, 2:] - b[:, :2], 0), axis=-1)

    return jnp.mean(inter / (area(t) + area(p) - inter + 1e-9))


@case("zero", ["round"], lambda s: f32(R(s).randint(0, 6, 10), 3 + 2 * R(s + 1).randn(10)))
def rounded_error(t, p):
    return jnp.mean(jnp.abs(jnp.round(p) - t))


@case("zero", ["round"], lambda s: f32(np.round(R(s).rand(10), 1), R(s + 1).rand(10)))
def quantised_prices(t, p):
    return jnp.mean((jnp.round(p, 1) - t) ** 2)


@case("zero", ["floor", "convert_element_type", "scatter-add"], lambda s: f32(R(s).rand(40), R(s + 1).rand(40)))
def histogram_distance(t, p):
    def counts(x):
        bins = jnp.clip(jnp.floor(x * 5).astype(jnp.int32), 0, 4)
        return jnp.zeros(5).at[bins].add(1.0) / len(x)

    return jnp.sum(jnp.abs(counts(t) - counts(p)))


@case("nan", ["log"], lambda s: f32(R(s).rand(6), np.r_[0.0, R(s + 1).rand(5)]))
def guarded_log(t, p):
    return jnp.mean((jnp.where(p > 0, jnp.log(p), 0.0) - t) ** 2)


@case("zero", ["gt"], series(20, 0.5), lower=False)
def trading_profit(t, p):
    def day(held, row):
        price, signal = row
        position = jnp.where(signal > 0, 1.0, -1.0)
        return position, position * price - 0.01 * jnp.abs(position - held)

    moves = jnp.diff(t)
    _, gains = lax.scan(day, 0.0, (moves, jnp.diff(p)))
    return jnp.sum(gains)


@case("zero", ["gt"], series(20, 0.5), lower=False)
def profit_by_fori_loop(t, p):
    moves, signals = jnp.diff(t), jnp.diff(p)

    def body(i, total):
        return total + lax.cond(signals[i] > 0, lambda: moves[i], lambda: -moves[i])

    return lax.fori_loop(0, len(moves), body, 0.0)


@case("zero", ["argmax"], lambda s: f32(R(s).rand(6, 4), R(s + 1).randn(6, 4)), lower=False)
def reward_per_row(t, p):
    return jax.vmap(lambda reward, logits: reward[jnp.argmax(logits)])(t, p).mean()


@case("fine", [], series(11), kind="control")
def median_error(t, p):
    return jnp.median(jnp.abs(t - p))


@case("zero", ["floor", "convert_element_type"], binary(24))
def calibration_error(t, p):
    bins = jnp.minimum(jnp.floor(p * 4).astype(jnp.int32), 3)
    n = jax.ops.segment_sum(jnp.ones_like(p), bins, num_segments=4)
    right = jax.ops.segment_sum(1.0 * ((p > 0.5) == (t > 0.5)), bins, num_segments=4)
    return jnp.sum(jnp.abs(right - n * 0.9)) / len(p)


EDGES = np.array([0.2, 0.4, 0.6, 0.8], np.float32)
PAYOUT = np.array([5.0, 3.0, 1.0, 2.0, 4.0], np.float32)


@case("zero", ["searchsorted"], lambda s: f32(R(s).choice(PAYOUT, 10), R(s + 1).rand(10)))
def binned_payout(t, p):
    return jnp.mean((jnp.asarray(PAYOUT)[jnp.searchsorted(EDGES, p)] - t) ** 2)


@case("zero", ["argmax"], probs(12, 3))
def cost_of_one_hot(t, p):
    cost = jnp.array([[0.0, 1.0, 4.0], [1.0, 0.0, 1.0], [4.0, 1.0, 0.0]])
    hard = jax.nn.one_hot(jnp.argmax(p, axis=-1), 3)
    return jnp.mean(jnp.sum((t @ cost) * hard, axis=-1))


@case("zero", ["argmax", "scatter-add"], probs(12, 3), lower=False)
def kappa(t, p):
    table = jnp.zeros((3, 3)).at[jnp.argmax(t, -1), jnp.argmax(p, -1)].add(1.0)
    n = table.sum()
    chance = jnp.sum(table.sum(0) * table.sum(1)) / n**2
    return (jnp.trace(table) / n - chance) / (1 - chance)


@case("zero", ["gt"], binary(16), lower=False)
def accuracy_where(t, p):
    return jnp.mean(((p > 0.5) == (t > 0.5)), where=t >= 0)


@case("zero", ["sign"], series(20), lower=False)
def directional_accuracy(t, p):
    return jnp.mean(jnp.sign(jnp.diff(p)) == jnp.sign(jnp.diff(t)))


@case("fine", [], lambda s: f32(R(s).rand(20), 0.1 * R(s + 1).randn(20)), kind="control")
def max_drawdown(t, p):
    wealth = jnp.cumsum(p)
    return jnp.max(lax.cummax(wealth) - wealth)


@case("fine", [], series(21), kind="control")
def value_at_risk(t, p):
    return -jnp.percentile(p - t, 5)


@case("zero", ["convert_element_type"], lambda s: f32(R(s).randint(0, 9, 10), 9 * R(s + 1).rand(10)))
def integer_cast(t, p):
    return jnp.mean(jnp.abs(p.astype(int) - t))


@case("zero", ["argmin"], lambda s: f32(R(s).randint(0, 3, 10), R(s + 1).randn(10)), lower=False)
def nearest_centre(t, p):
    centres = jnp.array([-1.0, 0.0, 1.0])
    assigned = jnp.argmin((p[:, None] - centres) ** 2, axis=1)
    return jnp.mean(assigned == t)


@case("zero", ["gt"], lambda s: f32(R(s).choice([1.0, 3.0, 9.0], 10), R(s + 1).randn(10)))
def tariff_by_select(t, p):
    price = jnp.select([p > 0.5, p > -0.5], [9.0, 3.0], 1.0)
    return jnp.mean(jnp.abs(price - t))


@case("zero", ["convert_element_type"], lambda s: f32(R(s).rand(1), 2.9 * R(s + 1).rand(1)))
def chosen_branch(t, p):
    options = [lambda x: x * 0.0 + 2.0, lambda x: x * 0.0 + 0.5, lambda x: x * 0.0 + 1.0]
    return jnp.sum(jnp.abs(lax.switch(p[0].astype(int), options, t) - t))


@jax.custom_vjp
def through(x):
    return jnp.round(x)


through.defvjp(lambda x: (jnp.round(x), None), lambda _, g: (g,))


@case("fine", [], lambda s: f32(R(s).randint(0, 6, 10), 3 + 2 * R(s + 1).randn(10)), kind="control")
def straight_through(t, p):
    return jnp.mean((through(p) - t) ** 2)


@case("zero", ["round"], lambda s: f32(R(s).randint(0, 3, 10), R(s + 1).randint(0, 3, 10) + 0.1), lower=False)
def exact_match(t, p):
    return jnp.mean(jnp.all(jnp.round(p).reshape(5, 2) == t.reshape(5, 2), axis=1))


@case("zero", ["gt"], binary(16), lower=False)
def balanced_accuracy_jitted(t, p):
    @jax.jit
    def rate(truth, hit):
        return jnp.sum(jnp.where(truth, hit, 0.0)) / jnp.maximum(jnp.sum(truth), 1)

    hit = (p > 0.5) == (t > 0.5)
    return (rate(t > 0.5, hit) + rate(t <= 0.5, hit)) / 2


@case("zero", ["gt"], lambda s: f32(R(s).rand(8, 3) > 0.5, R(s + 1).rand(8, 3)), lower=False)
def jaccard_of_labels(t, p):
    a, b = p > 0.5, t > 0.5
    return jnp.mean(jnp.sum(a & b, -1) / jnp.maximum(jnp.sum(a | b, -1), 1))
