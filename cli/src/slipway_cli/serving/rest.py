"""TensorFlow Serving's REST API, as a client."""

from __future__ import annotations

import json
import ssl
from types import TracebackType
from typing import Any, Final, Self

import httpx

from slipway_cli.errors import CliError, RequestError, UnavailableError, UsageError
from slipway_cli.serving.address import ModelAddress
from slipway_cli.serving.client import Answer, Connection
from slipway_cli.serving.instances import Question
from slipway_cli.serving.signature import Signatures, of_metadata

_OK: Final = 200
_LATER: Final = frozenset({408, 429, 502, 503, 504})
_THIS_REQUEST: Final = frozenset({400, 413, 422, 500})
_MAX_MESSAGE: Final = 2000
_CONNECTIONS: Final = 256


class RestClient:
    """A model over REST (see ModelClient)."""

    def __init__(self, model: ModelAddress, connection: Connection) -> None:
        self._model = model
        self._http = httpx.Client(
            base_url=f"{model.server.scheme}://{model.server.target}",
            headers=dict(connection.headers),
            timeout=connection.timeout,
            limits=httpx.Limits(max_connections=_CONNECTIONS),
            verify=_context(model, connection),
        )

    def signatures(self) -> tuple[int | None, Signatures]:
        """Return the version that answers, and its signatures (see ModelClient)."""
        answer = self._request("GET", f"{self._model.rest_path}/metadata", None)
        return of_metadata(answer)

    def predict(self, question: Question, signature: str) -> Answer:
        """Ask (see ModelClient)."""
        body: dict[str, Any] = {"signature_name": signature} if signature else {}
        if question.instances is None:
            body["inputs"] = question.inputs
        else:
            body["instances"] = list(question.instances)
        answer = self._request("POST", f"{self._model.rest_path}:predict", body)
        if question.instances is None:
            if "outputs" in answer:
                return Answer(None, answer["outputs"])
        elif isinstance(found := answer.get("predictions"), list):
            if len(found) != len(question.instances):
                raise CliError(
                    f"{self._model} answered {len(question.instances)} instances with {len(found)} rows"
                )
            return Answer(found)
        raise self._stranger()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its connections."""
        self._http.close()

    def _request(self, method: str, path: str, body: Any) -> dict[str, Any]:
        content = None if body is None else _dumped(body)
        try:
            answer = self._http.request(method, path, content=content)
        except httpx.TimeoutException as error:
            raise UnavailableError(
                f"{self._model} did not answer in time: give it more with --timeout"
            ) from error
        except (httpx.ConnectError, httpx.ProxyError) as error:
            raise UnavailableError(
                f"no connection to {self._model.server}: {_cause(error)}; is the server up, and the port "
                "that of REST (8501)?"
            ) from error
        except httpx.RemoteProtocolError as error:
            raise UnavailableError(
                f"{self._model.server} broke off or does not speak HTTP: write grpc://{self._model.server.target} "
                "if this is its gRPC port"
            ) from error
        except httpx.HTTPError as error:
            raise UnavailableError(
                f"the connection to {self._model.server} broke: {error}"
            ) from error
        if answer.status_code == _OK:
            return self._object(answer)
        message = (
            f"{self._model} refused the request (HTTP {answer.status_code}): {_message(answer)}"
        )
        if answer.status_code in _LATER:
            raise UnavailableError(message, _pause(answer))
        raise RequestError(message) if answer.status_code in _THIS_REQUEST else CliError(message)

    def _object(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            found = json.loads(answer.content)
        except (ValueError, RecursionError):
            raise self._stranger() from None
        if not isinstance(found, dict):
            raise self._stranger()
        return found

    def _stranger(self) -> CliError:
        return CliError(
            f"{self._model.server} answered with something else than TensorFlow Serving's REST API: "
            "is another program listening there?"
        )


def _context(model: ModelAddress, connection: Connection) -> ssl.SSLContext | bool:
    certificates = connection.certificates()
    if certificates is None or model.server.scheme == "http":
        return model.server.scheme != "http" and ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=certificates.decode())
    except (ssl.SSLError, ValueError) as error:
        raise UsageError(f"--ca-file {connection.ca_file} holds no PEM certificate") from error


def _dumped(body: Any) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # Half a surrogate pair, which JSON can only escape.
        return json.dumps(body).encode()


def _message(answer: httpx.Response) -> str:
    try:
        text = str(json.loads(answer.content)["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        text = answer.text or answer.reason_phrase
    text = " ".join(text.split())
    return text if len(text) <= _MAX_MESSAGE else f"{text[:_MAX_MESSAGE]}…"


def _pause(answer: httpx.Response) -> float:
    try:
        return max(0.0, min(float(answer.headers.get("retry-after", "0")), 600.0))
    except ValueError:
        return 0.0


def _cause(error: Exception) -> str:
    text = str(error)
    # `[Errno 111] Connection refused` is a number that nobody needs.
    return text.partition("] ")[2] if text.startswith("[Errno") else text or type(error).__name__
