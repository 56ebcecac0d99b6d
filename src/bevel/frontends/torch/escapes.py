"""Where a function leaves PyTorch for Python, and comes back: followed as far as it can be.

`.item()` and `.tolist()` give tensors of one number instead of Python's numbers, so what is
computed from them is recorded too. The truth of an `if` is noted as a branch. `.numpy()` and the
like hand over true values, of which the recorder keeps note. A declared gradient
(`torch.autograd.Function`) is one operation.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from bevel.frontends.torch.numbers import Altering, Number
from bevel.frontends.torch.recorder import Recorder
from bevel.frontends.torch.templates import Var


class Escapes(TorchFunctionMode):
    """Follows values into Python and back for a recorder."""

    def __init__(self, recorder: Recorder, follows: bool) -> None:
        super().__init__()
        self._recorder = recorder
        self._follows = follows
        self._altered = Altering()
        self._sizes: dict[int, tuple[Number, torch.Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        handler = None if self._recorder.paused else _HANDLERS.get(func)
        if handler is not None:
            return handler(self, func, args, kwargs)
        found = func(*args, **kwargs)
        if self._recorder.paused or not _is_arithmetic(found, args):
            return found
        return self._as_number(found)

    def _as_number(self, tensor: torch.Tensor) -> Number:
        var = self._recorder.read(tensor)
        with self._recorder.pause():
            number = tensor.as_subclass(Number)
        self._recorder.bind(number, var)
        return number

    def text(self, func: Any, args: Any, kwargs: Any) -> str:
        """`f"{x}"`, `repr(x)`: nobody goes on computing with what is only shown or names a key."""
        recorder = self._recorder
        if recorder.depends_on(recorder.read(args[0])):
            recorder.fixed = False
        with recorder.pause():
            return func(*args, **kwargs)

    # Truths.

    def truth(self, func: Any, args: Any, kwargs: Any) -> bool:
        """`if x:`."""
        with self._recorder.pause():
            truth = bool(func(*args, **kwargs))
        return self._recorder.ask(self._truth(self._recorder.read(args[0])), truth)

    def _truth(self, var: Var) -> Var:
        """Whether a number is not 0: what `if n:` asks."""
        recorder = self._recorder
        if var.dtype == torch.bool or not recorder.depends_on(var):
            return var
        (found,) = recorder.emit(
            "astype", "aten._to_copy.default", [var], {"dtype": torch.bool}, native="py:bool",
            params={"dtype": "bool"}, loc=recorder.place("cond", "if"),
        )  # fmt: skip
        return found

    def same(self, func: Any, args: Any, kwargs: Any) -> bool:
        """`torch.equal` and `torch.allclose`."""
        a, b = args[:2]
        if a.shape != b.shape and func is torch.equal:
            return False
        rest = {"rtol": 1e-5, "atol": 1e-8, "equal_nan": False}
        rest = {**rest, **dict(zip(rest, args[2:], strict=False)), **kwargs}
        close = torch.isclose(a, b, **rest) if func is torch.allclose else torch.eq(a, b)
        return self._asked(torch.all(close))

    def holds(self, func: Any, args: Any, kwargs: Any) -> bool:
        """`label in x`."""
        x, element = args
        return self._asked(torch.any(x == element))

    def _asked(self, truth: torch.Tensor) -> bool:
        """A truth that PyTorch itself asks for, where this mode does not hear of it."""
        return self.truth(torch.Tensor.__bool__, (truth,), {})

    def detached(self, func: Any, args: Any, kwargs: Any) -> Any:
        """`x.detach_()`, of which no mode for operations hears."""
        recorder, x = self._recorder, args[0]
        var = recorder.read(x)
        found = func(*args, **kwargs)
        (kept,) = recorder.emit(
            "stop_gradient", "aten.detach.default", [var], {},
            loc=recorder.place("stop_gradient", "detach_"), results=[x],
        )  # fmt: skip
        recorder.bind(x, kept)
        return found

    def differences(self, func: Any, args: Any, kwargs: Any) -> Any:
        """`torch.diff`, as people write it: of picked rows, PyTorch's own says where they end."""
        names = ("input", "n", "dim", "prepend", "append")
        given = {"n": 1, "dim": -1, **dict(zip(names, args, strict=False)), **kwargs}
        x = given["input"]
        if given["n"] != 1 or len(given) > 3 or x.dtype == torch.bool:
            return func(*args, **kwargs)
        before = (slice(None),) * (given["dim"] % x.ndim)
        return x[(*before, slice(1, None))] - x[(*before, slice(None, -1))]

    # Numbers.

    def item(self, func: Any, args: Any, kwargs: Any) -> Any:
        """`.item()`: a tensor of one number, if it is not one that is known once for all."""
        tensor = args[0]
        var = self._recorder.read(tensor)
        if not self._follows or tensor.numel() != 1 or not self._recorder.depends_on(var):
            return self.plain(func, args, kwargs)
        return self._handed(tensor.reshape(()) if tensor.ndim else tensor, "Tensor.item")

    def tolist(self, func: Any, args: Any, kwargs: Any) -> Any:
        """`.tolist()`: nested lists of such tensors."""
        tensor = args[0]
        var = self._recorder.read(tensor)
        if not self._follows or not self._recorder.depends_on(var):
            return self.plain(func, args, kwargs)
        return self._handed(tensor, "Tensor.tolist")

    def number(self, tensor: torch.Tensor, kind: type) -> Any:
        """`float(x)` and `int(x)`."""
        is_followed = self._follows and tensor.numel() == 1 and not self._recorder.paused
        if not is_followed or not self._recorder.depends_on(self._recorder.read(tensor)):
            return kind(tensor)
        if not isinstance(tensor, Number):
            tensor = self._handed(tensor.reshape(()) if tensor.ndim else tensor, kind.__name__)
        if tensor.dtype.is_floating_point == (kind is float):
            return tensor
        return self._as_number(tensor.to(torch.float64 if kind is float else torch.int64))

    def is_number(self, value: Any, kind: type) -> bool:
        """Whether a value stands for a number of a kind."""
        if not isinstance(value, Number):
            return False
        return value.dtype.is_floating_point == (kind is float)

    def is_followed(self, value: Any) -> bool:
        """Whether a value is such a number, or a list with one in it."""
        if isinstance(value, list | tuple):
            return any(map(self.is_followed, value))
        return isinstance(value, Number)

    def computed(self, how: Callable[..., Any], value: Any) -> Any:
        """A function of PyTorch, of such numbers as numpy or `math` would take them."""
        tensor = _joined(value)
        return self._as_number(how(tensor if tensor.is_floating_point() else tensor.double()))

    def folded(self, plain: Callable[..., Any], fold: Callable[..., Any], a: Any, b: Any) -> Any:
        """`min` or `max` of two numbers."""
        if not any(isinstance(v, torch.Tensor) for v in (a, b)):
            return plain(a, b)
        like = a if isinstance(a, torch.Tensor) else b
        x, y = (
            v if isinstance(v, torch.Tensor) else torch.tensor(v, device=like.device)
            for v in (a, b)
        )
        found = fold(x, y)
        is_tensor = any(_is_tensor(v) and not isinstance(v, Number) for v in (a, b))
        return found if is_tensor else self._as_number(found)

    def in_order(self, items: list[torch.Tensor], reverse: bool) -> list[torch.Tensor]:
        """`sorted` of single values: by one operation and not by a branch for each comparison."""
        ordered = torch.sort(torch.stack(items), stable=True, descending=reverse).values
        parts = list(ordered.unbind(0))
        return [self._as_number(p) for p in parts] if isinstance(items[0], Number) else parts

    # Sizes that depend on values.

    def rows(self, tensor: torch.Tensor) -> Any:
        """`len(x)`."""
        return self._size(tensor, "rows") if self._is_sized(tensor) else tensor.shape[0]

    def size(self, func: Any, args: Any, kwargs: Any) -> Any:
        """`.shape`, `.size()`, `.numel()`: of what has as many rows as values say."""
        with self._recorder.pause():
            found = func(*args, **kwargs)
        if not self._is_sized(args[0]):
            return found
        if isinstance(found, torch.Size):
            return (self._size(args[0], "rows"), *found[1:])
        if func in (torch.Tensor.numel, torch.Tensor.nelement, torch.numel):
            return self._size(args[0], "all")
        dim = kwargs.get("dim", args[1] if len(args) > 1 else 0)
        return self._size(args[0], "rows") if dim % args[0].ndim == 0 else found

    def _is_sized(self, tensor: torch.Tensor) -> bool:
        recorder = self._recorder
        if not self._follows or recorder.paused or not tensor.ndim or not recorder.sized:
            return False
        return recorder.read(tensor).id in recorder.sized

    def _size(self, tensor: torch.Tensor, counts: str) -> Number:
        recorder = self._recorder
        with recorder.pause():
            found = torch.tensor(tensor.shape[0] if counts == "rows" else tensor.numel())
        (var,) = recorder.emit(
            "native", "bevel.size", [recorder.read(tensor), counts], {}, native="aten::size",
            params={"counts": counts}, loc=recorder.place("native", "size"), results=[found],
        )  # fmt: skip
        recorder.bind(found, var)
        number = self._as_number(found)
        if counts == "rows":
            self._sizes[id(number)] = number, tensor  # kept, so that the id stays its own
        return number

    def arange(self, func: Any, args: Any, kwargs: Any) -> Any:
        """`arange(len(x))`: a number for each of as many rows as values say."""
        recorder = self._recorder
        counted = self._counted_rows(args[0]) if len(args) == 1 else None
        if counted is None:
            return func(*args, **kwargs)
        with recorder.pause():
            found = torch.arange(counted.shape[0], device=kwargs.get("device", counted.device))
        (var,) = recorder.emit(
            "native", "bevel.each", [recorder.read(counted)], {}, native="aten::arange",
            params={"counts": "each"}, loc=recorder.place("native", "arange"), results=[found],
        )  # fmt: skip
        recorder.bind(found, var)
        return found.to(kwargs.get("dtype") or found.dtype)

    def _counted_rows(self, size: Any) -> torch.Tensor | None:
        """The tensor whose rows a number counts, if it is nothing but that."""
        return self._sizes.get(id(size), (None, None))[1] if isinstance(size, Number) else None

    def _handed(self, tensor: torch.Tensor, name: str) -> Any:
        recorder = self._recorder
        wide = tensor.dtype
        if wide != torch.bool:
            wide = torch.float64 if wide.is_floating_point else torch.int64
        with recorder.pause():
            result = tensor.detach().clone()
        var = recorder.undetached(recorder.read(tensor))
        loc = recorder.place("py_call", name.rpartition(".")[2])
        (kept,) = recorder.emit(
            "py_call", "aten.clone.default", [var], {}, native=f"py:{name}",
            params={"followed": True}, loc=loc, results=[result],
        )  # fmt: skip
        recorder.bind(result, kept)
        return self._nested(result.to(wide))

    def _nested(self, numbers: torch.Tensor) -> Any:
        if numbers.ndim:
            return [self._nested(n) for n in numbers.unbind(0)]
        return self._as_number(numbers)

    def plain(self, func: Any, args: Any, kwargs: Any) -> Any:
        """True values of Python's or numpy's: from here on they cannot be followed."""
        recorder = self._recorder
        recorder.leak(recorder.read(args[0]), f"Tensor.{_SHOWN.get(func, func.__name__)}")
        with recorder.pause():
            found = func(*args, **kwargs)
        return self._altered(found) if recorder.alter else found

    def length(self, func: Any, args: Any, kwargs: Any) -> int:
        """`len(x)` outside of the function's own module."""
        if self._is_sized(args[0]):
            return self.plain(func, args, kwargs)
        return func(*args, **kwargs)

    # Back again.

    def tensor(self, func: Any, args: Any, kwargs: Any) -> Any:
        """`torch.tensor` and `torch.as_tensor` of such numbers."""
        data = args[0] if args else kwargs.get("data")
        if isinstance(data, torch.Tensor) and not isinstance(data, Number):
            return func(*args, **kwargs)
        if not _holds_tensor(data):
            with self._recorder.pause():
                made = func(*args, **kwargs)
                var = self._recorder.returned(made)
                var = var or self._recorder.constant(made.detach().clone())
            self._recorder.bind(made, var)
            return made
        dtype = kwargs.get("dtype", args[1] if len(args) > 1 else None)
        joined = _joined(self._counted(data))
        if dtype is None and joined.dtype == torch.float64:
            dtype = torch.get_default_dtype()
        return joined.to(dtype or joined.dtype).clone()

    def _counted(self, data: Any) -> Any:
        """Nested lists, with numbers in the place of tensors, as `torch.tensor` copies values."""
        if isinstance(data, list | tuple):
            return [self._counted(d) for d in data]
        if not isinstance(data, torch.Tensor) or isinstance(data, Number) or not self._follows:
            return data
        if data.ndim or not self._recorder.depends_on(self._recorder.read(data)):
            return data
        return self._handed(data, "torch.tensor").to(data.dtype)

    # Positions.

    def entry(self, func: Any, args: Any, kwargs: Any) -> Any:
        """`x[i]`, with a position that PyTorch would take as a plain number."""
        x, index = args
        places = self._places(index)
        if places is not None:
            found = torch.squeeze(x[places], 0)
            self._recorder.copies[id(found)] = found, x, places
            return found
        axis = self._axis(index)
        if axis is None:
            return func(*args, **kwargs)
        return torch.squeeze(torch.index_select(x, axis, index[axis].reshape(1)), axis)

    def put_entry(self, func: Any, args: Any, kwargs: Any) -> Any:
        """`x[i] = v` likewise."""
        x, index, value = args
        recorder = self._recorder
        places = self._places(index)
        x[index if places is None else places] = value
        recorder.astray.discard(id(value))  # `x[i] += v` writes into x[i], and puts it back
        if id(x) in recorder.copies:  # `x[i][j] = v` is meant for x
            recorder.astray.discard(id(x))
            _, origin, origin_places = recorder.copies[id(x)]
            self.put_entry(func, (origin, origin_places, torch.unsqueeze(x, 0)), {})
        return None

    def _places(self, index: Any) -> Any:
        """Positions along the first axes as tensors of one element, if one of them is followed."""
        parts = index if isinstance(index, tuple) else (index,)
        if not any(map(self._is_place, parts)):
            return None
        if not all(type(i) is int or (_is_tensor(i) and not i.ndim) for i in parts):
            return None
        return tuple(torch.as_tensor(i).reshape(1) for i in parts)

    def _axis(self, index: Any) -> int | None:
        """The axis of a followed position among whole slices."""
        if not isinstance(index, tuple):
            return None
        found = [n for n, i in enumerate(index) if not (isinstance(i, slice) and i == slice(None))]
        return found[0] if len(found) == 1 and self._is_place(index[found[0]]) else None

    def _is_place(self, value: Any) -> bool:
        if not isinstance(value, torch.Tensor) or value.ndim or value.dtype == torch.bool:
            return False
        recorder = self._recorder
        return self._follows and bool(recorder.depends_on(recorder.read(value)))

    # Operations that say more as a whole.

    def one_hot(self, func: Any, args: Any, kwargs: Any) -> Any:
        """`one_hot`, with as many classes as there are in this run."""
        recorder = self._recorder
        index = args[0]
        with recorder.pause():
            found = func(*args, **kwargs)
        if kwargs.get("num_classes", args[1] if len(args) > 1 else -1) < 0:
            recorder.fixed = False
        var, device = recorder.read(index), index.device
        on, off = (recorder.constant(v, torch.int64, device) for v in (1, 0))
        (code,) = recorder.emit(
            "one_hot", "bevel.one_hot", [var, on, off, found.shape[-1]], {},
            native="aten::one_hot", params={"num_classes": found.shape[-1], "axis": -1},
            loc=recorder.place("one_hot", "one_hot"), results=[found],
        )  # fmt: skip
        recorder.bind(found, code)
        return found

    def is_finite(self, func: Any, args: Any, kwargs: Any) -> Any:
        """`isfinite` and `isinf`, which PyTorch takes apart."""
        recorder, tensor = self._recorder, args[0]
        with recorder.pause():
            found = func(*args, **kwargs)
        name = func.__name__
        (made,) = recorder.emit(
            name, f"aten.{name}.default", [recorder.read(tensor)], {},
            loc=recorder.place(name, name), results=[found],
        )  # fmt: skip
        recorder.bind(found, made)
        return found

    def declared(self, cls: Any, args: Any, apply: Callable[..., Any]) -> Any:
        """`Function.apply`: one operation with the gradient that its author declares."""
        recorder = self._recorder
        given = [recorder.read(a) if isinstance(a, torch.Tensor) else a for a in args]
        with recorder.pause():
            found = apply(*args)
        results = [r for r in (found if isinstance(found, tuple) else (found,)) if _is_tensor(r)]
        tensors = [a for a in given if isinstance(a, Var)]
        if not results or not any(recorder.depends_on(v) for v in tensors):
            return found
        loc = recorder.place("custom_gradient", cls.__name__)
        made = recorder.emit(
            "custom_gradient", "bevel.apply", given, {}, native=cls.__name__,
            params={"gradients": tuple(v.tensor.is_floating_point() for v in tensors)},
            loc=loc, results=results, attrs=(("function", cls),),
        )  # fmt: skip
        for tensor, var in zip(results, made, strict=True):
            recorder.bind(tensor, var)
        return found


_SHAPE = torch._C.TensorBase.__dict__["shape"].__get__

_HANDLERS: dict[Any, Callable[..., Any]] = {
    torch.Tensor.__bool__: Escapes.truth,
    torch.is_nonzero: Escapes.truth,
    torch.Tensor.is_nonzero: Escapes.truth,
    torch.Tensor.__contains__: Escapes.holds,
    torch.equal: Escapes.same,
    torch.Tensor.equal: Escapes.same,
    torch.allclose: Escapes.same,
    torch.Tensor.allclose: Escapes.same,
    torch.Tensor.item: Escapes.item,
    torch.Tensor.tolist: Escapes.tolist,
    torch.Tensor.__float__: Escapes.plain,
    torch.Tensor.__int__: Escapes.plain,
    torch.Tensor.__index__: Escapes.plain,
    torch.Tensor.__complex__: Escapes.plain,
    torch.Tensor.__format__: Escapes.text,
    torch.Tensor.__repr__: Escapes.text,
    torch.Tensor.numpy: Escapes.plain,
    torch.Tensor.__array__: Escapes.plain,
    torch.Tensor.__getitem__: Escapes.entry,
    torch.Tensor.__setitem__: Escapes.put_entry,
    _SHAPE: Escapes.size,
    torch.Tensor.size: Escapes.size,
    torch.Tensor.numel: Escapes.size,
    torch.Tensor.nelement: Escapes.size,
    torch.numel: Escapes.size,
    torch.Tensor.__len__: Escapes.length,
    torch.arange: Escapes.arange,
    torch.tensor: Escapes.tensor,
    torch.as_tensor: Escapes.tensor,
    torch.asarray: Escapes.tensor,
    torch.nn.functional.one_hot: Escapes.one_hot,
    torch.diff: Escapes.differences,
    torch.Tensor.diff: Escapes.differences,
    torch.detach_: Escapes.detached,
    torch.Tensor.detach_: Escapes.detached,
    torch.isfinite: Escapes.is_finite,
    torch.Tensor.isfinite: Escapes.is_finite,
    torch.isinf: Escapes.is_finite,
    torch.Tensor.isinf: Escapes.is_finite,
}

# How Python's own names of methods are shown.
_SHOWN = {
    torch.Tensor.__float__: "float",
    torch.Tensor.__int__: "int",
    torch.Tensor.__index__: "index",
    torch.Tensor.__array__: "numpy",
    torch.Tensor.__len__: "len",
}


@contextmanager
def following(escapes: Escapes) -> Iterator[None]:
    """A context in which declared gradients are seen too: their `apply` goes around all modes."""
    function: Any = torch.autograd.Function
    original = function.__dict__["apply"]
    here = threading.get_ident()

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        own = original.__get__(None, cls)
        if escapes._recorder.paused or kwargs or threading.get_ident() != here:
            return own(*args, **kwargs)
        return escapes.declared(cls, args, own)

    function.apply = classmethod(apply)
    try:
        with escapes:
            yield
    finally:
        function.apply = original


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _is_arithmetic(found: Any, args: Any) -> bool:
    """Whether a result was computed from such numbers and Python's own alone."""
    if not isinstance(found, torch.Tensor) or found.ndim or isinstance(found, Number):
        return False
    tensors = [a for a in args if isinstance(a, torch.Tensor)]
    return bool(tensors) and all(isinstance(a, Number) for a in tensors)


def _holds_tensor(data: Any) -> bool:
    if isinstance(data, list | tuple):
        return any(map(_holds_tensor, data))
    return _is_tensor(data)


def _joined(data: Any) -> torch.Tensor:
    """Nested lists of tensors and numbers as one tensor."""
    if isinstance(data, torch.Tensor):
        return data.detach() if not isinstance(data, Number) else data
    if isinstance(data, list | tuple):
        parts = [_joined(d) for d in data]
        wide = parts[0].dtype
        for part in parts[1:]:
            wide = torch.promote_types(wide, part.dtype)
        return torch.stack([p.to(wide) for p in parts])
    return torch.tensor(data)
