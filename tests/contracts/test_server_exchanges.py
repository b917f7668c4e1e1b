"""What clients of TensorFlow Serving ask and must hear, where both protocols can say it: one table, asked over both.

A real server process answers, with models that the real TensorFlow exported. What only one protocol can say is in
`test_server_rest.py` and `test_server_grpc.py`. §7, §8, §16.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest

from exchanges import HTTP, Ask, Hear, Stubs, rest_path
from modelserver import ModelServer
from server_exchanges.predict import BOTH


@pytest.mark.parametrize(("ask", "hear"), [pytest.param(*row[1:], id=row[0]) for row in BOTH])
def test_over_rest(server: ModelServer, ask: Ask, hear: Hear) -> None:
    values = {alias: value for alias, (_, value) in ask.inputs.items()}
    body = {"inputs": values, **({"signature_name": ask.signature} if ask.signature else {})}
    answer = server.http.post(rest_path(ask, ":predict"), json=body)
    assert answer.headers["content-type"] == "application/json"
    if hear.code != "OK":
        assert answer.status_code == HTTP[hear.code] if not hear.rest else 400
        assert (hear.rest or hear.message) in answer.json()["error"]
        return
    expected = {
        alias: [{"b64": base64.b64encode(one).decode()} for one in value]
        if alias.endswith("_bytes")
        else value
        for alias, value in hear.outputs.items()
    }
    assert answer.json() == {
        "outputs": expected if len(expected) > 1 else next(iter(expected.values()))
    }


@pytest.mark.parametrize("content", [False, True], ids=["typed fields", "tensor_content"])
@pytest.mark.parametrize(("ask", "hear"), [pytest.param(*row[1:], id=row[0]) for row in BOTH])
def test_over_grpc(stubs: Stubs, ask: Ask, hear: Hear, content: bool) -> None:  # noqa: FBT001 - a case
    request = stubs.predict_request(ask, content=content)
    if hear.code != "OK":
        code, message = stubs.refused(stubs.prediction.Predict, request)
        assert code == hear.code
        assert hear.message in message
        return
    reply = stubs.prediction.Predict(request)
    assert reply.model_spec.name == ask.model
    assert reply.model_spec.signature_name == (ask.signature or "serving_default")
    assert reply.model_spec.version.value == _expected_version(ask)
    assert not reply.model_spec.version_label
    assert reply.outputs.keys() == hear.outputs.keys()
    for alias, expected in hear.outputs.items():
        assert stubs.tf.make_ndarray(reply.outputs[alias]).tolist() == _as_bytes(expected)


def _as_bytes(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_bytes(item) for item in value]
    return value.encode() if isinstance(value, str) else value


def _expected_version(ask: Ask) -> int:
    if ask.label:
        return {"stable": 1}[ask.label]
    return ask.version or {"double": 2, "columns": 5}.get(ask.model, 1)
