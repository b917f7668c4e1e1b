"""What only HTTP can say: bodies, paths, encodings (§5, §8, §8.1, §8.2, §8.4)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from modelserver import ModelServer
from server_exchanges.http import Http
from server_exchanges.rest_bodies import REST_BODIES
from server_exchanges.rest_paths import REST_PATHS
from server_exchanges.rest_predict import REST_PREDICT

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
REST = [*REST_PREDICT, *REST_BODIES, *REST_PATHS]


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


def test_the_list_of_models(server: ModelServer) -> None:
    listed = server.get("/v1/models")
    assert listed.headers["content-type"] == "application/json"
    models = {one.pop("name"): one for one in listed.json()["models"]}
    assert list(models) == sorted(models)
    assert models.keys() == {
        *("double", "kinds", "columns", "words", "old", "constant", "examples", "half uploaded"),
        "nothing",
    }
    assert models["double"] == server.get("/v1/models/double").json()
    assert models["half uploaded"] == server.get("/v1/models/half%20uploaded").json()
    assert models["nothing"] == {"model_version_status": []}


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


def test_every_metric_of_a_scrape_is_in_the_reference(server: ModelServer) -> None:
    server.predict("double", {"instances": [1.0]})
    page = server.get("/monitoring/prometheus/metrics").text
    scraped = set(re.findall(r"^# TYPE (\S+) ", page, flags=re.MULTILINE))
    assert len(scraped) > 20
    told = set(re.findall(r"^\| `(\S+)`", REFERENCE.read_text(), flags=re.MULTILINE))
    assert {name for name in scraped - told if not name.startswith("process_")} == set()
