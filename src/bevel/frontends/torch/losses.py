"""PyTorch's fused losses in smaller words: the loss of each element, then the sum or the mean.

`aten::mse_loss` and its like average in the same breath. A soft position or a soft count has a loss
for each of its values, which is to be weighed before it is averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from bevel.frontends.torch.act import Act
from bevel.frontends.torch.templates import Var

# What PyTorch calls the ways to reduce.
_SUM, _MEAN = 2, 1
_SUMMED = "sum", "aten.sum.dim_IntList"


def of_elements(act: Act) -> list[Var]:
    """A loss of two tensors, element by element; weights are operands like others."""
    given = _named(act)
    how = given.pop("reduction", _MEAN)
    each = act.emit(
        "native", "bevel.loss_of_elements", kwargs={"loss": act.name, **given}, nature="elementwise"
    )
    return [_reduced(act, each, how)]


def of_classes(act: Act) -> list[Var]:
    """`nll_loss`: a look-up among log-probabilities, for the class itself may depend on values."""
    given = _named(act)
    x, index, weight = given["self"], given["target"], given.get("weight")
    if not act.recorder.depends_on(index):
        return act.as_it_is()
    flat = index
    if x.rank != 2:  # pixels, or one row
        last = act.arranged(x, [0, *range(2, x.rank), 1]) if x.rank > 1 else x
        x, flat = act.view(last, [-1, last.shape[-1]]), act.view(index, [-1])
    ignored = act.var(given["ignore_index"], flat)
    counts = act.emit("not_equal", "aten.ne.Tensor", flat, ignored)
    place = act.emit("where", "aten.where.self", counts, flat, act.var(0, flat))
    weights = act.cast(counts, x.dtype)
    if weight is not None:
        weights = _times(act, weights, act.take(weight, place, 0))
    found = act.emit("negative", "aten.neg.default", act.take(x, place, 1, 1))
    each, total = _times(act, found, weights), _all(act, *_SUMMED, weights)
    if given["reduction"] not in (_SUM, _MEAN):
        return [each if flat is index else act.view(each, index.shape), total]
    loss = _all(act, *_SUMMED, each)
    if given["reduction"] == _MEAN:
        loss = act.emit("divide", "aten.div.Tensor", loss, total)
    return [loss, total]


def log_sigmoid(act: Act) -> list[Var]:
    """It gives something for its way back, too, which is nobody's business here."""
    x = act.emit("negative", "aten.neg.default", act.args[0])
    found = act.emit("native", "aten.softplus.default", x)
    rest = [act.recorder.constant(t) for t in (act.results or ())[1:]]
    return [act.emit("negative", "aten.neg.default", found), *rest]


def _times(act: Act, x: Var, y: Var) -> Var:
    return act.emit("multiply", "aten.mul.Tensor", x, y)


def _named(act: Act) -> dict[str, Any]:
    names = [a.name for a in act.func._schema.arguments]
    return dict(zip(names, act.args, strict=False)) | act.kwargs


def _reduced(act: Act, each: Var, how: int) -> Var:
    if how == _MEAN:
        return _all(act, "mean", "aten.mean.dim", each, act.results)
    if how == _SUM:
        return _all(act, *_SUMMED, each, act.results)
    return each


def _all(
    act: Act, op: str, target: str, x: Var, results: Sequence[torch.Tensor] | None = None
) -> Var:
    axes = list(range(x.rank))
    params = {"axis": tuple(axes), "keepdims": False}
    return act.emit(op, target, x, axes, False, params=params, results=results)
