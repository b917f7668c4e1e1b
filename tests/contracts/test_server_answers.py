"""Flags that change what an answer looks like: CORS, tensor_content, method names; and gzip when asked for (§7, §8)."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest

import savedmodels
from example_models import CLASSIFY, save_examples
from exchanges import Ask, Stubs
from modelserver import ModelServer, running

CONFIG = """
model_config_list {{
  config {{ name: "double" base_path: "{root}/double" model_platform: "tensorflow" }}
  config {{ name: "examples" base_path: "{root}/examples" model_platform: "tensorflow" }}
}}
"""


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    root = tmp_path_factory.mktemp("strict")
    savedmodels.save_double(root / "double" / "1", 1)
    save_examples(root / "examples" / "1")
    (root / "models.config").write_text(CONFIG.format(root=root))
    flags = (
        f"--model_config_file={root}/models.config",
        "--enable_signature_method_name_check",
        "--enable_serialization_as_tensor_content",
        "--rest_api_enable_cors_support",
        "--drain_seconds=0",
    )
    with running(root, *flags) as server:
        yield server.wait_ready()


CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, GET",
    "access-control-allow-headers": "Content-Type",
}


OPEN_INFERENCE = {
    **CORS,
    "access-control-allow-headers": "Content-Type, Content-Encoding, Inference-Header-Content-Length",
    "access-control-expose-headers": "Inference-Header-Content-Length",
}
ROW = b'{"instances": [1.0]}'
TENSOR = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1.0]}]}'


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/models/double:predict", 200),
        ("POST", "/v1/models/m:predict", 404),
        ("GET", "/v1/models/double", 200),
        ("GET", "/v1/models/double/metadata", 200),
        ("OPTIONS", "/v1/models/double:predict", 200),
        ("GET", "/v1/other", 400),
        ("POST", "/v2/models/double/infer", 200),
        ("POST", "/v2/models/m/infer", 404),
        ("GET", "/v2/models/double", 200),
        ("GET", "/v2/models/m/ready", 404),
        ("OPTIONS", "/v2/models/double/infer", 200),
        ("OPTIONS", "/v2", 200),
        ("GET", "/v2", 200),
        ("GET", "/v2/health/live", 200),
        ("GET", "/v2/other", 404),
        ("GET", "/livez", 200),
        ("OPTIONS", "/readyz", 200),
        ("GET", "/monitoring/prometheus/metrics", 200),
        ("GET", "/other", 404),
    ],
)
def test_cors_headers_are_on_every_answer(
    strict: ModelServer, server: ModelServer, method: str, path: str, status: int
) -> None:
    headers = OPEN_INFERENCE if path.startswith("/v2") else CORS
    for asked, wanted in ((strict, headers), (server, {})):
        answer = asked.http.request(
            method,
            path,
            content=None if method != "POST" else TENSOR if path.startswith("/v2") else ROW,
            headers={"Origin": "https://a.example"},
        )
        assert answer.status_code == status
        found = {name: value for name, value in answer.headers.items() if "access" in name}
        assert found == wanted


def test_outputs_as_tensor_content(strict: ModelServer) -> None:
    stubs = Stubs(strict.target)
    reply = stubs.prediction.Predict(
        stubs.predict_request(Ask({"x": ("float", [1.0, 2.0])}), content=True)
    )
    assert reply.outputs["y"].tensor_content
    assert not reply.outputs["y"].float_val
    assert stubs.tf.make_ndarray(reply.outputs["y"]).tolist() == [3.0, 5.0]
    stubs.channel.close()


def test_method_names_are_checked(strict: ModelServer) -> None:
    def ask(method: str, signature: str) -> tuple[int, str]:
        body = {"signature_name": signature, "examples": [{"x": 1.0}]}
        answer = strict.http.post(f"/v1/models/examples:{method}", json=body)
        return answer.status_code, answer.json().get("error", "")

    assert ask("classify", "serving_default") == (200, "")
    assert ask("classify", "unnamed method") == (
        400,
        f"Expected classification signature method_name to be {CLASSIFY}. Was: somebody/else",
    )
    assert ask("regress", "serving_default") == (
        400,
        f"Expected regression signature method_name to be tensorflow/serving/regress. Was: {CLASSIFY}",
    )
    body = {"signature_name": "unnamed method", "inputs": [{"b64": ""}]}
    answer = strict.http.post("/v1/models/examples:predict", json=body)
    assert answer.status_code == 500
    assert answer.json()["error"].endswith("Was: somebody/else")


@pytest.mark.parametrize(
    ("accepts", "size", "packed"),
    [
        ("gzip", 5000, True),
        ("br;q=1.0, gzip;q=0.8", 5000, True),
        ("gzip", 10, False),
        ("gzip;q=0", 5000, False),
        ("identity", 5000, False),
    ],
)
@pytest.mark.parametrize("family", ["v1", "v2"])
def test_answers_are_packed_when_asked_for(
    server: ModelServer,
    accepts: str,
    size: int,
    packed: bool,  # noqa: FBT001 - a case
    family: str,
) -> None:
    headers = {"Accept-Encoding": accepts}
    values = [1.0] * size
    path, body = {
        "v1": ("/v1/models/double:predict", {"instances": values}),
        "v2": (
            "/v2/models/double/infer",
            {"inputs": [{"name": "x", "datatype": "FP32", "shape": [size], "data": values}]},
        ),
    }[family]
    with server.http.stream("POST", path, json=body, headers=headers) as answer:
        raw = b"".join(answer.iter_raw())
    assert (answer.headers.get("content-encoding") == "gzip") is packed
    assert (answer.headers.get("vary") == "Accept-Encoding") is packed
    assert int(answer.headers["content-length"]) == len(raw)
    text = gzip.decompress(raw) if packed else raw
    assert b"[%s]" % b",".join([b"4.0"] * size) in text
    assert text.startswith(b'{"predictions":[' if family == "v1" else b'{"model_name":"double",')
