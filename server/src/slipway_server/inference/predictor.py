"""The one predictor behind every front end: (model, version, signature, tensors) → tensors.

Front ends are codecs around it. Whatever replaces it or them one day meets at this boundary.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Protocol

from slipway_server.core.serving_map import Handle, Selector
from slipway_server.errors import invalid_argument
from slipway_server.inference import classification
from slipway_server.inference.checks import (
    check_inputs,
    check_predict_method,
    choose_outputs,
    signature_not_found,
)
from slipway_server.inference.classification import Method, Result
from slipway_server.inference.multi import Task, plan
from slipway_server.servables.rows import check_followed, other_rows
from slipway_server.servables.servable import ServedModel
from slipway_server.servables.signature import Array, Signature

DEFAULT_SIGNATURE: Final = "serving_default"


@dataclass(frozen=True, slots=True)
class Prediction:
    """An answer.

    Attributes:
        version: the version that answered.
        signature: the signature that was used.
        outputs: alias → value; strings are arrays of `bytes` objects.
    """

    version: int
    signature: str
    outputs: dict[str, Array]


@dataclass(frozen=True, slots=True)
class Inference:
    """An answer of Classify or Regress.

    Attributes:
        version: the version that answered.
        signature: the signature that was used.
    """

    version: int
    signature: str
    result: Result


class Versions(Protocol):
    """Where the version that answers a request is found (`core.serving_map.ServingMap`)."""

    def open(self, selector: Selector) -> Handle[ServedModel]:
        """Take hold of a version, or raise a ServingError."""
        ...


class RunObserver(Protocol):
    """Is told how long models took (`observability.run_metrics`)."""

    def ran(
        self,
        method: str,
        model: str,
        version: int,
        signature: str,
        seconds: float,
        examples: int | None = None,
    ) -> None:
        """Take note of a run that succeeded; `examples` are those of Classify and its like."""
        ...


class Predictor:
    """Answers requests from the versions in a serving map.

    Args:
        observer: told of every run that succeeded.
        check_methods: refuse to use a signature otherwise than the `method_name` in its export says.
    """

    def __init__(
        self,
        serving: Versions,
        *,
        check_methods: bool = False,
        observer: RunObserver | None = None,
    ) -> None:
        self._serving = serving
        self._check_methods = check_methods
        self._observer = observer

    def open(self, selector: Selector) -> Handle[ServedModel]:
        """Take hold of the version that a request asks for (`ServingMap.open`)."""
        return self._serving.open(selector)

    def predict(
        self,
        handle: Handle[ServedModel],
        signature_name: str,
        inputs: Mapping[str, Array],
        output_filter: Sequence[str] = (),
        deadline: float | None = None,
    ) -> Prediction:
        """Run one request.

        Args:
            handle: the version, from `open`.
            signature_name: empty means `serving_default`.
            inputs: alias → value, of the signature's element types.
            output_filter: aliases of the wanted outputs; empty means all.
            deadline: seconds on `time.monotonic`; None means never.

        Raises:
            ServingError: FAILED_PRECONDITION for an unknown signature, INVALID_ARGUMENT when the request does not fit
                it or has rows that the answer does not follow, DEADLINE_EXCEEDED when it is too late to run it, or
                TensorFlow's own code and message.
        """
        signature = _signature(handle, signature_name)
        if self._check_methods:
            check_predict_method(signature)
        check_inputs(signature, inputs.keys())
        outputs = choose_outputs(signature, output_filter)
        began = perf_counter()
        values = handle.content.run(signature, inputs, outputs, deadline)
        answer = dict(zip(outputs, values, strict=True))
        if sent := other_rows(signature, inputs):
            check_followed(signature, sent, answer)
        name = signature_name or DEFAULT_SIGNATURE
        if self._observer is not None:
            self._observer.ran(
                "Predict", handle.model, handle.version, name, perf_counter() - began
            )
        return Prediction(handle.version, name, answer)

    def check_names(
        self, handle: Handle[ServedModel], signature_name: str, inputs: Collection[str]
    ) -> None:
        """Refuse inputs that `predict` would refuse for their names, before their values are read."""
        signature = _signature(handle, signature_name)
        if self._check_methods:
            check_predict_method(signature)
        check_inputs(signature, inputs)

    def classify(
        self,
        handle: Handle[ServedModel],
        signature_name: str,
        examples: Array,
        deadline: float | None = None,
    ) -> Inference:
        """Classify serialized tf.Examples.

        Args:
            handle: the version, from `open`.
            signature_name: empty means `serving_default`.
            examples: a vector of `bytes` objects.
            deadline: as for `predict`.

        Raises:
            ServingError: INVALID_ARGUMENT when the signature or what it returns is no classification or there is no
                example, or TensorFlow's own code and message.
        """
        return self._infer(Method.CLASSIFY, handle, signature_name, examples, deadline)

    def regress(
        self,
        handle: Handle[ServedModel],
        signature_name: str,
        examples: Array,
        deadline: float | None = None,
    ) -> Inference:
        """Run a regression over serialized tf.Examples; as `classify`."""
        return self._infer(Method.REGRESS, handle, signature_name, examples, deadline)

    def multi_inference(
        self,
        handle: Handle[ServedModel],
        tasks: Sequence[Task],
        examples: Array,
        deadline: float | None = None,
    ) -> list[Inference]:
        """Run several classifications and regressions over the same examples at once; one answer for each task.

        Raises:
            ServingError: as `classify`, and UNIMPLEMENTED for a task that is neither.
        """
        model = handle.content
        signatures = model.signatures
        if model.example_signatures:
            signatures = {**signatures, **model.example_signatures}
        planned = plan(tasks, signatures, check_methods=self._check_methods)
        began = perf_counter()
        values = _run_examples(model, planned.signature, planned.outputs, examples, deadline)
        self._ran("MultiInference", handle, "", began, examples)
        results = planned.results(len(examples), values)
        return [
            Inference(handle.version, task.signature, result)
            for task, result in zip(tasks, results, strict=True)
        ]

    def _infer(
        self,
        method: Method,
        handle: Handle[ServedModel],
        signature_name: str,
        examples: Array,
        deadline: float | None,
    ) -> Inference:
        name = signature_name or DEFAULT_SIGNATURE
        model = handle.content
        signature = model.example_signatures.get(name) or model.signatures.get(name)
        if signature is None:
            raise classification.signature_not_found(name)
        if self._check_methods:
            classification.check_method(signature, method)
        outputs = classification.wanted_outputs(signature, method)
        began = perf_counter()
        values = _run_examples(model, signature, outputs, examples, deadline)
        self._ran(_METHOD_NAMES[method], handle, name, began, examples)
        return Inference(handle.version, name, classification.result(method, len(examples), values))

    def _ran(
        self,
        method: str,
        handle: Handle[ServedModel],
        signature: str,
        began: float,
        examples: Array,
    ) -> None:
        if self._observer is not None:
            seconds = perf_counter() - began
            self._observer.ran(
                method, handle.model, handle.version, signature, seconds, len(examples)
            )


_METHOD_NAMES: Final = {Method.CLASSIFY: "Classify", Method.REGRESS: "Regress"}


def _signature(handle: Handle[ServedModel], name: str) -> Signature:
    key = name or DEFAULT_SIGNATURE
    signature = handle.content.signatures.get(key)
    if signature is None:
        raise signature_not_found(key)
    return signature


def _run_examples(
    model: ServedModel,
    signature: Signature,
    outputs: Sequence[str],
    examples: Array,
    deadline: float | None,
) -> dict[str, Array]:
    if not len(examples):
        raise invalid_argument("Input is empty.")
    inputs = dict.fromkeys(signature.inputs, examples)
    return dict(zip(outputs, model.run(signature, inputs, outputs, deadline), strict=True))
