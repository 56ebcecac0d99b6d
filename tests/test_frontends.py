"""`trace` chooses the front end of the active framework, and says so where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import bevel
from bevel import frontends
from bevel.errors import MissingFrameworkError
from bevel.program import Program

X = np.zeros(3, "float32")


def hits(y_true, y_pred):
    return tf.reduce_mean(tf.cast(tf.round(y_pred) == y_true, "float32"))


def test_trace_is_public_and_gives_a_sound_program():
    program = bevel.trace(hits, X, X)
    assert isinstance(program, Program)
    assert program.verify() is program
    assert program.name == "hits"


def test_a_program_is_named_after_a_callable_objects_class():
    class Metric:
        def __call__(self, x):
            return tf.round(x)

    assert bevel.trace(Metric(), X).name == "Metric"


def test_the_front_end_and_the_executor_are_tensorflows():
    assert frontends.frontend().__name__ == "bevel.frontends.from_tensorflow"
    assert frontends.executor().__name__ == "bevel.frontends.tensorflow.executor"


def test_tracing_does_not_run_the_function_on_values():
    seen = []

    def spy(x):
        seen.append(type(x).__name__)
        return tf.round(x)

    bevel.trace(spy, X)
    assert seen == ["SymbolicTensor"]


def test_tracing_leaves_its_arguments_alone():
    given = np.array([1.5, -2.5, 0.0], "float32")
    bevel.trace(hits, given, given)
    np.testing.assert_array_equal(given, [1.5, -2.5, 0.0])


@pytest.mark.parametrize(
    "use", [frontends.frontend, frontends.executor, lambda: bevel.trace(hits, X, X)]
)
def test_a_missing_framework_is_named_with_its_extra(use, monkeypatch):
    def missing(name):
        raise MissingFrameworkError(f"{name} is not installed: pip install 'bevel[{name}]'")

    monkeypatch.setattr(frontends, "require", missing)
    with pytest.raises(MissingFrameworkError, match=r"bevel\[tensorflow\]"):
        use()
