"""Paths and methods (§8, §5)."""

from __future__ import annotations

from server_exchanges.http import FIRST, LATEST, Http, Row, post

REST_PATHS: list[Row] = [
    # Paths.
    (
        "status of all versions",
        Http("GET", "/v1/models/double"),
        200,
        {"model_version_status": [LATEST, FIRST]},
    ),
    (
        "status of one version",
        Http("GET", "/v1/models/double/versions/1"),
        200,
        {"model_version_status": [FIRST]},
    ),
    (
        "status with a label lists all",
        Http("GET", "/v1/models/double/labels/stable"),
        200,
        {"model_version_status": [LATEST, FIRST]},
    ),
    (
        "paths in capitals",
        Http("GET", "/V1/Models/double/Versions/1"),
        200,
        {"model_version_status": [FIRST]},
    ),
    (
        "status of a version that is not there",
        Http("GET", "/v1/models/double/versions/9"),
        404,
        "Could not find version 9 of model double",
    ),
    (
        "status of a model that is not there",
        Http("GET", "/v1/models/m"),
        404,
        "Could not find any versions of model m",
    ),
    (
        "status of a model without versions",
        Http("GET", "/v1/models/nothing"),
        404,
        "Could not find any versions of model nothing",
    ),
    ("no name", Http("GET", "/v1/models"), 400, "Missing model name in request."),
    (
        "a version that is no int64",
        Http("GET", "/v1/models/double/versions/99999999999999999999"),
        400,
        "Failed to convert version: 99999999999999999999 to numeric.",
    ),
    (
        "GET of a verb",
        Http("GET", "/v1/models/double:predict"),
        400,
        "Malformed request: GET /v1/models/double:predict",
    ),
    (
        "POST without a verb",
        post({}, "/v1/models/double"),
        400,
        "Malformed request: POST /v1/models/double",
    ),
    (
        "an unknown verb",
        post({}, "/v1/models/double:explain"),
        400,
        "Malformed request: POST /v1/models/double:explain",
    ),
    (
        "DELETE",
        Http("DELETE", "/v1/models/double"),
        400,
        "Malformed request: DELETE /v1/models/double",
    ),
    ("another path", Http("GET", "/v1/other"), 400, "Malformed request: GET /v1/other"),
    ("outside /v1", Http("GET", "/other"), 404, None),
    (
        "verbs in capitals",
        post({"instances": [1.0]}, "/v1/models/double:PREDICT"),
        200,
        {"predictions": [4.0]},
    ),
    (
        "a query is ignored",
        post({"instances": [1.0]}, "/v1/models/double:predict?a=b"),
        200,
        {"predictions": [4.0]},
    ),
    (
        "a preflight",
        Http("OPTIONS", "/v1/models/double:predict", headers={"Origin": "https://a.example"}),
        200,
        None,
    ),
    (
        "a preflight without origin",
        Http("OPTIONS", "/v1/models/double:predict"),
        400,
        "Malformed request: OPTIONS",
    ),
]
