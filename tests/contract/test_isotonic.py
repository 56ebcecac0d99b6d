"""Ranks and sorts by isotonic regression against pooling one element after another, in float64.

`test_backends.py` runs this file again on the other backends.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from keras import ops as K
from scipy.special import logsumexp

from bevel import ops
from bevel.errors import BevelValueError

from .gradients import WAYS, array, gradient, second_derivative, tensor, value_and_gradient

RNG = np.random.default_rng(5)
modes = pytest.mark.parametrize("mode", WAYS)
INPUTS: dict[str, Callable[[int], np.ndarray]] = {
    "normal": lambda n: RNG.normal(size=n),
    "heavy tails": lambda n: RNG.standard_cauchy(size=n),
    "ties": lambda n: np.round(RNG.normal(size=n)),
    "all equal": np.ones,
    "geometric": lambda n: 2.0 ** RNG.uniform(-20, 20, size=n),
    "one far off": lambda n: np.append(np.zeros(n - 1), 1e6),
}
RANK: Callable[..., Any] = partial(ops.rank, method="isotonic")
SORT: Callable[..., Any] = partial(ops.sort, method="isotonic")
FUNCTIONS = {
    f"{name} {method}": partial(getattr(ops, name), method=method)
    for name in ("rank", "sort")
    for method in ("isotonic", "entropic")
}


def _pooled(z: np.ndarray, w: np.ndarray, fit: Callable[..., float]) -> np.ndarray:
    """The rising sequence that fits: neighbours that fall are pooled, one after another."""
    blocks: list[tuple[float, int]] = []
    for end in range(1, len(z) + 1):
        begin = end - 1
        value = fit(z[begin:end], w[begin:end])
        while blocks and blocks[-1][0] >= value:
            begin -= blocks.pop()[1]
            value = fit(z[begin:end], w[begin:end])
        blocks.append((value, end - begin))
    return np.concatenate([np.full(size, value) for value, size in blocks])


def _mean(z: np.ndarray, w: np.ndarray) -> float:
    return float(np.mean(z - w))


def _logarithms(z: np.ndarray, w: np.ndarray) -> float:
    return float(logsumexp(z) - logsumexp(w))


def _ranks(x: np.ndarray, temperature: float) -> np.ndarray:
    order, counted = np.argsort(x, kind="stable"), np.arange(1, len(x) + 1)
    z = len(x) * x[order] / temperature
    found = np.empty(len(x))
    found[order] = z - _pooled(z, counted, _mean)
    return found


def _entropic_ranks(x: np.ndarray, temperature: float) -> np.ndarray:
    order, counted = np.argsort(x, kind="stable"), np.arange(1, len(x) + 1)
    z = 2 * x[order] / temperature
    found = np.empty(len(x))
    found[order] = np.exp(z - _pooled(z, np.log(counted), _logarithms))
    return found


def _values(x: np.ndarray, temperature: float) -> np.ndarray:
    z = np.arange(1, len(x) + 1) / (len(x) * temperature)
    return z - _pooled(z, np.sort(x), _mean)


def _entropic_values(x: np.ndarray, temperature: float) -> np.ndarray:
    z = np.arange(1, len(x) + 1) / (len(x) * temperature)
    return z - _pooled(z, np.sort(x), _logarithms)


REFERENCES = {
    "rank isotonic": _ranks,
    "rank entropic": _entropic_ranks,
    "sort isotonic": _values,
    "sort entropic": _entropic_values,
}
functions = pytest.mark.parametrize("which", FUNCTIONS)


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("temperature", [0.01, 0.5, 4.0, 50.0])
@pytest.mark.parametrize("n", [1, 2, 9, 100])
def test_against_pooling_in_turn(name: str, temperature: float, n: int) -> None:
    x = array(tensor(np.stack([INPUTS[name](n) for _ in range(2)]), "float32"))
    for which, soft in FUNCTIONS.items():
        found = array(soft(tensor(x, "float32"), temperature=temperature))
        near = 1e-5 if "rank" in which else 1e-6 * abs(x).max()
        for row in range(2):
            expected = REFERENCES[which](x[row].astype("float64"), temperature)
            np.testing.assert_allclose(found[row], expected, rtol=1e-5, atol=near, err_msg=which)


@modes
@functions
def test_gradients_against_differences(mode: str, which: str) -> None:
    soft, reference = FUNCTIONS[which], REFERENCES[which]
    x, g = RNG.normal(size=(2, 12)), tensor(RNG.normal(size=(2, 12)), "float64")
    loss = lambda x: g * soft(x, temperature=2.0)  # noqa: E731
    value, (found,) = value_and_gradient(loss, tensor(x, "float64"), mode=mode)
    np.testing.assert_allclose(value, array(g) * [reference(r, 2.0) for r in x], atol=1e-9)
    for place in np.ndindex(*x.shape):
        step = np.zeros_like(x)
        step[place] = 1e-6
        ends = [(array(g) * [reference(r, 2.0) for r in x + s]).sum() for s in (-step, step)]
        assert found[place] == pytest.approx((ends[1] - ends[0]) / 2e-6, abs=1e-5)
    assert (np.abs(found) > 1e-6).mean() > 0.4


def test_the_direction_and_the_unit() -> None:
    x = tensor(RNG.normal(size=(3, 8)), "float64")
    for how in ({"temperature": 0.7}, {"temperature": tensor(0.7, "float64")}):
        up, down = (array(RANK(x, descending=d, **how)) for d in (False, True))
        np.testing.assert_allclose(up + down, 9)
        np.testing.assert_allclose(array(RANK(K.transpose(x), 0, **how)).T, up)
        for method in ("isotonic", "entropic"):
            ranked, ordered = (FUNCTIONS[f"{name} {method}"] for name in ("rank", "sort"))
            found, values = array(ranked(x, **how)), array(ordered(x, **how))
            np.testing.assert_allclose(array(ranked(-x, descending=True, **how)), found)
            np.testing.assert_allclose(array(ranked(8 * x, scale=8.0, **how)), found)
            np.testing.assert_allclose(array(ordered(x, descending=True, **how)), values[:, ::-1])
            np.testing.assert_allclose(array(ordered(8 * x, scale=8.0, **how)), 8 * values)
            np.testing.assert_allclose(array(ordered(x + 5.0, **how)), values + 5)


@pytest.mark.parametrize("method", ["isotonic", "entropic"])
def test_the_hard_limit_and_what_is_not_finite(method: str) -> None:
    ranked, ordered = (FUNCTIONS[f"{name} {method}"] for name in ("rank", "sort"))
    x = tensor([[3.0, np.nan, 1.0], [3.0, np.inf, 1.0], [3.0, 2.0, 1.0]], "float32")
    nothing = tensor(0.0, "float32")
    for t in (1e-4, 1e-12, 1e-16, nothing):
        np.testing.assert_allclose(array(ordered(x, temperature=t))[2], [1, 2, 3], rtol=1e-6)
    for how in ({"temperature": 1e-4}, {"temperature": 0.0}, {"forward": "hard"}):
        ranks, values = array(ranked(x, **how)), array(ordered(x, **how))
        assert np.isnan(ranks[0]).all()
        assert np.isnan(values[0]).all()
        np.testing.assert_allclose(ranks[1:], [[2, 3, 1], [3, 2, 1]])
        np.testing.assert_allclose(values[2], [1, 2, 3], rtol=1e-6)
    assert np.isfinite(gradient(ranked, x)[1:]).all()
    assert tuple(ranked(x[:, :0]).shape) == tuple(ordered(x[:, :0]).shape) == (3, 0)


def test_the_gradient_of_the_temperature_and_the_second() -> None:
    x = tensor(RNG.normal(size=10), "float64")
    g = tensor(RNG.normal(size=10), "float64")
    for soft in FUNCTIONS.values():
        loss = partial(lambda soft, t: K.sum(g * soft(x, temperature=t)), soft)
        found = gradient(loss, tensor(3.0, "float64"))
        ends = [float(array(loss(tensor(3.0 + s, "float64")))) for s in (-1e-6, 1e-6)]
        assert found == pytest.approx((ends[1] - ends[0]) / 2e-6, rel=1e-4)
        twice = second_derivative(
            partial(lambda soft, x: soft(x**3, temperature=3.0) ** 2, soft), x
        )
        assert np.isfinite(twice).all()
        assert twice.any()


def test_what_it_does_not_take() -> None:
    x = tensor([1.0, 2.0], "float32")
    for how in ({"kernel": "cubic"}, {"mask": tensor([True, True], "bool")}):
        with pytest.raises(BevelValueError, match="isotonic"):
            RANK(x, **how)
    with pytest.raises(BevelValueError, match="method"):
        ops.sort(x, method="pooling")
