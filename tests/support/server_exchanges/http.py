"""What HTTP requests of the tables are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Http:
    """A request as it goes over the wire; the answer is JSON, or starts with a text when `error` is set."""

    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


def post(body: Any, path: str = "/v1/models/double:predict", **headers: str) -> Http:
    return Http(
        "POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()}
    )


COLUMNS = "/v1/models/columns:predict"
KINDS = "/v1/models/kinds:predict"
EXAMPLES = "/v1/models/examples:predict"
LATEST = {"version": "2", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
FIRST = {**LATEST, "version": "1"}


def kind(name: str, value: Any) -> Http:
    return post({"signature_name": name, "inputs": value}, KINDS)


def element(number: int, message: str, key: str = "") -> str:
    where = f" key: {key}" if key else ""
    return f"Failed to process element: {number}{where} of 'instances' list. Error: INVALID_ARGUMENT: {message}"


Row = tuple[str, Http, int, Any]
