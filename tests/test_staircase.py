"""The multi-step neuron, and the quadruple piecewise-constant one against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bevel import ops
from bevel.errors import BevelTypeError, BevelValueError

from .contract.gradients import WAYS, array, gradient, tensor, value_and_gradient

KERNELS = ("logistic", "arctan", "algebraic", "linear", "gaussian")
# Lower and upper end, centre, width, base and height of the four cells of the classical neuron.
CELLS = (
    (0.0, 0.25, 0.125, 0.25, 0.0, 0.25),
    (0.25, 0.5, 0.375, 0.25, 0.25, 0.25),
    (0.5, 0.75, 0.625, 0.25, 0.5, 0.25),
    (0.75, 1.0, 1.0, 0.5, 0.75, 0.5),
)
BORDERS = [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 1.0]


def _sigmoid(u: np.ndarray) -> np.ndarray:
    low = np.exp(-np.abs(u)) / (1 + np.exp(-np.abs(u)))
    return np.where(u > 0, 1 - low, low)


def _neuron(z: np.ndarray, k: float) -> tuple[np.ndarray, np.ndarray]:
    """Value and slope as they are defined, for z of any size."""
    value, slope = np.where(z >= 1, 1.0, 0.0), np.zeros_like(z)
    for low, high, centre, width, base, height in CELLS:
        inside = (z > low) & (z <= high) & (z < 1)
        s = base + height * _sigmoid(k * (z - centre) / width)
        value = np.where(inside, s, value)
        share = (s - base) / height
        # 1 - share, without rounding it to 0: the same formula mirrored.
        rest = _sigmoid(-k * (z - centre) / width)
        slope = np.where(inside, k / width * height * share * rest, slope)
    return value, slope


@pytest.mark.parametrize("mode", WAYS)
@pytest.mark.parametrize("k", [1, 10, 100])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-12)])
def test_the_neuron_is_the_classical_one(k: int, dtype: str, tolerance: float, mode: str) -> None:
    # The smallest normal number stands above 0: a subnormal one counts as 0 on most processors.
    z = np.concatenate(
        [np.linspace(-0.5, 1.5, 2001), BORDERS, np.nextafter(BORDERS[1:], 2), [1e-37]]
    )
    z = array(tensor(z, dtype))
    expected, expected_slope = _neuron(z, k)
    value, (slope,) = value_and_gradient(
        lambda z: ops.qpwc(z, temperature=1 / k), tensor(z, dtype), mode=mode
    )
    np.testing.assert_allclose(value, expected, rtol=0, atol=tolerance)
    # The slope reaches k / 4, so a float32 cannot hold more than its relative digits.
    np.testing.assert_allclose(slope, expected_slope, rtol=tolerance, atol=tolerance)


def test_the_neuron_at_its_borders() -> None:
    z = [-np.inf, -1e30, 0.0, 1.0, 1e30, np.inf]
    value, (slope,) = value_and_gradient(
        lambda z: ops.qpwc(z, temperature=1.0), tensor(z, "float32")
    )
    assert value.tolist() == [0, 0, 0, 1, 1, 1]
    assert not slope.any()
    centres = array(ops.qpwc(tensor([0.125, 0.375, 0.625], "float64")))
    np.testing.assert_allclose(centres, [0.125, 0.375, 0.625], rtol=1e-15)
    assert array(ops.qpwc(tensor([0.2, 0.3, 0.4, 0.8], "float64"), 0)).tolist() == [
        0.25,
        0.25,
        0.5,
        0.75,
    ]


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_sum_of_steps(kernel: str) -> None:
    z = np.linspace(-3, 5, 41)
    thresholds, levels = [-1.0, 0.5, 0.75, 3.0], [2.0, 0.0, 1.0, 7.0, 4.0]
    found = ops.staircase(tensor(z, "float64"), thresholds, levels, 0.2, kernel=kernel)
    expected = levels[0] + sum(
        (after - before) * array(ops.cdf(tensor((z - t) / 0.2, "float64"), kernel))
        for t, before, after in zip(thresholds, levels, levels[1:], strict=False)
    )
    np.testing.assert_allclose(array(found), expected, atol=1e-13)


def test_cells_with_edges_of_their_own() -> None:
    z = np.array([0.1, 0.9, 1.1, 3.9])
    found = ops.staircase(
        tensor(z, "float64"), [0.5, 2.0], [1.0, 3.0, 0.0], 0.5, "cells", edges=[0.0, 1.0, 4.0]
    )
    expected = [
        1 + 2 * _sigmoid(np.float64((0.1 - 0.5) / 0.5)),
        1 + 2 * _sigmoid(np.float64((0.9 - 0.5) / 0.5)),
        3 - 3 * _sigmoid(np.float64((1.1 - 2.0) / 3 / 0.5)),
        3 - 3 * _sigmoid(np.float64((3.9 - 2.0) / 3 / 0.5)),
    ]
    np.testing.assert_allclose(array(found), expected, rtol=1e-14)


def test_default_edges_lie_half_way() -> None:
    keywords = {"thresholds": [0.0, 1.0, 3.0], "levels": [0, 1, 2, 3], "blend": "cells"}
    z = tensor(np.linspace(-2, 6, 81), "float64")
    given_edges = ops.staircase(z, **keywords, edges=[-0.5, 0.5, 2.0, 4.0])
    np.testing.assert_array_equal(array(ops.staircase(z, **keywords)), array(given_edges))


def test_the_boundary() -> None:
    z = tensor([-1.0, 0.0, 1.0, 2.0, 3.0], "float64")
    stairs = {"thresholds": [0.5, 1.5], "levels": [0.0, 1.0, 2.0], "temperature": 1.0}
    free = array(ops.staircase(z, **stairs))
    held, (slope,) = value_and_gradient(lambda z: ops.staircase(z, **stairs, domain=(0.0, 1.5)), z)
    # At 1.5 lies a threshold: half of its step counts.
    np.testing.assert_allclose(held, [0.0, 0.0, free[2], 1.5, 1.5], rtol=1e-15)
    assert (slope != 0).tolist() == [False, False, True, False, False]
    extended = array(ops.staircase(z, **stairs, domain=(0.0, 1.5), boundary="extend"))
    np.testing.assert_array_equal(extended, free)
    cells = array(ops.staircase(z, **stairs, blend="cells", boundary="extend"))
    np.testing.assert_allclose(
        cells[[0, -1]], [_sigmoid(np.float64(-1.5)), 1 + _sigmoid(np.float64(1.5))], rtol=1e-14
    )


@pytest.mark.parametrize("blend", ["sum", "cells"])
def test_thresholds_levels_and_temperature_get_gradients(blend: str) -> None:
    z = np.array([0.3, 1.1, 2.6])
    parts = [np.array([0.5, 1.5, 2.5]), np.array([0.0, 1.0, 3.0, 2.0]), np.array(0.4)]

    def call(thresholds, levels, temperature):
        return ops.staircase(tensor(z, "float64"), thresholds, levels, temperature, blend)

    _, slopes = value_and_gradient(call, *(tensor(x, "float64") for x in parts))
    for which, part in enumerate(parts):
        for place in np.ndindex(part.shape):
            sides = []
            for h in (1e-6, -1e-6):
                moved = [x.copy() for x in parts]
                moved[which][place] += h
                sides.append(array(call(*(tensor(x, "float64") for x in moved))).sum())
            expected = (sides[0] - sides[1]) / 2e-6
            assert slopes[which][place] == pytest.approx(expected, rel=1e-7, abs=1e-8)


@pytest.mark.parametrize("blend", ["sum", "cells"])
def test_hard_steps_are_taken_at_the_threshold(blend: str) -> None:
    z = [0.4999, 0.5, 1.4999, 1.5]
    expected = [0.0, 1.0, 1.0, 5.0]
    stairs = {"thresholds": [0.5, 1.5], "levels": [0.0, 1.0, 5.0], "blend": blend}
    for keywords in ({"temperature": 0}, {"forward": "hard"}):
        found = array(ops.staircase(tensor(z, "float64"), **stairs, **keywords))
        assert found.tolist() == expected
    slope = gradient(lambda z: ops.staircase(z, **stairs, forward="hard"), tensor(z, "float64"))
    soft = gradient(lambda z: ops.staircase(z, **stairs), tensor(z, "float64"))
    np.testing.assert_array_equal(slope, soft)


@given(
    gaps=st.lists(st.floats(0.125, 2, width=32), min_size=1, max_size=12),
    rises=st.lists(st.floats(0, 3, width=32), min_size=12, max_size=12),
    kernel=st.sampled_from(KERNELS),
    temperature=st.floats(0.01, 2),
)
def test_rising_levels_make_a_rising_function(gaps, rises, kernel: str, temperature: float) -> None:
    thresholds = np.cumsum(gaps)
    levels = np.cumsum([0.0, *rises[: len(gaps)]])
    z = np.linspace(thresholds[0] - 3, thresholds[-1] + 3, 50)
    value = array(
        ops.staircase(tensor(z, "float64"), thresholds, levels, temperature, kernel=kernel)
    )
    assert (np.diff(value) >= -1e-12).all()
    assert ((value >= -1e-12) & (value <= levels[-1] + 1e-12)).all()


GOOD = {"z": 0.0, "thresholds": [0.0, 1.0], "levels": [0.0, 1.0, 2.0]}
BAD = (
    (
        {"thresholds": [1.0, 0.0]},
        r"`thresholds` must rise strictly; got 0\.0 after 1\.0 at index 1",
    ),
    ({"thresholds": [0.0, 0.0]}, r"`thresholds` must rise strictly; got 0\.0 after 0\.0"),
    ({"thresholds": [0.0, float("nan")]}, r"`thresholds` must be finite; got \[0\.0, nan\]"),
    ({"thresholds": 1.0}, r"`thresholds` must be a vector of known length; got shape \(\)"),
    ({"levels": [0.0, 1.0]}, r"`levels` must hold one number more .* got 2 levels and 2 thresh"),
    ({"thresholds": [], "levels": [1.0]}, r"at least one; got 1 levels and 0 thresholds"),
    ({"edges": [0.0, 1.0, 2.0]}, r"`edges` belongs to blend='cells'"),
    ({"edges": [0.0, 1.0], "blend": "cells"}, r"`edges` must hold one number more .* 2 edges"),
    ({"edges": [0.0, 2.0, 1.0], "blend": "cells"}, r"`edges` must rise strictly"),
    (
        {"thresholds": [0.0], "levels": [0.0, 1.0], "blend": "cells"},
        r"`edges` must be given for blend='cells' with one threshold",
    ),
    ({"domain": (1.0, 0.0)}, r"`domain` must rise strictly"),
    ({"domain": (0.0, 1.0, 2.0)}, r"`domain` must be two numbers; got 3"),
    ({"blend": "max"}, r"`blend` must be one of 'sum', 'cells'; got 'max'"),
    ({"boundary": "wrap"}, r"`boundary` must be one of 'clamp', 'extend'; got 'wrap'"),
    ({"temperature": -1}, r"`temperature` must be a finite number >= 0; got -1\."),
)


@pytest.mark.parametrize(("keywords", "message"), BAD)
def test_bad_arguments_are_refused(keywords: dict, message: str) -> None:
    with pytest.raises(BevelValueError, match=message):
        ops.staircase(**(GOOD | keywords))


def test_integers_are_refused() -> None:
    with pytest.raises(BevelTypeError, match=r"`z` must be a floating-point tensor"):
        ops.qpwc(np.array([1, 2]))
