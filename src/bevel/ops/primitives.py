"""The few array operations that `keras.ops` lacks, or makes too slow or too coarse, by framework.

TensorFlow's search compares all with all when XLA compiles it, and its scatter takes five times as
long as its segment sum. In PyTorch, Keras computes running sums and segment sums in float32. JAX
does so with everything where float64 is switched off, as it is at first. A derivative declared with
`keras.ops.custom_gradient` has a wrong second derivative in JAX, where the value is no ordinary
function of the arguments, and hides what goes wrong in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from keras import ops as K
from keras.backend import backend


def double_precision() -> AbstractContextManager[Any]:
    """Where float64 is float64: JAX takes it for float32 unless told otherwise."""
    if backend() != "jax":
        return nullcontext()
    import jax

    return jax.enable_x64(True)


def gathered(values: Any, places: Any) -> Any:
    """The values at the given places along the first axis; all of them exist."""
    if backend() == "tensorflow":
        import tensorflow as tf

        return tf.gather(values, places)
    if backend() == "torch":
        return values.index_select(0, places)
    return values.at[places].get(mode="promise_in_bounds")


def taken(values: Any, places: Any) -> Any:
    """Row by row, the values at the given places; all of them exist. Keras looks at signs first."""
    if backend() == "torch":
        return values.gather(-1, places.long())
    return K.take_along_axis(values, places, axis=-1)


def placed(values: Any, order: Any) -> Any:
    """The array whose elements in this order, a permutation, are `values`."""
    if backend() == "torch":
        import torch

        return torch.empty_like(values).index_copy_(0, order.long(), values)
    if backend() == "tensorflow":
        return K.segment_sum(values, order, num_segments=length_of(order))
    return values.at[order].set(values, unique_indices=True)


def counted(places: Any) -> Any:
    """How many of n integers in [0, n) are each of them; int32."""
    if backend() == "torch":
        import torch

        # `bincount` would do, but may give more numbers than n, for all that PyTorch knows
        one = torch.ones_like(places, dtype=torch.int32)
        return torch.zeros_like(one).index_add(0, places, one)
    return K.segment_sum(K.ones_like(places), places, num_segments=length_of(places))


def sum_of_each(values: Any, ids: Any) -> Any:
    """The sum of each block, by rising numbers of blocks; as many as values, the rest is 0."""
    if backend() == "torch":
        import torch

        return torch.zeros_like(values).scatter_add(0, ids.long(), values)
    return K.segment_sum(values, ids, num_segments=length_of(ids), sorted=backend() == "jax")


def least_of_each(values: Any, ids: Any) -> Any:
    """The least value of each block, by rising numbers of blocks; as many as values."""
    if backend() == "torch":
        import torch

        return torch.zeros_like(values).scatter_reduce(
            0, ids.long(), values, "amin", include_self=False
        )
    return -K.segment_max(-values, ids, num_segments=length_of(ids), sorted=backend() == "jax")


def cumulated(values: Any, axis: int = 0) -> Any:
    """Running sums along an axis, in the dtype of the values."""
    if backend() == "torch":
        return values.cumsum(axis, dtype=values.dtype)
    return K.cumsum(values, axis=axis)


def before_each(values: Any) -> Any:
    """The sum of all before each place, of which there is one more than values."""
    return K.concatenate([K.zeros_like(values[:1]), cumulated(values)])


def search(ordered: Any, values: Any) -> Any:
    """Row by row, how many elements of a sorted row are smaller than each value: O(log n) for one.

    Args:
        ordered: Shape (rows, n).
        values: Shape (rows, m).

    Returns:
        An int32 tensor of shape (rows, m).
    """
    if backend() == "torch":
        import torch

        return torch.searchsorted(ordered.contiguous(), values.contiguous(), out_int32=True)
    if backend() == "jax":
        import jax

        return jax.vmap(K.searchsorted)(ordered, values)
    import tensorflow as tf

    if not _compiled_by_xla():
        return tf.searchsorted(ordered, values)
    rows, length = K.shape(ordered)
    starts = K.expand_dims(K.arange(rows, dtype="int32") * length, -1)
    flat, found = K.reshape(ordered, (-1,)), K.zeros(K.shape(values), dtype="int32")
    # 2^30 elements at most where the length is not known: steps beyond the end change nothing
    for bit in reversed(range(length.bit_length() if isinstance(length, int) else 30)):
        further = found + 2**bit
        before = tf.gather(flat, starts + K.minimum(further, length) - 1) < values
        found = K.where(K.logical_and(further <= length, before), further, found)
    return found


def latest(flags: Any) -> Any:
    """The last place at or before each one where a flag is set; int32. The first one is."""
    if backend() == "tensorflow":
        nth = K.expand_dims(cumulated(K.cast(flags, "int32")), 0)
        return search(nth, nth)[0]
    index = K.arange(length_of(flags), dtype="int32")
    last = K.where(flags, index, K.zeros_like(index))
    if backend() == "torch":
        return last.cummax(0).values
    import jax

    return jax.lax.cummax(last)


def length_of(x: Any) -> Any:
    """Of the first axis: an integer, or a tensor where it is not known."""
    return K.shape(x)[0]


def with_gradient(
    value: Callable[..., tuple[Any, Any]],
    gradient: Callable[..., Sequence[Any]],
    tensors: Sequence[Any],
    known: Any = None,
) -> Any:
    """value(known, *tensors) with a declared derivative, of any order in reverse mode.

    Args:
        value: Gives the result, and what the derivative can use of the way there: arrays in tuples,
            lists and dictionaries, all constants for the gradient.
        gradient: From known, that, the gradient with respect to the result, and the tensors; gives
            one for each tensor, or a function that computes it where it is asked for.
        tensors: What there is a derivative for; float tensors.
        known: More of the same constants, or None.
    """
    if backend() == "jax":
        return _with_gradient_in_jax(value, gradient, tensors, known)
    if backend() == "torch":
        return _with_gradient_in_torch(value, gradient, tensors, known)

    @K.custom_gradient
    def run(*tensors: Any) -> Any:
        result, kept = value(known, *tensors)

        def backward(*args: Any, upstream: Any = None) -> Sequence[Any]:
            g = args[0] if upstream is None else upstream
            return tuple(map(_computed, gradient(known, kept, g, *tensors)))

        return result, backward

    return run(*tensors)


def mirrored(low: Any, u: Any) -> Any:
    """The left half of a symmetric kernel, known at -|u|, put where u is: 1 - low where u > 0.

    PyTorch takes thirty times as long to choose, where conditions vary, as to multiply.
    """
    if backend() != "torch":
        return K.where(u > 0, 1 - low, low)
    side = u.sign()
    return 0.5 * (1 + side) - side * low


def sloped(value: Callable[[Any], Any], slope: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of one tensor of PyTorch with its derivative written down, of any order."""
    import torch

    class Sloped(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(u: Any) -> Any:  # pyright: ignore
            return value(u)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx: Any, upstream: Any) -> Any:  # pyright: ignore
            return upstream * slope(*ctx.saved_tensors)

        @staticmethod
        def jvp(ctx: Any, tangent: Any) -> Any:  # pyright: ignore
            return tangent * slope(*ctx.saved_tensors)

    return Sloped.apply


def without_bad_gradient(x: Any) -> Any:
    """A tensor of PyTorch as it is; an infinite or NaN gradient counts as 0, unless x is NaN."""
    import torch

    class Guarded(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x: Any) -> Any:  # pyright: ignore
            return x.view_as(x)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx: Any, upstream: Any) -> Any:  # pyright: ignore
            (x,) = ctx.saved_tensors
            return torch.where(x.isnan(), upstream, upstream.nan_to_num(0.0, 0.0, 0.0))

        @staticmethod
        def jvp(ctx: Any, tangent: Any) -> Any:  # pyright: ignore
            return tangent

    return Guarded.apply(x)


def _with_gradient_in_jax(
    value: Callable[..., Any], gradient: Callable[..., Any], tensors: Sequence[Any], known: Any
) -> Any:
    import jax

    @jax.custom_vjp
    def run(known: Any, *tensors: Any) -> Any:
        return value(known, *tensors)

    def forward(known: Any, *tensors: Any) -> Any:
        result, kept = run(known, *tensors)  # by its own rule, so that this can be derived again
        return (result, kept), (known, kept, tensors)

    def backward(saved: Any, upstream: Any) -> Any:
        known, kept, tensors = saved
        return (None, *map(_computed, gradient(known, kept, upstream[0], *tensors)))

    run.defvjp(forward, backward)
    return run(known, *tensors)[0]


def _with_gradient_in_torch(
    value: Callable[..., Any], gradient: Callable[..., Any], tensors: Sequence[Any], known: Any
) -> Any:
    """For `torch.func` too, so all that the derivative uses goes in or comes out as tensors."""
    import torch
    from keras import tree

    count, given = len(tensors), tree.flatten(known)
    layout: list[Any] = []

    class Declared(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*inputs: Any) -> Any:  # pyright: ignore
            result, kept = value(tree.pack_sequence_as(known, inputs[count:]), *inputs[:count])
            layout[:] = [kept]
            # an input cannot be handed out as it is
            return result, *(_seen(t) for t in tree.flatten(kept))

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            kept = output[1:]
            ctx.mark_non_differentiable(*(t for t in kept if isinstance(t, torch.Tensor)))
            ctx.parts = _Parts([*inputs, *kept])
            ctx.save_for_backward(*ctx.parts.tensors)
            ctx.number = len(inputs)

        @staticmethod
        def backward(ctx: Any, upstream: Any, *_: Any) -> Any:  # pyright: ignore
            parts = ctx.parts.filled(ctx.saved_tensors)
            inputs, kept = (
                parts[: ctx.number],
                tree.pack_sequence_as(layout[0], parts[ctx.number :]),
            )
            constants = tree.pack_sequence_as(known, inputs[count:])
            found = gradient(constants, kept, upstream, *inputs[:count])
            wanted = ctx.needs_input_grad
            own = (_computed(g) if w else None for g, w in zip(found, wanted[:count], strict=True))
            return *own, *(None for _ in inputs[count:])

    return Declared.apply(*tensors, *given)[0]


def _seen(value: Any) -> Any:
    return value.view_as(value) if hasattr(value, "view_as") else value


class _Parts:
    """Values of which some are tensors; those are kept elsewhere."""

    def __init__(self, values: Sequence[Any]) -> None:
        import torch

        self._values = [None if isinstance(v, torch.Tensor) else v for v in values]
        self._places = [n for n, v in enumerate(values) if isinstance(v, torch.Tensor)]
        self.tensors = [values[n] for n in self._places]

    def filled(self, tensors: Sequence[Any]) -> list[Any]:
        """The values, with tensors in their places."""
        found = list(self._values)
        for n, tensor in zip(self._places, tensors, strict=True):
            found[n] = tensor
        return found


def _computed(gradient: Any) -> Any:
    return gradient() if callable(gradient) else gradient


def _compiled_by_xla() -> bool:
    """Whether TensorFlow is tracing a function for `jit_compile=True`."""
    import tensorflow as tf
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

    if tf.executing_eagerly():
        return False
    return GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
