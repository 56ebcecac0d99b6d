"""One table of the losses written by hand, held to the same promises on whichever backend runs.

`test_backends.py` runs this file again on the other backends.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops as K
from scipy.special import log_softmax, softmax
from scipy.stats import kendalltau
from sklearn import metrics

from bevel import losses
from bevel.errors import BevelTypeError, BevelValueError

from .gradients import COMPILED, MODES, array, compiled, tensor, value_and_gradient

RNG = np.random.default_rng(5)


@dataclass(frozen=True)
class Row:
    """A loss, data for it, and the hard metric that it is 1 minus of.

    `data` gives labels and predictions for a number of rows; `sharp` makes the loss whose value is
    that of the metric, for `hard` predictions. `goal` is what descent is to reach, where that is
    another metric, and `reach` how much of it. Of a `brief` row, compilation and descent run
    with the slow tests only, of a `slow` one everything does.
    """

    name: str
    make: Callable[..., Any]
    data: Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]
    metric: Callable[[np.ndarray, np.ndarray], float]
    sharp: dict[str, Any]
    hard: Callable[[np.ndarray], np.ndarray] = lambda p: p
    link: Callable[[Any], Any] = lambda z: z
    repeats: bool = True
    goal: Callable[[np.ndarray, np.ndarray], float] | None = None
    reach: float = 0.99
    brief: bool = False
    slow: bool = False

    def __str__(self) -> str:
        return self.name


def _binary(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    y = (np.arange(n) % 3 == 0) * 1.0
    return rng.permutation(y), rng.random(n)


def _scored(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    y, p = _binary(rng, n)
    return y, p + 0.5 * y


def _survival(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    event = np.arange(n) % 3 > 0  # times are rounded: some are equal
    return np.c_[np.round(rng.exponential(size=n), 1), event * 1.0], rng.normal(size=n)


def _real(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.round(rng.normal(size=n), 1), rng.normal(size=n)


def _lists(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    y = rng.integers(0, 4, (n, 12)) * (rng.random((n, 12)) < 0.5)
    y[:, 0] = 1
    return y * 1.0, rng.normal(size=(n, 12))


def _classes(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    z = rng.normal(size=(n, 3))
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    return np.eye(3)[np.arange(n) % 5 // 2], p


def _labels(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    return (np.arange(2 * n).reshape(n, 2) % 5 < (1, 3)) * 1.0, rng.random((n, 2))


def _pixels(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    return (rng.random((n, 4, 1)) < 0.4) * 1.0, rng.random((n, 4, 1))


def _decided(p: np.ndarray) -> np.ndarray:
    return np.eye(3)[p.argmax(-1)] if p.ndim == 2 and p.shape[1] == 3 else (p > 0.5) * 1.0


def _of_classes(score: Callable[..., float], **how: Any) -> Callable[..., float]:
    return lambda y, p: score(y.argmax(-1), p.argmax(-1), **how)


def _mean(score: Callable[..., float]) -> Callable[[np.ndarray, np.ndarray], float]:
    return lambda y, p: float(np.mean([score(a, b > 0.5) for a, b in zip(y.T, p.T, strict=True)]))


def _map(y: np.ndarray, s: np.ndarray) -> float:
    return float(
        np.mean([metrics.average_precision_score(a > 0, b) for a, b in zip(y, s, strict=True)])
    )


def _spearman(y: np.ndarray, s: np.ndarray) -> float:
    ranks = [(t[:, None] > t).sum(1) + 0.5 * (t[:, None] == t).sum(1) for t in (y, s)]
    return float(np.corrcoef(*ranks)[0, 1])


def _gmean(y: np.ndarray, p: np.ndarray) -> float:
    recall = metrics.recall_score(y.argmax(-1), p.argmax(-1), average=None)
    return float(np.prod(recall) ** (1 / 3))


def _at(k: float, of: str) -> Callable[[np.ndarray, np.ndarray], float]:
    def metric(y: np.ndarray, s: np.ndarray) -> float:
        number = round(k * len(y)) if k < 1 else int(k)
        hits = y[np.argsort(-s)[:number]].sum()
        return hits / (number if of == "precision" else y.sum())

    return metric


def _concordance(y: np.ndarray, p: np.ndarray) -> float:
    (a, c), (_, b) = np.cov(y, p, bias=True)
    return float(2 * c / (a + b + (y.mean() - p.mean()) ** 2))


def _partial(max_fpr: float, min_tpr: float = 0.0) -> Callable[[np.ndarray, np.ndarray], float]:
    def metric(y: np.ndarray, s: np.ndarray) -> float:
        """By scikit-learn, the standardisation undone; two-way from its curve."""
        if not min_tpr:
            low = max_fpr**2 / 2
            standard = metrics.roc_auc_score(y, s, max_fpr=max_fpr)
            return (low + (2 * standard - 1) * (max_fpr - low)) / max_fpr
        fpr, tpr, _ = metrics.roc_curve(y, s, drop_intermediate=False)
        end = np.interp(max_fpr, fpr, tpr)
        inside = fpr <= max_fpr
        above = np.maximum(np.r_[tpr[inside], end] - min_tpr, 0)
        return float(np.trapezoid(above, np.r_[fpr[inside], max_fpr]) / max_fpr / (1 - min_tpr))

    return metric


def _recall_at(precision: float) -> Callable[[np.ndarray, np.ndarray], float]:
    def metric(y: np.ndarray, s: np.ndarray) -> float:
        precisions, recalls, _ = metrics.precision_recall_curve(y, s)
        return float(recalls[precisions >= precision].max())

    return metric


def _precision_at(recall: float) -> Callable[[np.ndarray, np.ndarray], float]:
    def metric(y: np.ndarray, s: np.ndarray) -> float:
        precisions, recalls, _ = metrics.precision_recall_curve(y, s)
        return float(precisions[recalls >= recall].max())

    return metric


COSTS = np.array([[0.0, 1.0, 3.0], [2.0, 0.0, 1.0], [5.0, 1.0, 0.0]])


def _cheapness(costs: np.ndarray) -> Callable[[np.ndarray, np.ndarray], float]:
    def metric(y: np.ndarray, p: np.ndarray) -> float:
        found = (p > 0.5) * 1 if p.ndim == 1 else p.argmax(-1)
        true = y.astype(int) if y.ndim == 1 else y.argmax(-1)
        counts = metrics.confusion_matrix(true, found, labels=range(len(costs)))
        return 1 - float((counts * costs).sum() / counts.sum())

    return metric


def _mrr(k: float = np.inf) -> Callable[[np.ndarray, np.ndarray], float]:
    def metric(y: np.ndarray, s: np.ndarray) -> float:
        order = np.argsort(-s, axis=1)
        first = 1 + (np.take_along_axis(y, order, axis=1) > 0).argmax(1)
        return float(np.where(first <= k, 1 / first, 0).mean())

    return metric


def _ndcg(y: np.ndarray, s: np.ndarray) -> float:
    return metrics.ndcg_score(2**y - 1, s)


PHI = {
    "logistic": lambda z: np.log1p(np.exp(-z)),
    "hinge": lambda z: np.maximum(0, 1 - z),
    "squared_hinge": lambda z: np.maximum(0, 1 - z) ** 2,
}


def _pairwise(form: str, ndcg: bool) -> Callable[[np.ndarray, np.ndarray], float]:
    """1 - the loss of Burges (2010) and others, pair by pair."""

    def one(y: np.ndarray, s: np.ndarray) -> float:
        gains, discount = 2**y - 1, 1 / np.log2(1 + (s[:, None] <= s).sum(1))
        best = (np.sort(gains)[::-1] / np.log2(2 + np.arange(len(y)))).sum()
        losses, weights = [], []
        for i, j in np.argwhere(y[:, None] > y):
            losses.append(PHI[form](s[i] - s[j]))
            weights.append(abs((gains[i] - gains[j]) * (discount[i] - discount[j])) / best)
        return np.dot(weights, losses) if ndcg else np.mean(losses)

    return lambda y, s: 1 - float(np.mean([*map(one, y, s.astype("float64"))]))


def _listwise(targets: Callable[[np.ndarray], np.ndarray]) -> Callable[..., float]:
    return lambda y, s: 1 + float(np.sum(targets(y) * log_softmax(s, axis=1), axis=1).mean())


def _harrell(y: np.ndarray, s: np.ndarray) -> float:
    (time, event), known, right = y.T, 0, 0.0
    for i, j in np.ndindex(len(y), len(y)):
        if event[i] and (time[i] < time[j] or (time[i] == time[j] and not event[j])):
            known += 1
            right += (s[i] > s[j]) + 0.5 * (s[i] == s[j])
    return right / known


def _within(tolerance: float) -> Callable[[np.ndarray, np.ndarray], float]:
    return lambda y, p: float(np.mean(np.abs(y - p) <= tolerance))


_sigmoid, _softmax = K.sigmoid, K.softmax
SHARP = {"temperature": 1e-4}
SHARP_STEP = SHARP | {"kernel": "linear"}
TABLE = (
    Row("AUC", losses.AUC, _binary, metrics.roc_auc_score, SHARP_STEP),
    Row("AveragePrecision", losses.AveragePrecision, _binary, metrics.average_precision_score,
        SHARP, repeats=False),
    Row("Spearman", losses.Spearman, _real, _spearman, SHARP),
    Row("NDCG", losses.NDCG, _lists, _ndcg, SHARP_STEP,
        repeats=False),
    Row("NDCG@4", lambda **how: losses.NDCG(k=4, **how), _lists,
        lambda y, s: metrics.ndcg_score(2**y - 1, s, k=4), SHARP_STEP, repeats=False),
    Row("MeanAveragePrecision", losses.MeanAveragePrecision, _lists, _map, SHARP, repeats=False),
    Row("PrecisionAtK", lambda **how: losses.PrecisionAtK(3, **how), _binary, _at(3, "precision"),
        SHARP, repeats=False),
    Row("RecallAtK", lambda **how: losses.RecallAtK(1 / 3, **how), _binary, _at(1 / 3, "recall"),
        SHARP, repeats=False),
    Row("ConcordanceCorrelation", losses.ConcordanceCorrelation, _real, _concordance, {}),
    Row("F1", losses.FBeta, _binary, lambda y, p: metrics.f1_score(y, p > 0.5), SHARP,
        link=_sigmoid),
    Row("F2 of classes", lambda **how: losses.FBeta(beta=2, average="weighted", **how), _classes,
        _of_classes(metrics.fbeta_score, beta=2, average="weighted"), SHARP, link=_softmax),
    Row("MCC", losses.MCC, _binary, lambda y, p: metrics.matthews_corrcoef(y, p > 0.5), SHARP,
        link=_sigmoid),
    Row("MCC of classes", losses.MCC, _classes, _of_classes(metrics.matthews_corrcoef), SHARP,
        link=_softmax),
    Row("CohenKappa", lambda **how: losses.CohenKappa(weights="quadratic", **how), _classes,
        _of_classes(metrics.cohen_kappa_score, weights="quadratic"), SHARP, link=_softmax),
    Row("BalancedAccuracy", losses.BalancedAccuracy, _classes,
        _of_classes(metrics.balanced_accuracy_score), SHARP, link=_softmax),
    Row("GMean", lambda **how: losses.BalancedAccuracy(geometric=True, **how), _classes, _gmean,
        SHARP, link=_softmax),
    # at the temperature of the other kernels it has no gradient for rows that are far off
    Row("MCC by softmax",
        lambda **how: losses.MCC(**({"kernel": "logistic", "temperature": 0.5} | how)), _classes,
        _of_classes(metrics.matthews_corrcoef), SHARP, link=_softmax, brief=True),
    Row("MCC of labels", lambda **how: losses.MCC(multi_label=True, kernel="arctan", **how),
        _labels, _mean(metrics.matthews_corrcoef), SHARP, link=_sigmoid, brief=True),
    Row("Dice", losses.Dice, _pixels,
        lambda y, p: metrics.f1_score(y.ravel(), p.ravel() > 0.5), {}, _decided, _sigmoid),
    Row("Jaccard", losses.Jaccard, _pixels,
        lambda y, p: metrics.jaccard_score(y.ravel(), p.ravel() > 0.5), {}, _decided, _sigmoid),
    Row("Jaccard of classes", losses.Jaccard, _classes,
        _of_classes(metrics.jaccard_score, average="macro"), {}, _decided, _softmax),
    Row("Lovasz", losses.Lovasz, _pixels,
        lambda y, p: metrics.jaccard_score(y.ravel(), p.ravel() > 0.5), {}, _decided, _sigmoid),
    Row("Lovasz of classes", losses.Lovasz, _classes,
        _of_classes(metrics.jaccard_score, average="macro"), {}, _decided, _softmax),
    Row("PartialAUC", lambda **how: losses.PartialAUC(0.3, **how), _scored, _partial(0.3),
        SHARP_STEP),
    Row("PartialAUC two-way", lambda **how: losses.PartialAUC(0.4, min_tpr=0.5, **how), _scored,
        _partial(0.4, 0.5), SHARP_STEP, slow=True),
    Row("RecallAtPrecision", lambda **how: losses.RecallAtPrecision(0.73, **how), _scored,
        _recall_at(0.73), SHARP_STEP, brief=True),
    Row("PrecisionAtRecall", lambda **how: losses.PrecisionAtRecall(0.75, **how), _scored,
        _precision_at(0.75), SHARP_STEP, brief=True),
    Row("ExpectedCost", lambda **how: losses.ExpectedCost([[0, 1], [10, 0]], **how), _binary,
        _cheapness(np.array([[0, 1], [10, 0]])), {}, _decided, _sigmoid),
    Row("ExpectedCost of classes", lambda **how: losses.ExpectedCost(COSTS, **how), _classes,
        _cheapness(COSTS), {}, _decided, _softmax),
    Row("Kendall", losses.Kendall, _real, lambda y, s: kendalltau(y, s)[0], SHARP_STEP,
        goal=_spearman, brief=True),
    Row("ConcordanceIndex", losses.ConcordanceIndex, _survival, _harrell, SHARP_STEP, brief=True),
    Row("MRR", losses.MRR, _lists, _mrr(), SHARP_STEP, repeats=False),
    Row("MRR@3", lambda **how: losses.MRR(k=3, **how), _lists, _mrr(3), SHARP_STEP, repeats=False,
        slow=True),
    *(
        Row(f"Pairwise {form}{' by NDCG' * by_ndcg}",
            lambda form=form, by_ndcg=by_ndcg, **how: losses.Pairwise(
                form=form, weighting="ndcg" if by_ndcg else "none", **how),
            _lists, _pairwise(form, by_ndcg), {}, repeats=False, goal=_ndcg,
            brief=by_ndcg, slow=(form, by_ndcg) not in (("hinge", False), ("logistic", True)))
        for form in PHI for by_ndcg in (False, True)
    ),
    Row("ListwiseSoftmax", losses.ListwiseSoftmax, _lists,
        _listwise(lambda y: y / y.sum(1, keepdims=True)), {}, repeats=False, goal=_ndcg),
    Row("ListNet", lambda **how: losses.ListwiseSoftmax(targets="softmax", **how), _lists,
        _listwise(lambda y: softmax(y, axis=1)), {}, repeats=False, goal=_ndcg, slow=True),
    # steps of one size end in its neighbourhood
    Row("MedianAbsoluteError", losses.MedianAbsoluteError, _real,
        lambda y, p: 1 - metrics.median_absolute_error(y, p), SHARP, reach=0.97,
        brief=True),
    Row("ToleranceAccuracy", lambda **how: losses.ToleranceAccuracy(0.2, **how), _real,
        _within(0.2), SHARP),
)  # fmt: skip


def _rows(is_slow: Callable[[Row], bool]) -> Any:
    rows = [pytest.param(r, marks=[pytest.mark.slow] * is_slow(r)) for r in TABLE]
    return pytest.mark.parametrize("row", rows, ids=str)


every = _rows(lambda row: row.slow)
in_depth = _rows(lambda row: row.slow or row.brief)


def _tensors(row: Row, n: int = 24, dtype: str = "float32") -> tuple[Any, Any]:
    y, p = row.data(np.random.default_rng(n), n)
    return tensor(y, dtype), tensor(p, dtype)


@every
def test_the_hard_limit_is_the_metric(row: Row) -> None:
    for n in (9, 60):
        y, p = row.data(np.random.default_rng(n), n)
        p = p.astype("float32")
        loss = row.make(**row.sharp)(tensor(y, "float32"), tensor(row.hard(p), "float32"))
        assert float(array(loss)) == pytest.approx(1 - row.metric(y, p), abs=2e-3)


@in_depth
@pytest.mark.parametrize("mode", COMPILED)
def test_compiled_and_eager_agree(row: Row, mode: str) -> None:
    y, p = _tensors(row)
    loss = row.make()
    value, (found,) = value_and_gradient(lambda p: loss(y, p), p)
    again, (compiled_one,) = value_and_gradient(lambda p: loss(y, p), p, mode=mode)
    assert np.isfinite(found).all()
    assert np.abs(found).max() > 0
    assert again == pytest.approx(float(value), rel=1e-5)
    np.testing.assert_allclose(compiled_one, found, rtol=1e-3, atol=1e-5 * np.abs(found).max())


@every
def test_a_row_of_weight_zero_is_as_if_it_were_not_there(row: Row) -> None:
    y, p = (array(t) for t in _tensors(row, 16))
    p[-2:] = np.nan
    weights = tensor(np.arange(16) < 14, "float32")
    loss = row.make()
    value, (found,) = value_and_gradient(
        lambda p: loss(tensor(y, "float32"), p, weights), tensor(p, "float32")
    )
    alone = loss(tensor(y[:14], "float32"), tensor(p[:14], "float32"))
    assert value == pytest.approx(float(array(alone)), rel=1e-4)
    assert np.isfinite(found).all()
    assert not found[-2:].any()


@every
def test_a_weight_counts_repetitions(row: Row) -> None:
    if not row.repeats or "Lovasz" in row.name:
        pytest.skip("lists are weighed, Lovász's order has no weights, equal scores count half")
    y, p = (array(t) for t in _tensors(row, 15))
    times = RNG.integers(1, 4, 15)
    loss = row.make(**row.sharp)
    weighed = loss(tensor(y, "float32"), tensor(p, "float32"), tensor(times, "float32"))
    repeated = loss(*(tensor(np.repeat(t, times, axis=0), "float32") for t in (y, p)))
    assert float(array(weighed)) == pytest.approx(float(array(repeated)), abs=2e-3)


@every
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_degenerate_labels_have_a_finite_gradient(row: Row, label: float) -> None:
    y, p = (array(t) for t in _tensors(row, 8))
    same = np.full_like(y, label)
    if same.shape[-1] == 3:
        same[..., 1:] = 1 - label
        same[..., 2] = 0
    loss = row.make()
    for weights in (None, tensor(np.zeros(8), "float32")):
        value, (found,) = value_and_gradient(
            lambda p, w=weights: loss(tensor(same, "float32"), p, w), tensor(p, "float32")
        )
        assert np.isfinite(value)
        assert np.isfinite(found).all()
        assert weights is None or (value == 0 and not found.any())


@every
def test_equal_and_extreme_predictions_are_finite(row: Row) -> None:
    y, p = (array(t) for t in _tensors(row, 12))
    for given in (np.full_like(p, 0.5), np.round(p), np.zeros_like(p), np.ones_like(p)):
        for dtype in ("float16", "float32"):
            value, (found,) = value_and_gradient(
                lambda p: row.make()(tensor(y, "float32"), p), tensor(given, dtype)
            )
            assert np.isfinite(value)
            assert np.isfinite(found).all()


@every
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_loss_in_half_precision_is_that_of_float32(row: Row, dtype: str) -> None:
    y, p = _tensors(row)
    value = row.make(dtype=dtype)(y, p)
    assert keras.backend.standardize_dtype(value.dtype) == dtype
    assert float(array(value)) == pytest.approx(float(array(row.make()(y, p))), rel=1e-2)


@every
def test_nan_in_is_nan_out(row: Row) -> None:
    y, p = (array(t) for t in _tensors(row, 12))
    p[3] = np.nan
    run = compiled(lambda p: row.make()(tensor(y, "float32"), p), (*MODES, "eager")[0])
    assert np.isnan(array(run(tensor(p, "float32"))))


@every
def test_it_survives_its_configuration(row: Row) -> None:
    y, p = _tensors(row)
    loss = row.make(name="own", reduction="sum")
    config = json.loads(json.dumps(keras.losses.serialize(loss)))
    again = keras.losses.deserialize(config)
    assert type(again) is type(loss)
    assert again.name == "own"
    assert again.get_config() == loss.get_config()
    assert float(array(again(y, p))) == float(array(loss(y, p)))


@in_depth
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_free_predictions_descend_to_the_optimum(row: Row, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, p = row.data(rng, 48)
    z = rng.normal(size=p.shape)
    loss, target = row.make(), tensor(y, "float32")
    run = compiled(
        lambda z: value_and_gradient_of(lambda z: loss(target, row.link(z)), z), _fastest()
    )
    first, second = np.zeros_like(z), np.zeros_like(z)
    metric = row.goal or row.metric
    found = lambda: metric(y, array(row.link(tensor(z, "float32"))))  # noqa: E731
    before, best = found(), 1.0
    for n in range(1, 401):
        if n % 50 == 0 and (found() - before) / (best - before) >= row.reach:
            return
        g = array(run(tensor(z, "float32")))
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
        z -= 0.1 * (first / (1 - 0.9**n)) / (np.sqrt(second / (1 - 0.999**n)) + 1e-8)
    assert (found() - before) / (best - before) >= row.reach


def value_and_gradient_of(function: Callable[[Any], Any], z: Any) -> Any:
    """Only the gradient."""
    from .gradients import _with_gradients

    return _with_gradients(function)(z)[1][0]


def _fastest() -> str:
    return (*MODES, "eager")[0]


Y, P = np.array([0.0, 1.0, 1.0, 0.0]), np.array([0.2, 0.4, 0.9, 0.6])


@pytest.mark.parametrize(
    ("loss", "arguments", "error", "words"),
    [
        (losses.AUC(), (Y, P[:3]), BevelValueError, "shape"),
        (losses.AUC(), (2 * Y, P), BevelValueError, "between 0 and 1"),
        (losses.AUC(), (Y, np.arange(4)), BevelTypeError, "must be floats"),
        (losses.AUC(), (Y, P, -Y), BevelValueError, "finite and >= 0"),
        (losses.AUC(), (np.arange(4), P.reshape(2, 2)), BevelValueError, "shape"),
        (losses.NDCG(), (Y, P), BevelValueError, r"\(lists, items\)"),
        (losses.Dice(), (Y, 3 * P), BevelValueError, "from_logits"),
        (losses.FBeta(), (Y[:, None] * np.ones(3), P), BevelValueError, "shape"),
    ],
)
def test_bad_input_is_named(loss: Any, arguments: Any, error: type, words: str) -> None:
    given = [tensor(t, "float32" if t.dtype == float else "int32") for t in arguments]
    with pytest.raises(error, match=words):
        loss(*given)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: losses.AUC(kernel="triangular"), "kernel"),
        (lambda: losses.AUC(temperature=0), "temperature"),
        (lambda: losses.AUC(reduction="median"), "reduction"),
        (lambda: losses.NDCG(k=0), "at least 1"),
        (lambda: losses.PrecisionAtK(0), "at least 1"),
        (lambda: losses.RecallAtK(2.5), "at least 1"),
        (lambda: losses.Quantile(1.0), "between 0 and 1"),
        (lambda: losses.NDCG(gain="cubic"), "gain"),
        (lambda: losses.FBeta(beta=0), "beta"),
        (lambda: losses.FBeta(average="all"), "average"),
        (lambda: losses.CohenKappa(weights="cubic"), "weights"),
        (lambda: losses.Tversky(alpha=-1), "alpha"),
        (lambda: losses.Tversky(gamma=0), "gamma"),
        (lambda: losses.Dice(over="pixel"), "over"),
        (lambda: losses.Lovasz(hinge=True, from_logits=True), "hinge"),
    ],
)
def test_settings_that_cannot_be_used(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(BevelValueError, match=words):
        make()


def test_false_positives_weigh_alpha_and_false_negatives_beta() -> None:
    y, p = (
        tensor([[1.0], [1.0], [1.0], [0.0]], "float32"),
        tensor([[1.0], [0.0], [0.0], [1.0]], "float32"),
    )
    assert float(array(losses.Tversky(alpha=3, beta=0.5)(y, p))) == pytest.approx(
        1 - 1 / (1 + 3 + 1)
    )


def test_one_class_has_no_correlation_and_no_gradient() -> None:
    y, p = tensor([1.0, 1.0, 1.0], "float32"), tensor([0.2, 0.7, 0.9], "float32")
    value, (found,) = value_and_gradient(lambda p: losses.MCC()(y, p), p)
    assert value == 0
    assert not found.any()


@pytest.mark.skipif(not MODES, reason="nothing is compiled here")
def test_a_class_that_does_not_exist_is_nan_in_compiled_code() -> None:
    p = tensor(np.full((2, 3), 1 / 3), "float32")
    run = compiled(lambda y: losses.Dice()(y, p), MODES[0])
    assert np.isfinite(array(run(tensor([0, 2], "int32"))))
    assert np.isnan(array(run(tensor([0, 3], "int32"))))


def test_a_class_that_is_absent_is_left_out_or_pushed_to_none() -> None:
    y = np.eye(3)[[0, 0, 1, 1]]
    p = RNG.random((4, 3))
    each = array(losses.Dice(reduction=None)(tensor(y, "float32"), tensor(p, "float32")))
    mean = float(array(losses.Dice()(tensor(y, "float32"), tensor(p, "float32"))))
    assert mean == pytest.approx(each.ravel()[:2].mean())
    p = np.full((4, 3), 1 / 3)
    for smooth, moves in ((0.0, False), (1.0, True)):
        _, (found,) = value_and_gradient(
            lambda p, s=smooth: losses.Dice(smooth=s)(tensor(y, "float32"), p), tensor(p, "float32")
        )
        assert bool(np.abs(found[:, 2]).max() > 0) is moves


def test_ignored_pixels_and_class_numbers() -> None:
    numbers, p = RNG.integers(0, 3, (2, 5)), RNG.random((2, 5, 3))
    p /= p.sum(-1, keepdims=True)
    one_hot = np.eye(3)[numbers]
    for make in (losses.Dice, losses.Jaccard, losses.Lovasz):
        for how in ({}, {"over": "image"}, {"ignore_class": 2}):
            loss = make(**how)
            by_number = loss(tensor(numbers, "int32"), tensor(p, "float32"))
            by_row = loss(tensor(one_hot, "float32"), tensor(p, "float32"))
            assert float(array(by_number)) == pytest.approx(float(array(by_row)), rel=1e-5)
        kept = numbers != 2
        alone = make()(tensor(one_hot[kept], "float32"), tensor(p[kept], "float32"))
        assert float(array(by_row)) == pytest.approx(float(array(alone)), rel=1e-5)
        whole = make()(tensor(one_hot, "float32"), tensor(p, "float32"))
        for beyond in (-1, 255):  # no column of a one-hot code is that class
            found = make(ignore_class=beyond)(tensor(one_hot, "float32"), tensor(p, "float32"))
            assert float(array(found)) == float(array(whole))


@pytest.mark.parametrize("q", [0.1, 0.5, 0.8])
def test_the_pinball_loss_is_that_of_scikit_learn(q: float) -> None:
    y, p, w = (RNG.normal(size=(30, 2)) for _ in range(3))
    expected = metrics.mean_pinball_loss(y, p, sample_weight=w[:, 0] ** 2, alpha=q)
    given = (tensor(t, "float32") for t in (y, p, w[:, 0] ** 2))
    assert float(array(losses.Quantile(q)(*given))) == pytest.approx(expected, rel=1e-5)
    _, (found,) = value_and_gradient(
        lambda p: losses.Quantile(q)(tensor([1.0, 1.0, 1.0], "float32"), p),
        tensor([0.0, 1.0, 2.0], "float32"),
    )
    np.testing.assert_allclose(3 * found, [-q, 0.5 - q, 1 - q], rtol=1e-5)


def test_an_ignored_label_lies_often_beyond_the_classes() -> None:
    p3, p1 = tensor(RNG.random((4, 3)), "float32"), tensor(RNG.random((4, 1)), "float32")
    numbers, binary = tensor([0, 1, 2, 255], "int32"), tensor([[1], [0], [1], [255]], "int32")
    for make in (losses.Dice, losses.Jaccard, losses.Lovasz):
        for y, p in ((numbers, p3), (binary, p1)):
            value, (found,) = value_and_gradient(
                lambda p, y=y, make=make: make(ignore_class=255)(y, p), p
            )
            assert value == pytest.approx(float(array(make()(y[:3], p[:3]))), rel=1e-5)
            assert not found[3:].any()
    with pytest.raises(BevelValueError, match="a class in"):
        losses.Dice(ignore_class=255)(tensor([0, 1, 2, 7], "int32"), p3)


@pytest.mark.skipif(not MODES, reason="nothing is compiled here")
@pytest.mark.parametrize("make", [losses.AUC, losses.AveragePrecision, losses.MCC, losses.Dice])
def test_labels_that_cannot_be_are_nan_in_compiled_code(make: Any) -> None:
    p = tensor(P[:, None], "float32")
    run = compiled(lambda y: make()(y, p), MODES[0])
    assert np.isnan(array(run(tensor(2 * Y[:, None] - 1, "float32"))))


def test_a_row_of_weight_zero_may_have_any_label() -> None:
    p, weights = tensor(RNG.random((4, 3)), "float32"), tensor([1, 1, 1, 0], "float32")
    loss = losses.FBeta()
    whole = loss(tensor([0, 1, 2, -1], "int32"), p, weights)
    alone = loss(tensor([0, 1, 2], "int32"), p[:3])
    assert float(array(whole)) == pytest.approx(float(array(alone)), rel=1e-5)


@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
def test_two_classes_are_averaged_as_more_are(average: str) -> None:
    y, z = np.arange(40) % 5 // 3, RNG.normal(size=(40, 2))
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    loss = losses.FBeta(average=average, temperature=1e-5)
    expected = metrics.f1_score(y, p.argmax(-1), average=average)
    value = float(array(loss(tensor(y, "int32"), tensor(p, "float32"))))
    assert 1 - value == pytest.approx(expected, abs=1e-3)


def test_spearman_of_heavy_weights_and_of_dates() -> None:
    y, s = RNG.normal(size=50), RNG.normal(size=50)
    heavy = losses.Spearman()(*(tensor(t, "float32") for t in (y, s, np.full(50, 1e6))))
    light = losses.Spearman()(*(tensor(t, "float32") for t in (y, s)))
    assert float(array(heavy)) == pytest.approx(float(array(light)), rel=1e-4)
    dates = tensor(1_700_000_000 + np.arange(10), "int32")
    back = losses.Spearman(temperature=1e-3)(dates, tensor(-np.arange(10.0), "float32"))
    assert float(array(back)) == pytest.approx(2.0, abs=1e-3)


@pytest.mark.filterwarnings("ignore")
@every
def test_an_empty_batch_is_a_finite_zero(row: Row) -> None:
    y, p = (t[:0] for t in _tensors(row))
    assert np.isfinite(array(row.make()(y, p)))


def test_finite_in_float16_on_a_large_mask() -> None:
    p = tensor(np.full((1, 600, 600, 1), 0.5), "float16")
    y = tensor(np.ones((1, 600, 600, 1)), "float16")
    assert float(array(losses.Dice()(y, p))) == pytest.approx(1 / 3, rel=1e-3)


def test_padding_changes_nothing() -> None:
    labels, scores = np.array([[2.0, 0.0, 1.0]]), np.array([[0.1, 0.4, 0.2]])
    padded = np.c_[labels, -1.0, -1.0], np.c_[scores, 9.0, np.nan]
    for loss in (losses.NDCG(), losses.NDCG(k=2), losses.MeanAveragePrecision()):
        short = loss(*(tensor(t, "float32") for t in (labels, scores)))
        long, (found,) = value_and_gradient(
            lambda s, loss=loss: loss(tensor(padded[0], "float32"), s), tensor(padded[1], "float32")
        )
        assert long == pytest.approx(float(array(short)), rel=1e-5)
        assert np.isfinite(found).all()
        assert not found[:, 3:].any()


def test_columns_are_averaged_or_kept() -> None:
    y, s = (RNG.random((20, 3)) < 0.5) * 1.0, RNG.normal(size=(20, 3))
    y[:, 2] = 0  # no positives: left out of the mean
    each = array(losses.AUC(reduction=None)(tensor(y, "float32"), tensor(s, "float32")))
    mean = float(array(losses.AUC()(tensor(y, "float32"), tensor(s, "float32"))))
    assert each.shape == (3,)
    assert each[2] == 0
    assert mean == pytest.approx(each[:2].mean(), rel=1e-5)
    one = losses.AUC()(tensor(y[:, 0], "float32"), tensor(s[:, 0], "float32"))
    assert each[0] == pytest.approx(float(array(one)), rel=1e-5)
