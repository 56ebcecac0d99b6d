"""The temperature that is found gives the error that was asked for, whatever the numbers are."""

from __future__ import annotations

import numpy as np
import pytest

from bevel import ops
from bevel.errors import BevelValueError

from .contract.gradients import COMPILED, array, compiled, tensor

SAMPLES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy tails": lambda rng, n: rng.standard_cauchy(size=n),
    "skewed": lambda rng, n: np.exp(2 * rng.normal(size=n)),
}


def _error(x: np.ndarray, soft: np.ndarray) -> float:
    return float(np.abs(soft - x.argsort(-1).argsort(-1) - 1).mean() / x.shape[-1])


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("n", [100, 3_000, pytest.param(100_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("target", [0.01, 0.05])
def test_the_target_is_met(name: str, n: int, target: float) -> None:
    x = SAMPLES[name](np.random.default_rng(n), n)
    for unit in (1e-4, 1.0, 1e4):
        given = tensor(unit * x, "float32")
        temperature = ops.auto_temperature(given, target)
        found = _error(x, array(ops.rank(given, temperature=temperature)))
        assert target / 2 < found < target * 2, (unit, found)


@pytest.mark.parametrize("mode", COMPILED)
def test_auto_is_one_percent_also_when_compiled(mode: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 500))
    auto = compiled(lambda x: ops.rank(x, temperature="auto"), mode)
    assert 0.005 < _error(x, array(auto(tensor(x, "float32")))) < 0.02
    smooth = array(ops.rank(tensor(x, "float32"), temperature="auto", kernel="logistic"))
    assert 0.005 < _error(x, smooth) < 0.02
    values = array(ops.sort(tensor(x, "float32"), temperature="auto"))
    assert 1e-4 < np.abs(values - np.sort(x)).mean() < 0.1


def test_nan_and_nothing_and_what_no_temperature_does() -> None:
    x = tensor([[np.nan, 1.0, 2.0, 3.0], [4.0, 6.0, 5.0, 7.0]], "float32")
    assert np.isfinite(array(ops.auto_temperature(x)))
    assert np.isnan(array(ops.rank(x, temperature="auto"))[0]).all()
    assert np.isfinite(array(ops.auto_temperature(x[:, :0])))
    assert np.isfinite(array(ops.auto_temperature(tensor([2.0, 2.0], "float32"))))
    with pytest.raises(BevelValueError, match="1/4"):
        ops.auto_temperature(x, 0.3)
    with pytest.raises(BevelValueError, match="temperature"):
        ops.rank(x, temperature="cold")
