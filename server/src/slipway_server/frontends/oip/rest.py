"""The protocol over REST.

GET  /v2/models/NAME[/versions/N][/ready]
POST /v2/models/NAME[/versions/N]/infer

/v2, /v2/health/live and /v2/health/ready are pages: `server_metadata`.
"""

import re
from dataclasses import asdict
from typing import Final
from urllib.parse import unquote

import orjson

from slipway_server.errors import Code, ServingError, invalid_argument, not_found
from slipway_server.frontends.http.messages import JSON, HttpRequest, HttpResponse, error_response
from slipway_server.frontends.oip.json_tensors import InferBody, write_answer
from slipway_server.frontends.oip.models import OipModels
from slipway_server.frontends.rest.json_body import JsonBodies
from slipway_server.observability.telemetry import Call, Telemetry

_MODEL: Final = re.compile(
    r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?(?P<verb>/ready|/infer)?"
)
_METHODS: Final = {"/ready": "ModelReady", "/infer": "ModelInfer", None: "ModelMetadata"}
_HEADER_LENGTH: Final = b"inference-header-content-length"
_BINARY: Final = "application/octet-stream"


class OipRest:
    """Answers everything below /v2/models. Runs on worker threads; `__call__` raises nothing.

    Args:
        bodies: shared with the other APIs.
    """

    def __init__(self, models: OipModels, telemetry: Telemetry, bodies: JsonBodies) -> None:
        self._models = models
        self._telemetry = telemetry
        self._bodies = bodies

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a path below /v2/models; errors as JSON bodies."""
        call = self._telemetry.begin("", "REST")
        call.method = "Model"
        call.deadline = request.deadline
        code = Code.OK
        try:
            response = self._answer(request, call)
        except ServingError as error:
            response, code = error_response(error), error.code
        except Exception as error:  # noqa: BLE001 - the last line of defence: a client must get an answer
            failure = ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}")
            response, code = error_response(failure), failure.code
        self._telemetry.end(call, code)
        return response

    def _answer(self, request: HttpRequest, call: Call) -> HttpResponse:
        found = _MODEL.fullmatch(request.path)
        if found is None:
            raise not_found(f"There is no {request.path:.200}")
        call.method = _METHODS[found["verb"]]
        call.model = unquote(found["name"])
        version = unquote(found["version"] or "")
        wanted = "POST" if call.method == "ModelInfer" else "GET"
        if request.method not in {wanted, "HEAD" if wanted == "GET" else wanted}:
            raise invalid_argument(f"{request.path:.200} requires the method {wanted}")
        match call.method:
            case "ModelInfer":
                return self._infer(request, version, call)
            case "ModelReady":
                ready = self._models.ready(call.model, version)
                body = {"name": call.model, "ready": ready}
                absent = 503 if self._models.known(call.model, version) else 404
                return HttpResponse(200 if ready else absent, orjson.dumps(body))
            case _:
                described = self._models.metadata(call.model, version, call)
                return HttpResponse(200, orjson.dumps(asdict(described)))

    def _infer(self, request: HttpRequest, version: str, call: Call) -> HttpResponse:
        length = _header_length(request)
        with self._bodies.open(request, call.deadline, length) as opened:
            body = InferBody(opened.text, length)
            wanted = body.request(call.model, version)
            as_bytes = body.as_bytes()
            del body
            if length is None or not opened.inflated:
                # The model may take its time; what others need is not kept so long. Binary tensors are views.
                opened.close()
            prediction = self._models.infer(wanted, call)
        answer, json_length = write_answer(wanted, prediction, as_bytes)
        if json_length is None:
            return HttpResponse(200, answer, JSON)
        headers = (("Inference-Header-Content-Length", str(json_length)),)
        return HttpResponse(200, answer, _BINARY, headers)


def _header_length(request: HttpRequest) -> int | None:
    text = request.headers.get(_HEADER_LENGTH)
    if text is None:
        return None
    if not re.fullmatch(rb"[0-9]{1,18}", text):
        raise invalid_argument("Inference-Header-Content-Length must be a number")
    return int(text)
