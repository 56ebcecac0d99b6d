"""What a relaxed function does on tensors, written down once and run again.

To interpret a program by the rules costs Python far more time than the tensors need, where they are
small. The operations that reach PyTorch meanwhile are the same in each call with the same shapes:
from the second call on they are run from a list, the gradient's among them. The numbers stay the
same to the last bit.

Written down is the usual call only: tensors whose gradient is asked for, one number as the result.
Everything else is interpreted, and so is a gradient that is to be differentiated again.
"""

from __future__ import annotations

import operator
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx
from torch.autograd import forward_ad
from torch.fx.node import map_aggregate
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils.weak import WeakTensorKeyDictionary

from bevel.backend import is_concrete
from bevel.errors import BevelError
from bevel.frontends.torch.replicas import replicas
from bevel.frontends.torch.shortening import is_settled, is_small, shortened

Function = Callable[..., Any]

# How many shapes are remembered for one function: an epoch has two, a validation two others.
_MOST = 8

_PLAIN = (torch.Tensor, torch.nn.Parameter)


class NotRecordableError(BevelError):
    """Other values would lead to other operations, or the result is not one number."""


class _Active(threading.local):
    """The recording at work in this thread."""

    recording: _Recording | None = None
    is_compiled: bool = False


_active = _Active()


def looked_at(tensor: Any) -> None:
    """Notes that the values of a tensor are looked at, where an interpretation is written down.

    They are the same in each call if no leaf goes into them. Of truths it may matter only whether
    all of them agree: if they do not, that is asked again in each call.

    Raises:
        NotRecordableError: Other values may lead to other operations.
    """
    if _active.recording is not None:
        _active.recording.looked_at(tensor)


@contextmanager
def compiled_replays() -> Iterator[None]:
    """Within, in this thread, what was written down is run as PyTorch's compiler makes it."""
    before, _active.is_compiled = _active.is_compiled, True
    try:
        yield
    finally:
        _active.is_compiled = before


class Replayed:
    """A function of leaves that is written down in its second call with the same shapes."""

    def __init__(self, fn: Function) -> None:
        self._fn = fn
        # by shapes: what was written down, or whether that is still to be tried
        self._known: dict[Any, _Recorded | bool] = {}

    def __call__(self, *leaves: Any) -> Any:
        if not _is_usual(leaves):
            return self._fn(*leaves)
        key = tuple((v.shape, v.stride(), v.dtype, v.device, v.requires_grad) for v in leaves)
        known = self._known.get(key)
        if known is True:
            known = self._known[key] = _record(self._fn, leaves) or False
        elif known is None:
            self._known[key] = True
            for oldest in list(self._known)[:-_MOST]:
                self._known.pop(oldest, None)  # another thread may have been here
        if not isinstance(known, _Recorded):
            return self._fn(*leaves)
        value, *gradients, differ = known.run([leaf.detach() for leaf in leaves])
        if differ is not None and not bool(differ):
            return self._fn(*leaves)
        return _Value.apply(self._fn, value, gradients, *leaves)


class _Value(torch.autograd.Function):
    """A value whose gradient is known already, times what arrives on the way back."""

    @staticmethod
    def forward(ctx: Any, fn: Function, value: Any, gradients: Sequence[Any], *leaves: Any) -> Any:
        ctx.fn = fn
        ctx.save_for_backward(*leaves, *gradients)
        return value

    @staticmethod
    def backward(ctx: Any, arriving: Any) -> Any:
        count = len(ctx.saved_tensors) // 2
        leaves, gradients = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        if torch.is_grad_enabled():  # it is to be differentiated again
            found = torch.autograd.grad(
                ctx.fn(*leaves),
                [leaf for leaf in leaves if leaf.requires_grad],
                arriving,
                create_graph=True,
                allow_unused=True,
            )
            again = iter(found)
            return None, None, None, *(next(again) if v.requires_grad else None for v in leaves)
        return None, None, None, *(None if g is None else arriving * g for g in gradients)


class _Recorded:
    """A function of leaves: the value, for each leaf the gradient or None, and, or None, whether
    truths differ that differed in the recording.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        self._module = module
        self._compiled: Function | None = None

    def run(self, leaves: Sequence[Any]) -> Sequence[Any]:
        with torch.no_grad():
            if not _active.is_compiled:
                return self._module.forward(*leaves)
            if self._compiled is None:
                self._compiled = _compiled(self._module, leaves)
            return self._compiled(*leaves)


def _compiled(module: fx.GraphModule, leaves: Sequence[Any]) -> Function:
    """The graph as the compiler makes it; where it cannot, for want of a C++ compiler as an
    example, the graph as it is.
    """
    import torch._inductor as inductor

    try:
        made: Any = inductor.compile(module, list(leaves))
        made(*leaves)
    except Exception as error:
        warnings.warn(
            f"a relaxed function is run uncompiled: {str(error).strip().splitlines()[0]}",
            stacklevel=2,
        )
        return module.forward
    return made


def _is_usual(leaves: Sequence[Any]) -> bool:
    """Whether plain tensors are to give a gradient, and nothing else looks on."""
    if not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
        return False
    if not all(type(leaf) in _PLAIN and not leaf.is_inference() for leaf in leaves):
        return False
    if not any(leaf.requires_grad for leaf in leaves):
        return False
    if forward_ad._current_level >= 0 or not all(map(is_concrete, leaves)):
        return False
    is_watched = torch._C._len_torch_dispatch_stack() or torch._C._len_torch_function_stack()
    is_cast = any(torch.is_autocast_enabled(leaf.device.type) for leaf in leaves)
    # processes that talk to each other must all do the same, whatever their values
    return not (is_watched or is_cast) and replicas() == 1


def _record(fn: Function, leaves: Sequence[Any]) -> _Recorded | None:
    """Writes a call down; None where that cannot be done."""
    own = [leaf.detach() for leaf in leaves]
    trained = [n for n, leaf in enumerate(leaves) if leaf.requires_grad]
    recording = _Recording(own)
    _active.recording = recording
    try:
        with recording, torch.enable_grad():
            given = list(own)
            for n in trained:
                given[n] = own[n].detach().requires_grad_()
            value = fn(*given)
            _check_value(value)
            found = iter(torch.autograd.grad(value, [given[n] for n in trained], allow_unused=True))
            gradients = [next(found) if n in trained else None for n in range(len(own))]
            return recording.finished([value.detach(), *gradients])
    except Exception:  # a recording only saves time: what went wrong, the interpretation says
        return None
    finally:
        _active.recording = None


def _check_value(value: Any) -> None:
    is_one = isinstance(value, torch.Tensor) and value.numel() == 1
    if not is_one or not value.is_floating_point() or not value.requires_grad:
        raise NotRecordableError("only one number with a gradient is written down")


class _Recording(TorchDispatchMode):
    """Writes operations into a graph while they run."""

    def __init__(self, leaves: Sequence[Any]) -> None:
        super().__init__()
        self._graph = fx.Graph()
        self._nodes = WeakTensorKeyDictionary()
        self._constants: dict[str, Any] = {}
        self._dependent: set[fx.Node] = set()
        self._settled: dict[fx.Node, Any] = {}  # the results that are the same in each call
        self._writes = False
        self._differ: list[Any] = []
        for n, leaf in enumerate(leaves):
            node = self._graph.placeholder(f"leaf{n}")
            self._nodes[leaf] = node
            self._dependent.add(node)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        written = map_aggregate((args, kwargs), self._as_node)
        node = self._graph.call_function(func, *written)  # pyright: ignore[reportArgumentType]
        depends = any(n in self._dependent for n in node.all_input_nodes)
        results = func(*args, **kwargs)
        if is_small(results) and is_settled(func, node.all_input_nodes, self._settled):
            self._settled[node] = results
        if depends:
            self._dependent.add(node)
            if not isinstance(results, torch.Tensor | tuple | list) or _is_sized_by_values(
                func, args
            ):
                raise NotRecordableError(f"{func} gives what depends on values")
        if func._schema.is_mutable:
            self._check_writing(func, args)
        self._note(results, node, depends)
        return results

    def _as_node(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        if value not in self._nodes:
            if value.requires_grad:
                raise NotRecordableError("a gradient flows to a tensor that is no argument")
            name = f"constant{len(self._constants)}"
            self._constants[name] = value
            self._nodes[value] = self._graph.get_attr(name)
        return self._nodes[value]

    def _note(self, results: Any, node: fx.Node, depends: bool) -> None:
        if isinstance(results, torch.Tensor):
            self._nodes[results] = node
        elif isinstance(results, tuple | list):
            for n, result in enumerate(results):
                part = self._graph.call_function(operator.getitem, (node, n))
                if depends:
                    self._dependent.add(part)
                self._note(result, part, depends)

    def _check_writing(self, func: Any, args: Sequence[Any]) -> None:
        """What is written into must have been made here; an outer tensor would be changed twice."""
        self._writes = True
        first = self._nodes[args[0]] if args and isinstance(args[0], torch.Tensor) else None
        if first is None or first.op != "call_function":
            raise NotRecordableError(f"{func} writes into a tensor from outside")

    def looked_at(self, tensor: Any) -> None:
        """See the function of this name."""
        node = self._nodes.get(tensor)
        if node is None or node not in self._dependent:
            return
        if tensor.dtype != torch.bool:
            raise NotRecordableError("numbers are looked at")
        differ = tensor.any() & ~tensor.all()
        with _disable_current_modes():
            if not bool(differ):
                raise NotRecordableError("truths that all agree are looked at")
        self._differ.append(differ)

    def finished(self, results: Sequence[Any]) -> _Recorded:
        """The graph with these results, each a tensor or None."""
        differ = None
        for one in self._differ:
            differ = one if differ is None else differ & one
        kept = [*results, differ]
        self._graph.output(tuple(None if v is None else self._as_node(v) for v in kept))
        if not self._writes:
            shortened(self._graph, self._settled, self._constants)
        return _Recorded(fx.GraphModule(self._constants, self._graph))


def _is_sized_by_values(func: Any, args: Sequence[Any]) -> bool:
    """Whether other values may give a result of another shape, or of another number."""
    if func is torch.ops.aten.index.Tensor:  # a look-up, if it is not by a mask
        return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
    return bool({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags))
