"""Data sets for `bevel train`: a real one that ships with scikit-learn, or a CSV file.

A data set is features (n, d), class numbers (n,), and the names of both. A split divides it into
training, validation and held-out rows, each class in the same proportion, and standardises the
features with the mean and the deviation of the training rows alone. Nothing is filled in or dropped
silently: a missing value is an error that names its row and column.
"""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bevel.errors import BevelValueError, TargetError, printable

_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
_MOST_CLASSES = 20
_MOST_CATEGORIES = 50
_FEWEST_ROWS = 8


@dataclass(frozen=True)
class Data:
    """A classification data set.

    Attributes:
        name: What it is, for a reader.
        features: float32, shape (n, d), finite.
        labels: Class numbers, int64, shape (n,).
        classes: The name of each class; of two, the second is the positive one.
        columns: The name of each feature.
    """

    name: str
    features: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def binary(self) -> bool:
        return len(self.classes) == 2

    def __str__(self) -> str:
        rows, width = self.features.shape
        shares = np.bincount(self.labels, minlength=len(self.classes)) / rows
        shown = [f"{c} {share:.0%}" for c, share in zip(self.classes, shares, strict=True)]
        return printable(f"{self.name}: {rows} rows, {width} features; {', '.join(shown)}")


@dataclass(frozen=True)
class Part:
    """Some rows of a split: standardised features, float32, and class numbers."""

    features: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Split:
    """Disjoint rows to fit on, to choose on, and to report on."""

    train: Part
    validation: Part
    test: Part


def load_default() -> Data:
    """The diabetes study of Efron et al. (2004): who is in the fifth that gets worse fastest?

    442 patients, ten measurements at the start, disease progression after a year. The positive
    class is a progression above 230 (the largest fifth). It ships with scikit-learn, needs no
    download, and is neither balanced nor easy: where the decision is drawn matters.
    """
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(scaled=False)
    return Data(
        name="diabetes (scikit-learn), progression above 230 within a year",
        features=np.asarray(bunch["data"], "float32"),
        labels=(bunch["target"] > 230).astype("int64"),
        classes=("slower", "fastest"),
        columns=tuple(bunch["feature_names"]),
    )


def read_csv(path: str | Path, label: str) -> Data:
    """Read a CSV file with a header line; commas, semicolons and tabs are recognised.

    Numeric columns are used as they are, others are one-hot encoded.

    Args:
        path: The file, UTF-8.
        label: The column to predict, with 2 to 20 different values. Of two, the second in sorted
            order is the positive class ("no" < "yes", 0 < 1).

    Raises:
        TargetError: If the file cannot be read, lacks the column, has a missing or infinite
            value or a ragged line (each named by row and column), or a column that is no feature
            or label.
    """
    header, rows = _read_rows(Path(path))
    if label not in header:
        raise _wrong(f"it has no column {label!r}", f"--label must be one of: {', '.join(header)}")
    columns = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    for name, values in columns.items():
        _check_present(name, values)
    labels, classes = _classes(label, columns.pop(label))
    if not columns:
        raise _wrong("it has no column beside the label", "give it at least one feature")
    encoded = [_encode(name, values) for name, values in columns.items()]
    return Data(
        name=Path(path).name,
        features=np.concatenate([block for block, _ in encoded], axis=1),
        labels=labels,
        classes=classes,
        columns=tuple(name for _, names in encoded for name in names),
    )


def split(data: Data, seed: int) -> Split:
    """Divide the rows 2 : 1 : 1, stratified by class; the sizes do not depend on the seed.

    Raises:
        BevelValueError: If a class has fewer than 8 rows.

    Example:
        >>> parts = split(load_default(), seed=0)
        >>> len(parts.train.labels), len(parts.validation.labels), len(parts.test.labels)
        (221, 110, 111)
    """
    counts = Counter(data.labels.tolist())
    for number, name in enumerate(data.classes):
        if counts[number] < _FEWEST_ROWS:
            raise BevelValueError(
                f"class {printable(name)!r} has {counts[number]} rows; expected {_FEWEST_ROWS} or "
                "more, so that each part of the split holds some.",
                help="collect more rows, or merge rare classes",
            )
    return divide(data.features, data.labels, seed, by_class=True)


def divide(features: np.ndarray, labels: np.ndarray, seed: int, *, by_class: bool) -> Split:
    """Divide rows or images 2 : 1 : 1, features standardised by what is trained on.

    Args:
        features: Shape (n, ..., d); each of the d has its own mean and deviation.
        labels: Class numbers, shape (n,), or (n, ...) for a class at each place of an image.
        seed: Of the draw.
        by_class: Whether to draw the same share of each class; for labels of shape (n,).
    """
    from sklearn.model_selection import train_test_split

    def halves(places: np.ndarray) -> list[np.ndarray]:
        classes = labels[places] if by_class else None
        return train_test_split(
            places, train_size=len(places) // 2, stratify=classes, random_state=seed
        )

    fit, rest = halves(np.arange(len(labels)))
    choose, report = halves(rest)
    axes = tuple(range(features.ndim - 1))
    centre = features[fit].mean(axis=axes, dtype="float64")
    spread = features[fit].std(axis=axes, dtype="float64")
    spread[spread == 0] = 1.0

    def part(chosen: np.ndarray) -> Part:
        scaled = (features[chosen] - centre) / spread
        return Part(scaled.astype("float32"), labels[chosen])

    return Split(part(fit), part(choose), part(report))


def _read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    shown = printable(str(path))
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            delimiter = max(",;\t", key=first.count)
            file.seek(0)
            lines = [line for line in csv.reader(file, delimiter=delimiter) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TargetError(f"cannot read `{shown}`: {printable(str(error))}") from None
    if len(lines) < 2:
        raise _wrong(f"`{shown}` has no rows", "expected a header line and a line for each row")
    header = [name.strip() for name in lines[0]]
    repeated = [name for name, times in Counter(header).items() if times > 1]
    if repeated:
        raise _wrong(f"the column {repeated[0]!r} occurs twice", "give every column its own name")
    for number, line in enumerate(lines[1:], start=1):
        if len(line) != len(header):
            raise _wrong(
                f"row {number} has {len(line)} values, the header {len(header)}",
                "every row needs a value for every column",
            )
    return header, [[value.strip() for value in line] for line in lines[1:]]


def _check_present(name: str, values: list[str]) -> None:
    for number, value in enumerate(values, start=1):
        if value.lower() in _MISSING:
            raise _wrong(
                f"row {number}, column {name!r}: the value is missing ({value!r})",
                "fill it in or leave the row out; Bevel does not guess",
            )


def _numbers(values: list[str]) -> np.ndarray | None:
    try:
        return np.array([float(value) for value in values])
    except ValueError:
        return None


def _encode(name: str, values: list[str]) -> tuple[np.ndarray, list[str]]:
    """A column as float32 features: one if it is numeric, else one for each of its values."""
    numbers = _numbers(values)
    if numbers is not None:
        with np.errstate(over="ignore"):
            column = numbers.astype("float32")
        unusable = np.flatnonzero(~np.isfinite(column))
        if unusable.size:
            row = int(unusable[0])
            raise _wrong(
                f"row {row + 1}, column {name!r}: {values[row]} is no finite float32",
                "correct it or leave the row out",
            )
        return column[:, None], [name]
    known = sorted(set(values))
    if len(known) > _MOST_CATEGORIES:
        raise _wrong(
            f"column {name!r} has {len(known)} different values that are not numbers",
            "leave out columns of names and identifiers",
        )
    places = np.searchsorted(known, values)
    return np.eye(len(known), dtype="float32")[places], [f"{name}={value}" for value in known]


def _classes(label: str, values: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    numbers = _numbers(values)
    keys = values if numbers is None else numbers.tolist()
    names = {key: value for key, value in zip(keys, values, strict=True)}
    known = sorted(names)
    if not 2 <= len(known) <= _MOST_CLASSES:
        raise _wrong(
            f"the label {label!r} has {len(known)} different values; expected 2 to {_MOST_CLASSES}",
            "bevel train compares classifiers: give a column of classes",
        )
    return np.searchsorted(known, keys).astype("int64"), tuple(names[key] for key in known)


def _wrong(what: str, advice: str) -> TargetError:
    return TargetError(f"cannot use the data: {what}", help=advice)
