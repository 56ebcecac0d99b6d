"""A Keras layer with a hard step in it: relaxed while the model trains, itself when it is used.

`bevel.relax(layer)` makes one. Its call is traced as a function of the inputs and of its weights,
so that a layer which binarises its own weights trains as well as one that binarises what it is
given. The weights are the layer's own.
"""

from __future__ import annotations

import inspect
from typing import Any

import keras
from keras import ops as K

from bevel.errors import BevelTypeError
from bevel.layers import Tempered
from bevel.relaxation import Relaxed


@keras.saving.register_keras_serializable(package="bevel")
class RelaxedLayer(Tempered):
    """Another layer, relaxed in training and as it is in inference.

    Args:
        layer: The layer; its weights are shared.
        temperature: How soft, at first; see `bevel.relax`. It can be changed while training.
        kernel: See `bevel.relax`.
        forward: `soft`, or `hard` for the layer's exact outputs in training too, with the gradient
            of the soft ones (a straight-through estimator).
        on_unknown: See `bevel.relax`.
        **kwargs: `name`, `dtype` and the like.

    Raises:
        BevelTypeError: `layer` is no Keras layer.

    Example:
        >>> import numpy as np
        >>> from bevel import relax
        >>> gate = relax(keras.layers.Lambda(lambda x: K.cast(x > 0, "float32")))
        >>> x = np.array([[-1.0, 0.1]], "float32")
        >>> gate(x).numpy().tolist()
        [[0.0, 1.0]]
        >>> bool(0 < gate(x, training=True).numpy()[0, 1] < 1)
        True
    """

    def __init__(
        self,
        layer: Any,
        temperature: float = 0.1,
        kernel: str = "algebraic",
        forward: str = "soft",
        on_unknown: str = "error",
        **kwargs: Any,
    ) -> None:
        if not isinstance(layer, keras.layers.Layer):
            raise BevelTypeError(f"`layer` must be a Keras layer; got {type(layer).__name__}.")
        kwargs.setdefault("name", f"relaxed_{layer.name}")
        super().__init__(temperature, kernel, forward, False, **kwargs)
        self.layer = layer
        self.on_unknown = on_unknown
        self._relaxed: Relaxed | None = None

    def build(self, input_shape: Any) -> None:
        if not self.layer.built:
            self.layer.build(input_shape)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not training or not self.initial_temperature:
            return self.layer(inputs, **mode(self.layer, training))
        # read outside of the relaxation, so that a tape sees it
        weights = [K.convert_to_tensor(v.value) for v in self.layer.trainable_variables]
        return self._relaxation()(inputs, weights)

    def _relaxation(self) -> Relaxed:
        if self._relaxed is None:
            wrt = ["inputs"] + ["weights"] * bool(self.layer.trainable_variables)
            self._relaxed = Relaxed(
                self._outputs, lambda: self.temperature, self.kernel, self.forward_mode, wrt,
                self.on_unknown,
            )  # fmt: skip
        return self._relaxed

    def _outputs(self, inputs: Any, weights: Any) -> Any:
        """What the layer gives for these inputs and weights; what else it keeps stays as it is."""
        others = [v.value for v in self.layer.non_trainable_variables]
        return self.layer.stateless_call(weights, others, inputs, **mode(self.layer, True))[0]

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["train_temperature"]
        return config | {
            "layer": keras.saving.serialize_keras_object(self.layer),
            "on_unknown": self.on_unknown,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RelaxedLayer:
        config = dict(config)
        layer = keras.saving.deserialize_keras_object(config.pop("layer"))
        return cls(layer, **config)


def mode(layer: Any, training: bool | None) -> dict[str, Any]:
    """The mode, for a layer or model whose call asks for it."""
    known = inspect.signature(layer.call).parameters
    return {"training": training} if "training" in known else {}
