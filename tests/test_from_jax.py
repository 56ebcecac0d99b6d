"""JAX's front end and executor: programs that run as the user's function, words, places, errors."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("Keras runs on another framework", allow_module_level=True)

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import primitives

import bevel
from bevel.errors import BevelTypeError, BevelValueError, TraceError, UnknownOperationError
from bevel.frontends import from_jax
from bevel.frontends.jax import executor as jax_executor
from bevel.frontends.jax import names as jax_names
from bevel.vocabulary import VOCABULARY
from tests.confusion import relaxed_and_by_weights
from tests.wild import cases_jax, cases_jax_rare, cases_jax_written

CASES = {c.name: c for c in (*cases_jax.CASES, *cases_jax_written.CASES, *cases_jax_rare.CASES)}

X = np.linspace(-1.3, 1.4, 12, dtype="float32")
ROWS = np.random.default_rng(0).normal(size=(3, 4, 5)).astype("float32")
PICKED = np.array([1, -1, 0])
Y = np.array([0, 1, 1, 0], "float32")
P = np.array([0.2, 0.6, 0.4, 0.7], "float32")


def accuracy(y_true, y_pred):
    return jnp.mean((y_pred > 0.5) == (y_true > 0.5))


def ran(fn, *args):
    trace = from_jax.trace(fn, args, {})
    return jax_executor.execute(trace, trace.arguments.leaves)


def words(fn, *args):
    return [node.op for node in bevel.trace(fn, *args).walk()]


SHOWN = {
    "calibration_error", "chosen_branch", "guarded_log", "jax_binned_yield", "rank_correlation",
    "straight_through", "tariff_by_select", "top2_recall", "trading_profit",
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [n if n in SHOWN else pytest.param(n, marks=pytest.mark.slow) for n in CASES]
)
def test_a_program_runs_as_the_function_does(name):
    args = CASES[name].make(1)
    expected = CASES[name].loss(*map(jnp.asarray, args))
    np.testing.assert_allclose(ran(CASES[name].loss, *args), expected, rtol=1e-5, atol=1e-6)


# Every way to index, of three axes: what a gather's dimension numbers can say.
LOOK_UPS = {
    "rows": lambda x: x[PICKED],
    "columns": lambda x: x[:, PICKED],
    "last": lambda x: x[..., PICKED],
    "pairs": lambda x: x[PICKED, PICKED],
    "ends": lambda x: x[PICKED, :, PICKED],
    "points": lambda x: x[PICKED, PICKED, PICKED],
    "crossed": lambda x: x[PICKED[:, None], PICKED],
    "along-0": lambda x: jnp.take_along_axis(x, jnp.argmax(x, 0)[None], 0),
    "along-1": lambda x: jnp.take_along_axis(x, jnp.argmax(x, 1)[:, None], 1),
    "along-2": lambda x: jnp.take_along_axis(x, jnp.argmax(x, 2)[..., None], 2),
    "mapped": lambda x: jax.vmap(lambda r: r[jnp.argmax(r[:, 0])])(x),
    "mapped-inside": lambda x: jax.vmap(lambda r: r[:, jnp.argmax(r[0])], 1)(x),
    "mapped-twice": lambda x: jax.vmap(jax.vmap(lambda r: r[jnp.argmax(r)]))(x),
    "sliced": lambda x: lax.dynamic_slice_in_dim(x, jnp.argmax(x[:, 0, 0]), 1, 0),
    "window": lambda x: lax.dynamic_slice_in_dim(x, jnp.argmax(x[0, :, 0]), 2, 1),
    "crop": lambda x: lax.dynamic_slice(x, (0, jnp.argmax(x[0, :, 0]), 2), (3, 2, 2)),
    "part": lambda x: lax.dynamic_slice(x, (0, 1, 2), (2, 2, 3)),
    "put": lambda x: x.at[PICKED, 1].set(2.0),
    "put-rows": lambda x: x.at[:, PICKED].add(1.0),
    "put-slice": lambda x: x.at[1:, 2].add(x[:2, 0]),
    "most": lambda x: x.at[PICKED].max(0.5),
    "sorted-axis": lambda x: jnp.argsort(x, axis=1),
    "descending": lambda x: jnp.argsort(x, axis=0, descending=True),
    "several": lambda x: lax.sort((x, -x, jnp.zeros_like(x)), dimension=1, num_keys=1),
    "two-keys": lambda x: jnp.lexsort((x[0, 0], x[0, 1])),
    "turned": lambda x: x[0, 0, :4].reshape(2, 2).T.reshape(4),
    "turned-back": lambda x: x[0, 0].reshape(5, 1).T[::-1][0],
    "less": lambda x: x.at[:, PICKED].subtract(1.0),
    "less-each": lambda x: jnp.ones(5).at[jnp.argmax(x[0], -1)].subtract(x[0, :, 0]),
    "highest": lambda x: jnp.zeros(2, int).at[jnp.array([0, 1, 0])].max(x[:, 0, 0] > 0),
    "one-hot-first": lambda x: jax.nn.one_hot(jnp.argmax(x, -1), 5, axis=1),
    "one-hot-mapped": lambda x: jax.vmap(lambda r: jax.nn.one_hot(jnp.argmax(r, -1), 5))(x),
    "one-hot-mapped-first": lambda x: jax.vmap(
        jax.vmap(lambda r: jax.nn.one_hot(jnp.argmax(r[None, :], -1), 5, axis=0))
    )(x),
}


@pytest.mark.parametrize("name", LOOK_UPS)
def test_look_ups_and_orders_run_as_they_are(name):
    expected = jax.tree.leaves(LOOK_UPS[name](jnp.asarray(ROWS)))
    for found, wanted in zip(jax.tree.leaves(ran(LOOK_UPS[name], ROWS)), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    "name",
    [
        "along-1",
        "highest",
        "less-each",
        "mapped",
        "mapped-inside",
        "sorted-axis",
        "descending",
        "sliced",
        "window",
        "crop",
        "one-hot-first",
        "one-hot-mapped",
        "one-hot-mapped-first",
    ]
    + [pytest.param(n, marks=pytest.mark.slow) for n in ("along-0", "along-2", "mapped-twice")],
)
def test_soft_look_ups_and_orders_tend_to_the_hard_ones(name):
    cold = bevel.relax(LOOK_UPS[name], temperature=1e-4)(ROWS)
    np.testing.assert_allclose(cold, LOOK_UPS[name](jnp.asarray(ROWS)), atol=0.05)


def looped(x):
    return lax.scan(lambda c, r: (c + r, (c * r, r > 0)), 0.5, x, reverse=True)


def counted(x):
    return lax.fori_loop(0, 5, lambda i, c: c + x[i] * i, 0.0)


def until(x):
    return lax.while_loop(lambda s: s[1] < 3, lambda s: (s[0] * x[0], s[1] + 1), (x[1], 0))


def branched(x):
    return lax.cond(x[0] > 0, lambda a: a * 2, lambda a: -a, x)


def chosen(x):
    i = jnp.argmax(x) - 10
    return lax.switch(i, [lambda a: a, lambda a: a * 2, lambda a: jnp.sum(a) * a], x)


@pytest.mark.parametrize("fn", [looped, counted, until, branched, chosen])
def test_control_flow_runs_as_it_is(fn):
    expected = jax.tree.leaves(fn(jnp.asarray(X)))
    for found, wanted in zip(jax.tree.leaves(ran(fn, X)), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("fn", "word"),
    [
        (lambda x: jnp.where(x > 0, x, 0), "where"),
        (lambda x: x // 0.3, "floor_divide"),
        (lambda x: x % 0.3, "remainder"),
        (lambda x: jax.nn.one_hot(jnp.argmax(x), 3), "one_hot"),
        (lambda x: jnp.searchsorted(x, 0.2), "searchsorted"),
        (lambda x: x[jnp.argmax(x)], "take"),
        (lambda x: jnp.zeros(3).at[x.astype(int)].add(1), "scatter_add"),
        (lambda x: jnp.all(x > 0), "all"),
        (lambda x: jnp.logical_xor(x > 0, x > 1), "logical_xor"),
        (lambda x: jax.nn.relu(x), "relu"),
        (lambda x: lax.clamp(0.0, x, 1.0), "clip"),
        (lambda x: lax.stop_gradient(x), "stop_gradient"),
        (lambda x: jnp.argsort(x), "sort"),
        (lambda x: lax.cond(x[0] > 0, lambda: x, lambda: -x), "cond"),
        (counted, "while_loop"),
        (lambda x: cases_jax_written.through(x), "custom_gradient"),
    ],
)
def test_words(fn, word):
    assert word in words(fn, X)


def test_the_table_holds_words_and_primitives_of_jax():
    entries = {word for word, _, _ in jax_names.NAMES.values()}
    written = {*entries, *jax_names.FOR_TRUTHS.values(), *jax_names.FOR_INTEGERS.values()}
    assert written | set(jax_names.DECLARED.values()) <= set(VOCABULARY)
    known = {name.removesuffix("_p") for name in dir(primitives)}
    renamed = {"add_any", "copy_p", "stack", "pure_callback", "io_callback"}
    assert set(jax_names.NAMES) - renamed <= known


def test_a_choice_takes_its_cases_in_the_order_of_where():
    def fn(x):
        return jnp.where(x > 0, 3.0, 1.0)

    np.testing.assert_allclose(bevel.relax(fn, temperature=1e-4)(X), fn(X), atol=1e-2)


def test_a_declared_gradient_is_that_of_the_operands_not_of_the_values_beside_them():
    nodes = bevel.trace(lambda x: cases_jax_written.through(x), X).nodes
    (declared,) = [node for node in nodes if node.op == "custom_gradient"]
    assert declared.param("gradients") == (False, True)


def test_library_functions_are_written_out_without_a_call():
    assert {"call", "custom_gradient", "stop_gradient"}.isdisjoint(
        words(lambda x: jax.nn.softmax(jax.nn.silu(jnp.clip(x, 0, 1))), X)
    )


def test_nodes_of_cached_library_functions_have_the_line_of_their_call():
    def first(x):
        return jnp.floor_divide(jnp.round(x), 0.5)

    def second(x):
        return jnp.floor_divide(jnp.round(x), 0.5)

    for fn in (first, second):
        places = {node.loc.function for node in bevel.trace(fn, X).nodes if node.loc}
        assert places == {fn.__name__}


def test_programs_compare_and_print():
    assert str(bevel.trace(accuracy, Y, P)) == str(bevel.trace(accuracy, Y, P))
    assert bevel.trace(accuracy, Y, P).verify().nodes[1].native == "gt"


# What a relaxed function composes with.


def test_relaxed_composes_with_transformations():
    relaxed = bevel.relax(accuracy)
    gradient = jax.grad(relaxed, 1)(Y, P)
    np.testing.assert_allclose(jax.jit(jax.grad(relaxed, 1))(Y, P), gradient, rtol=1e-5)
    both = jax.vmap(relaxed, (None, 0))(Y, jnp.stack([P, P / 2]))
    np.testing.assert_allclose(both, [relaxed(Y, P), relaxed(Y, P / 2)], rtol=1e-5)
    rounded = bevel.relax(lambda x: jnp.round(3 * x))
    jacobian = jax.jacrev(rounded)(jnp.asarray(P))
    assert np.all(np.diag(jacobian) > 0)
    np.testing.assert_array_equal(jacobian, np.diag(np.diag(jacobian)))


def test_training_by_hand_ends_at_the_labels():
    relaxed = bevel.relax(accuracy)

    @jax.jit
    def step(z):
        return z + 5 * jax.grad(lambda z: relaxed(Y, jax.nn.sigmoid(z)))(z)

    z = jnp.zeros(4)
    for _ in range(200):
        z = step(z)
    assert accuracy(Y, jax.nn.sigmoid(z)) == 1


def test_a_second_call_is_not_traced_again():
    traced = []

    def counted(y_true, y_pred):
        traced.append(1)
        return accuracy(y_true, y_pred)

    relaxed = bevel.relax(counted)
    for _ in range(3):
        relaxed(Y, P)
    assert len(traced) == 1
    relaxed(Y[:2], P[:2])
    assert len(traced) == 2


def test_a_temperature_may_change_between_calls():
    temperature = keras.Variable(0.1)
    relaxed = bevel.relax(accuracy, temperature=temperature)
    for value in (0.1, 1.0):
        temperature.assign(value)
        np.testing.assert_allclose(
            relaxed(Y, P), bevel.relax(accuracy, temperature=value)(Y, P), rtol=1e-6
        )


def test_hard_forward_and_zero_temperature_give_the_exact_value():
    value, gradient = jax.value_and_grad(bevel.relax(accuracy, forward="hard"), 1)(Y, P)
    assert value == accuracy(Y, P) == bevel.relax(accuracy, temperature=0)(Y, P)
    assert np.any(gradient != 0)


def test_nests_and_closures():
    shift = jnp.asarray(0.05)

    def hits(batch):
        return {"hits": jnp.mean(batch["p"] + shift > 0.5), "same": (batch["y"],)}

    found = bevel.relax(hits)({"p": P, "y": Y})
    np.testing.assert_array_equal(found["same"][0], Y)
    assert 0 < found["hits"] < 1


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64")  # asked for by Keras
def test_a_metric_of_keras_inside_of_a_loss_keeps_its_state():
    metric = keras.metrics.BinaryIoU(target_class_ids=[1])
    metric.update_state(Y, P)
    (state,) = metric.variables
    before = np.asarray(state)

    def overlap(y_true, y_pred):
        metric.reset_state()
        metric.update_state(y_true, y_pred)
        return metric.result()

    gradient = jax.grad(bevel.relax(overlap), 1)(Y, P)
    assert np.all(np.isfinite(gradient))
    assert np.any(gradient != 0)
    assert bevel.audit(overlap, Y, P).findings[0].op == "greater_equal"
    np.testing.assert_array_equal(state, before)


def test_a_relaxed_function_of_values_that_are_traced_elsewhere():
    def loss(weight, p):
        return bevel.relax(lambda q: jnp.mean(weight * (q > 0.5)))(p)

    gradients = jax.jit(jax.grad(loss, (0, 1)))(jnp.ones(4), jnp.asarray(P))
    assert all(np.all(np.isfinite(g)) and np.any(g != 0) for g in gradients)


# What an audit says.


def first_error(fn, *args, **kwargs):
    report = bevel.audit(fn, *args, **kwargs)
    return report.verdict, report.findings[0].code, report.findings[0].loc.text


def test_a_loop_of_unknown_length_is_named():
    def grown(p):
        return lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * p.sum()), (0, 1.0))[1]

    verdict, code, text = first_error(grown, P)
    assert (verdict, code) == ("blocked", "B106")
    assert "while_loop" in text
    with pytest.raises(UnknownOperationError, match="number of rounds") as caught:
        bevel.relax(grown)(P)
    assert "while_loop" in caught.value.loc.text


def test_stop_gradient_is_the_users_only_where_the_user_wrote_it():
    def kept(y_true, y_pred):
        return jnp.mean(lax.stop_gradient(y_pred) * (y_pred - y_true))

    def lost(y_true, y_pred):
        return jnp.mean((y_pred - y_true) ** 2 + lax.stop_gradient(y_pred))

    assert first_error(kept, Y, P)[:2] == ("trains", "B402")
    assert first_error(lost, Y, P)[:2] == ("partial", "B105")
    report = bevel.audit(lambda z: -jax.nn.log_softmax(z)[0], P)
    assert report.verdict == "trains"
    assert not [f for f in report.findings if f.op == "stop_gradient"]


def test_declared_gradients():
    @jax.custom_vjp
    def wrong(x):
        return x**2

    wrong.defvjp(lambda x: (x**2, x), lambda x, g: (-g * x,))
    report = bevel.audit(lambda p: jnp.mean(wrong(p)), P)
    assert [f.code for f in report.findings if f.severity == "warning"] == ["B401"]
    straight = bevel.audit(lambda y, p: jnp.mean((cases_jax_written.through(3 * p) - y) ** 2), Y, P)
    assert "B403" in [f.code for f in straight.findings]


def python_branch(y_true, y_pred):
    if y_pred.sum() > 1:
        return jnp.mean(y_pred - y_true)
    return jnp.mean(y_true - y_pred)


def in_numpy(y_true, y_pred):
    return jnp.mean(np.asarray(y_pred) > 0.5)


def by_mask(y_true, y_pred):
    return jnp.mean(y_pred[y_pred > 0.5])


@pytest.mark.parametrize(
    ("fn", "verdict", "meaning"),
    [
        (python_branch, "partial", "truth of a traced array"),
        (in_numpy, "blocked", "values as numpy"),
        pytest.param(by_mask, "partial", "rows by a mask", marks=pytest.mark.slow),
    ],
)
def test_what_leaves_jax_is_audited_as_a_black_box_and_not_relaxed(fn, verdict, meaning):
    report = bevel.audit(fn, Y, P)
    assert report.verdict == verdict, str(report)
    assert report.findings[0].code == "B104"
    assert report.findings[0].loc.function == fn.__name__
    with pytest.raises(TraceError, match=meaning) as caught:
        bevel.relax(fn)(Y, P)
    assert caught.value.loc.function == fn.__name__


def test_errors_name_the_line():
    def wrong_shapes(y_true, y_pred):
        return y_pred @ jnp.ones((3, 3))

    with pytest.raises(TraceError, match="float32") as caught:
        bevel.audit(wrong_shapes, Y, P)
    assert caught.value.loc.function == "wrong_shapes"
    with pytest.raises(TraceError, match="returns nothing"):
        bevel.trace(lambda p: None, P)
    with pytest.raises(BevelTypeError, match="int32"):
        bevel.audit(accuracy, Y, np.array([1, 2, 3, 4]))


def test_an_accident_of_broadcasting_is_refused_and_pairs_on_purpose_are_not():
    with pytest.raises(BevelValueError, match=r"broadcast to \(4, 4\)"):
        bevel.audit(lambda y_true, y_pred: jnp.mean((y_true - y_pred) ** 2), Y, P[:, None])
    pairs = bevel.audit(lambda y, p: jnp.mean((y[:, None] - p[None, :]) ** 2), Y, P)
    assert pairs.verdict == "trains"


# Keras on JAX.


def test_keras_operations_and_metrics():
    def rounded(y_true, y_pred):
        hits = keras.ops.equal(keras.ops.round(y_pred), y_true)
        return keras.ops.mean(keras.ops.cast(hits, "float32"))

    assert first_error(rounded, Y, P)[:2] == ("blocked", "B101")
    metric = keras.metrics.BinaryAccuracy()
    assert bevel.audit(metric, Y, P).verdict == "blocked"
    gradient = jax.grad(bevel.relax(metric), 1)(Y, P)
    assert np.all(np.sign(gradient) == np.sign(Y - 0.5))


def test_a_model_is_fitted_to_a_metric():
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    t = (x[:, :1] + x[:, 1:2] > 0).astype("float32")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Dense(1, activation="sigmoid")])
    loss = bevel.losses.MetricLoss(keras.metrics.F1Score(threshold=0.5))
    model.compile(optimizer=keras.optimizers.Adam(0.1), loss=loss)
    model.fit(x, t, epochs=25, batch_size=64, verbose=0)
    score = keras.metrics.F1Score(threshold=0.5)
    score.update_state(t, model.predict(x, verbose=0))
    assert float(score.result()[0]) > 0.9


@pytest.mark.parametrize(
    "order",
    ["import bevel, jax", pytest.param("import jax, bevel", marks=pytest.mark.slow)],
)
def test_someone_who_imports_jax_needs_no_setting(order, monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND")
    code = (
        f"{order}; import jax.numpy as jnp\n"
        "print(bevel.audit(lambda p: jnp.sum(jnp.round(p)), jnp.ones(3) * 0.3).verdict)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "blocked"


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Line:
    """Parameters as Equinox and Flax hold them: an object that is registered as a pytree."""

    slope: jax.Array
    offset: jax.Array


def line_accuracy(line, y_true, x):
    return jnp.mean((x * line.slope + line.offset > 0.5) == (y_true > 0.5))


def test_what_a_registered_object_holds_can_be_trained():
    line = Line(jnp.float32(1.0), jnp.float32(0.1))
    assert bevel.audit(line_accuracy, line, Y, P, wrt="line").verdict == "blocked"
    relaxed = bevel.relax(line_accuracy, wrt="line")
    found = jax.jit(jax.grad(relaxed))(line, Y, P)
    assert isinstance(found, Line)
    assert found.slope != 0
    assert found.offset != 0


def test_of_numbers_alone_a_float_is_what_is_trained():
    assert bevel.audit(lambda x: jnp.round(x * 3), 0.5).verdict == "blocked"
    assert bevel.audit(lambda x: x**2, 0.5).verdict == "trains"


def test_a_declared_gradient_of_zero_is_named():
    @jax.custom_jvp
    def silent(x):
        return jnp.maximum(x, 0)

    silent.defjvp(lambda xs, ts: (silent(*xs), 0 * ts[0]))

    def loss(y_true, y_pred):
        return jnp.mean(silent(y_pred + 1) - y_true)

    report = bevel.audit(loss, Y, P)
    assert report.verdict == "blocked"
    (finding,) = [f for f in report.findings if f.severity == "error"]
    assert (finding.code, finding.loc.function) == ("B401", "loss")


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: jnp.nonzero(x > 0, size=12, fill_value=-1)[0],
        lambda x: jnp.flatnonzero(x > 0, size=4),
        lambda x: jnp.compress(x > 0, x, size=12, fill_value=-2.0),
        lambda x: jnp.unique(jnp.round(x), size=6, fill_value=-9.0),
        lambda x: jnp.argsort(~(x > 0.3)),
    ],
    ids=["nonzero", "first-places", "compress", "unique", "partition"],
)
def test_places_of_a_mask_tend_to_the_hard_ones(fn):
    np.testing.assert_array_equal(ran(fn, X), fn(jnp.asarray(X)))
    cold = bevel.relax(fn, temperature=1e-4)(X)
    np.testing.assert_allclose(cold, fn(jnp.asarray(X)), atol=0.02)


def test_what_stands_at_the_places_of_a_mask_is_expected_by_the_chances():
    def picked(y_true, y_pred):
        places = jnp.nonzero(y_pred > 0, size=12, fill_value=-1)[0]
        return jnp.sum(jnp.where(places >= 0, y_true[places], 0.0))

    gain = np.cos(7 * X)
    found = jax.grad(bevel.relax(picked), 1)(gain, X)
    np.testing.assert_array_equal(np.sign(found), np.sign(gain))


def test_columns_of_a_table_of_positions_stay_soft_positions():
    found, expected = relaxed_and_by_weights()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


RAW = jnp.asarray(np.random.default_rng(0).normal(size=(8, 4)), "float32")
RISING = jnp.arange(1.0, 9.0)

# What JAX is made of where other frameworks have one operation.
LIMITS = {
    "select": lambda z: jnp.mean(
        jnp.select([jnp.round(z[:, 0]) > 2, jnp.round(z[:, 0]) > 0.4], [1.0, 2.0], 3.0)
    ),
    "scan of sums": lambda z: jnp.mean(
        jax.lax.associative_scan(jnp.add, jnp.argmax(z, 1).astype("float32")) * RISING
    ),
    "records": lambda z: jnp.mean((z >= jax.lax.cummax(z)) * RISING[:, None]),
    "interpolated classes": lambda z: jnp.mean(
        jnp.interp(jnp.argmax(z, 1), jnp.arange(4.0), jnp.arange(4.0) ** 2)
    ),
    "classes on edges": lambda z: jnp.sum(
        (jnp.histogram(jnp.argmax(z, 1), bins=4, range=(0, 4))[0] - 2.0) ** 2
    ),
    "order by two keys": lambda z: jnp.mean(
        RISING[jnp.lexsort((RISING, z[:, 0]))] * jnp.arange(8.0)
    ),
    "mean of known": lambda z: jnp.nanmean(jnp.where(z[:, 0] > 0, RISING, jnp.nan)),
    "largest of some": lambda z: jnp.max(RISING, where=z[:, 0] > 0, initial=0.0),
    "edge": lambda z: jnp.mean(
        (z > 0) - jax.lax.reduce_window(1.0 * (z > 0), jnp.inf, jax.lax.min, (3, 1), (1, 1), "SAME")
        > 0
    ),
    "beside a label": lambda z: jnp.mean(
        jnp.all(jnp.where(RISING[:, None] > 2, jnp.argmax(z, 1)[:, None] == RISING % 4, True), 1)
    ),
    "masked softmax": lambda z: jax.nn.softmax(jnp.where(z[:, 0] > 0, RISING / 4, -jnp.inf))[0],
}


@pytest.mark.parametrize("name", LIMITS)
def test_what_is_made_of_smaller_parts_tends_to_the_hard_value(name):
    fn = LIMITS[name]
    _, slope = jax.value_and_grad(bevel.relax(fn))(RAW)
    assert np.all(np.isfinite(slope))
    assert np.any(slope != 0)
    cold = float(bevel.relax(fn, temperature=1e-6)(RAW))
    assert cold == pytest.approx(float(fn(RAW)), rel=1e-4, abs=1e-4)


def test_an_order_within_groups_is_refused():
    groups = jnp.array([0, 1, 0, 1, 1, 0, 0, 1])
    relaxed = bevel.relax(lambda z: jnp.mean(RISING[jnp.lexsort((z[:, 0], groups))] * RISING))
    with pytest.raises(UnknownOperationError, match="sort"):
        relaxed(RAW)
