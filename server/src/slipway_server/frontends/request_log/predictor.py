"""A predictor that leaves a sample of requests and answers to the request log, as PredictionLog messages."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

from slipway_server.core.serving_map import Handle
from slipway_server.frontends.codec.tensors import write_tensor
from slipway_server.frontends.request_log.sampler import RequestLog, approximate_bytes
from slipway_server.frontends.rpc.classification import inference_reply, multi_inference_reply
from slipway_server.frontends.rpc.prediction import predict_reply
from slipway_server.inference.predictor import (
    DEFAULT_SIGNATURE,
    Inference,
    Prediction,
    Predictor,
    RunObserver,
    Versions,
)
from slipway_server.servables.servable import ServedModel
from slipway_server.servables.signature import Array
from slipway_server.storage.source import LoggingRule
from slipway_server.wire.tensorflow_serving.apis import inference_pb2, prediction_log_pb2

PredictorMethod = TypeVar("PredictorMethod", bound=Callable[..., Any])
Write = Callable[[Any, str, Mapping[str, Any], Any], None]
"""Writes a request (arguments of the method, by name) and its answer into a PredictionLog of a model."""


def _logged(method: PredictorMethod, write: Write) -> PredictorMethod:
    """Return a method of `Predictor` that answers as before, and leaves a sample to the request log."""
    signature = inspect.signature(method)

    @wraps(method)
    def logged(
        self: "LoggedPredictor", handle: Handle[ServedModel], *arguments: Any, **named: Any
    ) -> Any:
        answer = method(self, handle, *arguments, **named)
        model, log = handle.model, self.request_log
        if model in log.rules and (rule := log.sampled(model)):
            bound = signature.bind(self, handle, *arguments, **named)
            bound.apply_defaults()
            # The record is written later: neither version nor model may be held until then.
            request = {name: bound.arguments[name] for name in list(bound.arguments)[2:]}
            log.keep(
                model,
                rule,
                lambda at: _record(model, rule, at, request, answer, write),
                _size(request, answer),
            )
        return answer

    return cast("PredictorMethod", logged)


def _size(request: Mapping[str, Any], answer: Prediction | Inference | list[Inference]) -> int:
    if isinstance(answer, Prediction):
        sent = approximate_bytes(request["inputs"].values())
        return sent + approximate_bytes(answer.outputs.values())
    return 2 * approximate_bytes((request["examples"],))


def _record(
    model: str,
    rule: LoggingRule,
    at: int,
    request: Mapping[str, Any],
    answer: Prediction | Inference | list[Inference],
    write: Write,
) -> bytes:
    first = answer[0] if isinstance(answer, list) else answer
    log = _new_log(model, first.version, first.signature, rule, at)
    write(log, model, request, answer)
    return bytes(log.SerializeToString())


def _new_log(
    model: str, version: int, signature: str, rule: LoggingRule, at: int
) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    metadata = log.log_metadata
    _spec(metadata.model_spec, model, version, signature)
    metadata.sampling_config.sampling_rate = rule.sampling
    metadata.timestamp_secs = at
    return log


def _spec(spec: Any, model: str, version: int, signature: str) -> None:
    spec.name = model
    spec.version.value = version
    spec.signature_name = signature or DEFAULT_SIGNATURE


def _predict(log: Any, model: str, sent: Mapping[str, Any], answer: Prediction) -> None:
    request = log.predict_log.request
    _spec(request.model_spec, model, answer.version, answer.signature)
    request.output_filter.extend(sent["output_filter"])
    for alias, value in sent["inputs"].items():
        request.inputs[alias].ParseFromString(write_tensor(value, as_content=True))
    log.predict_log.response.ParseFromString(predict_reply(model, answer, tensor_content=True))


def _classify(log: Any, model: str, sent: Mapping[str, Any], answer: Inference) -> None:
    _infer(log.classify_log, model, sent, answer)


def _regress(log: Any, model: str, sent: Mapping[str, Any], answer: Inference) -> None:
    _infer(log.regress_log, model, sent, answer)


def _infer(log: Any, model: str, sent: Mapping[str, Any], answer: Inference) -> None:
    _spec(log.request.model_spec, model, answer.version, answer.signature)
    _examples(log.request.input, sent["examples"])
    log.response.ParseFromString(inference_reply(model, answer))


def _multi_inference(
    log: Any, model: str, sent: Mapping[str, Any], answers: Sequence[Inference]
) -> None:
    request: inference_pb2.MultiInferenceRequest = log.multi_inference_log.request
    for answer, sent_task in zip(answers, sent["tasks"], strict=True):
        task = request.tasks.add(method_name=sent_task.method)
        _spec(task.model_spec, model, answer.version, answer.signature)
    _examples(request.input, sent["examples"])
    log.multi_inference_log.response.ParseFromString(multi_inference_reply(model, answers))


def _examples(message: Any, examples: Array) -> None:
    for example in examples:
        message.example_list.examples.add().ParseFromString(example)


class LoggedPredictor(Predictor):
    """The predictor, with a request log behind it."""

    def __init__(
        self,
        serving: Versions,
        log: RequestLog,
        *,
        check_methods: bool = False,
        observer: RunObserver | None = None,
    ) -> None:
        super().__init__(serving, check_methods=check_methods, observer=observer)
        self.request_log = log

    predict = _logged(Predictor.predict, _predict)
    classify = _logged(Predictor.classify, _classify)
    regress = _logged(Predictor.regress, _regress)
    multi_inference = _logged(Predictor.multi_inference, _multi_inference)
