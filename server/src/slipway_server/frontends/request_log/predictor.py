"""A predictor that keeps a sample of what it is asked and answers, as PredictionLog messages."""

from collections.abc import Mapping, Sequence
from typing import Any

from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    prediction_log_pb2,
    regression_pb2,
)

from slipway_server.core.serving_map import Handle
from slipway_server.frontends.codec.tensors import write_tensor
from slipway_server.frontends.request_log.sampler import RequestLog, approximate_bytes
from slipway_server.frontends.rpc.classification import inference_reply, multi_inference_reply
from slipway_server.frontends.rpc.prediction import predict_reply
from slipway_server.inference.multi import Task
from slipway_server.inference.predictor import (
    DEFAULT_SIGNATURE,
    Inference,
    Prediction,
    Predictor,
    RunnableModel,
    RunObserver,
    Versions,
)
from slipway_server.markers import override
from slipway_server.servables.signature import Array
from slipway_server.storage.request_log_rule import LoggingRule


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
        self._log = log

    @override
    def predict(
        self,
        handle: Handle[RunnableModel],
        signature_name: str,
        inputs: Mapping[str, Array],
        output_filter: Sequence[str] = (),
        deadline: float | None = None,
    ) -> Prediction:
        """Answer as `Predictor.predict` does, and keep a sample."""
        answer = super().predict(handle, signature_name, inputs, output_filter, deadline)
        model = handle.model
        if model in self._log.rules and (rule := self._log.sampled(model)):
            size = approximate_bytes(inputs.values()) + approximate_bytes(answer.outputs.values())
            wanted = tuple(output_filter)
            self._log.keep(
                model, rule, lambda at: _predict(model, rule, at, inputs, wanted, answer), size
            )
        return answer

    @override
    def classify(
        self,
        handle: Handle[RunnableModel],
        signature_name: str,
        examples: Array,
        deadline: float | None = None,
    ) -> Inference:
        """Answer as `Predictor.classify` does, and keep a sample."""
        answer = super().classify(handle, signature_name, examples, deadline)
        self._keep_examples(handle.model, (answer,), examples, _classify)
        return answer

    @override
    def regress(
        self,
        handle: Handle[RunnableModel],
        signature_name: str,
        examples: Array,
        deadline: float | None = None,
    ) -> Inference:
        """Answer as `Predictor.regress` does, and keep a sample."""
        answer = super().regress(handle, signature_name, examples, deadline)
        self._keep_examples(handle.model, (answer,), examples, _regress)
        return answer

    @override
    def multi_inference(
        self,
        handle: Handle[RunnableModel],
        tasks: Sequence[Task],
        examples: Array,
        deadline: float | None = None,
    ) -> list[Inference]:
        """Answer as `Predictor.multi_inference` does, and keep a sample."""
        answers = super().multi_inference(handle, tasks, examples, deadline)
        methods = [task.method for task in tasks]

        def record(log: Any, model: str, found: Sequence[Inference], sent: Array) -> None:
            _multi_inference(log, model, found, sent, methods)

        self._keep_examples(handle.model, answers, examples, record)
        return answers

    def _keep_examples(
        self, model: str, answers: Sequence[Inference], examples: Array, write: Any
    ) -> None:
        if model not in self._log.rules or (rule := self._log.sampled(model)) is None:
            return

        def record(at: int) -> bytes:
            log = _new_log(model, answers[0].version, answers[0].signature, rule, at)
            write(log, model, answers, examples)
            return bytes(log.SerializeToString())

        self._log.keep(model, rule, record, 2 * approximate_bytes((examples,)))


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


def _predict(
    model: str,
    rule: LoggingRule,
    at: int,
    inputs: Mapping[str, Array],
    output_filter: Sequence[str],
    answer: Prediction,
) -> bytes:
    log = _new_log(model, answer.version, answer.signature, rule, at)
    request = log.predict_log.request
    _spec(request.model_spec, model, answer.version, answer.signature)
    request.output_filter.extend(output_filter)
    for alias, value in inputs.items():
        request.inputs[alias].ParseFromString(write_tensor(value, as_content=True))
    log.predict_log.response.ParseFromString(predict_reply(model, answer, tensor_content=True))
    return bytes(log.SerializeToString())


def _classify(log: Any, model: str, answers: Sequence[Inference], examples: Array) -> None:
    (answer,) = answers
    request: classification_pb2.ClassificationRequest = log.classify_log.request
    _spec(request.model_spec, model, answer.version, answer.signature)
    _examples(request.input, examples)
    log.classify_log.response.ParseFromString(inference_reply(model, answer))


def _regress(log: Any, model: str, answers: Sequence[Inference], examples: Array) -> None:
    (answer,) = answers
    request: regression_pb2.RegressionRequest = log.regress_log.request
    _spec(request.model_spec, model, answer.version, answer.signature)
    _examples(request.input, examples)
    log.regress_log.response.ParseFromString(inference_reply(model, answer))


def _multi_inference(
    log: Any, model: str, answers: Sequence[Inference], examples: Array, methods: Sequence[str]
) -> None:
    request: inference_pb2.MultiInferenceRequest = log.multi_inference_log.request
    for answer, method in zip(answers, methods, strict=True):
        task = request.tasks.add(method_name=method)
        _spec(task.model_spec, model, answer.version, answer.signature)
    _examples(request.input, examples)
    log.multi_inference_log.response.ParseFromString(multi_inference_reply(model, answers))


def _examples(message: Any, examples: Array) -> None:
    for example in examples:
        message.example_list.examples.add().ParseFromString(example)
