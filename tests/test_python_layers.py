"""Plain Python as operations: values, gradients, graphs, dtypes, saving; run on every backend.

`tests/contract/test_backends.py` runs this file again on the backends of other processes.
"""

import keras
import numpy as np
import pytest
from keras import ops as K

import bevel
from bevel.errors import BevelTypeError, BevelValueError
from tests import plain_functions as P
from tests.contract.gradients import BACKEND, MODES, WAYS, array, second_derivative, tensor
from tests.contract.gradients import value_and_gradient as run

X = np.array([[-3.2, -1.7, -0.6, -0.2], [0.3, 0.8, 1.9, 3.4]], "float32")
# function, derivative, whether it is recorded
FUNCTIONS = {
    "leaky": (P.leaky, P.leaky_slope, True),
    "with_helper": (P.with_helper, P.with_helper_slope, True),
    "elu": (P.elu, P.elu_slope, True),
    "clipped": (P.clipped, P.clipped_slope, True),
    "swish": (P.swish, P.swish_slope, True),
    "cube": (P.Power(3), lambda x: 3 * x**2, True),
    "overwritten": (P.overwritten, P.overwritten_slope, False),
    "halved": (P.halved, P.halved_slope, False),
    "looked_up": (P.looked_up, P.looked_up_slope, False),
}
WRITTEN_FOR_ARRAYS = {"elu", "overwritten", "clipped"}
CASES = [
    (name, mode)
    for name, (_, _, is_recorded) in FUNCTIONS.items()
    for mode in ("eager", *MODES)
    # TensorFlow cannot call Python from XLA
    if is_recorded or mode != "jit" or BACKEND != "tensorflow"
]


def by_hand(name, fn, x=X):
    if name in WRITTEN_FOR_ARRAYS:
        return fn(x.copy())
    return np.array([fn(v) for v in x.ravel().tolist()]).reshape(x.shape)


@pytest.mark.parametrize(("name", "mode"), CASES)
@pytest.mark.parametrize("is_given", [True, False], ids=["given", "found"])
def test_values_and_gradients_are_those_of_the_function(name, mode, is_given):
    fn, slope, is_recorded = FUNCTIONS[name]
    layer = bevel.activation(fn, slope if is_given else None)
    assert layer.compiles == is_recorded
    value, (gradient,) = run(layer, tensor(X, "float32"), mode=mode)
    np.testing.assert_allclose(value, by_hand(name, fn), rtol=1e-5, atol=1e-6)
    expected = by_hand(name, slope)
    if is_given or is_recorded:
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)
    else:  # an estimate, over a tenth of the spread
        assert np.corrcoef(gradient.ravel(), expected.ravel())[0, 1] > 0.6 or name == "looked_up"
        assert np.all(np.isfinite(gradient))


def test_a_given_derivative_is_used_whatever_it_is():
    layer = bevel.activation(P.leaky, lambda x: 7 * x)
    _, (gradient,) = run(layer, tensor(X, "float32"))
    np.testing.assert_allclose(gradient, 7 * X, rtol=1e-6)


def test_a_branch_that_is_not_taken_leaves_no_nan():
    layer = bevel.activation(P.leaky)  # the logarithm of what is negative for half of them
    value, (gradient,) = run(layer, tensor(np.abs(X), "float32"))
    np.testing.assert_allclose(value, np.abs(X), rtol=1e-6)
    np.testing.assert_array_equal(gradient, np.ones_like(X))
    root = bevel.activation(lambda x: x**0.5 if x > 0 else 0.5 * x)
    _, (gradient,) = run(root, tensor([-4.0, 0.0, 4.0], "float32"))
    np.testing.assert_allclose(gradient, [0.5, 0.5, 0.25], rtol=1e-6)


def test_an_estimated_slope_of_a_line_is_exact():
    layer = bevel.activation(lambda x: 3 * float(f"{x}"))
    assert not layer.compiles
    _, (gradient,) = run(layer, tensor(X, "float32"))
    np.testing.assert_allclose(gradient, np.full_like(X, 3), rtol=1e-5)


def test_code_that_asks_what_it_is_given_is_called():
    layer = bevel.activation(lambda x: 2 * x if type(x) in (float, np.ndarray) else x)
    assert "other numbers" in layer.explain()
    np.testing.assert_array_equal(array(layer(tensor(X, "float32"))), 2 * X)


def test_recorded_code_has_second_derivatives():
    layer = bevel.activation(P.Power(3))
    np.testing.assert_allclose(
        second_derivative(layer, tensor(X, "float32")), 6 * X, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", ["leaky", "halved"])
def test_dtypes_are_kept(name, dtype):
    if dtype == "float64" and BACKEND == "jax":
        pytest.skip("64 bits are off by default")
    fn, slope, _ = FUNCTIONS[name]
    x = tensor(X, dtype)
    layer = bevel.activation(fn, slope)
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    accuracy = {"float16": 2e-3, "bfloat16": 2e-2}.get(dtype, 1e-6)
    np.testing.assert_allclose(array(y), by_hand(name, fn, array(x)), rtol=accuracy, atol=accuracy)
    _, (gradient,) = run(layer, x)
    np.testing.assert_allclose(gradient, by_hand(name, slope, array(x)), rtol=accuracy)


def test_nan_stays_nan():
    x = tensor([np.nan, 1.0], "float32")
    for fn in (P.leaky, P.halved, lambda x: max(0.0, x)):
        np.testing.assert_array_equal(np.isnan(array(bevel.activation(fn)(x))), [True, False])


def test_where_python_has_no_number_there_is_none():
    def root(x):
        import math

        return math.sqrt(x)

    layer = bevel.activation(root)
    assert not layer.compiles
    np.testing.assert_array_equal(
        np.isnan(array(layer(tensor([-1.0, 4.0], "float32")))), [True, False]
    )


def test_the_function_is_not_run_again():
    calls = []

    def counted(x):
        calls.append(1)
        return x * 2 if x > 0 else x

    layer = bevel.activation(counted)
    calls.clear()
    for _ in range(3):
        layer(tensor(X, "float32"))
    assert not calls


def test_explain_says_which_way_and_why():
    said = bevel.activation(P.leaky).explain()
    assert "recorded as array code, 3 ways" in said
    said = bevel.activation(P.halved).explain()
    assert "called in Python for each element" in said
    assert "loop" in said
    assert "µs per element" in said
    assert "estimated by 16 more calls" in said
    assert "framework code" in bevel.activation(K.sigmoid).explain()


def test_a_function_that_changes_its_answers_is_called():
    state = np.random.default_rng(0)
    with pytest.raises(BevelTypeError, match="other results"):
        bevel.activation(lambda x: x + state.normal())


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda x: x + "a", "fails for numbers"),
        (lambda x, y: x, "one argument"),
        (3, "must be a function; got int"),
        (lambda x: np.exp(x) / np.sum(np.exp(x)), "for each of its elements"),
    ],
)
def test_what_is_no_activation_is_refused(fn, message):
    with pytest.raises(BevelTypeError, match=message):
        bevel.activation(fn)


def test_bad_settings_and_inputs_are_named():
    with pytest.raises(BevelValueError, match="`temperature`"):
        bevel.activation(P.leaky, temperature=0.0)
    with pytest.raises(TypeError, match="takes floats; got int32"):
        bevel.activation(P.leaky)(K.convert_to_tensor(np.array([1], "int32")))
    with pytest.raises(BevelTypeError, match=r"upstream, y_true, y_pred"):
        bevel.custom_gradient(P.squared_error, P.leaky)
    with pytest.raises(BevelTypeError, match=r"1 result.* for 2 argument"):
        bevel.custom_gradient(P.squared_error, lambda u, a, b: u)
    wrong = bevel.custom_gradient(P.clipped, lambda u, x: K.stack([u, u]))
    with pytest.raises(ValueError, match="expected the same shape"):
        run(wrong, tensor(X, "float32"))


Y = np.zeros((2, 3), "float32")
Q = np.array([[0.3, -0.7, 2.0], [1.0, -2.5, 0.1]], "float32")
PAIRS = {
    "squared_error": (P.squared_error, P.squared_error_slope, Q / 3, None),
    "huber": (P.huber, P.huber_slope, np.clip(Q, -1, 1), -np.clip(Q, -1, 1)),
}


@pytest.mark.parametrize("mode", WAYS)
@pytest.mark.parametrize("name", PAIRS)
def test_a_gradient_of_ones_own(name, mode):
    forward, gradient, expected, of_labels = PAIRS[name]
    layer = bevel.custom_gradient(forward, gradient)
    assert layer.compiles
    value, slopes = run(layer, tensor(Y, "float32"), tensor(Q, "float32"), mode=mode)
    if name == "squared_error":
        np.testing.assert_allclose(value, np.mean(Q**2), rtol=1e-6)
    else:
        np.testing.assert_allclose(value, np.vectorize(P.huber)(Y, Q), rtol=1e-6)
    np.testing.assert_allclose(slopes[1], expected, rtol=1e-6)
    np.testing.assert_allclose(slopes[0], np.zeros_like(Y) if of_labels is None else of_labels)


def test_a_function_of_numbers_meets_repeated_arguments():
    layer = bevel.custom_gradient(P.huber, P.huber_slope)
    value, slopes = run(layer, tensor([[0.0], [1.0]], "float32"), tensor(Q, "float32"))
    assert value.shape == Q.shape
    assert slopes[0].shape == (2, 1)


def test_integers_beside_floats_have_no_gradient():
    layer = bevel.custom_gradient(P.squared_error, P.squared_error_slope)
    labels = K.convert_to_tensor(np.zeros((2, 3), "int32"))
    _, (slope,) = run(lambda q: layer(labels, q), tensor(Q, "float32"))
    np.testing.assert_allclose(slope, Q / 3, rtol=1e-6)


@pytest.mark.parametrize("mode", [m for m in ("eager", *MODES) if m != "jit" or BACKEND == "jax"])
def test_a_function_of_tables_is_called(mode):
    layer = bevel.custom_gradient(P.sorted_rows, P.sorted_rows_slope)
    assert not layer.compiles
    weights = tensor(np.arange(8).reshape(2, 4), "float32")
    value, (slope,) = run(lambda x: layer(x) * weights, tensor(X[:, ::-1], "float32"), mode=mode)
    np.testing.assert_allclose(value, np.sort(X) * array(weights), rtol=1e-6)
    np.testing.assert_allclose(slope, array(weights)[:, ::-1])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_model_trains_and_is_saved_with_it(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 4)).astype("float32")
    y = (x[:, :1] > 0).astype("float32")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.layers.Dense(8, activation=bevel.activation(P.leaky, P.leaky_slope)),
        bevel.activation(P.halved, P.halved_slope, name="halved"),
        bevel.custom_gradient(P.clipped, lambda upstream, x: upstream),
        keras.layers.Dense(1),
    ])  # fmt: skip
    with pytest.raises(BevelValueError, match="cannot be saved"):
        model.layers[2].get_config()
    model.pop()
    model.pop()
    model.add(keras.layers.Dense(1))
    model.compile(keras.optimizers.Adam(0.05), "mse")
    history = model.fit(x, y, epochs=8, verbose=0)
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.models.load_model(path)
    np.testing.assert_allclose(
        again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )


def test_a_custom_gradient_is_saved():
    layer = bevel.custom_gradient(P.huber, P.huber_slope, name="huber")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.name == "huber"
    np.testing.assert_allclose(array(again(Y, Q)), array(layer(Y, Q)))


def test_the_declared_derivative_is_held_against_the_function():
    if BACKEND != "tensorflow":
        pytest.skip("check_gradient is written for TensorFlow so far")
    assert bevel.check_gradient(bevel.activation(P.leaky, P.leaky_slope), X).ok
    # it jumps at powers of 2, which its slope does not tell
    assert (
        bevel.check_gradient(bevel.activation(P.halved, P.halved_slope), X).verdict == "disagrees"
    )
    wrong = bevel.activation(P.swish, lambda x: -P.swish_slope(x))
    assert bevel.check_gradient(wrong, X).slope == pytest.approx(-1, abs=0.1)

    def loss(y_true, y_pred):
        return K.mean(K.square(wrong(y_pred) - y_true))

    report = bevel.audit(loss, np.zeros_like(X), X)
    assert "B401" in [f.code for f in report.findings]
