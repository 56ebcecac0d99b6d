"""Relaxed functions and losses under PyTorch's transforms: torch.func, autocast, torch.compile."""

from __future__ import annotations

import shutil

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another framework here", allow_module_level=True)

import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, hessian, jacrev, jvp, vmap

import bevel
from bevel.frontends.torch import replay
from bevel.losses import AUC, Dice, MetricLoss

torch.set_num_threads(1)

# What PyTorch says of itself: of code that it uses, and of rules that it has not yet.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.script"),
    pytest.mark.filterwarnings("ignore:There is a performance drop because we have not yet"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]

LABELS = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0])
CHANCES = torch.tensor([0.2, 0.7, 0.6, 0.1, 0.45])


def f1(y_true, y_pred):
    hit = (y_pred > 0.5).float()
    both = torch.sum(hit * y_true)
    return 2 * both / (torch.sum(hit) + torch.sum(y_true))


def choice(y_true, y_pred):
    return torch.where(y_pred > 0.5, y_true * y_pred.exp(), 0.1).mean()


RELAXED = bevel.relax(f1)
CHOICE = bevel.relax(choice)
RECALL = MetricLoss(keras.metrics.Recall())
FUNCTIONS = {
    "relaxed": lambda q: RELAXED(LABELS, q),
    "choice": lambda q: CHOICE(LABELS, q),
    "auc": lambda q: AUC()(LABELS, q),
    "dice": lambda q: Dice()(LABELS[None], q[None]),
    "comparison": lambda q: bevel.ops.greater(q, 0.5).sum(),
    "rank": lambda q: (bevel.ops.rank(q) * q).sum(),
    "metric": lambda q: RECALL(LABELS, q),
    "sort": lambda q: (bevel.ops.sort(q) * LABELS).sum(),
}


def of_autograd(fn, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(fn(x), x)[0]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_grad_of_torch_func(name):
    fn = FUNCTIONS[name]
    torch.testing.assert_close(grad(fn)(CHANCES), of_autograd(fn, CHANCES))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_derivatives(name):
    fn = FUNCTIONS[name]
    expected = torch.autograd.functional.hessian(fn, CHANCES)
    torch.testing.assert_close(jacrev(jacrev(fn))(CHANCES), expected)


def test_only_a_missing_number_has_a_missing_gradient_where_a_program_chooses():
    x = torch.tensor([1.0, 200.0, float("nan")])
    fn = bevel.relax(lambda q: torch.where(q > 20, q, torch.log(1 + q.exp())))
    found = of_autograd(lambda q: fn(q)[:2].sum(), x)
    assert found[0] > 0.5
    assert found[1] == 1
    assert of_autograd(lambda q: fn(q).sum(), x).isnan().tolist()[2]


def test_what_is_filled_in_only_if_it_is_valid_is_divided():
    def fn(q):
        mean = torch.zeros(1) + q.mean(0)
        spread = ((q - q.mean(0)) ** 2).sum(0).reshape(1)
        found, is_valid = torch.full_like(spread, float("nan")), spread > 1e-4
        if is_valid.any():
            found[is_valid] = spread[is_valid].sqrt()
        return (found / (mean - 0.3) ** 2).sum()

    relaxed = bevel.relax(fn, temperature=1e-3)
    torch.testing.assert_close(of_autograd(relaxed, CHANCES), of_autograd(fn, CHANCES))


@pytest.mark.parametrize("name", ["relaxed", "comparison", "choice"])
def test_forward_mode(name):
    fn = FUNCTIONS[name]
    _, slope = jvp(fn, (CHANCES,), (torch.ones(5),))
    torch.testing.assert_close(slope, of_autograd(fn, CHANCES).sum())
    expected = torch.autograd.functional.hessian(fn, CHANCES)
    torch.testing.assert_close(hessian(fn)(CHANCES), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["relaxed", "auc", "dice", "comparison"])
def test_vmap(name):
    fn, rows = FUNCTIONS[name], torch.stack([CHANCES, CHANCES.flip(0)])
    torch.testing.assert_close(vmap(fn)(rows), torch.stack([fn(r) for r in rows]))
    expected = torch.stack([of_autograd(fn, r) for r in rows])
    torch.testing.assert_close(vmap(grad(fn))(rows), expected)


@pytest.mark.parametrize("kernel", ["algebraic", "logistic"])
def test_derivatives_against_differences(kernel):
    x = torch.tensor([0.1, 0.4, 0.9], dtype=torch.float64, requires_grad=True)

    def step(u):
        return bevel.ops.step(u - 0.5, kernel=kernel)

    assert gradcheck(step, x)
    assert gradgradcheck(step, x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "loss", [MetricLoss(keras.metrics.Recall()), AUC(), RELAXED], ids=["metric", "auc", "relaxed"]
)
def test_autocast(loss, dtype):
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 1)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=dtype):
        p = torch.sigmoid(layer(x)).reshape(-1)
        assert p.dtype == dtype
        value = loss(LABELS, p)
    value.float().backward()
    assert torch.isfinite(value.detach())
    assert torch.isfinite(layer.weight.grad).all()
    assert layer.weight.grad.abs().sum() > 0
    exact = loss(LABELS, torch.sigmoid(x @ layer.weight.detach().T + layer.bias.detach())[:, 0])
    torch.testing.assert_close(value.detach().float(), exact.detach(), rtol=0.1, atol=0.02)


def test_compiled_code_may_call_a_relaxed_function():
    def loss(y, z):
        return RELAXED(y, torch.sigmoid(4 * z))

    compiled = torch.compile(loss, backend="eager")
    torch.testing.assert_close(
        of_autograd(lambda z: compiled(LABELS, z), CHANCES),
        of_autograd(lambda z: loss(LABELS, z), CHANCES),
    )


@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch's compiler needs one of C++")
def test_the_compiler_takes_what_was_written_down(monkeypatch):
    import torch._inductor as inductor

    given, plain = [], inductor.compile
    monkeypatch.setattr(inductor, "compile", lambda *args: given.append(args) or plain(*args))
    soft = bevel.relax(f1)
    compiled = torch.compile(soft)
    for _ in range(3):  # written down in the second, compiled and run from there on
        found = of_autograd(lambda p: compiled(LABELS, p), CHANCES)
    torch.testing.assert_close(found, of_autograd(lambda p: soft(LABELS, p), CHANCES))
    assert len(given) == 1


def test_where_the_compiler_fails_the_graph_runs_as_it_is(monkeypatch):
    def fails(*_):
        raise RuntimeError("no C++ compiler\nat all")

    monkeypatch.setattr("torch._inductor.compile", fails)
    soft = bevel.relax(f1)
    expected = of_autograd(lambda p: soft(LABELS, p), CHANCES)
    of_autograd(lambda p: soft(LABELS, p), CHANCES)
    with (
        replay.compiled_replays(),
        pytest.warns(UserWarning, match="uncompiled: no C.. compiler$"),
    ):
        found = of_autograd(lambda p: soft(LABELS, p), CHANCES)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
