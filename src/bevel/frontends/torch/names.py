"""Which PyTorch operation is which word of the vocabulary: one line each.

`NAMES` gives the word, by which the user's expression is searched too, and what writes it down
(`lowering`, `positions`). The sets below sort operations that stay native; whether one
that is in none of them has a derivative is asked of PyTorch itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from bevel.frontends.torch import losses
from bevel.frontends.torch import lowering as to
from bevel.frontends.torch import positions as at
from bevel.frontends.torch.act import Act, Lowering
from bevel.frontends.torch.kernels import OWN, resolve
from bevel.frontends.torch.templates import Var, concrete

Entry = tuple[str, Lowering]


def _same(names: str, op: str, lowering: Lowering) -> dict[str, Entry]:
    return {name: (op, lowering) for name in names.split()}


def _binary(names: str, op: str, target: str) -> dict[str, Entry]:
    return _same(names, op, to.binary(op, target))


def _unary(names: str, op: str) -> dict[str, Entry]:
    return _same(names, op, to.plain(op, (0,)))


NAMES: dict[str, Entry] = {
    **_binary("gt", "greater", "aten.gt.Tensor"),
    **_binary("ge", "greater_equal", "aten.ge.Tensor"),
    **_binary("lt", "less", "aten.lt.Tensor"),
    **_binary("le", "less_equal", "aten.le.Tensor"),
    **_binary("eq", "equal", "aten.eq.Tensor"),
    **_binary("ne", "not_equal", "aten.ne.Tensor"),
    **_unary("sign sgn", "sign"),
    **_same("round", "round", to.rounded),
    **_unary("floor", "floor"),
    **_unary("ceil", "ceil"),
    **_same("trunc fix", "trunc", to.truncate),
    **_same("frac", "trunc", to.fraction),
    **_binary("floor_divide", "floor_divide", "aten.floor_divide.default"),
    **_binary("remainder", "remainder", "aten.remainder.Tensor"),
    **_same("threshold", "where", to.threshold),
    **_same("hardshrink", "where", to.hard_shrink),
    **_same("heaviside", "greater", to.heaviside),
    **_unary("isnan", "isnan"),
    **_unary("isfinite", "isfinite"),
    **_unary("isinf isposinf isneginf", "isinf"),
    **_same("logical_and", "logical_and", to.logical("logical_and")),
    **_same("logical_or", "logical_or", to.logical("logical_or")),
    **_same("logical_xor", "logical_xor", to.logical("logical_xor")),
    **_same("bitwise_and", "logical_and", to.bitwise("logical_and")),
    **_same("bitwise_or", "logical_or", to.bitwise("logical_or")),
    **_same("bitwise_xor", "logical_xor", to.bitwise("logical_xor")),
    **_same("logical_not bitwise_not", "logical_not", to.negation),
    **_same("all", "all", to.reduction("all", "aten.all.dims", True)),
    **_same("any", "any", to.reduction("any", "aten.any.dims", True)),
    **_same("isin", "equal", to.is_in),
    **_same("where", "where", to.where),
    **_same("masked_fill", "where", to.masked_fill),
    **_same("_to_copy", "astype", to.cast),
    **_unary("abs", "abs"),
    **_unary("relu", "relu"),
    **_unary("leaky_relu", "leaky_relu"),
    **_unary("clamp clamp_min clamp_max hardtanh", "clip"),
    **_binary("maximum fmax", "maximum", "aten.maximum.default"),
    **_binary("minimum fmin", "minimum", "aten.minimum.default"),
    **_same("max", "max", to.extreme("max", "aten.amax.default", "argmax")),
    **_same("min", "min", to.extreme("min", "aten.amin.default", "argmin")),
    **_same("amax", "max", to.reduction("max", "aten.amax.default")),
    **_same("amin", "min", to.reduction("min", "aten.amin.default")),
    **_same("sum", "sum", to.reduction("sum", "aten.sum.dim_IntList")),
    **_same("linalg_vector_norm", "vector_norm", to.norm),
    **_same("dot", "sum", to.dot),
    **_same("nansum", "sum", to.sum_of_known),
    **_same("mean", "mean", to.reduction("mean", "aten.mean.dim")),
    **_same("prod", "prod", to.product),
    **_same("var", "variance", to.variance(is_root=False)),
    **_same("std", "variance", to.variance(is_root=True)),
    **_same("median", "median", to.at_rank(1)),
    **_same("kthvalue", "native", to.at_rank(2)),
    **_same("cumsum", "cumulative_sum", to.cumulative_sum),
    **_same("cumprod", "native", to.cumulative_product),
    **_same("_softmax", "softmax", to.along("softmax")),
    **_same("_log_softmax", "log_softmax", to.along("log_softmax")),
    **_same("logsumexp", "logsumexp", to.along("logsumexp")),
    **_same("count_nonzero", "count_nonzero", to.count_nonzero),
    **_unary("sqrt", "sqrt"),
    **_unary("rsqrt", "rsqrt"),
    **_unary("reciprocal", "reciprocal"),
    **_same("div", "divide", to.divide),
    **_unary("log log2 log10", "log"),
    **_unary("log1p", "log1p"),
    **_binary("pow", "pow", "aten.pow.Tensor_Tensor"),
    **_binary("atan2", "atan2", "aten.atan2.default"),
    **_unary("acos", "acos"),
    **_unary("asin", "asin"),
    **_unary("atanh", "atanh"),
    **_unary("acosh", "acosh"),
    **_binary("add", "add", "aten.add.Tensor"),
    **_binary("sub", "subtract", "aten.sub.Tensor"),
    **_same("rsub", "subtract", to.reversed_subtract),
    **_binary("mul", "multiply", "aten.mul.Tensor"),
    **_unary("neg", "negative"),
    **_same("argmax", "argmax", to.search("argmax")),
    **_same("argmin", "argmin", to.search("argmin")),
    **_same("sort argsort", "top_k", to.sort),
    **_same("topk", "top_k", to.top_k),
    **_same("searchsorted", "searchsorted", to.plain("searchsorted", (0, 1))),
    **_same("bucketize", "bucketize", at.bucketize),
    **_same("histc", "histogram", at.histogram),
    **_same("_unique2", "unique_values", to.unique),
    **_unary("unique_dim unique_consecutive _unique", "unique_values"),
    **_same("nonzero", "nonzero", at.nonzero),
    **_same("select", "native", at.select),
    **_same("unbind", "native", at.unbind),
    **_same("index", "take", at.index),
    **_same("masked_select", "take", at.masked_select),
    **_same("index_select", "take", at.index_select),
    **_same("take", "take", at.take_flat),
    **_same("index_fill", "scatter_update", at.index_fill),
    **_same("embedding", "take", at.embedding),
    **_same("gather", "take", at.gather),
    **_same("index_put _index_put_impl", "scatter_update", at.index_put),
    **_same("masked_scatter", "scatter_update", at.masked_scatter),
    **_same("scatter scatter_reduce", "scatter", at.scatter("scatter_update")),
    **_same("scatter_add", "scatter_add", at.scatter("scatter_add")),
    **_same("index_add", "scatter_add", at.index_add),
    **_same("bincount", "bincount", at.bincount),
    **_same("mse_loss smooth_l1_loss huber_loss soft_margin_loss binary_cross_entropy "
            "binary_cross_entropy_with_logits", "native", losses.of_elements),
    **_same("nll_loss_forward nll_loss2d_forward", "native", losses.of_classes),
    **_same("log_sigmoid_forward", "native", losses.log_sigmoid),
    **_same("fill copy", "identity", to.filled),
    **_unary("alias clone lift_fresh lift contiguous", "identity"),
    **_same("stack", "stack", to.join("stack")),
    **_same("cat", "concat", to.join("concat")),
    **_unary("detach", "stop_gradient"),
    **_same("zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty zero "
            "new_empty_strided", "native", to.from_shape),
}  # fmt: skip

ELEMENTWISE = frozenset(
    """
    square exp exp2 expm1 sigmoid tanh softplus elu selu celu gelu silu mish hardsigmoid hardswish
    sin cos tan atan sinh cosh asinh erf erfc erfinv lgamma digamma xlogy
    fmod logit lerp addcmul addcdiv hypot logaddexp logaddexp2 copysign nan_to_num softshrink
    deg2rad rad2deg positive
    """.split()
)

STRUCTURAL = frozenset(
    """
    view _unsafe_view reshape _reshape_alias expand permute transpose t select slice unsqueeze
    squeeze split split_with_sizes unbind flip roll diagonal unfold repeat constant_pad_nd tril triu
    diag_embed rot90 as_strided view_as broadcast_to narrow movedim
    """.split()
)

# Memory with whatever was there.
UNINITIALISED = frozenset({"empty", "empty_like", "empty_strided", "new_empty"})

# Words for operations whose results have a length that depends on values.
CHANGING_SIZE = frozenset({"nonzero", "unique_values"})

# Give a bool of Python's, from values.
PLAIN_ANSWERS = frozenset({"equal", "is_nonzero", "is_same_size"})


def lower(act: Act) -> list[Var]:
    """Writes an operation down; gives a value for each of its results."""
    word, lowering = NAMES.get(act.name.removesuffix("_"), ("native", None))
    act.word = word
    return act.as_it_is() if lowering is None else lowering(act)


def nature(target: str, args: Sequence[Any], kwargs: dict[str, Any]) -> str:
    """How a gradient meets an operation that stays native."""
    name = target.split(".")[1]
    if name in ELEMENTWISE:
        return "elementwise"
    if name.removesuffix("_copy") in STRUCTURAL:
        return "structural"
    func = resolve(target)
    if target in OWN:
        return "position"
    if is_random(func):
        return "random"
    given = [v for a in (*args, *kwargs.values()) for v in (a if isinstance(a, list) else [a])]
    floats = any(isinstance(v, Var) and v.dtype.is_floating_point for v in given)
    key = (target, floats)  # of integers nothing has a derivative
    if key not in _derivatives:
        _derivatives[key] = _has_derivative(func, args, kwargs)
    return "smooth" if _derivatives[key] else "opaque"


def is_random(func: Any) -> bool:
    """Whether an operation draws numbers, others in each call."""
    return torch.Tag.nondeterministic_seeded in getattr(func, "tags", ())


# What PyTorch writes for the end of `x[2:]`.
_NO_END = 2**62

# Sums of products.
_PRODUCTS = frozenset("mm bmm mv addmm baddbmm addmv convolution".split())

# Give for each element one of those up to it.
_RUNNING = frozenset({"cummax", "cummin"})

# Make whole numbers of whole numbers.
_KEEPING_WHOLE = frozenset({"cumprod", *(f"max_pool{n}d_with_indices" for n in (2, 3))})

# What each row of the first operand meets by itself.
_OF_EACH_ROW = frozenset({"mm", "mv", "_cdist_forward", "_euclidean_dist"})

# Where the axis stands among the arguments of what leaves the other axes as they are.
_ONE_AXIS = {"select": 1, "slice": 1, "unsqueeze": 1, "squeeze": 1, "unbind": 1, "flip": 1}


def facts(target: str, args: Sequence[Any]) -> dict[str, Any]:
    """What the rules want to know of operations that stay native, too."""
    name = target.split(".")[1]
    if name in _PRODUCTS:
        return {"products": True, "each_row": name in _OF_EACH_ROW}
    if name in _OF_EACH_ROW:
        return {"each_row": True}
    if name in _RUNNING:
        return {"running": True, "keeps_whole": True}
    if name in _KEEPING_WHOLE:
        return {"keeps_whole": True}
    if name == "select" and args[1] % max(args[0].rank, 1) == 0:
        return {"picks": args[2]}
    if name == "slice" and (len(args) < 2 or args[1] % args[0].rank == 0):
        start, stop, step = (*args[2:], None, None, None)[:3]
        if step in (None, 1):
            return {"spans": (start or 0, stop if stop is None or stop < _NO_END else None)}
    if name in ("view", "_unsafe_view", "reshape") and args[0].rank and args[1]:
        before, after = args[0].shape, list(args[1])
        differ = sum(m != n for m, n in zip(before, after, strict=False))
        stays = len(before) == len(after) and (differ == 0 or (differ == 1 and -1 in after))
        rest = after[1:]
        is_by_row = after[0] in (before[0], -1) and math.prod(rest) == math.prod(before[1:])
        return {"stays": stays, "row_shape": tuple(rest) if is_by_row else None}
    if name == "squeeze" and len(args) == 1 and args[0].rank and args[0].shape[0] != 1:
        return {"keeps_rows": True}
    if name not in _ONE_AXIS or len(args) <= _ONE_AXIS[name]:
        return {}
    axes = args[_ONE_AXIS[name]]
    axes = axes if isinstance(axes, list) else [axes]
    rank = args[0].rank + (name == "unsqueeze")
    return {"keeps_rows": True} if all(a % max(rank, 1) for a in axes) else {}


_derivatives: dict[tuple[str, bool], bool] = {}


def _has_derivative(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether a result is connected to the floats that go in, as PyTorch itself sees it."""

    def tracked(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            return value.clone().requires_grad_()
        if isinstance(value, list):
            return [tracked(v) for v in value]
        return value

    given = concrete(list(args))
    named = concrete(kwargs)

    def asked() -> Any:
        with torch.enable_grad():
            try:
                return func(*tracked(given), **{k: tracked(v) for k, v in named.items()})
            except RuntimeError:  # some operands have no derivative, such as a target or a weight
                return func(tracked(given[0]), *given[1:], **named)

    # while an operation is being recorded its own thread does not differentiate
    with ThreadPoolExecutor(1) as other:
        found = other.submit(asked).result()
    results = found if isinstance(found, list | tuple) else [found]
    makers = [r.grad_fn for r in results if isinstance(r, torch.Tensor) and r.grad_fn is not None]
    return bool(makers) and not any(type(m).__name__ == "NotImplemented" for m in makers)
