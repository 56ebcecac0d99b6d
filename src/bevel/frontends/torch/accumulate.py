"""`table[i] += v` by a single position: one addition, as PyTorch never calls it.

PyTorch looks the entry up, adds, and puts the sum back: three operations, of which the last one
overwrites. Where `i` is soft, overwriting is no addition: what an earlier one added elsewhere would
fade. So the recorder asks here whether what is put back is what was there, and a bit more.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from bevel.frontends.torch.act import Act
from bevel.frontends.torch.templates import Var
from bevel.program import Node

# What leaves numbers what they are.
_RESHAPING = ("view", "_unsafe_view", "reshape", "squeeze", "unsqueeze", "expand", "alias", "clone")

# How far back the look-up may lie.
_MOST_NODES = 16


def added_to(act: Act, table: Var, positions: Var, values: Var) -> Var | None:
    """What is added to the entry at one position where `values` are put there, or None."""
    if math.prod(positions.shape[:-1]) != 1 or not act.recorder.depends_on(positions):
        return None
    nodes = act.recorder.nodes[-_MOST_NODES:]
    made = {v.id: node for node in nodes for v in node.outputs}
    node = made.get(_plain(values.id, made))
    if node is None or node.op != "add" or len(node.inputs) != 2:
        return None
    for old, new in (node.inputs, node.inputs[::-1]):
        entry = made.get(_plain(old, made))
        if entry is None or entry.op not in ("gather_nd", "take") or entry.inputs[0] != table.id:
            continue
        if _same(entry.inputs[1], positions.id, made):
            return _operand(act, new, made.get(new), values, table, positions)
    return None


def _plain(i: int, made: dict[int, Node]) -> int:
    """The value that another one is in another shape, or in another dtype of integers."""
    while i in made:
        node = made[i]
        library, _, name = str(dict(node.attrs).get("target", "")).partition(".")
        reshapes = library == "aten" and name.partition(".")[0] in _RESHAPING
        is_stack = node.op == "stack" and len(node.inputs) == 1
        if not (is_stack or reshapes or (node.op == "astype" and "int" in node.outputs[0].dtype)):
            return i
        i = node.inputs[0]
    return i


def _same(a: int, b: int, made: dict[int, Node]) -> bool:
    """Whether two positions are computed alike from the same values."""
    a, b = _plain(a, made), _plain(b, made)
    if a == b:
        return True
    x, y = made.get(a), made.get(b)
    if x is None or y is None or (x.op, len(x.inputs)) != ("stack", len(y.inputs)) or y.op != x.op:
        return False
    return all(_same(i, j, made) for i, j in zip(x.inputs, y.inputs, strict=True))


def _operand(act: Act, i: int, node: Node | None, values: Var, table: Var, positions: Var) -> Var:
    """A value by its id, with the tensor that it was in this run."""
    recorder, shape = act.recorder, act.recorder.values[i].shape
    if node is not None and node.op == "constant":
        found: Any = torch.as_tensor(node.param("value").array)
    elif i in recorder.captures:
        found = recorder.captured[recorder.captures.index(i)]
    else:
        place = tuple(positions.tensor.reshape(-1).tolist())
        found = (values.tensor - table.tensor[place].reshape(values.shape)).reshape(shape)
    return Var(i, found.to(values.tensor.device, values.dtype))
