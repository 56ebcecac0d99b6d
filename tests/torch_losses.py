"""Losses and metrics in eager PyTorch as people write them, for the tests of its front end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Loss:
    """A function with inputs, and what an audit must say of it.

    Attributes:
        fn: The function.
        make: Draws labels and predictions.
        verdict: The audit's verdict.
        named: What the findings must name: `native_op`s, any of them; empty for none.
        line: A piece of the line that a finding must point at.
        maximize: Whether larger is better.
        descends: The share of the way to `best` that descent must cover, or None for no descent.
        best: The best value, by default that of the labels as the prediction.
    """

    fn: Callable[..., Any]
    make: Callable[[int], tuple[np.ndarray, np.ndarray]]
    verdict: str = "blocked"
    named: tuple[str, ...] = ()
    line: str = ""
    maximize: bool = False
    descends: float | None = 0.99
    best: float | None = None


LOSSES: dict[str, Loss] = {}


def loss(make: Callable[[int], tuple[np.ndarray, np.ndarray]], *named: str, **more: Any) -> Any:
    def register(fn: Callable[..., Any]) -> Callable[..., Any]:
        LOSSES[fn.__name__] = Loss(fn, make, named=named, **more)
        return fn

    return register


def binary(seed: int, n: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.5).astype("float32")
    y[:2] = 0, 1
    return y, rng.uniform(0.1, 0.9, n).astype("float32")


def led(seed: int, n: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """The highest one is positive."""
    y, p = binary(seed, n)
    p[1] = 0.95
    return y, p


def classes(seed: int, n: int = 9, c: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, c)).astype("float32")
    return (np.arange(n) % c).astype("int64"), logits


def returns(seed: int, n: int = 10) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=n).astype("float32"), rng.normal(size=n).astype("float32")


def graded(seed: int, n: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 4).astype("float32")
    return y, rng.normal(size=n).astype("float32")


def lists(seed: int, rows: int = 3, n: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = (rng.random((rows, n)) < 0.4).astype("float32")
    y[:, 0] = 1
    return y, rng.normal(size=(rows, n)).astype("float32")


def positive(seed: int, n: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0.5, 6, n).astype("float32"), rng.uniform(0.5, 6, n).astype("float32")


@loss(binary, "aten::gt", line="> 0.5", maximize=True)
def f1_by_cast(y, p):
    hard = (p > 0.5).float()
    tp = (hard * y).sum()
    fp = (hard * (1 - y)).sum()
    fn = ((1 - hard) * y).sum()
    return 2 * tp / (2 * tp + fp + fn + 1e-7)


@loss(classes, "aten::argmax", line="argmax", maximize=True, best=1.0)
def accuracy_by_argmax(y, logits):
    return (logits.argmax(dim=1) == y).float().mean()


@loss(classes, "aten::max", line="torch.max", maximize=True, best=1.0)
def accuracy_by_max(y, logits):
    _, predicted = torch.max(logits, 1)
    correct = (predicted == y).sum().item()
    return torch.tensor(100.0 * correct / y.size(0), requires_grad=True) / 100


@loss(binary, "aten::round", line="round", maximize=True)
def accuracy_by_round(y, p):
    return torch.round(p).eq(y).sum().float() / len(y)


@loss(positive, "aten::_to_copy", line=".long()", descends=0.9)
def error_of_integers(y, p):
    return (p.long() - y.long()).abs().float().mean()


@loss(lists, "aten::topk", line="topk", maximize=True)
def recall_at_k(y, scores):
    _, top = torch.topk(scores, 3, dim=1)
    picked = torch.zeros_like(scores)
    picked.scatter_(1, top, 1.0)
    return ((picked * y).sum(1) / y.sum(1).clamp(min=1, max=3)).mean()


@loss(lists, "aten::topk", line="topk", maximize=True)
def hit_rate(y, scores):
    top = scores.topk(2).indices
    return y.gather(1, top).amax(dim=1).mean()


@loss(graded, "aten::sort", line="argsort", maximize=True, descends=0.98)
def ndcg(y, scores):
    order = torch.argsort(scores, descending=True)
    gains = torch.gather(2**y - 1, 0, order)
    discounts = torch.log2(torch.arange(len(y), dtype=torch.float32) + 2)
    discounts[len(y) :] = 1.0
    ideal = ((2 ** y.sort(descending=True).values - 1) / discounts).sum()
    return (gains / discounts).sum() / ideal


@loss(graded, "aten::sort", line="argsort", maximize=True)
def spearman(y, p):
    rank = p.argsort().argsort().float()
    target = y.argsort().argsort().float()
    rank, target = rank - rank.mean(), target - target.mean()
    return (rank * target).sum() / (rank.norm() * target.norm())


@loss(returns, "aten::lt", line="< 0", maximize=True, descends=0.85)
def masked_assignment(r, p):
    position = p.clone()
    position[p < 0] = 0
    position[p >= 0] = 1
    return (position * r).sum()


@loss(binary, "aten::gt", line="> 0.5")
def boolean_index(y, p):
    picked = y[p > 0.5]
    return 1 - picked.mean()


@loss(binary, verdict="trains", descends=0.9)
def boolean_index_by_label(y, p):
    return p[y == 0].mean() - p[y == 1].mean()


@loss(returns, "aten::gt", line="if p[i] > 0", maximize=True)
def profit_loop(r, p):
    profit = 0.0
    for i in range(len(p)):
        if p[i] > 0:
            profit = profit + r[i]
    return profit


@loss(returns, "aten::gt", "py:Tensor.item", line="> 0", maximize=True)
def profit_by_item(r, p):
    total = 0.0
    for i in range(len(p)):
        if p[i].item() > 0.1:
            total += r[i].item()
        elif p[i].item() < -0.1:
            total -= r[i].item()
    return torch.tensor(total, requires_grad=True)


@loss(binary, "aten::gt", "py:Tensor.item", line="if p[i]", maximize=True)
def python_counts(y, p):
    tp = fp = fn = 0
    for i in range(len(p)):
        guess = 1 if p[i].item() > 0.5 else 0
        if guess == 1 and y[i].item() == 1:
            tp += 1
        elif guess == 1:
            fp += 1
        elif y[i].item() == 1:
            fn += 1
    return torch.tensor(2 * tp / max(2 * tp + fp + fn, 1))


@loss(returns, "aten::detach", line="detach", descends=None)
def detached(y, p):
    return ((p.detach() - y) ** 2).mean()


@loss(returns, "aten::detach", line=".data", descends=None)
def by_data(y, p):
    return (p.data - y).abs().mean()


@loss(returns, "torch.no_grad", line="error = ", verdict="blocked", descends=None)
def without_grad(y, p):
    with torch.no_grad():
        error = (p - y) ** 2
    return error.mean()


@loss(returns, "torch.no_grad", line="weight = ", verdict="partial", descends=None)
def partly_without_grad(y, p):
    with torch.no_grad():
        weight = 1 + p**2
    return (weight + (y - p) ** 2).mean()


@loss(positive, "aten::round", line="round", descends=0.9)
def quantised(y, p):
    return ((torch.round(p * 2) / 2 - y) ** 2).mean()


@loss(positive, "aten::histc", line="torch.histc(p", descends=None)
def histogram_distance(y, p):
    return (torch.histc(p, 6, 0, 6) - torch.histc(y, 6, 0, 6)).abs().sum()


@loss(positive, "aten::bucketize", line="bucketize(p", descends=0.9)
def buckets(y, p):
    edges = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    return (torch.bucketize(p, edges) - torch.bucketize(y, edges)).abs().float().mean()


@loss(classes, "aten::argmax", line="argmax", maximize=True, best=1.0)
def confusion_matrix(y, logits):
    predicted = logits.argmax(1)
    table = torch.bincount(3 * y + predicted, minlength=9).reshape(3, 3).float()
    recall = table.diag() / table.sum(1).clamp(min=1)
    precision = table.diag() / table.sum(0).clamp(min=1)
    return (2 * recall * precision / (recall + precision + 1e-9)).mean()


@loss(classes, "aten::argmax", line="argmax", maximize=True, best=1.0)
def one_hot_dice(y, logits):
    predicted = F.one_hot(logits.argmax(1), 3).float()
    target = F.one_hot(y, 3).float()
    overlap = (predicted * target).sum(0)
    return (2 * overlap / (predicted.sum(0) + target.sum(0) + 1e-6)).mean()


@loss(returns, "aten::gt", line="> 0", descends=None)
def drawdown(r, p):
    equity = torch.cumsum((p > 0).float() * r, 0)
    peak = torch.cummax(equity, 0).values
    return (peak - equity).max()


@loss(returns, verdict="nonfinite", descends=None)
def where_trap(y, p):
    return torch.where(p > 0, torch.sqrt(p), torch.zeros_like(p)).sum()


@loss(returns, verdict="nonfinite", descends=None)
def square_root_at_zero(y, p):
    return torch.sqrt(((p - p.detach()) ** 2).sum())


@loss(returns, "aten::sign", line="sign(p)", maximize=True)
def direction(y, p):
    return (torch.sign(p) == torch.sign(y)).float().mean()


@loss(returns, verdict="trains", descends=None)
def median_error(y, p):
    return (p - y).abs().median()


@loss(returns, verdict="trains", descends=None)
def tail_quantile(y, p):
    return torch.quantile((p - y) ** 2, 0.75)


@loss(lists, "aten::gt", line="> 0", maximize=True)
def matrix_of_masks(y, p):
    hard = (p > 0).float()
    same = torch.einsum("ij,kj->ik", hard, y)
    return torch.diagonal(same).sum() / y.sum() - 0.5 * (hard * (1 - y)).sum() / y.sum()


@loss(returns, verdict="trains", descends=None)
def stacked_in_a_loop(y, p):
    terms = []
    for i in range(len(p)):
        terms.append((p[i] - y[i]) ** 2)
    return torch.stack(terms).mean()


@loss(returns, verdict="trains", descends=None)
def added_to_slices(y, p):
    total = torch.zeros(len(p) + 1)
    total[1:] += p
    total[:-1] -= y
    total[0] = 2.0
    return (total**2).mean()


@loss(binary, "aten::ge", line=">=", maximize=True)
def accuracy_with_checks(y, p):
    if p.shape != y.shape:
        raise ValueError("shapes")
    if p.min() < 0 or p.max() > 1:
        raise ValueError("probabilities expected")
    if not torch.all((y == 0) | (y == 1)):
        raise ValueError("labels must be 0 or 1")
    return ((p >= 0.5).int() == y.int()).float().mean()


@loss(classes, "aten::argmax", line="argmax", maximize=True, best=1.0)
def list_of_accuracies(y, logits):
    predicted = logits.argmax(-1)
    found = []
    for c in range(3):
        mask = y == c
        found.append((predicted[mask] == c).float().mean().item())
    return torch.tensor(found).mean()


@loss(binary, "py:Tensor.numpy", line=".numpy()", descends=None)
def by_numpy(y, p):
    wrong = np.abs((p.detach().numpy() > 0.5) - y.numpy())
    return torch.tensor(wrong.mean())


class Rounding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.round(x)

    @staticmethod
    def backward(ctx, *gradients):
        return gradients[0]


@loss(positive, verdict="trains", descends=0.8)
def straight_through(y, p):
    return ((Rounding.apply(p) - y) ** 2).mean()


class Weighted(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.tensor([1.0, 3.0]))

    def forward(self, y, p):
        hard = (p > 0.5).float()
        return (self.weight[y.long()] * (hard - y).abs()).mean()


@loss(binary, "aten::gt", line="> 0.5")
def module_with_buffer(y, p):
    return Weighted()(y, p)


@loss(binary, "aten::gt", line="> 0.5", maximize=True)
def iou_by_logic(y, p):
    a, b = p > 0.5, y.bool()
    return (a & b).sum() / (a | b).sum()


@loss(returns, verdict="flat", descends=None)
def saturated(y, p):
    return torch.clamp(p, 10, 20).mean()


@loss(returns, "aten::round", line="unique", descends=None)
def distinct(y, p):
    return torch.tensor(float(len(torch.unique((p * 3).round())))) / len(p)


@loss(classes, "aten::argmax", line="argmax", maximize=True, best=1.0)
def accuracy_by_size(y, logits):
    predicted = logits.argmax(1)
    hits = (predicted == y).nonzero().size(0)
    return torch.tensor(hits / y.numel())


@loss(binary, "aten::gt", line="> 0.5")
def share_by_len(y, p):
    picked = y[p > 0.5]
    return torch.tensor(1 - float(picked.sum()) / max(len(picked), 1))


@loss(binary, "aten::gt", line="> 0.5", maximize=True)
def precision_by_float(y, p):
    hard = p > 0.5
    tp = int((hard & (y == 1)).sum())
    fp = int((hard & (y == 0)).sum())
    return torch.tensor(float(tp) / float(tp + fp + 1e-9) + tp / float(y.sum()))


@loss(graded, "aten::argmax", line="argmax", maximize=True, best=3.0)
def gain_at_the_top(y, scores):
    return y[scores.argmax()]


@loss(graded, "aten::argmax", line="argmax", maximize=True, descends=None)
def position_by_loop(y, scores):
    order = []
    left = scores.clone()
    for _ in range(3):
        best = left.argmax()
        order.append(y[best])
        left[best] = -100.0
    return torch.stack(order).sum()


@loss(binary, "aten::gt", line="> 0.5", descends=None)
def masked_scale(y, p):
    weight = torch.ones_like(p)
    weight[p > 0.5] *= 2
    return (weight * (y - 0.5)).mean()


@loss(binary, "aten::gt", line="torch.where(p", maximize=True, descends=None)
def hits_by_where(y, p):
    found = torch.where(p > 0.5)[0]
    return y[found].sum() / y.sum()


@loss(classes, "aten::argmax", line="argmax", maximize=True, best=1.0)
def mean_iou_by_numpy(y, logits):
    predicted, found = logits.argmax(1), []
    for c in range(3):
        both = ((predicted == c) & (y == c)).sum().item()
        either = ((predicted == c) | (y == c)).sum().item()
        found.append(both / either if either > 0 else 1.0)
    return torch.tensor(np.mean(found))


@loss(classes, "aten::argmax", line="argmax", maximize=False, best=0.0, descends=0.8)
def table_filled_in_a_loop(y, logits):
    table = torch.zeros(3, 3)
    for t, q in zip(y, logits.argmax(1), strict=True):
        table[t, q] += 1
    return 1 - table.diag().sum() / table.sum()


@loss(returns, "aten::gt", "aten::lt", line="pos == ", descends=None)
def position_with_state(r, p):
    pos, profit = 0, 0.0
    for i in range(len(p)):
        if pos == 0 and p[i] > 0.2:
            pos = 1
        elif pos == 1 and p[i] < -0.2:
            pos = 0
        profit = profit + pos * r[i]
    return -profit


@loss(returns, "py:Tensor.item", line=".item()", descends=None)
def drawdown_by_item(y, p):
    peak, deepest = -1e9, 0.0
    for value in p.cumsum(0):
        peak = max(peak, value.item())
        deepest = max(deepest, peak - value.item())
    return torch.tensor(deepest)


@loss(returns, "py:Tensor.item", verdict="partial", line=".item()", descends=None)
def penalty_by_item(y, p):
    penalty = (p**2).mean().item()
    return ((p - y) ** 2).mean() + 0.5 * penalty


@loss(binary, "aten::ge", line=">= 0.5", maximize=True, descends=0.8)
def table_by_lists(y, p):
    table = torch.zeros(2, 2)
    for q, t in zip((p >= 0.5).long().tolist(), y.long().tolist(), strict=True):
        table[t][q] += 1
    return table.diag().sum() / table.sum()


@loss(classes, "py:Tensor.tolist", "aten::argmax", line="argmax", descends=None)
def only_through_python(y, logits):
    counts = torch.zeros(3)
    for q in {f"class {q}": q for q in logits.argmax(1).tolist()}.values():
        counts[int(f"{q}")] += 1
    return counts.sum()


@loss(returns, "aten::topk", line="topk", maximize=True, descends=None)
def filled_by_index(y, p):
    picked = torch.zeros_like(p).index_fill_(0, p.topk(3).indices, 1.0)
    return (picked * y).mean() + torch.take(y, p.argmax()).mean()


@loss(binary, "aten::gt", verdict="partial", line="p > 0.5", descends=None)
def weighted_entropy(y, p):
    weight = torch.ones_like(y)
    weight[(p > 0.5) & (y == 0)] = 3.0
    return torch.nn.functional.binary_cross_entropy(p, y, weight=weight)


@loss(classes, "aten::topk", line="topk", maximize=True, best=1.0)
def accuracy_without_grad(y, logits):
    with torch.no_grad():
        _, predicted = logits.topk(1, 1, True, True)
        correct = predicted.t().eq(y.view(1, -1).expand_as(predicted.t()))
        return correct[:1].reshape(-1).float().sum(0) / len(y)


@loss(binary, "aten::gt", line="> 0.5", maximize=True)
def accuracy_detached(y, p):
    correct = ((p > 0.5).float() == y).float().detach()
    return correct.mean()


@loss(binary, "aten::sort", line="argsort", maximize=True)
def area_under_a_curve_without_grad(y, p):
    if not torch.all((p >= 0) * (p <= 1)):
        p = p.sigmoid()
    with torch.no_grad():
        order = torch.argsort(p, descending=True)
        p, y = p[order], y[order]
        last = F.pad(torch.where(p[1:] - p[:-1])[0], [0, 1], value=len(y) - 1)
        hits = torch.cumsum(y, 0)[last]
        misses = 1 + last - hits
    return torch.trapz(hits / hits[-1], misses / misses[-1])


@loss(binary, verdict="trains", descends=None)
def pseudo_labels(y, p):
    with torch.no_grad():
        sure = (p > 0.3).float()
    return (sure * (p - y) ** 2).mean()


# descent does not get there yet: 0.75 stays 0.73
@loss(lists, "aten::sort", line="argsort", maximize=True, descends=None)
def first_hit_of_a_ranking(y, scores):
    total = 0
    for i in range(len(y)):
        ranked = y[i][scores[i].argsort(descending=True)]
        total += 1.0 / (torch.nonzero(ranked)[0].item() + 1)
    return torch.tensor(total / len(y))


@loss(returns, "py:torch.tensor", line="torch.tensor(", descends=0.9)
def tensor_of_losses(y, p):
    losses = [(p[i] - y[i]) ** 2 for i in range(len(p))]
    return torch.tensor(losses, requires_grad=True).mean()


@loss(returns, verdict="trains", descends=None)
def sorted_by_python(y, p):
    errors = [abs(a - b) for a, b in zip(p, y, strict=True)]
    return max(errors) + sorted(errors)[len(errors) // 2]


@loss(graded, "aten::sort", line="argsort", maximize=True, descends=0.95)
def spearman_of_mean_ranks(y, p):
    rank = torch.empty_like(p)
    rank[p.argsort()] = torch.arange(1.0, len(p) + 1)
    values, inverse, counts = torch.unique(p, return_inverse=True, return_counts=True)
    sums = torch.zeros_like(values).scatter_add_(0, inverse, rank)
    rank, target = (sums / counts)[inverse], y.argsort().argsort().float()
    rank, target = rank - rank.mean(), target - target.mean()
    return (rank * target).sum() / (rank.norm() * target.norm())


@loss(classes, "aten::argmax", line="scores.argmax(-1)", maximize=True, best=1.0)
def share_of_allowed_classes(y, scores):
    allowed = torch.tensor([0, 2])
    return torch.isin(scores.argmax(-1), allowed).float().mean()


@loss(returns, "aten::gt", line="p > 0", maximize=True, best=10.0, descends=None)
def sharpe_of_the_trades(y, p):
    taken = y[p > 0]
    return taken.mean() / (taken.std() + 1e-3)


@loss(binary, "aten::gt", line="> 0.5", verdict="partial", descends=0.9)
def median_error_of_the_confident(y, p):
    error = (y - p).abs()[p > 0.5]
    return error.median() if len(error) else error.sum()


@loss(led, "aten::sort", line="p.argsort", maximize=True, best=1.0)
def best_recall_at_precision(y, p):
    order = p.argsort(descending=True)
    hits = y[order].cumsum(0)
    precision, recall = hits / torch.arange(1, len(y) + 1), hits / y.sum()
    rows = torch.stack([recall, precision], dim=1)[precision >= 0.7]
    if len(rows) == 0:
        return recall[0] * 0
    return rows[rows[:, 0].argmax(), 0]


def sequences(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of three classes, 0 for padding, and their logits."""
    rng = np.random.default_rng(seed)
    y = np.array([[1, 2, 0], [2, 1, 1], [2, 0, 0], [1, 1, 2]])
    return y, rng.normal(size=(4, 3, 3)).astype("float32")


def images(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.zeros((1, 6, 6), "float32")
    y[0, 2:5, 1:4] = 1
    return y, rng.uniform(0.1, 0.9, (1, 6, 6)).astype("float32")


def embedded(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.arange(10) % 2, rng.normal(size=(10, 3)).astype("float32")


@loss(classes, "aten::topk", line="topk", maximize=True, best=1.0)
def hit_rate_by_membership(y, scores):
    hits = 0.0
    for i in range(len(scores)):
        if y[i] in scores[i].topk(2)[1]:
            hits += 1
    return torch.tensor(hits / len(scores))


@loss(sequences, "aten::argmax", line="argmax", maximize=True, best=1.0, descends=0.7)
def exact_match_with_padding(y, logits):
    return torch.where(y != 0, logits.argmax(-1) == y, True).all(-1).float().mean()


# The mean level comes to be the right one before each step of it is decided.
@loss(lists, "aten::gt", line="> 0", best=0.0, descends=0.4)
def error_of_ordinal_levels(y, logits):
    level = (logits > 0).long().cumprod(1).sum(1)
    return (level - y.sum(1)).abs().float().mean()


@loss(images, "aten::gt", line="> 0.5")
def error_of_an_edge(y, p):
    mask = (p > 0.5).float()
    edge, true = (F.max_pool2d(m[:, None], 3, 1, 1)[:, 0] - m > 0 for m in (mask, y))
    return (edge.float() - true.float()).abs().mean()


@loss(lists, "aten::gt", line="> 0", best=0.0)
def delay_of_the_first_alarm(y, scores):
    alarm = (scores > 0).int() * torch.arange(scores.shape[1], 0, -1)
    return (alarm.argmax(1) - y.argmax(1)).abs().float().mean()


@loss(embedded, "aten::topk", line="topk", maximize=True, best=1.0)
def recall_at_1_of_others(y, z):
    similar = F.normalize(z) @ F.normalize(z).T
    similar.fill_diagonal_(-1e9)
    return (y[similar.topk(1, dim=1)[1][:, 0]] == y).float().mean()
