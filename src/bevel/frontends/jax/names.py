"""Which JAX primitive is which word of the vocabulary: one line each.

`NAMES` gives the vocabulary's name, the positions of the operands it speaks of, and what it wants
to know beside them. `ELEMENTWISE` and `STRUCTURAL` sort primitives that stay native; `ALIKE` says
which operands of a primitive must have one dtype, and `BROADCASTS` which must have one shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax.interpreters import ad

from bevel.vocabulary import VOCABULARY

Params = Callable[[Any], dict[str, Any]]
Entry = tuple[str, tuple[int, ...], Params]


def dtype_of(atom: Any) -> str:
    """The name of the dtype of a variable or literal."""
    return str(atom.aval.dtype)


def _none(eqn: Any) -> dict[str, Any]:
    return {}


def _reduction(eqn: Any) -> dict[str, Any]:
    return {"axis": tuple(int(a) for a in eqn.params["axes"]), "keepdims": False}


def _arg(eqn: Any) -> dict[str, Any]:
    return {"axis": int(eqn.params["axes"][0])}


def _dtype(eqn: Any) -> dict[str, Any]:
    return {"dtype": dtype_of(eqn.outvars[0])}


def _top_k(eqn: Any) -> dict[str, Any]:
    return {"k": eqn.params["k"], "axis": int(eqn.params.get("axis", -1))}


def _concat(eqn: Any) -> dict[str, Any]:
    return {"axis": int(eqn.params["dimension"])}


def _stack(eqn: Any) -> dict[str, Any]:
    return {"axis": int(eqn.params["axis"])}


def _same(names: str, op: str, operands: tuple[int, ...], params: Params = _none):
    return {name: (op, operands, params) for name in names.split()}


NAMES: dict[str, Entry] = {
    **_same("gt", "greater", (0, 1)),
    **_same("ge", "greater_equal", (0, 1)),
    **_same("lt lt_to", "less", (0, 1)),
    **_same("le le_to", "less_equal", (0, 1)),
    **_same("eq eq_to", "equal", (0, 1)),
    **_same("ne", "not_equal", (0, 1)),
    **_same("sign", "sign", (0,)),
    **_same("round", "round", (0,)),
    **_same("floor", "floor", (0,)),
    **_same("ceil", "ceil", (0,)),
    **_same("is_finite", "isfinite", (0,)),
    **_same("reduce_and", "all", (0,), _reduction),
    **_same("reduce_or", "any", (0,), _reduction),
    **_same("bitcast_convert_type", "bitcast", (0,), _dtype),
    **_same("select_n", "where", (0, 2, 1)),
    **_same("convert_element_type", "astype", (0,), _dtype),
    **_same("abs", "abs", (0,)),
    **_same("max", "maximum", (0, 1)),
    **_same("min", "minimum", (0, 1)),
    **_same("clamp", "clip", (1, 0, 2)),
    **_same("reduce_max", "max", (0,), _reduction),
    **_same("reduce_min", "min", (0,), _reduction),
    **_same("reduce_sum", "sum", (0,), _reduction),
    **_same("sqrt", "sqrt", (0,)),
    **_same("rsqrt", "rsqrt", (0,)),
    **_same("div", "divide", (0, 1)),
    **_same("log", "log", (0,)),
    **_same("log1p", "log1p", (0,)),
    **_same("pow", "pow", (0, 1)),
    **_same("atan2", "atan2", (0, 1)),
    **_same("acos", "acos", (0,)),
    **_same("asin", "asin", (0,)),
    **_same("atanh", "atanh", (0,)),
    **_same("acosh", "acosh", (0,)),
    **_same("add add_any", "add", (0, 1)),
    **_same("sub", "subtract", (0, 1)),
    **_same("mul", "multiply", (0, 1)),
    **_same("neg", "negative", (0,)),
    **_same("argmax", "argmax", (0,), _arg),
    **_same("argmin", "argmin", (0,), _arg),
    **_same("top_k", "top_k", (0,), _top_k),
    **_same("copy copy_p", "identity", (0,)),
    **_same("stack", "stack", (), _stack),
    **_same("concatenate", "concat", (), _concat),
    **_same("stop_gradient", "stop_gradient", (0,)),
    **_same("pure_callback io_callback", "py_call", ()),
}

# Words that depend on the dtype: what the primitive is for truths, and for integers.
FOR_TRUTHS = {"and": "logical_and", "or": "logical_or", "not": "logical_not", "xor": "logical_xor"}
FOR_INTEGERS = {
    "div": "floor_divide",
    "and": "bitwise_and",
    "or": "bitwise_and",
    "xor": "bitwise_and",
}

ELEMENTWISE = frozenset(
    """
    exp exp2 expm1 logistic tanh square integer_pow sin cos tan atan sinh cosh asinh erf erfc lgamma
    digamma cbrt rem real imag conj nextafter reduce_precision select_n shift_left not
    shift_right_logical shift_right_arithmetic population_count
    """.split()
)

STRUCTURAL = frozenset(
    """
    reshape transpose broadcast_in_dim squeeze expand_dims slice dynamic_slice rev pad split gather
    tile
    """.split()
)

# Operands that are brought to one dtype, the widest float among them where there is one. A soft
# value is a float where the user's program had an integer or a bool.
ALIKE: dict[str, slice | tuple[int, ...]] = {
    **dict.fromkeys(
        """
        gt ge lt le eq ne lt_to le_to eq_to max min clamp add add_any sub mul div rem pow atan2
        nextafter concatenate stack dot_general conv_general_dilated pad and or xor
        """.split(),
        slice(None),
    ),
    "select_n": slice(1, None),
    "dynamic_update_slice": (0, 1),
    "scan_update": (0, 2),
    **dict.fromkeys(
        "scatter scatter-add scatter-sub scatter-mul scatter-min scatter-max".split(), (0, 2)
    ),
}

# Primitives that act on each element and take arrays of one shape: operands are broadcast.
BROADCASTS = frozenset(
    """
    gt ge lt le eq ne lt_to le_to eq_to max min clamp add add_any sub mul div rem pow atan2
    nextafter and or xor select_n shift_left shift_right_logical shift_right_arithmetic
    """.split()
)

# Sums of products.
PRODUCTS = frozenset({"dot_general", "conv_general_dilated"})

# Give for each element one of those up to it.
RUNNING = frozenset({"cummax", "cummin"})

# Make whole numbers of whole numbers.
KEEPING_WHOLE = RUNNING | {"cumprod", "reduce_window_max", "reduce_window_min", "reduce_window_sum"}

# Functions with a declared derivative that are a word of the vocabulary.
DECLARED = {"relu": "relu", "relu6": "relu6"}

# Primitives that only run what they hold.
CALLS = frozenset(
    "jit pjit closed_call core_call remat remat2 checkpoint custom_vmap_call custom_lin".split()
)


def word_of(eqn: Any) -> Entry:
    """What the vocabulary calls an equation; "native" where it has no word."""
    name = eqn.primitive.name
    first = eqn.invars[0] if eqn.invars else None
    dtype = dtype_of(first) if first is not None else ""
    if name in FOR_TRUTHS and dtype == "bool":
        return FOR_TRUTHS[name], tuple(range(len(eqn.invars))), _none
    if name in FOR_INTEGERS and "int" in dtype:
        return FOR_INTEGERS[name], (0, 1), _none
    if name == "select_n" and len(eqn.invars) != 3:
        return "native", (), _none
    if name == "convert_element_type" and dtype_of(eqn.outvars[0]) == dtype:
        return "identity", (0,), _none
    if name == "integer_pow" and eqn.params["y"] == -1:
        return "reciprocal", (0,), _none
    if name == "ne" and eqn.invars[0] is eqn.invars[1]:
        return "isnan", (0, 1), _none
    return NAMES.get(name, ("native", (), _none))


def nature_of(name: str, word: str, primitive: Any = None) -> str:
    """How a gradient meets an operation; see `bevel.vocabulary.NATURES`."""
    if word != "native":
        return VOCABULARY[word]
    if name in ELEMENTWISE:
        return "elementwise"
    if name in STRUCTURAL:
        return "structural"
    if name == "iota":
        return "constant"
    return "smooth" if primitive in ad.primitive_jvps else "opaque"
