"""Metrics of PyTorch as torchmetrics writes them: checks, counts of rows, metric objects."""

from __future__ import annotations

import copy

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another framework here", allow_module_level=True)

import torch

import bevel
from bevel.losses import MetricLoss
from tests import torch_helpers


def drawn(*shape: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape or (24,), generator=generator)


def truths(n: int = 24):
    return (drawn(n, seed=1) > 0.5).long()


def gradient(fn, *args, **options):
    """The gradient to the last argument, and the relaxed value."""
    *rest, p = args
    p = p.clone().requires_grad_()
    value = bevel.relax(fn, **options)(*rest, p)
    return torch.autograd.grad(value, p)[0], value.detach()


def descended(fn, y, p, steps=150, maximize=True):
    """The hard value after Adam on the relaxed one."""
    z = torch.logit(p).requires_grad_()
    adam, relaxed = torch.optim.Adam([z], lr=0.1), bevel.relax(fn)
    for _ in range(steps):
        adam.zero_grad()
        value = relaxed(y, torch.sigmoid(z))
        (-value if maximize else value).backward()
        adam.step()
    return float(fn(y, torch.sigmoid(z).detach()))


def recall(y, p):
    if not torch.all((p >= 0) * (p <= 1)):
        p = torch.sigmoid(p)
    return ((p > 0.5) & (y == 1)).sum() / (y == 1).sum()


def test_a_check_that_a_batch_passes_does_not_blend_in_the_other_side():
    y, p = truths(64), drawn(64)

    def plain(y, p):
        return ((p > 0.5) & (y == 1)).sum() / (y == 1).sum()

    found, plainly = (gradient(fn, y, p) for fn in (recall, plain))
    torch.testing.assert_close(found, plainly)
    assert descended(recall, y, p) == 1.0


def test_a_check_that_fails_takes_the_other_side_softly():
    def fn(y, x):
        return torch.where(torch.tensor(True), y, y).sum() + (0.0 if x.sum() > 9 else (x**2).sum())

    x = torch.tensor([1.0, 2.0])
    assert torch.any(gradient(fn, torch.zeros(2), x)[0] != 0)


def test_the_last_wrong_integer_is_not_forgotten():
    y, p = truths(64), drawn(64)

    def exact(y, p):
        hit = ((p > 0.5).long() == y)[:, None].sum(1)
        return (hit == 1).float().mean()

    near = torch.where(y == 1, 0.99, 0.01)
    near[0] = 1 - near[0]
    assert descended(exact, y, near) == 1.0
    assert descended(exact, y, p) == 1.0


def test_bits_of_codes_are_chances_of_both():
    y = torch.nn.functional.one_hot(torch.tensor([0, 2, 1]), 3)

    def overlap(y, logits):
        code = torch.nn.functional.one_hot(logits.argmax(1), 3).movedim(-1, 1).movedim(1, -1)
        return (code & y).sum() / (code | y).sum()

    found, _ = gradient(overlap, y, torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))
    assert torch.all(torch.isfinite(found))
    assert torch.any(found != 0)


def test_a_text_of_a_position_is_no_way_out():
    def fn(y, p):
        rates = torch.stack([(p[y == 0] > 0.5).float().mean(), (p[y == 1] > 0.5).float().mean()])
        low, high = torch.argmin(rates), torch.argmax(rates)
        return {f"{low}_{high}": rates[low] / rates[high]}

    y, p = truths(), drawn().requires_grad_()
    (value,) = bevel.relax(fn)(y, p).values()
    value.backward()
    assert torch.any(p.grad != 0)


def test_running_sums_count_truths():
    def fn(y, p):
        return torch.cumsum(p > 0.5, 0).float().mean()

    found, value = gradient(fn, truths(), drawn())
    hard = fn(None, drawn())
    assert torch.all(found > 0)
    torch.testing.assert_close(
        bevel.relax(fn, temperature=1e-6)(truths(), drawn()), hard, atol=1e-4, rtol=1e-4
    )
    assert torch.isfinite(value)


def precision_of_picked(y, p):
    """Average precision: the rank of each hit among the hits, over its place."""
    hits = y[p.topk(len(y)).indices]
    places = torch.arange(1, len(hits) + 1, dtype=torch.float32)[hits > 0]
    return ((torch_helpers.numbered(places) + 1) / places).mean()


def test_the_number_of_picked_rows_and_a_number_for_each_from_another_module():
    y, p = truths(), drawn()
    soft = bevel.relax(precision_of_picked, temperature=1e-4)(y, p)
    torch.testing.assert_close(soft, precision_of_picked(y, p), atol=1e-2, rtol=1e-2)
    assert descended(precision_of_picked, y, p) == 1.0


def test_bins_of_picked_rows():
    def counts(y, p):
        code = 2 * y + (p > 0.5).long()
        return torch.bincount(code[code >= 0], minlength=4)[3].float()

    assert torch.all(gradient(counts, truths(), drawn())[0][truths() == 1] > 0)
    exact = bevel.relax(counts, temperature=1e-6)(truths(), drawn())
    torch.testing.assert_close(exact, counts(truths(), drawn()), atol=1e-3, rtol=1e-3)


def best_admissible(y, p):
    """The largest hit rate among the thresholds that let few misses pass."""
    passed = p > torch.linspace(0.1, 0.9, 9)[:, None]
    hits = (passed & (y == 1)).sum(1) / (y == 1).sum()
    misses = (passed & (y == 0)).sum(1) / (y == 0).sum()
    admissible = misses <= 0.2
    if not admissible.any():
        return hits.sum() * 0
    hits = hits[admissible]
    return hits[torch.argmax(hits)]


def largest_admissible(y, p):
    passed = p > torch.linspace(0.1, 0.9, 9)[:, None]
    hits = (passed & (y == 1)).sum(1) / (y == 1).sum()
    misses = (passed & (y == 0)).sum(1) / (y == 0).sum()
    return hits[misses <= 0.2].max()


@pytest.mark.parametrize("fn", [best_admissible, largest_admissible])
def test_the_largest_of_picked_rows(fn):
    y, p = truths(), drawn()
    assert torch.any(gradient(fn, y, p)[0] != 0)
    assert descended(fn, y, p) == 1.0


def test_how_many_rows_a_hard_mask_leaves_is_known():
    def fn(y, p):
        p = p[y == 1]
        return torch.tensor(0.0) if len(p) == 0 else (p > 0.5).float().mean()

    assert torch.any(gradient(fn, truths(), drawn())[0] != 0)


class Share(torch.nn.Module):
    """The share of hits over all batches: the protocol of torchmetrics in a few lines."""

    higher_is_better = True

    def __init__(self):
        super().__init__()
        self.reset()

    def reset(self):
        self.right, self.total, self.seen = torch.tensor(0.0), 0, []

    def update(self, preds, target):
        if preds.shape != target.shape:
            raise ValueError("preds and target differ in shape")
        with torch.no_grad():
            self.seen.append(preds)
            self.right += ((preds > 0.5).long() == target).float().sum()
            self.total += len(target)

    def compute(self):
        return self.right / self.total


class Called(Share):
    """The same with a `forward`, as torchmetrics has it."""

    def forward(self, *args, **kwargs):
        self.reset()
        self.update(*args, **kwargs)
        return self.compute()


@pytest.mark.parametrize("kind", [Share, Called])
def test_a_metric_object_is_its_value_of_one_batch_and_is_not_changed(kind):
    y, p = truths(), drawn()
    metric = kind()
    metric.update(p, 1 - y)
    before = copy.deepcopy(metric.__dict__)
    fresh = kind()
    fresh.update(p, y)
    hard = bevel.relax(metric, temperature=0)(p, y)
    torch.testing.assert_close(hard, fresh.compute())
    q = p.clone().requires_grad_()
    bevel.relax(metric)(q, y).backward()
    assert torch.all(torch.sign(q.grad) == 2 * y - 1)
    assert bevel.audit(metric, p, y).verdict == "blocked"
    with pytest.raises(bevel.errors.BevelError, match="differ in shape"):
        bevel.relax(metric)(q, y[:3])
    assert metric.total == before["total"]
    torch.testing.assert_close(metric.right, before["right"])
    assert len(metric.seen) == 1


def test_a_state_within_a_graph_is_no_obstacle():
    y, p = truths(), drawn().requires_grad_()
    metric = Share()
    metric.right = (2 * p).sum()
    bevel.relax(metric)(p, y).backward()
    assert torch.any(p.grad != 0)


def test_metric_loss_knows_the_order_and_the_direction_of_a_metric_object():
    y, p = truths(), drawn()
    loss = MetricLoss(Share())
    assert loss.maximize
    q = p.clone().requires_grad_()
    value = loss(y, q)
    value.backward()
    torch.testing.assert_close(value, -bevel.relax(Share())(p, y))
    assert torch.all(torch.sign(q.grad) == 1 - 2 * y)


def test_objects_of_torchmetrics_itself():
    classification = pytest.importorskip("torchmetrics.classification")
    y, p = truths(), drawn()
    for kind in (classification.BinaryF1Score, classification.BinaryAUROC):
        metric = kind()
        metric.update(p, 1 - y)
        kept = copy.deepcopy(metric.metric_state)
        q = p.clone().requires_grad_()
        bevel.relax(metric)(q, y).backward()
        assert torch.all(torch.isfinite(q.grad))
        assert torch.any(q.grad != 0)
        torch.testing.assert_close(metric.metric_state, kept)
        torch.testing.assert_close(bevel.relax(metric, temperature=0)(p, y), kind()(p, y))
