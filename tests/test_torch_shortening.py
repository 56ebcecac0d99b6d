"""Graphs made shorter give the same numbers, and only what is the same is merged."""

from __future__ import annotations

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another framework here", allow_module_level=True)

import torch
from torch import fx

from bevel.frontends.torch.shortening import is_settled, is_small, shortened

aten = torch.ops.aten


def graph(*calls):
    """A graph of one leaf `x`; each call is an operation and its arguments, by number of a call."""
    made = fx.Graph()
    nodes = [made.placeholder("x")]
    for func, *args in calls:
        given = tuple(nodes[a[0]] if isinstance(a, list) else a for a in args)
        nodes.append(made.call_function(func, given))
    made.output(tuple(nodes[1:]))
    return made, nodes


def run(made, x, constants=None):
    return fx.GraphModule(constants or {}, made)(x)


def test_what_is_done_twice_is_done_once():
    made, _ = graph((aten.exp.default, [0]), (aten.exp.default, [0]), (aten.mul.Tensor, [1], [2]))
    short = shortened(made, {}, {})
    assert sum(n.op == "call_function" for n in short.nodes) == 2
    x = torch.randn(3)
    torch.testing.assert_close(run(short, x)[2], x.exp() * x.exp(), rtol=0, atol=0)


@pytest.mark.parametrize(("a", "b"), [(0.0, -0.0), (1, 1.0), (1, True)])
def test_numbers_that_are_only_equal_are_kept_apart(a, b):
    made, _ = graph((aten.mul.Tensor, [0], a), (aten.mul.Tensor, [0], b))
    x = torch.tensor([3])
    expected = run(made, x)
    found = run(shortened(made, {}, {}), x)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert (torch.signbit(one) == torch.signbit(other)).all()


def test_noise_is_never_merged():
    made, _ = graph((aten.rand_like.default, [0]), (aten.rand_like.default, [0]))
    one, other = run(shortened(made, {}, {}), torch.zeros(8))
    assert not torch.equal(one, other)


def test_what_is_known_is_a_constant():
    made, nodes = graph((aten.ones_like.default, [0]), (aten.add.Tensor, [0], [1]))
    assert is_settled(nodes[1].target, [nodes[0]], {})
    assert not is_settled(nodes[2].target, [nodes[0], nodes[1]], {nodes[1]: None})
    constants: dict[str, torch.Tensor] = {}
    short = shortened(made, {nodes[1]: torch.ones(2)}, constants)
    assert len(constants) == 1
    assert sum(n.op == "call_function" for n in short.nodes) == 1
    torch.testing.assert_close(
        run(short, torch.tensor([1.0, 2.0]), constants)[1], torch.tensor([2.0, 3.0])
    )


def test_large_tensors_and_noise_are_not_kept():
    assert is_small(torch.zeros(10))
    assert not is_small(torch.zeros(10_000))
    _, nodes = graph((aten.rand_like.default, [0]))
    assert not is_settled(nodes[1].target, [], {})
