"""The native front beside the Python one: the same bytes to both, and clients that mean harm."""

from __future__ import annotations

import contextlib
import random
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exchanges import Ask, Stubs
from grpc_strangers import STRANGERS, strangers
from hostile import MIB, PeakMemory
from modelserver import ModelServer, eventually, running
from server_exchanges.kinds import KINDS

PREDICT = "/tensorflow.serving.PredictionService/Predict"
MUTATIONS = 1500
CONFIG = """
model_config_list {{
  config {{ name: "double" base_path: "{root}/double" model_platform: "tensorflow"
           model_version_policy {{ all {{}} }}
           version_labels {{ key: "stable" value: 1 }} }}
  config {{ name: "kinds" base_path: "{root}/kinds" model_platform: "tensorflow" }}
  config {{ name: "words" base_path: "{root}/words" model_platform: "tensorflow" }}
  config {{ name: "logged" base_path: "{root}/double" model_platform: "tensorflow"
           logging_config {{
             sampling_config {{ sampling_rate: 0.5 }}
             log_collector_config {{ type: "tfrecord" filename_prefix: "{root}/logs/sampled" }}
           }} }}
}}
"""


@pytest.fixture(scope="module")
def both(exported: Path) -> Iterator[tuple[ModelServer, ModelServer]]:
    """A server with the Python front, and one with the native one, of the same models."""
    config = exported / "native.config"
    config.write_text(CONFIG.format(root=exported))
    flags = (
        f"--model_config_file={config}",
        "--drain_seconds=0",
        "--file_system_poll_wait_seconds=0",
    )
    with (
        running(exported, *flags, "--front=python") as python,
        running(exported, *flags, "--front=native") as native,
    ):
        yield python.wait_ready(), native.wait_ready()


@pytest.fixture(scope="module")
def channels(both: tuple[ModelServer, ModelServer]) -> Iterator[tuple[Stubs, Stubs]]:
    found = Stubs(both[0].target), Stubs(both[1].target)
    yield found
    for stubs in found:
        stubs.channel.close()


def _outcome(stubs: Stubs, data: bytes) -> tuple[str, str, bytes]:
    """Code, sentence and bytes of the answer to the bytes of a request."""
    call = stubs.channel.unary_unary(PREDICT)
    try:
        return "OK", "", call(data, timeout=60)
    except stubs.grpc.RpcError as error:
        return error.code().name, error.details(), b""


def _answered(server: ModelServer, who: str) -> int:
    page = server.get("/monitoring/prometheus/metrics").text
    found = re.search(
        rf'^slipway_native_predictions_total\{{answered_by="{who}"\}} (\S+)$', page, re.MULTILINE
    )
    assert found, "the native front counts"
    return int(float(found[1]))


def _kind(name: str, *, content: bool) -> bytes:
    from tensorflow_serving.apis import predict_pb2

    from slipway_server.frontends.codec.tensors import write_tensor

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "kinds"
    request.model_spec.signature_name = name
    request.inputs["x"].ParseFromString(write_tensor(KINDS[name], as_content=content))
    return bytes(request.SerializeToString())


def _plain(stubs: Stubs) -> list[bytes]:
    """Requests that the native front answers itself."""
    rows: Any = ("float", [[1.0, -2.5], [0.0, 3e38]])
    asks = [
        Ask({"x": rows}),
        Ask({"x": rows}, version=1),
        Ask({"x": rows}, label="stable"),
        Ask({"x": rows}, signature="serving_default"),
        Ask({"x": ("float", [[]])}),
    ]
    plain = [
        stubs.predict_request(ask, content=content) for ask in asks for content in (True, False)
    ]
    filtered = stubs.predict_request(asks[0], content=True)
    filtered.output_filter.append("y")
    return [bytes(one.SerializeToString()) for one in (*plain, filtered)]


def test_plain_requests_are_answered_without_python_and_byte_for_byte_alike(
    both: tuple[ModelServer, ModelServer], channels: tuple[Stubs, Stubs]
) -> None:
    python, native = channels
    requests = _plain(python)
    before = _answered(both[1], "native")
    for data in requests:
        answers = _outcome(python, data), _outcome(native, data)
        assert answers[0] == answers[1]
        assert answers[0][0] == "OK"
    assert _answered(both[1], "native") == before + len(requests)


SMALLER_THAN_A_BYTE = {"int4", "uint4", "int2", "uint2", "float4_e2m1fn"}


@pytest.mark.parametrize("form", ["tensor_content", "typed fields"])
def test_every_type_is_answered_alike(
    both: tuple[ModelServer, ModelServer], channels: tuple[Stubs, Stubs], form: str
) -> None:
    before = _answered(both[1], "native")
    for name in KINDS:
        data = _kind(name, content=form == "tensor_content")
        answers = [_outcome(stubs, data) for stubs in channels]
        assert answers[0] == answers[1], name
        assert answers[0][0] == "OK", name
    assert _answered(both[1], "native") == before + len(KINDS.keys() - SMALLER_THAN_A_BYTE)


def _mutated(data: bytes, other: bytes, choose: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(choose.randint(1, 3)):
        at = choose.randrange(len(changed)) if changed else 0
        match choose.randrange(6):
            case 0:
                changed[at : at + 1] = bytes((choose.randrange(256),))
            case 1:
                del changed[at : at + choose.randint(1, 8)]
            case 2:
                changed[at:at] = choose.randbytes(choose.randint(1, 4))
            case 3:
                changed[at:at] = changed[at : at + choose.randint(1, 40)]
            case 4:
                changed = changed[:at] + other[choose.randrange(len(other)) :]
            case _:
                changed += other
    return bytes(changed)


def test_whatever_is_sent_both_fronts_say_the_same(channels: tuple[Stubs, Stubs]) -> None:
    python, native = channels
    seeds = [*_plain(python), *(_kind(name, content=False) for name in KINDS)]
    choose = random.Random(12)  # noqa: S311 - the same requests every time
    codes = set()
    for number in range(MUTATIONS):
        data = _mutated(choose.choice(seeds), choose.choice(seeds), choose)
        answers = _outcome(python, data), _outcome(native, data)
        assert answers[0] == answers[1], f"request {number}: {data.hex()}"
        codes.add(answers[0][0])
    assert codes >= {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "INTERNAL"}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_strangers_take_nothing_from_others(
    both: tuple[ModelServer, ModelServer], channels: tuple[Stubs, Stubs], stranger: str
) -> None:
    _, native = channels
    data = _plain(native)[0]
    with (
        PeakMemory(both[1].process.pid) as memory,
        strangers(both[1].port, STRANGERS[stranger], 8),
    ):
        for _ in range(300):
            code, details, _ = _outcome(native, data)
            assert code == "OK", details
    assert memory.growth < 600 * MIB


def test_idle_connections_are_closed_at_their_age(
    both: tuple[ModelServer, ModelServer],
) -> None:
    # Those that have spoken hear a GOAWAY and are closed; those that never speak are closed as well.
    with contextlib.ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection(("127.0.0.1", both[1].port), timeout=90))
            for _ in range(50)
        ]
        for one in idle:
            while one.recv(1 << 16):
                pass


def test_a_version_is_unloaded_in_both_worlds(exported: Path) -> None:
    config = exported / "changing.config"
    text = CONFIG.format(root=exported)
    config.write_text(text)
    flags = (f"--model_config_file={config}", "--model_config_file_poll_wait_seconds=1")
    with running(exported, *flags, "--drain_seconds=0", "--front=native") as server:
        server.wait_ready()
        stubs = Stubs(server.target)
        data = _plain(stubs)[0]
        assert _outcome(stubs, data)[0] == "OK"
        config.write_text(text.replace("all {}", "specific { versions: 1 }"))
        eventually("version 2 is gone", lambda: server.states("double").get(2) == "END")
        _, _, reply = _outcome(stubs, data)
        answer = stubs.apis.predict_pb2.PredictResponse.FromString(reply)
        assert answer.model_spec.version.value == 1
        assert _answered(server, "native") == 2
        stubs.channel.close()


def test_a_logged_request_is_left_to_python(exported: Path) -> None:
    flags = ("--model_name=double", f"--model_base_path={exported}/double", "--access_log=all")
    with running(exported, *flags, "--drain_seconds=0", "--front=native") as server:
        server.wait_ready()
        stubs = Stubs(server.target)
        assert _outcome(stubs, _plain(stubs)[0])[0] == "OK"
        eventually("the request is in the access log", lambda: server.events("request"))
        assert _answered(server, "native") == 0
        stubs.channel.close()


def test_only_requests_that_are_logged_go_to_python(
    both: tuple[ModelServer, ModelServer], channels: tuple[Stubs, Stubs]
) -> None:
    server, stubs = both[1], channels[1]
    before = [_answered(server, who) for who in ("native", "python")]
    ask = Ask({"x": ("float", [1.0])}, "logged")
    request = stubs.predict_request(ask, content=False)
    for _ in range(200):
        assert list(stubs.prediction.Predict(request).outputs["y"].float_val) == [4.0]
    after = [_answered(server, who) for who in ("native", "python")]
    native, python = (later - earlier for later, earlier in zip(after, before, strict=True))
    assert native + python == 200
    assert 50 < python < 150
    count = ':tensorflow:serving:request_log_count{model_name="logged",status_code="OK"} '

    def written() -> int:
        page = server.get("/monitoring/prometheus/metrics").text
        found = [line for line in page.splitlines() if line.startswith(count)]
        return int(float(found[0].rpartition(" ")[2])) if found else 0

    eventually("each of them is in the log, once", lambda: written() == python)
