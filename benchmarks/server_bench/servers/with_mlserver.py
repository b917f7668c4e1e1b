"""The model as an MLServer runtime. Runs in that server's own environment."""

from __future__ import annotations

import tensorflow as tf
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class SavedModel(MLModel):  # type: ignore[misc]
    async def load(self) -> bool:
        self._model = tf.saved_model.load(self.settings.parameters.uri)
        self._signature = self._model.signatures["serving_default"]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        values = NumpyCodec.decode_input(payload.inputs[0])
        answer = self._signature(x=tf.constant(values))["y"].numpy()
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[NumpyCodec.encode_output("y", answer)],
        )
