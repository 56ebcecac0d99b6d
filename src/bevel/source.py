"""From a stack to the line, and the piece of that line, that a user wrote.

A front end hands over the frames that were live when an operation was made; this module skips those
inside frameworks and the standard library, and looks in the syntax tree of the line for the
expression that asked for the operation.
"""

from __future__ import annotations

import ast
import importlib.util
import linecache
import os
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from bevel.program import Loc

Frame = tuple[str, int, str]
"""File, line and function."""

_HIDDEN_PACKAGES = ("tensorflow", "keras", "tf_keras", "numpy", "jax", "jaxlib", "torch", "bevel")

_COMPARE = {
    "greater": ast.Gt,
    "greater_equal": ast.GtE,
    "less": ast.Lt,
    "less_equal": ast.LtE,
    "equal": ast.Eq,
    "not_equal": ast.NotEq,
}
# A number on the left hands the comparison over: `0.5 < x` is computed as `x > 0.5`.
_MIRRORED = {
    "greater": "less",
    "greater_equal": "less_equal",
    "less": "greater",
    "less_equal": "greater_equal",
}
_BINARY = {
    "add": ast.Add,
    "subtract": ast.Sub,
    "multiply": ast.Mult,
    "divide": ast.Div,
    "floor_divide": ast.FloorDiv,
    "remainder": ast.Mod,
    "pow": ast.Pow,
    "logical_and": ast.BitAnd,
    "logical_or": ast.BitOr,
    "logical_xor": ast.BitXor,
}
# Names that a call may go by beside the vocabulary's own and the framework's own.
_CALLED = {
    "astype": {"cast", "to_int32", "to_int64", "to_float", "int", "float", "bool", "to", "long",
               "half", "double", "type", "type_as"},
    "where": {"where", "select", "cond"},
    "take": {"gather", "take", "take_along_axis", "embedding_lookup"},
    "scatter": {"scatter_nd", "confusion_matrix", "tensor_scatter_nd_add"},
    "sqrt": {"sqrt", "norm"},
    "pow": {"pow", "power", "square"},
    "top_k": {"top_k", "topk", "argsort", "sort", "msort"},
    "py_call": {"py_function", "numpy_function", "py_func"},
    "any": {"any", "reduce_any"},
    "all": {"all", "reduce_all"},
    "sign": {"sign", "signum", "sgn"},
    "histogram": {"histogram", "histc"},
    "stop_gradient": {"stop_gradient", "detach", "detach_"},
    "unique_values": {"unique", "unique_consecutive"},
}  # fmt: skip


@lru_cache(maxsize=1)
def _hidden_folders() -> tuple[str, ...]:
    folders = [os.path.dirname(os.path.abspath(__file__))]
    for name in _HIDDEN_PACKAGES:
        spec = importlib.util.find_spec(name)
        folders.extend(spec.submodule_search_locations or () if spec else ())
    return tuple(os.path.realpath(f) + os.sep for f in folders)


@lru_cache(maxsize=4096)
def is_users(file: str) -> bool:
    """Whether a file is the user's: not a framework's, Bevel's or the standard library's."""
    if file.startswith("<") and not file.startswith(("<stdin", "<ipython", "<string")):
        return False
    path = os.path.realpath(file)
    if path.startswith(_hidden_folders()):
        return False
    if _is_installed(path):
        return True
    library = sysconfig.get_paths()
    return not path.startswith((library["stdlib"] + os.sep, library["platstdlib"] + os.sep))


def is_own(file: str) -> bool:
    """Whether a file is the user's own, not an installed library's either."""
    return is_users(file) and not _is_installed(os.path.realpath(file))


def _is_installed(file: str) -> bool:
    """Whether a file belongs to an installed library: the user's own files are preferred to it."""
    return "site-packages" in file or "dist-packages" in file


def choose_frame(frames: Sequence[Frame], entry: str) -> Frame | None:
    """The frame to point at: the innermost one of the user's, behind the last one in `entry`.

    Args:
        frames: Outermost first.
        entry: The file of the front end; frames before and in it belong to whoever called Bevel.

    Returns:
        A frame of the user's own files, else of an installed library, else the outermost one where
        the function itself is a framework's own, or None.
    """
    last = max((i for i, f in enumerate(frames) if f[0] == entry), default=-1)
    inner = frames[last + 1 :]
    users = [frame for frame in inner if is_users(frame[0])]
    own = [frame for frame in users if not _is_installed(frame[0])]
    if own or users:
        return (own or users)[-1]
    bevels = _hidden_folders()[0]
    for frame in inner:
        if not _is_machinery(frame[0]) and not os.path.realpath(frame[0]).startswith(bevels):
            return frame
    return None


def _is_machinery(file: str) -> bool:
    path = os.path.realpath(file)
    spec = importlib.util.find_spec("tensorflow")
    roots = list(spec.submodule_search_locations or ()) if spec else []
    library = sysconfig.get_paths()["stdlib"]
    in_library = path.startswith(library) and "site-packages" not in path
    return in_library or any(path.startswith(os.path.realpath(r) + os.sep) for r in roots)


class Locator:
    """Gives each operation its `Loc`; one locator serves one trace.

    Operations of one kind on one line are matched to the expressions of that kind in the order in
    which both appear, so the second `>` of a line is found for the second comparison. Where a
    statement goes over several lines, its operations are found on the one they stand on.
    """

    def __init__(self, entry: str) -> None:
        self._entry = entry
        self._seen: Counter[tuple[str, int, str]] = Counter()
        self._sources: dict[str, _Source] = {}

    def __call__(self, frames: Iterable[Frame], op: str, native: str) -> Loc | None:
        """The user's line for an operation, with columns where the expression is found."""
        frame = choose_frame(list(frames), self._entry)
        if frame is None:
            return None
        file, line, function = frame
        function = function or "<lambda>"  # AutoGraph leaves the name of a lambda empty
        if file not in self._sources:
            linecache.checkcache(file)
            self._sources[file] = _read("".join(linecache.getlines(file)))
        found = self._sources[file].asking(line, op, native)
        key = (file, line, native)
        nth, self._seen[key] = self._seen[key], self._seen[key] + 1
        if not found:
            return Loc(file, line, function, linecache.getline(file, line).rstrip())
        line, start, end = found[nth % len(found)]
        text = linecache.getline(file, line).rstrip()
        return Loc(file, line, function, text, _column(text, start), _column(text, end))


def _column(text: str, offset: int | None) -> int | None:
    """The syntax tree counts bytes; a column counts characters."""
    return None if offset is None else len(text.encode()[:offset].decode(errors="replace"))


Span = tuple[int, int, int | None]
"""Line, first byte, and the byte behind the end (None where it ends on another line)."""


class _Source:
    """The expressions of a file, by line and by statement (or the lambda that they stand in)."""

    def __init__(self, text: str) -> None:
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError):
            tree = ast.Module([], [])
        self._by_line: dict[int, list[ast.expr]] = {}
        self._statement: dict[int, list[ast.expr]] = {}
        self._known: dict[tuple[int, str, str], list[Span]] = {}
        for statement in ast.walk(tree):
            if isinstance(statement, ast.stmt):
                self._add(statement)
        for function in ast.walk(tree):  # from the outside in: the inner one of two keeps a line
            if isinstance(function, ast.Lambda):
                self._add(function)

    def _add(self, owner: ast.stmt | ast.Lambda) -> None:
        """Takes in the expressions of a statement or a lambda, not those of what is inside it."""
        together: list[ast.expr] = []
        if isinstance(owner, ast.If | ast.While):
            together.append(_Condition(owner.test))
        stack = list(ast.iter_child_nodes(owner))
        while stack:
            node = stack.pop()
            if isinstance(node, ast.stmt):
                continue
            together.extend(_expressions(node))
            if not isinstance(node, ast.Lambda):
                stack.extend(ast.iter_child_nodes(node))
        for expression in together:
            for line in {expression.lineno, _span(expression)[0]}:
                self._by_line.setdefault(line, []).append(expression)
                if isinstance(owner, ast.Lambda):
                    self._statement[line] = together
                else:
                    self._statement.setdefault(line, together)

    def asking(self, line: int, op: str, native: str) -> list[Span]:
        """The expressions that may have made an operation of a line, in the order of evaluation."""
        key = (line, op, native)
        if key not in self._known:  # a loop asks for the same line again and again
            self._known[key] = self._search(line, op, native)
        return self._known[key]

    def _search(self, line: int, op: str, native: str) -> list[Span]:
        for expressions in (self._by_line.get(line, ()), self._statement.get(line, ())):
            for word in (op, _MIRRORED.get(op, op)):
                found = [e for e in expressions if _asks_for(e, word, native)]
                if found:
                    return [_span(e) for e in sorted(found, key=_evaluated)]
        return []


@lru_cache(maxsize=64)
def _read(text: str) -> _Source:
    return _Source(text)


def _expressions(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.IfExp):
        yield _Condition(node.test)
    if isinstance(node, ast.expr):
        yield node


def _evaluated(node: ast.expr) -> tuple[int, ...]:
    """Sorts expressions in the order of evaluation: an inner one before the one it is part of."""
    return node.end_lineno or 0, node.end_col_offset or 0, -node.lineno, -node.col_offset


def _span(node: ast.expr) -> Span:
    """Where an expression stands; of a chain of calls over several lines, where its last one is."""
    line, start = node.lineno, node.col_offset
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        named = node.func.end_lineno or line
        if named != line:
            line, start = named, (node.func.end_col_offset or 0) - len(node.func.attr.encode())
    return line, start, node.end_col_offset if node.end_lineno == line else None


class _Condition(ast.expr):
    """The test of an `if` or a `while`: what a branch operation points at."""

    def __init__(self, test: ast.expr) -> None:
        super().__init__()
        self.lineno, self.col_offset = test.lineno, test.col_offset
        self.end_lineno, self.end_col_offset = test.end_lineno, test.end_col_offset


def _asks_for(node: ast.expr, op: str, native: str) -> bool:
    if isinstance(node, _Condition):
        return op in ("cond", "while_loop", "switch")
    if isinstance(node, ast.Compare):
        word = _MIRRORED.get(op, op) if isinstance(node.left, ast.Constant) else op
        return word in _COMPARE and any(isinstance(o, _COMPARE[word]) for o in node.ops)
    if isinstance(node, ast.BinOp):
        return op in _BINARY and isinstance(node.op, _BINARY[op])
    if isinstance(node, ast.UnaryOp):
        return op == "logical_not" and isinstance(node.op, ast.Invert | ast.Not)
    if isinstance(node, ast.Call):
        called = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
        bare = called.removeprefix("reduce_")
        names = {op, native.lower()} | _CALLED.get(op, set())
        return called in names or bare in names or bare.replace("_", "").lower() == native.lower()
    return False
