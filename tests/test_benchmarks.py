"""The benchmarks compare like with like, and their page shows the figures that were kept."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

import bevel
from tests.keras_metrics import NAMES as NAMES_OF_METRICS

ROOT = Path(__file__).parents[1]
NAMES = ("relaxed_f1", "metric_loss", "audit_time", "memory")


@pytest.fixture
def load(monkeypatch):
    """Imports a benchmark by its name, as its neighbours do."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


def _width(y_pred):
    """What a relaxed `y_pred > 0.5` measures: the temperature times the mean distance."""
    return 0.1 * np.mean(np.abs(y_pred.numpy() - 0.5))


@pytest.mark.parametrize("jit_compile", [None, True])
def test_relaxed_and_written_by_hand_are_the_same_function(load, jit_compile):
    f1 = load("relaxed_f1")
    y_true, y_pred = f1.data(1000)
    width = _width(y_pred)
    relaxed = bevel.relax(f1.hard_f1, temperature=0.1, kernel="logistic")
    found = f1.value_and_gradient(relaxed, jit_compile)(y_true, y_pred)
    expected = f1.value_and_gradient(lambda y, p: f1.soft_f1(y, p, width), jit_compile)(
        y_true, y_pred
    )
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4, atol=1e-5 / 1000)


def test_every_contestant_is_close_to_the_hard_f1(load):
    f1 = load("relaxed_f1")
    y_true, y_pred = f1.data(1000)
    hard = f1.hard_f1(y_true, y_pred)
    contestants = f1.contestants()
    assert f1.HAND in contestants
    for fn in contestants.values():
        value, gradient = f1.value_and_gradient(fn, None)(y_true, y_pred)
        assert abs(value - hard) < 0.05
        assert np.all(np.isfinite(gradient))
        assert np.count_nonzero(gradient) > 900


def test_the_audited_loss_has_thirty_lines_and_is_blocked(load):
    import inspect

    audit_time = load("audit_time")
    lines = inspect.getsource(audit_time.thirty_lines).splitlines()
    body = [line for line in lines if line.startswith("    ") and '"""' not in line]
    assert len([line for line in body if "import" not in line]) == 30
    y_true, y_pred = np.random.default_rng(0).random((2, *audit_time.SHAPE), dtype="float32")
    assert bevel.audit(audit_time.thirty_lines, y_true > 0.7, y_pred).verdict != "trains"


@pytest.mark.parametrize("name", ["F1Score", "AUC(200)", "MeanIoU"])
def test_a_metric_meets_its_reference_on_the_same_data(load, name, monkeypatch):
    import dataclasses

    benchmark = load("metric_loss")
    case = benchmark.cases()[name]
    case = dataclasses.replace(case, shape=(64, *case.shape[1:]) if name != "MeanIoU" else (8, 3))
    y_true, y_pred = benchmark.data(case)
    loss, reference = benchmark.contestants(case, None)
    value, gradient = loss(y_true, y_pred)
    assert -1 < value < 0
    assert np.count_nonzero(gradient) > 0.9 * np.prod(case.shape)
    if case.against is None:
        assert float(-value) == pytest.approx(float(reference(y_true, y_pred)), abs=0.1)
    else:
        assert reference(y_true, y_pred)[0] > 0


def test_a_memory_sample_counts_bytes(load):
    memory = load("memory")
    mode = next(iter(memory.MODES))
    assert memory.peak() > 50 * 2**20
    assert memory.sample(memory.HAND, mode, 2 * memory.FEW) >= 0


def test_interleaving_calls_each_function_in_every_round(load):
    measure = load("measure")
    called = []
    functions = {name: lambda name=name: called.append(name) for name in "ab"}
    times = measure.interleave(functions, rounds=5, calls=2)
    assert called.count("a") == called.count("b") == 1 + 5 * 2
    assert {*called[2::2]} == {"a", "b"}
    assert all(t.low <= t.median <= t.high for t in times.values())


def test_a_bar_is_a_limit_that_may_be_reached(load):
    bar = load("measure").Bar
    assert bar("x", 2.0, 2.0).is_met
    assert not bar("x", 2.01, 2.0).is_met
    assert str(bar("x", 2.5, 2.0)) == "x: 2.5, bar 2, not met"


def test_what_is_kept_comes_back(load, monkeypatch, tmp_path):
    measure = load("measure")
    monkeypatch.setattr(measure, "RESULTS", tmp_path / "results")
    bars = (measure.Bar("x", 1.0, 2.0),)
    result = measure.Result("n", "t", "a", ("c", "d"), (("r", 1.5),), bars, {"cores": "2"})
    measure.report(result, save=True)
    assert measure.load("n") == result


@pytest.mark.parametrize("name", NAMES)
def test_kept_results_are_complete(load, name):
    result = load("measure").load(name)
    assert result.name == name
    assert result.rows
    assert all(len(row) == len(result.columns) for row in result.rows)
    assert {"processor", "cores", "python", "tensorflow", "keras"} <= result.machine.keys()
    assert all(value > 0 for row in result.rows for value in row if not isinstance(value, str))


def test_every_benchmark_is_run_and_kept(load):
    assert load("run").NAMES == NAMES
    kept = {path.stem for path in (ROOT / "benchmarks" / "results").glob("*.json")}
    assert kept == {*NAMES, "metric_table"}  # that one has a page of its own


def test_the_table_of_metrics_shows_what_was_kept(load):
    table = load("metric_table")
    stored = json.loads(table.STORE.read_text(encoding="utf-8"))
    assert [row["name"] for row in stored["rows"]] == list(NAMES_OF_METRICS)
    assert table.PAGE.read_text(encoding="utf-8") == table.page(stored)


def test_a_metric_is_measured(load):
    row = load("metric_table").row("Precision", seeds=1)
    assert (row.verdict, row.relaxed) == ("blocked", ["greater", "logical_and"])
    assert row.descent >= 0.99
    assert row.cost > 0


def test_the_page_shows_what_was_kept(load):
    run = load("run")
    assert run.PAGE.read_text(encoding="utf-8") == run.page(), "python benchmarks/run.py --docs"
