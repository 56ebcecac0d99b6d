"""A graph of operations made shorter, while its numbers stay the same to the last bit.

What rules and derivatives do, they do each for itself: the same square twice, a number put into a
tensor, whether that is finite. Written down, each of these is one operation of the graph, and is
needed once: in all calls where it is known beforehand, in each call where it depends on the leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx

from bevel.frontends.torch.names import is_random

# What is larger costs more to keep between calls than to make again.
_SMALL = 4096

# Their values depend on the shape of their argument only.
_OF_A_SHAPE = {
    getattr(torch.ops.aten, name).default for name in ("ones_like", "zeros_like", "full_like")
}

# Operations that PyTorch's own function of this name, given the same, comes to: it gets there in
# half the time that the operation's own way from Python takes.
_NAMED = frozenset(
    """
    abs add bitwise_and bitwise_not bitwise_or clamp cumsum div eq exp expm1 ge gt index_select
    isnan le log log1p logical_and logical_not logical_or lt maximum mean minimum mul ne neg
    reciprocal rsub sigmoid sign sqrt squeeze sub sum unsqueeze where
    """.split()
)

# It takes a tensor that was just made of a number, which nobody else has.
_FRESH = torch.ops.aten.lift_fresh.default


def is_settled(func: Any, inputs: Sequence[fx.Node], known: Mapping[fx.Node, Any]) -> bool:
    """Whether an operation gives the same in each call, if the `known` nodes do."""
    if is_random(func):
        return False
    return func is _FRESH or func in _OF_A_SHAPE or all(node in known for node in inputs)


def is_small(result: Any) -> bool:
    """Whether a result is a tensor worth keeping."""
    return isinstance(result, torch.Tensor) and result.numel() <= _SMALL


def shortened(graph: fx.Graph, known: Mapping[fx.Node, Any], constants: dict[str, Any]) -> fx.Graph:
    """The graph without what is known, handed on or done before; it must not write into tensors.

    Args:
        graph: Operations of PyTorch; it is changed.
        known: The results of nodes that give the same in each call.
        constants: Tensors by the names of the attributes; the known ones are added.
    """
    seen: dict[tuple[Any, str], fx.Node] = {}
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        if node.target is torch.ops.aten.detach.default:
            _replace(node, node.args[0])
        elif node in known:
            name = f"known{len(constants)}"
            constants[name] = known[node]
            with graph.inserting_before(node):
                _replace(node, graph.get_attr(name))
        elif not is_random(node.target):
            # by what is written: 1, 1.0 and True are equal, as are 0.0 and -0.0
            first = seen.setdefault((node.target, repr((node.args, node.kwargs))), node)
            if first is not node:
                _replace(node, first)
    graph.eliminate_dead_code()
    for node in graph.nodes:
        node.target = _direct(node)
    return graph


def _replace(node: fx.Node, other: Any) -> None:
    node.replace_all_uses_with(other)
    node.graph.erase_node(node)


def _direct(node: fx.Node) -> Any:
    """The quickest way to call what a node calls."""
    if not isinstance(node.target, torch._ops.OpOverload) or node.kwargs:
        return node.target
    namespace, name = node.target._schema.name.split("::")
    return getattr(torch, name) if namespace == "aten" and name in _NAMED else node.target
