"""Parameters named like a prediction or like labels."""

import pytest

from bevel.roles import prediction_among


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["y_true", "y_pred"], "y_pred"),
        (["y_pred", "y_true"], "y_pred"),
        (["logits", "target"], "logits"),
        (["input", "target"], "input"),
        (["preds", "labels"], "preds"),
        (["target", "preds"], "preds"),
        (["a", "b"], "b"),
        (["x", "scale"], "scale"),
        (["predicted_target", "true"], "true"),
        (["scores"], "scores"),
    ],
)
def test_the_names_tell_which_parameter_is_trained(names, expected):
    assert prediction_among(names) == expected
