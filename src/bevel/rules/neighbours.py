"""Rows that a soft mask picks beside the next one that it picks: `b[1:] - b[:-1]`, b = x[mask].

Row j comes right after row i, i < j, with the chance p_i p_j times that none between is picked. All
pairs go on as rows that are picked with these chances, n^2 of them.
"""

from __future__ import annotations

from typing import Any

from keras import ops as K

from bevel.ops.primitives import cumulated
from bevel.rules.context import NEARLY_ONE, Call, Context
from bevel.rules.lifting import is_elementwise
from bevel.rules.structural import arranged
from bevel.soft import Selected

# All but the first of the rows, and all but the last.
_LATER, _EARLIER = (1, None), (0, -1)

# The most rows of which there are pairs.
_MOST = 4096


def beside(ctx: Context, call: Call) -> Any:
    """What becomes of rows and their successors; NotImplemented of all else."""
    picked = [a for a in call.inputs if isinstance(a, Selected)]
    cuts = [ctx.made("cut", a.p) for a in picked]
    if not is_elementwise(call.node) or any(c is None for c in cuts):
        return NotImplemented
    whole = cuts[0][0]
    spans = {span for _, span in cuts}
    count = whole.shape[0]
    if any(p is not whole for p, _ in cuts) or spans != {_LATER, _EARLIER}:
        return NotImplemented
    if len(picked) < len(call.inputs) or count is None or count > _MOST:
        return NotImplemented
    p = ctx.once("neighbours", whole, lambda: _chances(whole))
    rows = [_paired(a, span == _LATER, count) for a, (_, span) in zip(picked, cuts, strict=True)]
    results = ctx.apply(call.node, rows)
    return [Selected(r, p, v.dtype) for r, v in zip(results, call.node.outputs, strict=True)]


def _chances(p: Any) -> Any:
    """The chance of each pair to be neighbours, in one row."""
    missed = K.log1p(-K.minimum(p, NEARLY_ONE))
    until = cumulated(missed)
    between = K.expand_dims(until - missed, 0) - K.expand_dims(until, 1)
    both = K.expand_dims(p, 0) * K.expand_dims(p, 1)
    return K.reshape(both * K.triu(K.exp(K.minimum(between, 0.0)), 1), (-1,))


def _paired(picked: Selected, is_later: bool, count: int) -> Any:
    """Rows as they stand in all pairs."""

    def change(t: Any) -> Any:
        rest = t.shape[1:]
        table = K.expand_dims(t, 0 if is_later else 1)
        return K.reshape(K.broadcast_to(table, (count, count, *rest)), (-1, *rest))

    return arranged(picked.rows, change)
