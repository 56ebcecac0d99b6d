"""Runs the nodes of a program on PyTorch: one by one, with autograd as in the user's function.

There is no graph to compile, so what other front ends compile is run as it is. Branches are handed
the function that runs their nested programs, so that other interpretations can run them too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import torch

from bevel.backend import is_concrete, to_numpy
from bevel.frontends.from_torch import Trace
from bevel.frontends.running import run_all
from bevel.frontends.torch.dispatch import outside
from bevel.frontends.torch.kernels import run_target
from bevel.frontends.torch.replay import Replayed, looked_at
from bevel.frontends.torch.replicas import all_rows, all_sum, replicas
from bevel.frontends.torch.templates import filled
from bevel.program import Node, Program

NAME = "PyTorch"

ADDS_GRADIENTS = False
"""Whether the gradients of replicas are added up, each giving its share, or averaged."""

__all__ = ["all_rows", "all_sum", "replicas"]  # what it hands on

Run = Callable[[Program, Sequence[Any]], list[Any]]


def run_node(node: Node, operands: Sequence[Any], run: Run | None = None) -> list[Any]:
    """Runs one node on tensors.

    Args:
        node: Any node of a program traced from PyTorch.
        operands: A tensor for each of `node.inputs`.
        run: How nested programs are run; by default natively.

    Returns:
        A list with a tensor for each output.
    """
    # what is known whatever the values are comes as an array of numpy
    operands = [torch.as_tensor(o) if isinstance(o, np.ndarray) else o for o in operands]
    special = _SPECIAL.get(node.op)
    if special and not node.param("followed"):
        return special(node, operands, run or run_program)
    attrs = dict(node.attrs)
    args = filled(attrs["args"], operands)
    kwargs = {k: filled(v, operands) for k, v in attrs["kwargs"]}
    return run_target(attrs["target"], args, kwargs)


def connected(values: Sequence[Any], leaves: Sequence[Any]) -> list[Any]:
    """The values as they are, with a gradient of 0 to the leaves: `backward` finds its way."""
    nothing = torch.cat([leaf.reshape(-1)[:0] for leaf in leaves]).sum()
    return [v + nothing.to(v.dtype) if v.is_floating_point() else v for v in values]


def _run_constant(node: Node, operands: Sequence[Any], run: Run) -> list[Any]:
    """A constant, or what Python made of values in the run that was recorded."""
    attrs = dict(node.attrs)
    array = np.array(node.param("value").array)
    return [torch.as_tensor(array).to(device=attrs["device"], dtype=attrs["dtype"])]


def _run_cond(node: Node, operands: Sequence[Any], run: Run) -> list[Any]:
    predicate, *rest = operands
    return run(node.programs[0 if bool(predicate) else 1], rest)


def _run_custom_gradient(node: Node, operands: Sequence[Any], run: Run) -> list[Any]:
    attrs = dict(node.attrs)
    found = attrs["function"].apply(*filled(attrs["args"], operands))
    results = found if isinstance(found, tuple) else (found,)
    return [r for r in results if isinstance(r, torch.Tensor)]


_SPECIAL: dict[str, Callable[[Node, Sequence[Any], Run], list[Any]]] = {
    "constant": _run_constant,
    "py_call": _run_constant,
    "cond": _run_cond,
    "custom_gradient": _run_custom_gradient,
}


def run_program(program: Program, operands: Sequence[Any]) -> list[Any]:
    """Runs a program natively on tensors for its inputs and captures; gives its results."""
    return run_all(program, operands, run_node)


def function(
    fn: Callable[..., Any], jit_compile: bool | None = None, state: Callable[[], Any] | None = None
) -> Callable[..., Any]:
    """The function, written down when it is called again; one that reads what may change is not."""
    return Replayed(fn) if state is None else fn


def prepare(compiled: Callable[..., Any], leaves: Sequence[Any]) -> None:
    """Runs a function once, for what it writes down."""
    compiled(*leaves)


def called(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What a function returns that `torch.compile` leaves alone; see `compiling`.

    Where the compiler is not loaded nothing is being compiled.
    """
    if "torch._dynamo" not in sys.modules:
        return fn(*args, **kwargs)
    from bevel.frontends.torch import compiling

    return compiling.called(fn, args, kwargs)


def in_graph() -> bool:
    """Whether a graph is being built: never, in eager PyTorch."""
    return False


def static_value(tensor: Any) -> Any:
    """What is known of a tensor: all of it, but for the stand-ins of `torch.func`.

    Of truths it may be asked only whether all of them agree; see `replay.looked_at`.
    """
    if isinstance(tensor, np.ndarray):  # known without a look at any value
        return tensor
    if not isinstance(tensor, torch.Tensor) or not is_concrete(tensor):
        return None
    looked_at(tensor)
    return to_numpy(tensor)


def at_once_if_known(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The function as it is: all of it runs at once."""
    return fn


def outside_graphs() -> Any:
    """A context for what is done beside a function that is being traced."""
    return outside()


class _Assigning(torch.autograd.Function):
    """Hands values through; on the way back variables are assigned."""

    @staticmethod
    def forward(ctx: Any, variables: Any, *values: Any) -> Any:
        ctx.pairs = list(zip(variables, (v.detach() for v in values), strict=True))
        return tuple(v.clone() for v in values)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        for variable, value in ctx.pairs:
            variable.assign(value)
        return (None, *gradients)


def assigned_by_gradient(variables: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    """The values as they are; a gradient on its way back through them assigns Keras variables."""
    if not values:
        return []
    return list(_Assigning.apply(tuple(variables), *values))


def in_xla() -> bool:
    """Whether a graph is being built that XLA will compile: never here."""
    return False


def execute(trace: Trace, leaves: Sequence[Any]) -> Any:
    """What the user's function returns for new leaves: it is run itself, whatever way it takes."""
    positional, named = trace.arguments.rebuild(leaves)
    return trace.fn(*positional, **named)


def vjp(
    node: Node, operands: Sequence[Any]
) -> tuple[list[Any], Callable[[Sequence[Any]], list[Any]]]:
    """Runs one node, and gives what turns cotangents of its results into those of its operands."""
    own = [o.detach().requires_grad_() if _is_differentiable(o) else o for o in operands]
    with torch.enable_grad():
        results = run_node(node, own)

    def pull_back(cotangents: Sequence[Any]) -> list[Any]:
        pairs = [(r, c) for r, c in zip(results, cotangents, strict=True) if r.requires_grad]
        sources = [o for o in own if _is_differentiable(o)]
        if not pairs or not sources:
            return [None] * len(own)
        found = iter(
            torch.autograd.grad(
                [r for r, _ in pairs], sources, [c for _, c in pairs], allow_unused=True
            )
        )
        return [next(found) if _is_differentiable(o) else None for o in own]

    return results, pull_back


def _is_differentiable(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def scalar(results: Any) -> Any:
    """One float64 number for whatever a function returns: the sum of the means of its results."""
    total = torch.zeros((), dtype=torch.float64)
    for result in keras.tree.flatten(results):
        if isinstance(result, torch.Tensor | np.ndarray | np.generic | bool | int | float):
            total = total + torch.as_tensor(result).to("cpu", torch.float64).mean()
    return total


def value_and_gradient(
    fn: Callable[..., Any], trained: Sequence[int], compiled: bool, missing: int = 0
) -> Callable[[Sequence[Any]], tuple[float, list[Any]]]:
    """The scalar value of a function of leaves, and its gradient to the trained ones as numpy.

    Args:
        fn: A function of tensors.
        trained: Positions of the leaves to differentiate.
        compiled: Makes no difference here.
        missing: How many gradients to give as None, for arguments that are not differentiated.

    Returns:
        A function of the leaves; a gradient is None where none is connected.
    """

    def call(leaves: Sequence[Any]) -> tuple[float, list[Any]]:
        given = [tensor(leaf).detach() for leaf in leaves]
        sources = [given[i].clone().requires_grad_() for i in trained]
        with torch.inference_mode(False), torch.enable_grad():
            for i, source in zip(trained, sources, strict=True):
                given[i] = source
            # as the output of a model would be: a function may write into it
            given = [leaf.clone() for leaf in given]
            value = scalar(fn(*given))
            found: Sequence[Any] = [None] * len(sources)
            if sources and value.requires_grad:
                found = torch.autograd.grad(value, sources, allow_unused=True)
        arrays = [None if g is None else to_numpy(g) for g in found]
        return float(value.detach()), [*arrays, *[None] * missing]

    return call


def like(cotangent: Any, result: Any) -> Any:
    """A cotangent in the dtype of the result it belongs to (as it is, for what has none)."""
    if not _is_differentiable(result):
        return cotangent
    return torch.as_tensor(cotangent).to(result.device, result.dtype)


def tensor(value: Any) -> Any:
    """A leaf as a tensor."""
    return value if isinstance(value, torch.Tensor) else keras.ops.convert_to_tensor(value)


def ones(result: Any) -> Any:
    """The cotangent of a result whose elements all count alike."""
    return torch.ones_like(result)
