"""Classify, Regress and MultiInference: serialized tf.Examples in, results out. No Example is ever parsed here."""

import struct
from collections.abc import Sequence
from typing import Any, Final

from slipway_server.frontends.codec.cost import CLASSIFY, parsing_cost
from slipway_server.frontends.codec.examples import example_vector
from slipway_server.frontends.codec.wire import delimited
from slipway_server.frontends.room import Room
from slipway_server.frontends.rpc.requests import parsed, selector, spec_field, spec_selector
from slipway_server.inference.classification import Classifications, Regressions, Result
from slipway_server.inference.multi import Task
from slipway_server.inference.predictor import DEFAULT_SIGNATURE, Inference, Predictor
from slipway_server.observability.telemetry import Call
from slipway_server.servables.signature import Array
from slipway_server.wire import example_requests_pb2

# Field numbers: tensorflow_serving/apis/{classification,regression,inference}.proto.
_RESPONSE_RESULT, _RESPONSE_SPEC = 1, 2
_TASK_SPEC, _TASK_CLASSIFICATION, _TASK_REGRESSION = 1, 2, 3
_SCORE: Final = struct.Struct("<Bf")
_SCORE_TAG: Final = 2 << 3 | 5
_VALUE_TAG: Final = 1 << 3 | 5


class ExampleMethods:
    """The handlers of the three methods that take tf.Examples.

    Args:
        parsing: what messages take together while they are parsed and answered.
    """

    def __init__(self, predictor: Predictor, parsing: Room) -> None:
        self._predictor = predictor
        self._parsing = parsing

    def classify(self, data: bytes, call: Call) -> bytes:
        """Answer a ClassificationRequest."""
        return self._single(data, call, self._predictor.classify)

    def regress(self, data: bytes, call: Call) -> bytes:
        """Answer a RegressionRequest."""
        return self._single(data, call, self._predictor.regress)

    def multi_inference(self, data: bytes, call: Call) -> bytes:
        """Answer a MultiInferenceRequest; its first task selects the version for all."""
        with self._parsing.take(parsing_cost(data, CLASSIFY), call.deadline):
            return self._multi(data, call)

    def _multi(self, data: bytes, call: Call) -> bytes:
        request = parsed(example_requests_pb2.MultiInferenceRequest, data)
        first = request.tasks[0].model_spec if request.tasks else example_requests_pb2.ModelSpec()
        call.model = first.name
        with self._predictor.open(spec_selector(first)) as handle:
            call.version = handle.version
            tasks = [
                Task(
                    task.model_spec.name,
                    task.model_spec.signature_name or DEFAULT_SIGNATURE,
                    task.method_name,
                )
                for task in request.tasks
            ]
            found = self._predictor.multi_inference(
                handle, tasks, read_examples(request.input), call.deadline
            )
        # Combinations are too many to be told apart in metrics.
        call.signature = found[0].signature if len(found) == 1 else ""
        return multi_inference_reply(call.model, found)

    def _single(self, data: bytes, call: Call, infer: Any) -> bytes:
        with self._parsing.take(parsing_cost(data, CLASSIFY), call.deadline):
            return self._infer(data, call, infer)

    def _infer(self, data: bytes, call: Call, infer: Any) -> bytes:
        request = parsed(example_requests_pb2.ExamplesRequest, data)
        spec = request.model_spec
        call.model = spec.name
        with self._predictor.open(selector(request)) as handle:
            call.version = handle.version
            found: Inference = infer(
                handle, spec.signature_name, read_examples(request.input), call.deadline
            )
        call.signature = found.signature
        return inference_reply(spec.name, found)


def inference_reply(model: str, found: Inference) -> bytes:
    """Return the wire bytes of a ClassificationResponse or RegressionResponse."""
    return delimited(_RESPONSE_RESULT, _result(found.result)) + spec_field(
        _RESPONSE_SPEC, model, found.version, found.signature
    )


def multi_inference_reply(model: str, found: Sequence[Inference]) -> bytes:
    """Return the wire bytes of a MultiInferenceResponse."""
    return b"".join(delimited(1, _task_reply(model, one)) for one in found)


def read_examples(message: example_requests_pb2.Input) -> Array:
    """Return the serialized tf.Examples of an Input, as a vector of `bytes` objects; empty when it has none.

    Raises:
        ServingError: as `example_vector` does.
    """
    if message.WhichOneof("kind") == "example_list_with_context":
        having = message.example_list_with_context
        return example_vector(having.examples, having.context)
    return example_vector(message.example_list.examples)


def _task_reply(model: str, found: Inference) -> bytes:
    field = _TASK_CLASSIFICATION if isinstance(found.result, Classifications) else _TASK_REGRESSION
    spec = spec_field(_TASK_SPEC, model, found.version, found.signature)
    return spec + delimited(field, _result(found.result))


def _result(result: Result) -> bytes:
    match result:
        case Classifications():
            return b"".join(delimited(1, classes) for classes in _classes(result))
        case Regressions():
            return b"".join(
                delimited(1, _SCORE.pack(_VALUE_TAG, value)) for value in result.values.tolist()
            )


def _classes(result: Classifications) -> list[bytes]:
    """Return the wire bytes of `Classifications`, one for each example."""
    labels = None if result.labels is None else result.labels.tolist()
    if result.scores is None:
        return [b"".join(delimited(1, _label(label)) for label in row) for row in labels or ()]
    scores = result.scores.tolist()
    if labels is None:
        return [b"".join(delimited(1, _score(score)) for score in row) for row in scores]
    return [
        b"".join(
            delimited(1, _label(label) + _score(score))
            for label, score in zip(names, row, strict=True)
        )
        for names, row in zip(labels, scores, strict=True)
    ]


def _label(label: bytes) -> bytes:
    # The field is a string: clients refuse a message in which it is no UTF-8.
    return delimited(1, label.decode("utf-8", "replace").encode()) if label else b""


def _score(score: float) -> bytes:
    return _SCORE.pack(_SCORE_TAG, score)
