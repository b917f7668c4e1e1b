"""What only HTTP can say: bodies, paths, encodings. Sections of TensorFlow Serving's API: 8.1, 8.2, 8.4 and 5."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from modelserver import ModelServer


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
LATEST = {"version": "2", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
FIRST = {**LATEST, "version": "1"}


def kind(name: str, value: Any) -> Http:
    return post({"signature_name": name, "inputs": value}, KINDS)


def element(number: int, message: str, key: str = "") -> str:
    where = f" key: {key}" if key else ""
    return f"Failed to process element: {number}{where} of 'instances' list. Error: INVALID_ARGUMENT: {message}"


REST: list[tuple[str, Http, int, Any]] = [
    # The row format.
    ("rows of values", post({"instances": [1.0, 2]}), 200, {"predictions": [4.0, 6.0]}),
    (
        "rows of objects for one input",
        post({"instances": [{"x": 1.0}, {"x": 2}]}),
        200,
        {"predictions": [4.0, 6.0]},
    ),
    (
        "rows of several inputs, binary strings",
        post({"instances": [{"image": {"b64": "aGk="}, "k": 1}, {"image": "yo", "k": 2}]}, COLUMNS),
        200,
        {
            "predictions": [
                {"next": 2, "raw_bytes": {"b64": "aGk="}, "text": "1"},
                {"next": 3, "raw_bytes": {"b64": "eW8="}, "text": "2"},
            ]
        },
    ),
    (
        "a b64 object counts as a value",
        post({"instances": [{"b64": "dHdv"}]}, "/v1/models/words:predict"),
        200,
        {"predictions": [2]},
    ),
    (
        "unpadded base64",
        post({"instances": [{"b64": "dHdvIQ"}]}, "/v1/models/words:predict"),
        200,
        {"predictions": [-1]},
    ),
    (
        "unknown keys are ignored",
        post({"instances": [1.0], "extra": {"a": 1}}),
        200,
        {"predictions": [4.0]},
    ),
    (
        "rows of matrices",
        post({"signature_name": "float", "instances": [[[1, 2]], [[3, 4]]]}, KINDS),
        200,
        {"predictions": [[[1, 2]], [[3, 4]]]},
    ),
    (
        "instances is no list",
        post({"instances": 5}),
        400,
        "Expecting 'instances' to be an list/array",
    ),
    ("no instances", post({"instances": []}), 400, "No values in 'instances' array"),
    (
        "a plain list for several inputs",
        post({"instances": [1, 2]}, COLUMNS),
        400,
        (
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        ),
    ),
    (
        "an object with the wrong keys",
        post({"instances": [{"image": "a"}]}, COLUMNS),
        400,
        "Failed to process element: 0 of 'instances' list.",
    ),
    (
        "a value of the wrong type",
        post({"instances": [1.0, "a"]}),
        400,
        element(1, 'JSON Value: "a" Type: String is not of expected type: float'),
    ),
    (
        "true is no number",
        post({"instances": [1.0, True]}),
        400,
        element(1, "JSON Value: true Type: True is not of expected type: float"),
    ),
    (
        "null is no number",
        post({"instances": [None]}),
        400,
        element(0, "JSON Value: null Type: Null is not of expected type: float"),
    ),
    (
        "the wrong type under a key",
        post({"instances": [{"image": "a", "k": "b"}]}, COLUMNS),
        400,
        element(0, 'JSON Value: "b" Type: String is not of expected type: int64', "k"),
    ),
    (
        "rows of different sizes",
        post({"signature_name": "float", "instances": [[1, 2], [1, 2, 3]]}, KINDS),
        400,
        element(1, "Expecting tensor size: 2 but got: 3"),
    ),
    (
        "rows of different shapes",
        post({"signature_name": "float", "instances": [[[1], [2]], [[1, 2]]]}, KINDS),
        400,
        element(1, "Expecting shape [2,1] but got: [1,2]"),
    ),
    (
        "bad base64",
        post({"instances": [{"b64": "?"}]}, "/v1/models/words:predict"),
        400,
        element(0, "Unable to base64 decode"),
    ),
    (
        "a list among objects",
        post({"instances": [{"x": 1.0}, 2.0]}),
        400,
        "Expecting object but got list at item 1 of input list",
    ),
    (
        "an object among values",
        post({"instances": [2.0, {"x": 1.0}]}),
        400,
        "Expecting value/list but got object at item 1 of input list",
    ),
    # The column format.
    ("column for one input", post({"inputs": [1.0]}), 200, {"outputs": [4.0]}),
    ("column by name for one input", post({"inputs": {"x": [1.0]}}), 200, {"outputs": [4.0]}),
    ("extra names are ignored", post({"inputs": {"x": [1.0], "z": 4}}), 200, {"outputs": [4.0]}),
    (
        "a plain value for several inputs",
        post({"inputs": [1]}, COLUMNS),
        400,
        (
            "inputs is a plain value/list, but expecting an object as multiple input tensors "
            "required as per tensorinfo_map"
        ),
    ),
    (
        "other objects are no binary",
        kind("string", [{"b65": "x"}]),
        400,
        'JSON Value: {"b65":"x"} not formatted correctly for base64 data',
    ),
    (
        "ragged lists",
        kind("float", [[1, 2], [3]]),
        400,
        "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
    ),
    (
        "a list too deep",
        kind("float", [1, [2]]),
        400,
        "Encountered list at unexpected level: 1 expected < 1",
    ),
    (
        "a list not deep enough",
        kind("float", [[1], 2]),
        400,
        "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
    ),
    (
        "a fraction for an integer",
        kind("int32", [1.5]),
        400,
        "JSON Value: 1.5 Type: Number is not of expected type: int32",
    ),
    (
        "an integer beyond int32",
        kind("int32", [2**31]),
        400,
        "JSON Value: 2147483648 Type: Number is not of expected type: int32",
    ),
    (
        "an integer beyond int64",
        kind("int64", [2**63]),
        400,
        "JSON Value: 9223372036854775808 Type: Number is not of expected type: int64",
    ),
    (
        "a negative for uint32",
        kind("uint32", [-1]),
        400,
        "JSON Value: -1 Type: Number is not of expected type: uint32",
    ),
    ("int8 is not range-checked", kind("int8", [300]), 200, {"outputs": [44]}),
    (
        "a number for a bool",
        kind("bool", [1]),
        400,
        "JSON Value: 1 Type: Number is not of expected type: bool",
    ),
    (
        "a number for a string",
        kind("string", [1]),
        400,
        "JSON Value: 1 Type: Number is not of expected type: string",
    ),
    (
        "a type JSON cannot hold",
        kind("half", [1.0]),
        501,
        "Conversion of JSON Value: 1.0 to type: half",
    ),
    (
        "and inside instances",
        post({"signature_name": "half", "instances": [1.0]}, KINDS),
        400,
        (
            "Failed to process element: 0 of 'instances' list. "
            "Error: UNIMPLEMENTED: Conversion of JSON Value: 1.0 to type: half"
        ),
    ),
    # The body.
    (
        "both keys",
        post({"inputs": [1.0], "instances": [1.0]}),
        400,
        "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist",
    ),
    (
        "neither key",
        post({"signature_name": "serving_default"}),
        400,
        "Missing 'inputs' or 'instances' key",
    ),
    ("no object", post([1]), 400, "JSON Value: [1] Is not object"),
    (
        "a signature name that is no string",
        post({"signature_name": 1, "instances": [1]}),
        400,
        (
            'JSON Value: {"signature_name":1,"instances":[1]} not formatted correctly. '
            "'signature_name' key must be a string value."
        ),
    ),
    ("an empty body", post(b""), 400, "JSON Parse error: The document is empty"),
    (
        "a body that is no JSON",
        post(b'{"instances": [1.0, x]}'),
        400,
        "JSON Parse error: Invalid value. at offset: 20",
    ),
    (
        "bytes after the first value",
        post(b'{"instances": [1.0]} trailing'),
        200,
        {"predictions": [4.0]},
    ),
    (
        "NaN and Infinity",
        post(b'{"instances": [NaN, Infinity, -Infinity]}'),
        200,
        {"predictions": ["NaN", "Infinity", "-Infinity"]},
    ),
    (
        "infinite answers",
        post({"signature_name": "infinite", "instances": [1, -1]}, COLUMNS),
        200,
        {"predictions": ["Infinity", "-Infinity"]},
    ),
    (
        "50000 open brackets",
        post(b"[" * 50000),
        400,
        "JSON Parse error: The document is nested too deeply",
    ),
    (
        "300 levels",
        post(
            b'{"signature_name": "float", "inputs": ' + b"[" * 300 + b"1" + b"]" * 300 + b"}", KINDS
        ),
        400,
        "JSON Value is nested deeper than 64 levels",
    ),
    (
        "a gzip body",
        post(gzip.compress(b'{"instances": [1.0]}'), Content_Encoding="gzip"),
        200,
        {"predictions": [4.0]},
    ),
    (
        "a gzip body that is none",
        post(b'{"instances": [1.0]}', Content_Encoding="gzip"),
        400,
        "Error decompressing the gzip request body",
    ),
    (
        "a gzip body cut short",
        post(gzip.compress(b'{"instances": [1.0]}')[:-9], Content_Encoding="gzip"),
        400,
        "The gzip request body is cut short",
    ),
    (
        "a gzip bomb",
        post(gzip.compress(b" " * 10_000_000), Content_Encoding="gzip"),
        400,
        "The request body grows beyond 500000 bytes when decompressed",
    ),
    (
        "a body beyond the limit",
        post(b" " * 400_001),
        413,
        "The request body of 400001 bytes or more exceeds the limit of 400000 bytes",
    ),
    # Outputs.
    (
        "row outputs without rows",
        post({"signature_name": "scalar", "inputs": 1.0}),
        200,
        {"outputs": {"nothing": [], "y": 4.0}},
    ),
    (
        "outputs of different batch sizes",
        post({"signature_name": "uneven", "instances": [{"a": 1, "b": 2}]}, COLUMNS),
        400,
        "Tensor name: b has inconsistent batch size: 2 expecting: 1",
    ),
    (
        "an output that JSON cannot hold",
        post({"signature_name": "strange", "instances": [1]}, COLUMNS),
        400,
        "Failed to write JSON value for tensor type: half",
    ),
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


@pytest.mark.parametrize(
    ("http", "status", "expected"), [pytest.param(*row[1:], id=row[0]) for row in REST]
)
def test_rest(server: ModelServer, http: Http, status: int, expected: Any) -> None:
    content = (
        http.body
        if isinstance(http.body, bytes) or http.body is None
        else json.dumps(http.body).encode()
    )
    answer = server.http.request(http.method, http.path, content=content, headers=http.headers)
    assert answer.status_code == status, answer.text
    if isinstance(expected, str):
        assert answer.json().keys() == {"error"}
        assert answer.json()["error"].startswith(expected)
    elif expected is not None:
        assert json.loads(answer.content, parse_constant=str) == expected
        assert answer.headers["content-type"] == "application/json"


def test_the_state_of_a_version_that_could_not_be_loaded(server: ModelServer) -> None:
    [entry] = server.get("/v1/models/half%20uploaded").json()["model_version_status"]
    assert (entry["state"], entry["status"]["error_code"]) == ("END", "NOT_FOUND")
    assert "variables/variables.index is missing" in entry["status"]["error_message"]


def test_metadata_over_rest(server: ModelServer) -> None:
    body = server.get("/v1/models/columns/metadata").json()
    assert body["model_spec"] == {"name": "columns", "signature_name": "", "version": "5"}
    signature = body["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["k"]["dtype"] == "DT_INT64"
    assert signature["inputs"]["k"]["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}],
        "unknown_rank": False,
    }
    assert signature["defaults"] == {}
    assert (
        server.get("/v1/models/double/versions/1/metadata").json()["model_spec"]["version"] == "1"
    )
    assert (
        server.get("/v1/models/double/labels/stable/metadata").json()["model_spec"]["version"]
        == "1"
    )
    assert server.get("/v1/models/m/metadata").status_code == 404


@pytest.mark.parametrize(
    ("name", "values", "text"),
    [
        ("float", [0.1, 3, 1e10, 1e-5, 0.25], "[0.1,3.0,1e+10,1e-05,0.25]"),
        ("float", [1 / 3, 1234567, 123456.7], "[0.333333343,1234567.0,123456.703]"),
        ("double", [0.1, 3, 1 / 3, 1e300], "[0.1,3.0,0.33333333333333331,1e+300]"),
    ],
)
def test_floats_have_six_digits_or_all_and_whole_ones_a_point(
    server: ModelServer, name: str, values: list[float], text: str
) -> None:
    answer = server.predict("kinds", {"signature_name": name, "inputs": values})
    assert answer.text == f'{{"outputs":{text}}}'


def test_readyz_says_what_is_missing(server: ModelServer) -> None:
    answer = server.get("/readyz")
    assert answer.status_code == 503
    first, second = answer.json()["reasons"]
    assert first.startswith("Model half uploaded: version 1 is END (NOT_FOUND: ")
    assert second.startswith("Model nothing: No versions of servable nothing found under base path")


def test_metrics(server: ModelServer) -> None:
    server.predict("double", {"instances": [1.0]}, "/versions/1")
    server.predict("m-from-anywhere", {"instances": [1.0]})
    answer = server.get("/monitoring/prometheus/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()
    assert "# TYPE :tensorflow:serving:request_count counter" in lines
    assert any(
        line.startswith(':tensorflow:serving:request_count{model_name="double",status="OK"} ')
        for line in lines
    )
    assert any(
        line.startswith(
            ':tensorflow:serving:request_latency_count{API="predict",entrypoint="REST",model_name="double"}'
        )
        for line in lines
    )
    labels = 'code="OK",method="Predict",model="double",protocol="REST",signature="serving_default",version="1"'
    assert any(line.startswith(f"slipway_requests_total{{{labels}}}") for line in lines)
    assert any(
        line.startswith('slipway_model_load_seconds_count{model="double",outcome="OK"} 2')
        for line in lines
    )
    assert "m-from-anywhere" not in answer.text
