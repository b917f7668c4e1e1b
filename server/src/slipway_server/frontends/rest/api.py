"""TensorFlow Serving's REST API: paths, methods and bodies.

POST /v1/models/NAME[/versions/N|/labels/L]:(predict|classify|regress)
GET  /v1/models/NAME[/versions/N|/labels/L][/metadata]
GET  /v1/models
"""

import re
from collections.abc import Callable, Collection
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import orjson

from slipway_server.core.serving_map import Handle, Selector
from slipway_server.core.states import StateMonitor, VersionState
from slipway_server.errors import Code, ServingError, invalid_argument
from slipway_server.frontends.codec.json_text import parse
from slipway_server.frontends.codec.models import metadata_json, model_states
from slipway_server.frontends.http.messages import HTML, HttpRequest, HttpResponse, error_response
from slipway_server.frontends.rest.json_answer import write_predictions
from slipway_server.frontends.rest.json_body import JsonBodies
from slipway_server.frontends.rest.json_examples import read_examples, write_results
from slipway_server.frontends.rest.json_tensor import read_predict, signature_name
from slipway_server.inference.predictor import DEFAULT_SIGNATURE, Predictor
from slipway_server.observability.telemetry import Call, Telemetry
from slipway_server.servables.servable import ServedModel
from slipway_server.servables.signature import Signature

_CHOICE: Final = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_INFERENCE: Final = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_CHOICE}:(?P<method>classify|regress|predict)", re.IGNORECASE
)
_READING: Final = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_CHOICE}(?P<metadata>/metadata)?", re.IGNORECASE
)
_MODELS: Final = "/v1/models"
_INT64_MAX: Final = 2**63 - 1
_METHODS: Final = {"predict": "Predict", "classify": "Classify", "regress": "Regress"}


class RestApi:
    """Answers everything that is no health page. Runs on worker threads; `__call__` raises nothing.

    Args:
        bodies: shared with the other APIs.
        models: the names of the configured models.
        strict_types: refuse integers that an input's type cannot hold, instead of taking their low bits.
    """

    def __init__(
        self,
        predictor: Predictor,
        monitor: StateMonitor,
        telemetry: Telemetry,
        bodies: JsonBodies,
        models: Callable[[], Collection[str]],
        *,
        strict_types: bool = True,
    ) -> None:
        self._models = models
        self._predictor = predictor
        self._monitor = monitor
        self._telemetry = telemetry
        self._bodies = bodies
        self._strict_types = strict_types

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer any path: those outside /v1/ with 404, errors as JSON bodies."""
        path = request.path
        if path[:4].lower() != "/v1/":
            return _NOT_FOUND
        call = self._telemetry.begin("", "REST")
        call.deadline = request.deadline
        try:
            response = self._answer(request, path, call)
            code = Code.OK
        except ServingError as error:
            response, code = error_response(error), error.code
        except Exception as error:  # noqa: BLE001 - the last line of defence: a client must get an answer
            failure = ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}")
            response, code = error_response(failure), failure.code
        self._telemetry.end(call, code)
        return response

    def _answer(self, request: HttpRequest, path: str, call: Call) -> HttpResponse:
        if request.method == "POST" and (found := _INFERENCE.fullmatch(path)):
            call.method = _METHODS[found["method"].lower()]
            selector = _selector(found)
            call.model = selector.model
            if call.method == "Predict":
                return self._predict(request, selector, call)
            return self._infer(request, selector, call)
        if request.method == "GET" and (found := _READING.fullmatch(path)):
            if found["name"] is None:
                if found.end() == len(_MODELS):
                    call.method = "GetModelStatus"
                    return self._list()
                raise invalid_argument("Missing model name in request.")
            selector = _selector(found)
            call.model = selector.model
            if found["metadata"]:
                call.method = "GetModelMetadata"
                return self._metadata(selector, call)
            call.method = "GetModelStatus"
            return self._status(selector)
        raise invalid_argument(f"Malformed request: {request.method} {path}")

    def _predict(self, request: HttpRequest, selector: Selector, call: Call) -> HttpResponse:
        with self._bodies.open(request, call.deadline) as opened:
            text = opened.text
            body = parse(text)
            name = signature_name(body)
            with self._predictor.open(selector) as handle:
                call.version = handle.version
                decoded = read_predict(
                    body,
                    _signature(handle, name),
                    # Most bodies hold neither letter, and one letter is found many times faster than a word.
                    literals=(b"u" in text and b"true" in text)
                    or (b"f" in text and b"false" in text),
                    strings=text.count(b'"') // 2,
                    strict=self._strict_types,
                )
                # The model may take its time; what others need is not kept so long.
                del text, body
                opened.close()
                prediction = self._predictor.predict(
                    handle, name, decoded.inputs, deadline=call.deadline
                )
                call.signature = prediction.signature
        return HttpResponse(
            200, write_predictions(decoded.format, prediction.outputs, decoded.rows)
        )

    def _infer(self, request: HttpRequest, selector: Selector, call: Call) -> HttpResponse:
        with self._bodies.open(request, call.deadline) as opened:
            decoded = read_examples(parse(opened.text))
        infer = self._predictor.classify if call.method == "Classify" else self._predictor.regress
        with self._predictor.open(selector) as handle:
            call.version = handle.version
            found = infer(handle, decoded.signature, decoded.examples, call.deadline)
            call.signature = found.signature
        return HttpResponse(200, write_results(found.result))

    def _metadata(self, selector: Selector, call: Call) -> HttpResponse:
        with self._predictor.open(selector) as handle:
            call.version = handle.version
            answer = metadata_json(handle.model, handle.version, handle.content)
        return HttpResponse(200, _pretty(answer))

    def _list(self) -> HttpResponse:
        models = [
            {"name": name, "model_version_status": list(map(_state, self._monitor.of(name)))}
            for name in sorted(self._models())
        ]
        return HttpResponse(200, _pretty({"models": models}))

    def _status(self, selector: Selector) -> HttpResponse:
        # A label alone is ignored, as TensorFlow Serving does: all versions are listed.
        states = model_states(self._monitor, selector.model, selector.version)
        return HttpResponse(
            200, _pretty({"model_version_status": [_state(state) for state in states]})
        )


_NOT_FOUND: Final = HttpResponse(
    404, b"<html><head><title>404 Not Found</title></head><body>Not Found</body></html>\n", HTML
)


def _selector(found: re.Match[str]) -> Selector:
    version: int | None = None
    if found["version"] is not None:
        digits = found["version"]
        if len(digits) > len(str(_INT64_MAX)) + 20 or int(digits) > _INT64_MAX:
            raise invalid_argument(f"Failed to convert version: {digits} to numeric.")
        version = int(digits)
    label = _decoded(found["label"]) if found["label"] is not None else None
    return Selector(_decoded(found["name"]), version, label)


def _decoded(part: str) -> str:
    return unquote_to_bytes(part.encode("latin-1")).decode("utf-8", "replace")


def _signature(handle: Handle[ServedModel], name: str) -> Signature:
    key = name or DEFAULT_SIGNATURE
    signature = handle.content.signatures.get(key)
    if signature is None:
        raise invalid_argument(f'Serving signature name: "{key}" not found in signature def')
    if not signature.outputs:
        # Said before TensorFlow says in other words that there is nothing to run.
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    return signature


def _state(state: VersionState) -> dict[str, Any]:
    error = state.error
    return {
        "version": str(state.version),
        "state": state.availability.name,
        "status": {
            "error_code": error.code.name if error else "OK",
            "error_message": error.message if error else "",
        },
    }


def _pretty(answer: dict[str, Any]) -> bytes:
    return orjson.dumps(answer, option=orjson.OPT_INDENT_2)
