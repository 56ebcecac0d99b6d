"""Which TensorFlow operation is which word of the vocabulary: one line each.

`NAMES` gives the vocabulary's name, the positions of the operands it speaks of, and what it wants
to know beside them. `ELEMENTWISE`, `STRUCTURAL` and `SHAPE` sort operations that stay native.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Params = Callable[[tf.Operation], dict[str, Any]]


def _static(op: tf.Operation, position: int) -> Any:
    """The value of an operand that must be known when tracing, or None."""
    value = tf.get_static_value(op.inputs[position])
    if value is None:
        return None
    return value.tolist() if value.ndim else value.item()


def _reduction(op: tf.Operation) -> dict[str, Any]:
    axis = _static(op, 1)
    if axis is None and op.inputs[0].shape.rank is not None and op.inputs[1].op.type == "Range":
        axis = list(range(op.inputs[0].shape.rank))
    axis = tuple(axis) if isinstance(axis, list) else axis if axis is None else (axis,)
    return {"axis": axis, "keepdims": op.get_attr("keep_dims")}


def _arg(op: tf.Operation) -> dict[str, Any]:
    return {"axis": _static(op, 1)}


def _dtype(op: tf.Operation) -> dict[str, Any]:
    return {"dtype": op.outputs[0].dtype.name}


def _gather(op: tf.Operation) -> dict[str, Any]:
    return {"axis": _static(op, 2), "batch_dims": op.get_attr("batch_dims")}


def _top_k(op: tf.Operation) -> dict[str, Any]:
    return {"k": op.outputs[0].shape[-1]}


def _in_top_k(op: tf.Operation) -> dict[str, Any]:
    return {"k": _static(op, 2)}


def _average(op: tf.Operation) -> dict[str, Any]:
    return {"averages": True}


def _slice(op: tf.Operation) -> dict[str, Any]:
    steps = tuple(_static(op, 3) or ())
    if op.get_attr("new_axis_mask") or op.get_attr("ellipsis_mask"):
        return {"steps": steps}
    mask = op.get_attr("shrink_axis_mask")
    known: dict[str, Any] = {"single": tuple(n for n in range(len(steps)) if mask >> n & 1)}
    begin = _static(op, 1)
    if known["single"] == (0,) and len(steps) == 1 and begin is not None:
        known["picks"] = begin[0]
    if known["single"] == (0, 1) and len(steps) == 2 and begin is not None:
        known["picks"], known["column"] = begin
    if steps == (1,) and not known["single"]:
        start = 0 if op.get_attr("begin_mask") else begin and begin[0]
        end = _static(op, 2)
        stop = None if op.get_attr("end_mask") else end and end[0]
        if start is not None and (stop is not None or op.get_attr("end_mask")):
            known["spans"] = (start, stop)
    return {"steps": steps, **known}


def _cumulative(op: tf.Operation) -> dict[str, Any]:
    from_start = not (op.get_attr("exclusive") or op.get_attr("reverse"))
    return {"axis": _static(op, 1) if from_start else None}


def _bucketize(op: tf.Operation) -> dict[str, Any]:
    return {"boundaries": tuple(op.get_attr("boundaries"))}


def _histogram(op: tf.Operation) -> dict[str, Any]:
    return {"nbins": _static(op, 2)}


def _one_hot(op: tf.Operation) -> dict[str, Any]:
    return {"num_classes": _static(op, 1), "axis": op.get_attr("axis")}


def _concat(op: tf.Operation) -> dict[str, Any]:
    return {"axis": _static(op, len(op.inputs) - 1)}


def _pack(op: tf.Operation) -> dict[str, Any]:
    return {"axis": op.get_attr("axis")}


def _set_operation(op: tf.Operation) -> dict[str, Any]:
    return {"kind": op.get_attr("set_operation").decode()}


def _select(op: tf.Operation) -> dict[str, Any]:
    """The old `Select` takes a vector that picks whole rows; `SelectV2` broadcasts."""
    ranks = [t.shape.rank for t in op.inputs[:2]]
    return {"rows": True} if op.type == "Select" and ranks[0] != ranks[1] else {}


def _last_axis(op: tf.Operation) -> dict[str, Any]:
    return {"axis": (-1,)}


def _none(op: tf.Operation) -> dict[str, Any]:
    return {}


Operands = tuple[int, ...] | slice
Entry = tuple[str, Operands, Params]


def _unique(op: tf.Operation) -> dict[str, Any]:
    return {"inverse": bool(op.outputs[1].consumers())}


def _same(names: str, op: str, operands: Operands, params: Params = _none) -> dict[str, Entry]:
    return {name: (op, operands, params) for name in names.split()}


NATIVE: Entry = ("native", slice(None), _none)

NAMES: dict[str, Entry] = {
    **_same("Greater", "greater", (0, 1)),
    **_same("GreaterEqual", "greater_equal", (0, 1)),
    **_same("Less", "less", (0, 1)),
    **_same("LessEqual", "less_equal", (0, 1)),
    **_same("Equal ApproximateEqual", "equal", (0, 1)),
    **_same("NotEqual", "not_equal", (0, 1)),
    **_same("Sign", "sign", (0,)),
    **_same("Round Rint", "round", (0,)),
    **_same("Floor", "floor", (0,)),
    **_same("Ceil", "ceil", (0,)),
    **_same("FloorDiv", "floor_divide", (0, 1)),
    **_same("FloorMod", "remainder", (0, 1)),
    **_same("IsNan", "isnan", (0,)),
    **_same("IsFinite", "isfinite", (0,)),
    **_same("IsInf", "isinf", (0,)),
    **_same("LogicalAnd", "logical_and", (0, 1)),
    **_same("LogicalOr", "logical_or", (0, 1)),
    **_same("LogicalNot", "logical_not", (0,)),
    **_same("All", "all", (0,), _reduction),
    **_same("Any", "any", (0,), _reduction),
    **_same("Softmax", "softmax", (0,), _last_axis),
    **_same("LogSoftmax", "log_softmax", (0,), _last_axis),
    **_same("Bitcast", "bitcast", (0,), _dtype),
    **_same("BitwiseAnd BitwiseOr BitwiseXor", "bitwise_and", (0, 1)),
    **_same("Select SelectV2", "where", (0, 1, 2), _select),
    **_same("Cast", "astype", (0,), _dtype),
    **_same("Abs", "abs", (0,)),
    **_same("Relu", "relu", (0,)),
    **_same("Relu6", "relu6", (0,)),
    **_same("LeakyRelu", "leaky_relu", (0,)),
    **_same("Maximum", "maximum", (0, 1)),
    **_same("Minimum", "minimum", (0, 1)),
    **_same("ClipByValue", "clip", (0, 1, 2)),
    **_same("Max", "max", (0,), _reduction),
    **_same("Min", "min", (0,), _reduction),
    **_same("Sum", "sum", (0,), _reduction),
    **_same("Mean", "mean", (0,), _reduction),
    **_same("Cumsum", "cumulative_sum", (0,), _cumulative),
    **_same("Prod", "prod", (0,), _reduction),
    **_same("Sqrt", "sqrt", (0,)),
    **_same("Rsqrt", "rsqrt", (0,)),
    **_same("Reciprocal Inv", "reciprocal", (0,)),
    **_same("RealDiv Div", "divide", (0, 1)),
    **_same("Log", "log", (0,)),
    **_same("Log1p", "log1p", (0,)),
    **_same("Pow", "pow", (0, 1)),
    **_same("Atan2", "atan2", (0, 1)),
    **_same("Acos", "acos", (0,)),
    **_same("Asin", "asin", (0,)),
    **_same("Atanh", "atanh", (0,)),
    **_same("Acosh", "acosh", (0,)),
    **_same("Add AddV2", "add", (0, 1)),
    **_same("Sub", "subtract", (0, 1)),
    **_same("Mul", "multiply", (0, 1)),
    **_same("Neg", "negative", (0,)),
    **_same("ArgMax", "argmax", (0,), _arg),
    **_same("UnravelIndex", "unravel_index", (0, 1)),
    **_same("InvertPermutation", "invert_permutation", (0,)),
    **_same("SparseSoftmaxCrossEntropyWithLogits", "sparse_cross_entropy", (0, 1)),
    **_same("ArgMin", "argmin", (0,), _arg),
    **_same("TopKV2 TopK", "top_k", (0,), _top_k),
    **_same("InTopKV2 InTopK", "in_top_k", (0, 1), _in_top_k),
    **_same("LowerBound UpperBound", "searchsorted", (0, 1)),
    **_same("Bucketize", "bucketize", (0,), _bucketize),
    **_same("HistogramFixedWidth", "histogram", (0, 1, 2), _histogram),
    **_same("Unique UniqueWithCounts", "unique_values", (0,), _unique),
    **_same("UniqueV2 UniqueWithCountsV2", "unique_values", (0,)),
    **_same("Where", "nonzero", (0,)),
    **_same("OneHot", "one_hot", (0, 2, 3), _one_hot),
    **_same("GatherV2", "take", (0, 1), _gather),
    **_same("GatherNd", "gather_nd", (0, 1)),
    **_same("ScatterNd", "scatter", (0, 1)),
    **_same("TensorScatterAdd TensorScatterSub", "scatter_add", (0, 1, 2)),
    **_same("TensorScatterUpdate", "scatter_update", (0, 1, 2)),
    **_same("SegmentSum UnsortedSegmentSum", "segment_sum", (0, 1)),
    **_same("SegmentMean", "segment_sum", (0, 1), _average),
    **_same("DynamicPartition", "dynamic_partition", (0, 1)),
    **_same("DenseToDenseSetOperation", "set_operation", (0, 1), _set_operation),
    **_same("SetSize", "set_size", (0, 1, 2)),
    **_same("Bincount DenseBincount", "bincount", (0, 2, 1)),
    **_same("Identity Snapshot CheckNumerics EnsureShape", "identity", (0,)),
    **_same("Pack", "stack", slice(None), _pack),
    **_same("ConcatV2", "concat", slice(-1), _concat),
    **_same("StridedSlice", "slice", (0, 1, 2, 3), _slice),
    **_same("StopGradient PreventGradient", "stop_gradient", (0,)),
    **_same("PyFunc PyFuncStateless EagerPyFunc", "py_call", ()),
    **_same("Assert Print PrintV2", "assert", ()),
    **_same("If StatelessIf", "cond", ()),
    **_same("Case StatelessCase", "switch", ()),
    **_same("While StatelessWhile", "while_loop", ()),
    **_same("PartitionedCall StatefulPartitionedCall", "call", ()),
}

ELEMENTWISE = frozenset(
    """
    AddN DivNoNan MulNoNan Square SquaredDifference Exp Expm1 Sigmoid Tanh Softplus Softsign Elu
    Selu Sin Cos Tan Atan Sinh Cosh Asinh Erf Erfc Lgamma Digamma Xlogy Xlog1py Xdivy Mod
    TruncateMod TruncateDiv RightShift LeftShift Invert Real Imag
    Conj ComplexAbs NextAfter BiasAdd
    """.split()
)

STRUCTURAL = frozenset(
    """
    Reshape Transpose ExpandDims Squeeze Slice Unpack Split SplitV Tile BroadcastTo Pad
    PadV2 MirrorPad ReverseV2 ReverseSequence Roll DiagPart MatrixDiagPart MatrixDiagPartV2
    MatrixDiagPartV3 MatrixBandPart SpaceToBatchND BatchToSpaceND
    """.split()
)

SHAPE = frozenset(
    """
    Shape ShapeN Size Rank ZerosLike OnesLike BroadcastArgs BroadcastGradientArgs TensorListLength
    """.split()
)

# What is asked of how many rows a mask picks, see `bevel.rules.selection`.
COUNTS = {"Size": "all", "Shape": "shape"}

# Operations that change a variable: what such a function gives depends on what ran before.
ASSIGNING = frozenset(
    """
    AssignVariableOp AssignAddVariableOp AssignSubVariableOp ResourceScatterAdd ResourceScatterSub
    ResourceScatterUpdate ResourceScatterNdAdd ResourceScatterNdUpdate ResourceStridedSliceAssign
    """.split()
)

# Operands that are sizes: how large something is stays what the user's program makes it.
SIZES = {
    "Fill": (0,),
    "Reshape": (1,),
    "BroadcastTo": (1,),
    "Tile": (1,),
    "Pad": (1,),
    "PadV2": (1,),
    "Range": (0, 1, 2),
}

# Operations whose results have a length that depends on values.
SELECTING = frozenset(
    """
    Where Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2 DynamicPartition ListDiff
    """.split()
)

RANDOM = frozenset(
    """
    RandomUniform RandomStandardNormal RandomUniformInt TruncatedNormal RandomShuffle Multinomial
    RandomGamma RandomPoissonV2 StatelessRandomUniform StatelessRandomUniformV2
    StatelessRandomNormal StatelessRandomNormalV2 StatelessMultinomial StatelessRandomUniformInt
    StatelessTruncatedNormal StatelessRandomUniformIntV2 ParameterizedTruncatedNormal
    """.split()
)


# Sums of products.
PRODUCTS = frozenset(
    """
    MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum Conv2D Conv3D DepthwiseConv2dNative
    """.split()
)

# Make whole numbers of whole numbers.
KEEPING_WHOLE = frozenset({"MaxPool", "MaxPoolV2", "MaxPool3D", "Cumprod"})

# Give a row for each row.
KEEPING_ROWS = frozenset(
    {
        "OnesLike",
        "ZerosLike",
        "SoftmaxCrossEntropyWithLogits",
        "SparseSoftmaxCrossEntropyWithLogits",
    }
)


def _has_the_same_shape(before: tf.TensorShape, after: tf.TensorShape) -> bool:
    """Whether two shapes of as many elements are the same; one of the lengths may be unknown."""
    if before.rank is None or before.rank != after.rank or 0 in after:
        return False
    return sum(m is None or m != n for m, n in zip(before, after, strict=True)) <= 1


def _row_shape(before: tf.TensorShape, after: tf.TensorShape) -> tuple[int, ...] | None:
    """The shape of each row, if rows of which it is not known how many are reshaped one by one."""
    if not before.rank or not after.rank or before[0] is not None or after[0] is not None:
        return None
    inner, outer = before[1:], after[1:]
    if not inner.is_fully_defined() or inner.num_elements() != outer.num_elements():
        return None
    return tuple(n for n in outer if n is not None)


def facts(op: tf.Operation) -> dict[str, Any]:
    """What the rules want to know of operations that stay native, too."""
    known: dict[str, Any] = {}
    if op.type in SIZES:
        known["sizes"] = SIZES[op.type]
    if op.type == "Reshape":
        known["stays"] = _has_the_same_shape(op.inputs[0].shape, op.outputs[0].shape)
        known["row_shape"] = _row_shape(op.inputs[0].shape, op.outputs[0].shape)
    if op.type == "Fill":
        known["fills"] = True
    if op.type in KEEPING_ROWS:
        known["keeps_rows"] = True
    if op.type in PRODUCTS:
        known["products"] = True
    if op.type in KEEPING_WHOLE:
        known["keeps_whole"] = True
    if op.type == "MatMul" and not op.get_attr("transpose_a"):
        known["each_row"] = True
    if op.type in SHAPE:
        known["shape_only"] = True
    if op.type in COUNTS:
        known["counts"] = COUNTS[op.type]
    return known
