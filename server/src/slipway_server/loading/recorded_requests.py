"""Runs recorded requests (`PredictionLog`) on a version that is in no serving map yet."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from slipway_server.core.serving_map import Handle, Selector, Servable
from slipway_server.errors import Code, ServingError, invalid_argument
from slipway_server.inference.classification import Classifications, Result
from slipway_server.inference.multi import Task
from slipway_server.inference.predictor import DEFAULT_SIGNATURE, Predictor
from slipway_server.servables.servable import ServedModel
from slipway_server.servables.signature import Array
from slipway_server.servables.tensorflow.c_api.tensors import from_proto
from slipway_server.wire.tensorflow_serving.apis import (
    inference_pb2,
    input_pb2,
    predict_pb2,
    prediction_log_pb2,
)

CLASSES: Final = "classes"
SCORES: Final = "scores"
VALUES: Final = "values"


class RecordedRequests:
    """Runs recorded requests on one version; what they say about model and version is ignored.

    Args:
        check_methods: as the predictor that serves them (`Predictor`).
    """

    def __init__(self, servable: Servable[ServedModel], *, check_methods: bool) -> None:
        self._model = servable.model
        self._predictor = Predictor(_OnlyOne(servable), check_methods=check_methods)

    def run(self, record: prediction_log_pb2.PredictionLog) -> dict[str, Array]:
        """Run one and return its outputs by name; none for a record without a request.

        Classify has `classes` and `scores`, Regress `values`, MultiInference the same behind the signature's key and a
        slash.

        Raises:
            ServingError: what the predictor says, or UNIMPLEMENTED for a kind of request that cannot be run.
        """
        kind = record.WhichOneof("log_type")
        if kind is None:
            return {}
        with self._predictor.open(Selector(self._model)) as handle:
            return self._run(record, kind, handle)

    def _run(
        self, record: prediction_log_pb2.PredictionLog, kind: str, handle: Handle[ServedModel]
    ) -> dict[str, Array]:
        match kind:
            case "predict_log":
                request = record.predict_log.request
                return self._predictor.predict(
                    handle,
                    request.model_spec.signature_name,
                    _tensors(request),
                    request.output_filter,
                ).outputs
            case "classify_log":
                classify = record.classify_log.request
                found = self._predictor.classify(
                    handle, classify.model_spec.signature_name, _examples(classify.input)
                )
                return _outputs(found.result)
            case "regress_log":
                regress = record.regress_log.request
                found = self._predictor.regress(
                    handle, regress.model_spec.signature_name, _examples(regress.input)
                )
                return _outputs(found.result)
            case "multi_inference_log":
                combined = record.multi_inference_log.request
                answers = self._predictor.multi_inference(
                    handle, _tasks(self._model, combined), _examples(combined.input)
                )
                return {
                    f"{answer.signature}/{name}": value
                    for answer in answers
                    for name, value in _outputs(answer.result).items()
                }
            case _:
                number = record.DESCRIPTOR.fields_by_name[kind].number
                raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {number}")


class _OnlyOne:
    """Finds one version, whatever is asked for: it is not in the serving map yet."""

    def __init__(self, servable: Servable[ServedModel]) -> None:
        self._servable = servable

    def open(self, selector: Selector) -> Handle[ServedModel]:
        _ = selector
        self._servable.acquire()
        return Handle(self._servable)


def _outputs(result: Result) -> dict[str, Array]:
    if isinstance(result, Classifications):
        found = {CLASSES: result.labels, SCORES: result.scores}
        return {name: value for name, value in found.items() if value is not None}
    return {VALUES: result.values}


def _tensors(request: predict_pb2.PredictRequest) -> Mapping[str, Array]:
    tensors: dict[str, Array] = {}
    for alias, proto in request.inputs.items():
        try:
            tensors[alias] = from_proto(proto)
        except ServingError as error:
            raise invalid_argument(f"tensor parsing error: {alias}: {error.message}") from error
    return tensors


def _examples(message: input_pb2.Input) -> Array:
    """Return serialized Examples, each behind the context: concatenated messages are merged messages."""
    context = b""
    listed: Any = message.example_list
    if message.WhichOneof("kind") == "example_list_with_context":
        listed = message.example_list_with_context
        context = listed.context.SerializeToString()
    examples = [context + example.SerializeToString() for example in listed.examples]
    vector = np.empty(len(examples), object)
    vector[:] = examples
    return vector


def _tasks(model: str, request: inference_pb2.MultiInferenceRequest) -> list[Task]:
    return [
        Task(model, task.model_spec.signature_name or DEFAULT_SIGNATURE, task.method_name)
        for task in request.tasks
    ]
