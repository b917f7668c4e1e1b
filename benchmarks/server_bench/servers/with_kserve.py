"""The model on KServe's Python server, with its metrics on. Runs in that server's own environment."""

from __future__ import annotations

import os
import sys
from typing import Any

import kserve
import numpy as np
import tensorflow as tf


class SavedModel(kserve.Model):  # type: ignore[misc]
    def __init__(self, name: str, export: str) -> None:
        super().__init__(name)
        self._export = export
        self.load()

    def load(self) -> bool:
        self._model = tf.saved_model.load(self._export)
        self._signature = self._model.signatures["serving_default"]
        self.ready = True
        return self.ready

    def predict(self, payload: Any, *_: Any, **__: Any) -> Any:
        if isinstance(payload, dict):
            return {"predictions": self._run(np.asarray(payload["instances"], np.float32)).tolist()}
        values = self._run(payload.inputs[0].as_numpy())
        output = kserve.InferOutput(name="y", shape=list(values.shape), datatype="FP32")
        output.set_data_from_numpy(values, binary_data=True)
        return kserve.InferResponse(
            response_id=payload.id or "", model_name=self.name, infer_outputs=[output]
        )

    def _run(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        answer: np.ndarray[Any, Any] = self._signature(x=tf.constant(values))["y"].numpy()
        return answer


if __name__ == "__main__":
    _, grpc_port, http_port, export = sys.argv
    os.environ.setdefault("KSERVE_LOGLEVEL", "WARNING")
    kserve.ModelServer(
        http_port=int(http_port), grpc_port=int(grpc_port), workers=1, enable_latency_logging=False
    ).start([SavedModel("model", export)])
