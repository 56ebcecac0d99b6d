"""PyTorch's own losses of soft values, against the hard ones as the temperature falls."""

from __future__ import annotations

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another framework here", allow_module_level=True)

import torch
import torch.nn.functional as F

import bevel

G = torch.Generator().manual_seed(0)
LOGITS = torch.randn(12, 5, generator=G)
CLASSES = torch.randint(0, 5, (12,), generator=G)
SHARES = torch.rand(5, generator=G)
IMAGES = torch.randn(2, 3, 4, 4, generator=G)


def label(z):
    return z.argmax(1).float()


def numbers(y):
    return y.float()


LOSSES = {
    "mse": lambda y, z: F.mse_loss(label(z), numbers(y)),
    "smooth l1": lambda y, z: F.smooth_l1_loss(label(z), numbers(y), beta=0.5),
    "huber": lambda y, z: F.huber_loss(label(z), numbers(y), delta=2.0),
    "sum": lambda y, z: F.smooth_l1_loss(label(z), numbers(y), reduction="sum"),
    "none": lambda y, z: F.huber_loss(label(z), numbers(y), reduction="none").max(),
    "soft margin": lambda y, z: F.soft_margin_loss(label(z), numbers(y)),
    "cross-entropy of truths": lambda y, z: F.binary_cross_entropy(label(z) / 5, numbers(y) / 5),
    "weight that is soft": lambda y, z: F.binary_cross_entropy(
        torch.sigmoid(z[:, 0]), (y > 2).float(), weight=(z[:, 1] > 0).float() + 0.5
    ),
    "logits": lambda y, z: F.binary_cross_entropy_with_logits(
        label(z), numbers(y) / 5, pos_weight=torch.tensor(3.0)
    ),
    "label that is soft": lambda y, z: F.cross_entropy(z, z.argmax(1)),
    "classes that weigh": lambda y, z: F.cross_entropy(z, z.argmax(1), weight=SHARES),
    "smoothed label": lambda y, z: F.cross_entropy(z, z.argmax(1), label_smoothing=0.1),
    "sum over labels": lambda y, z: F.cross_entropy(z, z.argmax(1), reduction="sum"),
    "one row": lambda y, z: F.cross_entropy(z[0], z[1].argmax(0)),
    "ignored": lambda y, z: F.nll_loss(
        (z > 0).float(), torch.where(y > 3, -100, y), reduction="none"
    ).sum(),
    "several labels": lambda y, z: F.multilabel_soft_margin_loss((z > 0).float(), (z < 1).float()),
    "picked pairs": lambda y, z: F.mse_loss(z[:, 0][z[:, 0] > 0], numbers(y)[z[:, 0] > 0]),
    "size of the picked": lambda y, z: z[:, 0][z[:, 0] > 0].norm(),
    "size of each picked": lambda y, z: z[z[:, 0] > 0].norm(dim=1).mean(),
    "shares among the picked": lambda y, z: torch.dot(
        torch.softmax(z[:, 0][z[:, 0] > 0], 0), numbers(y)[z[:, 0] > 0]
    ),
    "confident rows": lambda y, z: F.cross_entropy(
        z[z.softmax(1).amax(1) > 0.4], y[z.softmax(1).amax(1) > 0.4]
    ),
    "distances of the picked": lambda y, z: torch.cdist(z[z[:, 0] > 0], z[:3]).min(1)[0].mean(),
    "nucleus": lambda y, z: F.softmax(
        z.masked_fill(
            torch.zeros_like(z, dtype=torch.bool).scatter(
                1, z.argsort(1), z.sort(1)[0].softmax(1).cumsum(1) < 0.3
            ),
            -torch.inf,
        ),
        1,
    )[:, 2].mean(),
    "nanmean": lambda y, z: torch.nanmean(torch.where(z > 0, z.detach(), torch.nan)),
    "padded": lambda y, z: (F.pad(label(z), (1, 2), value=3.0) ** 2).sum(),
    "padded choice": lambda y, z: (
        (F.pad(torch.where(z[:, 0] > 0, 2.0, -1.0), (1, 2), value=5.0) - 0.3) ** 2
    ).sum(),
    "padded bits": lambda y, z: (
        (F.pad((z[:, 0] > 0).long() * 2, (1, 1), value=3) ^ 1) * torch.arange(14.0)
    ).sum(),
    "bins": lambda y, z: ((torch.histc(label(z), 5, 0, 5) - 2) ** 2).sum(),
    "bins that drop": lambda y, z: ((torch.histc(torch.round(z[:, 0]), 2, -1, 1) - 2) ** 2).sum(),
    "bins of what moves": lambda y, z: ((torch.histc(z[:, 0], 3, -0.5, 1) - 2) ** 2).sum(),
    "bins of ends": lambda y, z: ((torch.histc(z[:, 0], 3) - 2) ** 2 * torch.arange(3)).sum(),
    "bins of what is at an end": lambda y, z: (
        (torch.histc(torch.clamp(z[:, 0], -0.4, 0.4), 4, -0.4, 0.4) - 1) ** 2
    ).sum(),
    "for each rounded number": lambda y, z: sum(
        ((torch.round(z) == c) & (y[:, None] == c)).float().mean() for c in torch.round(z).unique()
    ),
    "records": lambda y, z: ((z >= torch.cummax(z, 0).values) * y[:, None]).float().mean(),
    "for each class": lambda y, z: torch.stack(
        [
            ((label(z) == c) & (y == c)).sum() / y.eq(c).sum().clamp(1)
            for c in torch.unique(torch.cat([y, z.argmax(1)]))
        ]
    ).mean(),
    "for each number": lambda y, z: sum(
        (n + 1) * ((z.argmax(1) == c) & (y != c)).float().mean()
        for n, c in enumerate(sorted(z.argmax(1).unique().tolist()))
    ),
    "edges": lambda y, z: (torch.bucketize(label(z), torch.arange(4.0)) ** 2.0).sum(),
}


def assert_alike(fn, y, z):
    z = z.clone().requires_grad_()
    hard = fn(y, z).detach()
    value = bevel.relax(fn, wrt=1)(y, z)
    (slope,) = torch.autograd.grad(value, z)
    assert value.shape == hard.shape
    assert torch.all(torch.isfinite(slope))
    assert torch.any(slope != 0)
    cold = bevel.relax(fn, wrt=1, temperature=1e-5)(y, z).detach()
    torch.testing.assert_close(cold, hard, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_of_soft_values_tends_to_the_hard_one(name):
    assert_alike(LOSSES[name], CLASSES, LOGITS)


def test_labels_of_pixels():
    assert_alike(lambda y, z: F.cross_entropy(z, z.argmax(1)), None, IMAGES)


def test_ordinary_labels_give_the_gradient_they_gave():
    def fn(y, z):
        return F.cross_entropy(z, y) + F.mse_loss(z[:, 0], z[:, 1])

    z = LOGITS.clone().requires_grad_()
    expected = torch.autograd.grad(fn(CLASSES, z), z)[0]
    found = torch.autograd.grad(bevel.relax(fn, wrt=1)(CLASSES, z), z)[0]
    torch.testing.assert_close(found, expected)
    assert bevel.audit(fn, CLASSES, LOGITS, wrt=1).verdict == "trains"
