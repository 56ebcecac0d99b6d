"""Data sets: what is read, how it is split, and that nothing is guessed."""

import numpy as np
import pytest

from bevel.data import load_default, read_csv, split
from bevel.errors import BevelValueError, TargetError


def _csv(tmp_path, text):
    path = tmp_path / "rows.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_default_is_real_unbalanced_and_binary():
    data = load_default()
    assert data.features.shape == (442, 10)
    assert data.binary
    assert np.bincount(data.labels).tolist() == [352, 90]
    assert "442 rows, 10 features; slower 80%, fastest 20%" in str(data)


def test_a_csv_is_read_with_numbers_and_categories(tmp_path):
    path = _csv(tmp_path, "age,town,won\n31,Bern,no\n40,Jena,yes\n25,Bern,yes\n")
    data = read_csv(path, "won")
    assert data.columns == ("age", "town=Bern", "town=Jena")
    assert data.features.tolist() == [[31, 1, 0], [40, 0, 1], [25, 1, 0]]
    assert data.features.dtype == np.float32
    assert (data.classes, data.labels.tolist()) == (("no", "yes"), [0, 1, 1])


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_recognised(tmp_path, delimiter):
    text = "\ufeffa,b,y\n1,2,0\n\n3,4,1\n".replace(",", delimiter)
    data = read_csv(_csv(tmp_path, text), "y")
    assert data.features.tolist() == [[1, 2], [3, 4]]


def test_numeric_classes_are_sorted_as_numbers(tmp_path):
    data = read_csv(_csv(tmp_path, "a,y\n1,10\n2,9\n3,9.0\n"), "y")
    assert data.labels.tolist() == [1, 0, 0]
    assert len(data.classes) == 2


@pytest.mark.parametrize(
    ("text", "label", "message"),
    [
        ("a,y\n1,0\n,1\n", "y", r"row 2, column 'a': the value is missing \(''\)"),
        ("a,y\n1,0\n2,NA\n", "y", r"row 2, column 'y': the value is missing \('NA'\)"),
        ("a,y\n1,0\ninf,1\n", "y", r"row 2, column 'a': inf is no finite float32"),
        ("a,y\n1,0\n1e300,1\n", "y", r"row 2, column 'a': 1e300 is no finite float32"),
        ("a,y\n1,0\n2\n", "y", r"row 2 has 1 values, the header 2"),
        ("a,a,y\n1,2,0\n", "y", r"the column 'a' occurs twice"),
        ("a,y\n1,0\n2,1\n", "z", r"it has no column 'z'\n.*one of: a, y"),
        ("y\n1\n0\n", "y", r"it has no column beside the label"),
        ("a,y\n", "y", r"has no rows"),
        ("", "y", r"has no rows"),
        ("a,y\n1,0\n2,0\n", "y", r"the label 'y' has 1 different values; expected 2 to 20"),
        (
            "a,y\n" + "".join(f"1,{i / 7}\n" for i in range(30)),
            "y",
            r"30 different values; expected 2 to 20\n.*column of classes",
        ),
        (
            "a,y\n" + "".join(f"name{i},{i % 2}\n" for i in range(60)),
            "y",
            r"column 'a' has 60 different values that are not numbers",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_explained(tmp_path, text, label, message):
    with pytest.raises(TargetError, match=message):
        read_csv(_csv(tmp_path, text), label)


def test_a_file_that_cannot_be_read_is_explained(tmp_path):
    with pytest.raises(TargetError, match=r"cannot read `.*nothing\.csv`: .*No such file"):
        read_csv(tmp_path / "nothing.csv", "y")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TargetError, match="cannot read"):
        read_csv(tmp_path / "binary.csv", "y")


def test_control_characters_of_a_file_are_not_printed(tmp_path):
    with pytest.raises(TargetError) as caught:
        read_csv(_csv(tmp_path, "a\x1b[2J,y\n,0\n"), "y")
    assert "\x1b" not in str(caught.value)


def test_a_split_is_disjoint_stratified_and_of_the_same_size_for_all_seeds():
    data = load_default()
    for seed in (0, 1):
        parts = split(data, seed)
        sizes = [len(p.labels) for p in (parts.train, parts.validation, parts.test)]
        assert sizes == [221, 110, 111]
        assert [p.labels.sum() for p in (parts.train, parts.validation, parts.test)] == [45, 22, 23]
    first, again, other = split(data, 0), split(data, 0), split(data, 1)
    np.testing.assert_array_equal(first.test.features, again.test.features)
    assert not np.array_equal(first.test.features, other.test.features)


def test_features_are_standardised_by_the_training_rows_alone():
    parts = split(load_default(), 0)
    np.testing.assert_allclose(parts.train.features.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(parts.train.features.std(0), 1, atol=1e-5)
    assert np.abs(parts.test.features.mean(0)).max() > 0.01


def test_a_constant_column_stays_finite(tmp_path):
    rows = "".join(f"7,{i},{i % 2}\n" for i in range(40))
    parts = split(read_csv(_csv(tmp_path, "c,a,y\n" + rows), "y"), 0)
    assert np.isfinite(parts.test.features).all()


def test_too_few_rows_of_a_class_are_named(tmp_path):
    rows = "".join(f"{i},{int(i < 5)}\n" for i in range(40))
    data = read_csv(_csv(tmp_path, "a,y\n" + rows), "y")
    with pytest.raises(BevelValueError, match=r"class '1' has 5 rows; expected 8 or more"):
        split(data, 0)
