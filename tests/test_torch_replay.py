"""What is written down of a relaxed function gives the numbers that its interpretation gives."""

from __future__ import annotations

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another framework here", allow_module_level=True)

import torch

import bevel
from bevel.frontends.torch import replay
from tests.torch_losses import LOSSES

torch.set_num_threads(1)


def f1(y_true, y_pred):
    hit = (y_pred > 0.5).float()
    return 2 * (hit * y_true).sum() / (hit.sum() + y_true.sum())


def spearman(y_true, y_pred):
    a, b = (v.argsort().argsort().float() for v in (y_true, y_pred))
    return ((a - a.mean()) * (b - b.mean())).mean() / (a.std() * b.std())


def recall_at_3(y_true, y_pred):
    return y_true[y_pred.topk(3).indices].sum() / y_true.sum()


def of_positives(y_true, y_pred):
    return torch.where(y_true == 1, (y_pred > 0.5).float(), 0.1 * (y_pred > 0.3)).mean()


def of_rows(y_true, y_pred):
    return (y_true == (y_pred > 0.5)).float()


def of_flat(y_true, y_pred):
    return f1(y_true.reshape(-1), y_pred.reshape(-1))


def accuracy(y_true, y_pred):
    classes = torch.stack([y_pred, 0.8 - y_pred, y_pred * y_pred], 1)
    return (classes.argmax(1) == y_true.long()).float().mean()


USUAL = [accuracy, f1, spearman, recall_at_3, of_positives]


def data(seed, n=8):
    torch.manual_seed(seed)
    y = (torch.rand(n) > 0.5).float()
    y[:2] = torch.tensor([0.0, 1.0])
    return y, torch.rand(n)


def with_gradient(fn, y, p):
    p = p.detach().clone().requires_grad_()
    value = fn(y, p)
    return value.detach(), torch.autograd.grad(value.sum(), p)[0]


def written_down(relaxed):
    """What is known by shapes, of the one program that there is."""
    ((_, made),) = relaxed._made.values()
    return made._known


def interpreted(relaxed):
    ((plain, _),) = relaxed._made.values()
    return plain


@pytest.mark.parametrize("fn", USUAL)
def test_the_same_numbers_to_the_last_bit(fn):
    relaxed = bevel.relax(fn)
    for seed in range(4):
        y, p = data(seed)
        found, expected = (with_gradient(f, y, p) for f in (relaxed, interpreted_after(relaxed)))
        assert torch.equal(found[0], expected[0]), seed
        assert torch.equal(found[1], expected[1]), seed
    (known,) = written_down(relaxed).values()
    assert isinstance(known, replay._Recorded)


def interpreted_after(relaxed):
    """The interpretation, which is made in the first call."""
    return lambda y, p: interpreted(relaxed)(y, p)


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.descends])
def test_every_loss_is_the_same_when_it_is_called_again(name):
    loss = LOSSES[name]
    again = bevel.relax(loss.fn)
    for seed in range(4):
        y, p = map(torch.as_tensor, loss.make(seed))
        expected, found = with_gradient(bevel.relax(loss.fn), y, p), with_gradient(again, y, p)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def test_truths_that_agree_for_once_are_seen():
    relaxed = bevel.relax(of_positives)
    y, p = data(0)
    for labels in (y, y, torch.ones_like(y), torch.zeros_like(y), y):
        found = with_gradient(relaxed, labels, p)
        for a, b in zip(found, with_gradient(interpreted(relaxed), labels, p), strict=True):
            assert torch.equal(a, b)


def test_a_value_for_each_row_is_interpreted():
    relaxed = bevel.relax(of_rows)
    for _ in range(3):
        assert with_gradient(relaxed, *data(0))[0].shape == (8,)
    assert list(written_down(relaxed).values()) == [False]


def test_no_gradient_is_lost_to_what_is_no_argument():
    weight = torch.tensor(2.0, requires_grad=True)
    relaxed = bevel.relax(lambda y_true, y_pred: (weight * f1(y_true, y_pred)).sum())
    y, p = data(0)
    for _ in range(3):
        value = relaxed(y, p.clone().requires_grad_())
        assert torch.autograd.grad(value, weight)[0] == pytest.approx(float(value.detach()) / 2)


def test_a_captured_tensor_may_change_in_place():
    weight = torch.tensor(2.0)
    relaxed = bevel.relax(lambda y_true, y_pred: weight * f1(y_true, y_pred))
    y, p = data(0)
    values = []
    for scale in (2.0, 2.0, 2.0, 4.0):
        weight.fill_(scale)
        values.append(float(with_gradient(relaxed, y, p)[0]))
    assert values[3] == pytest.approx(2 * values[2])
    assert all(written_down(relaxed).values())


def test_the_ways_through_a_function_are_written_down():
    def profit(y_true, y_pred):
        total = torch.zeros(())
        for n in range(len(y_pred)):
            if y_pred[n].item() > 0.5:
                total = total + y_true[n]
        return total

    relaxed = bevel.relax(profit)
    y, p = data(0)
    for _ in range(3):
        found = with_gradient(relaxed, y, p)
        for a, b in zip(found, with_gradient(bevel.relax(profit), y, p), strict=True):
            assert torch.equal(a, b)
    ((_, (_, made)),) = relaxed._ways
    (known,) = made._known.values()
    assert isinstance(known, replay._Recorded)


def test_noise_is_drawn_anew():
    def noisy(y_true, y_pred):
        return f1(y_true, y_pred + 0.1 * torch.randn_like(y_pred))

    relaxed = bevel.relax(noisy)
    y, p = data(0)
    assert len({float(with_gradient(relaxed, y, p)[0]) for _ in range(5)}) == 5


def test_a_gradient_is_differentiated_again():
    relaxed = bevel.relax(f1)
    y, p = data(0)

    def twice(fn):
        q = p.clone().requires_grad_()
        (slope,) = torch.autograd.grad(fn(y, q), q, create_graph=True)
        return torch.autograd.grad((slope * slope).sum(), q)[0]

    for _ in range(3):
        torch.testing.assert_close(twice(relaxed), twice(interpreted_after(relaxed)))


def test_tensors_of_any_layout():
    relaxed = bevel.relax(of_flat)
    y, p = (torch.rand(6, 6) > 0.5).float(), torch.rand(6, 6)
    for _ in range(3):
        for labels, chances in ((y, p), (y.T, p.T), (y[::2], p[::2]), (y[:3], p[:3])):
            q = chances.detach().requires_grad_()
            value = relaxed(labels, q)
            expected = with_gradient(
                bevel.relax(of_flat), labels.contiguous(), chances.contiguous()
            )
            torch.testing.assert_close(value.detach(), expected[0])
            torch.testing.assert_close(torch.autograd.grad(value, q)[0], expected[1])


def test_few_shapes_are_remembered():
    relaxed = bevel.relax(f1)
    for n in range(4, 24):
        for _ in range(2):
            with_gradient(relaxed, *data(0, n))
    sizes = [len(made._known) for _, made in relaxed._made.values()]
    assert max(sizes) <= 8


def test_without_a_gradient_and_under_autocast_nothing_is_written_down():
    relaxed = bevel.relax(f1)
    y, p = data(0)
    for _ in range(3):
        relaxed(y, p)
        with torch.no_grad():
            relaxed(y, p.clone().requires_grad_())
        with torch.autocast("cpu", torch.bfloat16):
            with_gradient(relaxed, y, p)
    assert not written_down(relaxed)
