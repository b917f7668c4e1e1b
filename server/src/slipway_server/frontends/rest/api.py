"""TensorFlow Serving's REST API: paths, methods and bodies.

POST /v1/models/NAME[/versions/N|/labels/L]:predict
GET  /v1/models/NAME[/versions/N|/labels/L][/metadata]
"""

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import orjson

from slipway_server.core.serving_map import Handle, Selector
from slipway_server.core.states import StateMonitor, VersionState
from slipway_server.errors import Code, ServingError, invalid_argument
from slipway_server.frontends.metadata import metadata_json
from slipway_server.frontends.rest.inflate import gunzip
from slipway_server.frontends.rest.json_answer import write_predictions
from slipway_server.frontends.rest.json_tensor import read_predict
from slipway_server.frontends.rest.json_text import parse
from slipway_server.frontends.rest.messages import TEXT, Request, Response, error_response
from slipway_server.frontends.status import model_states
from slipway_server.frontends.telemetry import Call, Telemetry
from slipway_server.inference.predictor import DEFAULT_SIGNATURE, Predictor, RunnableModel
from slipway_server.savedmodel.signature import Signature

_CHOICE: Final = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_INFERENCE: Final = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_CHOICE}:(?P<method>classify|regress|predict)", re.IGNORECASE
)
_READING: Final = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_CHOICE}(?P<metadata>/metadata)?/?", re.IGNORECASE
)
_INT64_MAX: Final = 2**63 - 1
_METHODS: Final = {"predict": "Predict", "classify": "Classify", "regress": "Regress"}


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Bounds and options of the API.

    Attributes:
        max_decompressed: bytes that a gzip body may grow to.
        cors: allow pages of other origins to call.
    """

    max_decompressed: int = 100 << 20
    cors: bool = False


class RestApi:
    """Answers everything that is no health page. Runs on worker threads; `__call__` raises nothing."""

    def __init__(
        self,
        predictor: Predictor,
        monitor: StateMonitor,
        telemetry: Telemetry,
        settings: ApiSettings,
    ) -> None:
        self._predictor = predictor
        self._monitor = monitor
        self._telemetry = telemetry
        self._settings = settings

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        path = request.path
        if not path.startswith("/v1/"):
            if path == "/v1":
                return error_response(
                    invalid_argument(f"Malformed request: {request.method} {path}")
                )
            return Response(404, b"Not Found\n", TEXT)
        if request.method == "OPTIONS":
            return self._preflight(request)
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

    def _answer(self, request: Request, path: str, call: Call) -> Response:
        if request.method == "POST" and (found := _INFERENCE.fullmatch(path)):
            call.method = _METHODS[found["method"].lower()]
            selector = _selector(found)
            call.model = selector.model
            if call.method != "Predict":
                raise ServingError(
                    Code.UNIMPLEMENTED, f"{call.method} is not implemented by this server yet"
                )
            return self._predict(request, selector, call)
        if request.method in {"GET", "HEAD"} and (found := _READING.fullmatch(path)):
            if found["name"] is None:
                raise invalid_argument("Missing model name in request.")
            selector = _selector(found)
            call.model = selector.model
            if found["metadata"]:
                call.method = "GetModelMetadata"
                return self._metadata(selector, call)
            call.method = "GetModelStatus"
            return self._status(selector)
        raise invalid_argument(f"Malformed request: {request.method} {path}")

    def _predict(self, request: Request, selector: Selector, call: Call) -> Response:
        body = self._body(request)
        with self._predictor.open(selector) as handle:
            call.version = handle.version
            decoded = read_predict(
                parse(body),
                lambda name: _signature(handle, name),
                literals=b"true" in body or b"false" in body,
                strings=body.count(b'"') // 2,
            )
            prediction = self._predictor.predict(
                handle, decoded.signature, decoded.inputs, deadline=call.deadline
            )
            call.signature = prediction.signature
        return self._json(write_predictions(decoded.format, prediction.outputs))

    def _metadata(self, selector: Selector, call: Call) -> Response:
        with self._predictor.open(selector) as handle:
            call.version = handle.version
            answer = metadata_json(handle.model, handle.version, handle.content)
        return self._json(_pretty(answer))

    def _status(self, selector: Selector) -> Response:
        # A label alone is ignored, as TensorFlow Serving does: all versions are listed.
        states = model_states(self._monitor, selector.model, selector.version)
        return self._json(_pretty({"model_version_status": [_state(state) for state in states]}))

    def _body(self, request: Request) -> bytes:
        if b"gzip" in request.headers.get(b"content-encoding", b"").lower():
            return gunzip(request.body, self._settings.max_decompressed)
        return request.body

    def _json(self, body: bytes) -> Response:
        return Response(200, body, headers=_CORS if self._settings.cors else ())

    def _preflight(self, request: Request) -> Response:
        if re.match(rb"https?://", request.headers.get(b"origin", b""), re.IGNORECASE):
            return self._json(b"")
        return error_response(
            invalid_argument(f"Malformed request: {request.method} {request.path}")
        )


_CORS: Final = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "POST, GET"),
    ("Access-Control-Allow-Headers", "Content-Type"),
)


def _selector(found: re.Match[str]) -> Selector:
    version: int | None = None
    if found["version"] is not None:
        digits = found["version"]
        if len(digits) > len(str(_INT64_MAX)) + 20 or int(digits) > _INT64_MAX:
            raise invalid_argument(f"Failed to convert version: {digits} to numeric.")
        version = int(digits)
    label = unquote(found["label"]) if found["label"] is not None else None
    return Selector(unquote(found["name"]), version, label)


def _signature(handle: Handle[RunnableModel], name: str) -> Signature:
    key = name or DEFAULT_SIGNATURE
    signature = handle.content.signatures.get(key)
    if signature is None:
        raise invalid_argument(f'Serving signature name: "{key}" not found in signature def')
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
