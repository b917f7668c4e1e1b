"""Inputs made to do harm, sent to a real server over real sockets (§7, §8).

Each is answered, or at least does no damage: for little processor time, within 64 MiB more of memory, and the server
answers a normal request on both ports right after.
"""

from __future__ import annotations

import gzip
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from exchanges import Ask, Stubs
from hostile import (
    MIB,
    PREFACE,
    Answer,
    PeakMemory,
    cpu_seconds,
    exchange,
    grpc_call,
    grpc_end,
    gzip_bomb,
)
from modelserver import FRONT, ModelServer, running

MEMORY = 64 * MIB
SECONDS = 0.1
"""What an answer may take on an idle machine."""
PATIENCE = float(os.environ.get("HOSTILE_PATIENCE", "30"))
"""How many times as much processor time the server may use."""
SHARED = 10
"""How many times as much of the clock's time, as a machine may be busy with other things."""

CONFIG = """
model_config_list {{
  config {{ name: "double" base_path: "{root}/double" model_platform: "tensorflow" }}
  config {{ name: "kinds" base_path: "{root}/kinds" model_platform: "tensorflow" }}
  config {{ name: "examples" base_path: "{root}/examples" model_platform: "tensorflow" }}
}}
"""


@pytest.fixture(scope="module")
def server(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """A server with the limits that it has by default where memory is scarce."""
    root = tmp_path_factory.mktemp("hostile")
    config = root / "models.config"
    config.write_text(CONFIG.format(root=exported))
    flags = (f"--model_config_file={config}", f"--grpc_max_message_bytes={64 * MIB}")
    with running(root, *flags, "--drain_seconds=0") as started:
        yield started.wait_ready()


@pytest.fixture(scope="module")
def stubs(server: ModelServer) -> Iterator[Stubs]:
    stubs = Stubs(server.target)
    yield stubs
    stubs.channel.close()


@pytest.fixture(autouse=True)
def still_serving(server: ModelServer, stubs: Stubs) -> Iterator[None]:
    """Before, so that nothing is counted that any first request costs; after, to see that all is well."""

    def ask() -> None:
        assert server.predict("double", {"instances": [1.0, 2.0]}).json() == {
            "predictions": [4.0, 6.0]
        }
        request = stubs.predict_request(Ask({"x": ("float", [1.0, 2.0])}), content=False)
        assert list(stubs.prediction.Predict(request).outputs["y"].float_val) == [4.0, 6.0]

    ask()
    yield
    assert server.process.poll() is None
    ask()


@dataclass(frozen=True)
class Harmless:
    """Holds a block to the bounds; notes what it took in the file that HOSTILE_REPORT names."""

    server: ModelServer
    test: str

    def __call__(self, act: Callable[[], Any], *, seconds: float = SECONDS) -> Any:
        with PeakMemory(self.server.process.pid) as memory:
            began, used = time.monotonic(), cpu_seconds(self.server.process.pid)
            result = act()
            took = time.monotonic() - began
            used = cpu_seconds(self.server.process.pid) - used
        if report := os.environ.get("HOSTILE_REPORT"):
            with Path(report).open("a") as lines:
                lines.write(f"{took * 1000:9.1f} ms {used * 1000:7.0f} ms of a processor ")
                lines.write(f"{memory.growth / MIB:7.1f} MiB  {self.test}\n")
        assert memory.growth <= MEMORY
        assert used <= seconds * PATIENCE
        assert took <= seconds * PATIENCE * SHARED
        return result


@pytest.fixture
def harmless(server: ModelServer, request: pytest.FixtureRequest) -> Harmless:
    return Harmless(server, request.node.name)


# ---- HTTP bodies -----------------------------------------------------------------------------------------------------

DOUBLE, KINDS = (f"/v1/models/{name}:predict" for name in ("double", "kinds"))
DEEP = "JSON Parse error: The document is nested too deeply"
BEYOND = "The request body grows beyond 104857600 bytes when decompressed"
MANY_VALUES = "The request body has more than 8388608 JSON values, and --rest_api_max_json_values allows no more"
TOO_BIG = "JSON Parse error: Number too big to be stored in double. at offset: "


def post(body: bytes, path: str = DOUBLE, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def gzipped(body: bytes) -> bytes:
    return post(body, DOUBLE, "Content-Encoding: gzip")


def kind(name: str, value: bytes) -> bytes:
    return post(b'{"signature_name":"%s","inputs":%s}' % (name.encode(), value), KINDS)


def regress(examples: bytes) -> bytes:
    body = b'{"signature_name":"double","examples":[%s]}' % examples
    return post(body, "/v1/models/examples:regress")


BODIES: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "50 000 x [": (lambda: post(b"[" * 50_000), 400, DEEP),
    '50 000 x {"a":': (lambda: post(b'{"a":' * 50_000), 400, DEEP),
    "50 000 x [ inside": (lambda: post(b'{"instances":' + b"[" * 50_000), 400, DEEP),
    "65 levels": (
        lambda: kind("float", b"[" * 65 + b"1" + b"]" * 65),
        400,
        "JSON Value is nested deeper than 64 levels",
    ),
    "a gzip bomb of 1 GiB": (lambda: gzipped(gzip_bomb(1 << 30)), 400, BEYOND),
    "a gzip bomb that hides its size": (
        lambda: gzipped(gzip_bomb(1 << 30, announced=0)),
        400,
        BEYOND,
    ),
    "a gzip bomb of 1024 members": (lambda: gzipped(gzip.compress(bytes(MIB)) * 1024), 400, BEYOND),
    "50 000 empty gzip members": (
        lambda: gzipped(gzip.compress(b"") * 50_000),
        400,
        "The gzip request body has more than 10000 members",
    ),
    "gzip in gzip": (
        lambda: gzipped(gzip.compress(gzip_bomb(1 << 30))),
        400,
        "JSON Parse error: Invalid encoding in string. at offset: 1",
    ),
    "a gzip of ten million empty lists": (
        lambda: gzipped(gzip.compress(b'{"instances":[' + b"[]," * 10_000_000 + b"[]]}")),
        400,
        MANY_VALUES,
    ),
    "nine million values": (
        lambda: post(b'{"instances":[' + b"1," * 9_000_000 + b"1]}"),
        400,
        MANY_VALUES,
    ),
    "nine million examples": (lambda: regress(b"{}," * 4_500_000 + b"{}"), 400, MANY_VALUES),
    "1e400": (lambda: post(b'{"instances":[1e400]}'), 400, TOO_BIG + "14"),
    "an integer of 400 digits": (
        lambda: post(b'{"instances":[' + b"9" * 400 + b"]}"),
        400,
        TOO_BIG + "14",
    ),
    "an integer of 100 000 digits": (
        lambda: post(b'{"instances":[' + b"9" * 100_000 + b"]}"),
        400,
        TOO_BIG + "14",
    ),
    "an integer beyond 64 bits": (
        lambda: kind("int64", b"[18446744073709551616]"),
        400,
        "JSON Value: 1.8446744073709552e+19 Type: Number is not of expected type: int64",
    ),
    "NaN for an integer": (
        lambda: kind("int32", b"[NaN]"),
        400,
        "JSON Value: NaN Type: Number is not of expected type: int32",
    ),
    "NaN and infinities": (lambda: kind("float", b"[NaN,Infinity,-Infinity]"), 200, ""),
    "twice the same key": (lambda: post(b'{"instances":[7],"instances":[1.0]}'), 200, ""),
    "NUL in a string": (lambda: kind("string", b'"a\\u0000b"'), 200, ""),
    "NUL in the text": (
        lambda: post(b'{"instances":[1\0]}'),
        400,
        "JSON Parse error: Missing a comma or ] after an array element. at offset: 15",
    ),
    "a lone surrogate": (
        lambda: kind("string", b'["\\ud800"]'),
        400,
        "JSON Parse error: The surrogate pair in string is invalid.",
    ),
    "invalid UTF-8": (
        lambda: post(b'{"instances":["\xff"]}'),
        400,
        "JSON Parse error: Invalid encoding in string. at offset: 15",
    ),
    "a signature name of 1 MiB": (
        lambda: post(b'{"signature_name":"%s","instances":[1.0]}' % (b"s" * MIB)),
        400,
        "",
    ),
    "100 000 numbers and a string of 100 000 bytes": (
        lambda: post(b'{"instances":[' + b"1," * 100_000 + b'"' + b"x" * 100_000 + b'"]}'),
        400,
        "",
    ),
    "100 000 rows": (lambda: post(b'{"instances":[' + b"1," * 99_999 + b"1]}"), 200, ""),
    "100 000 members": (
        lambda: post(
            b'{"inputs":{' + b",".join(b'"k%d":1' % number for number in range(100_000)) + b"}}"
        ),
        400,
        "Missing named input: x in 'inputs' object.",
    ),
    "100 000 members of a row": (
        lambda: post(
            b'{"instances":[{' + b",".join(b'"k%d":1' % n for n in range(100_000)) + b"}]}"
        ),
        400,
        (
            "Failed to process element: 0 key: k0 of 'instances' list. "
            "Error: INVALID_ARGUMENT: JSON object: does not have named input: k0"
        ),
    ),
    "100 000 examples": (
        lambda: regress(b"{}," * 99_999 + b"{}"),
        200,
        "",
    ),
    "an example of 100 000 features": (
        lambda: regress(b"{" + b",".join(b'"k%d":1' % n for n in range(100_000)) + b"}"),
        200,
        "",
    ),
    "a feature of 50 000 levels": (lambda: regress(b'{"x":' + b"[" * 50_000), 400, DEEP),
    "a feature of 400 digits": (lambda: regress(b'{"n":' + b"9" * 400 + b"}"), 400, TOO_BIG),
    "a feature beyond 64 bits": (
        lambda: regress(b'{"n":18446744073709551616}'),
        400,
        "",
    ),
    "a feature of everything": (
        lambda: regress(b'{"n":[1, 1.5, "a", null, {}, [], NaN]}'),
        400,
        "Unexpected element type in feature: n expecting type: ",
    ),
    "100 000 different shapes": (
        lambda: post(b'{"instances":[' + b"1,[1]," * 50_000 + b"1]}"),
        400,
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [] but got: [1]",
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body(server: ModelServer, harmless: Harmless, name: str) -> None:
    build, status, said = BODIES[name]
    data = build()
    answer: Answer = harmless(lambda: exchange(server.rest_port, data))
    assert answer.statuses == [status], answer.data[:500]
    if status != 200:
        message = json.loads(answer.data.partition(b"\r\n\r\n")[2])["error"]
        assert message.startswith(said)
        assert len(message) < 2000 or "signature" in name


# ---- HTTP itself -----------------------------------------------------------------------------------------------------

GET = b"GET /v1/models/double HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = f"POST {DOUBLE} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
OK = b'{"instances":[1.0]}'
LENGTH = b"Content-Length: 19\r\n"
START = f"POST {DOUBLE} HTTP/1.1\r\nHost: x\r\n".encode()


WIRE: dict[str, tuple[bytes, list[int]]] = {
    "2 GiB announced": (START + b"Content-Length: 2147483648\r\n\r\n", [413]),
    "more announced than 64 bits hold": (
        START + b"Content-Length: 99999999999999999999\r\n\r\n",
        [400],
    ),
    "a negative length": (START + b"Content-Length: -1\r\n\r\n", [400]),
    "two lengths": (START + LENGTH + b"Content-Length: 3\r\n\r\n" + OK, [400]),
    "a list of lengths": (START + b"Content-Length: 19, 19\r\n\r\n" + OK, [400]),
    "length and chunks": (
        START
        + LENGTH
        + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
        [400],
    ),
    "chunks and length": (
        START
        + b"Transfer-Encoding: chunked\r\n"
        + LENGTH
        + b"\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
        [400],
    ),
    "chunks that are not last": (START + b"Transfer-Encoding: chunked, identity\r\n\r\n", [400]),
    "a space before the colon": (START + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", [400]),
    "a folded header": (START + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", [400]),
    "a chunk size that is none": (CHUNKED + b"zz\r\n", [400]),
    "a negative chunk size": (CHUNKED + b"-1\r\nx\r\n", [400]),
    "a chunk size beyond 64 bits": (CHUNKED + b"fffffffffffffffff\r\nx\r\n", [400]),
    "a chunk longer than its size": (CHUNKED + b"2\r\nabcdef\r\n0\r\n\r\n", [400]),
    "a header of 1 MiB": (START + b"X: " + b"x" * MIB + b"\r\n\r\n", [431]),
    "a header name of 1 MiB": (START + b"x" * MIB + b": x\r\n\r\n", [431]),
    "10 000 headers": (
        START + b"".join(b"X-%d: abc\r\n" % n for n in range(10_000)) + b"\r\n",
        [431],
    ),
    "a model name of 1 MiB": (
        b"GET /v1/models/" + b"m" * MIB + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        [431],
    ),
    "a model name of 60 KiB": (
        b"GET /v1/models/" + b"m" * 60_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        [404],
    ),
    "a version of 50 000 digits": (
        b"GET /v1/models/double/versions/" + b"9" * 50_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        [400],
    ),
    "NUL in the path": (b"GET /v1/models/a\0b HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
    "NUL, escaped, in the path": (b"GET /v1/models/a%00b HTTP/1.1\r\nHost: x\r\n\r\n", [404]),
    "invalid UTF-8 in the path": (b"GET /v1/models/%ff%c0%80 HTTP/1.1\r\nHost: x\r\n\r\n", [404]),
    "NUL in a header": (b"GET /livez HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", [400]),
    "slashes, escaped": (b"GET /v1/models/..%2f..%2fetc HTTP/1.1\r\nHost: x\r\n\r\n", [404]),
    "no Host": (b"GET /livez HTTP/1.1\r\n\r\n", [400]),
    "two Hosts": (b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", [400]),
    "HTTP/0.9": (b"GET /livez\r\n\r\n", [400]),
    "chunks of gzip": (START + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", [501]),
    "HTTP/2": (PREFACE, [400]),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), [400]),
    "no HTTP at all": (b"\0" * 1000, [400]),
    "HTTP/9.9": (b"GET /livez HTTP/9.9\r\n\r\n", [400]),
    "an answer": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", [400]),
}


SPOKEN_BY_THE_NATIVE_FRONT = {"HTTP/2"}


@pytest.mark.parametrize(
    "name", [name for name in WIRE if FRONT != "native" or name not in SPOKEN_BY_THE_NATIVE_FRONT]
)
def test_on_the_wire(server: ModelServer, harmless: Harmless, name: str) -> None:
    data, statuses = WIRE[name]
    answer: Answer = harmless(lambda: exchange(server.rest_port, data))
    assert answer.statuses == statuses, answer.data[:500]


def test_garbage_behind_a_request(server: ModelServer, harmless: Harmless) -> None:
    answer: Answer = harmless(
        lambda: exchange(server.rest_port, GET + b"\1\2\3\r\n\r\n" + GET, answers=3)
    )
    assert answer.statuses == [200, 400]
    assert answer.closed


def test_a_half_closed_client_is_answered(server: ModelServer, harmless: Harmless) -> None:
    answer: Answer = harmless(lambda: exchange(server.rest_port, post(OK), half_close=True))
    assert answer.statuses == [200]


def test_a_request_cut_off(server: ModelServer, harmless: Harmless) -> None:
    answer: Answer = harmless(lambda: exchange(server.rest_port, post(OK)[:-1], half_close=True))
    assert answer.statuses == []
    assert answer.closed


def test_a_thousand_requests_at_once_on_one_connection(
    server: ModelServer, harmless: Harmless
) -> None:
    answer: Answer = harmless(
        lambda: exchange(server.rest_port, GET * 1000, answers=1000), seconds=1.0
    )
    assert answer.statuses == [200] * 1000


def test_a_body_in_a_hundred_thousand_pieces(server: ModelServer, harmless: Harmless) -> None:
    body = b'{"instances":[1.0]' + b" " * 200_000 + b"}"
    chunks = b"".join(b"2\r\n%s\r\n" % body[at : at + 2] for at in range(0, len(body) - 1, 2))
    last = b"1\r\n}\r\n0\r\n\r\n" if len(body) % 2 else b"0\r\n\r\n"
    answer: Answer = harmless(
        lambda: exchange(server.rest_port, CHUNKED + chunks + last), seconds=0.3
    )
    assert answer.statuses == [200]


def test_slow_senders_and_a_thousand_idle_connections_stand_in_nobodys_way(
    server: ModelServer, harmless: Harmless
) -> None:
    with ExitStack() as stack:

        def crowd() -> None:
            for number in range(1000):
                connection = stack.enter_context(
                    socket.create_connection(("127.0.0.1", server.rest_port))
                )
                if number < 100:
                    connection.sendall(post(OK)[: 10 + number])
                elif number < 200:
                    connection.sendall(CHUNKED + b"80000000\r\n")

        harmless(crowd, seconds=1.0)
        # On a new connection, while all of them are open.
        answer: Answer = harmless(lambda: exchange(server.rest_port, post(OK)))
        assert answer.statuses == [200]


# ---- gRPC ------------------------------------------------------------------------------------------------------------

PREDICT = "/tensorflow.serving.PredictionService/Predict"
REGRESS = "/tensorflow.serving.PredictionService/Regress"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"


def asking(model: str = "double", signature: str = "", **inputs: Any) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for alias, proto in inputs.items():
        request.inputs[alias].CopyFrom(proto)
    return request


def tensor(dtype: int, shape: list[int], **fields: Any) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto(dtype=dtype, **fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def shaped(
    shape: list[int], signature: str = "float", dtype: int = 1, **fields: Any
) -> Callable[[], bytes]:
    return lambda: asking("kinds", signature, x=tensor(dtype, shape, **fields)).SerializeToString()


def delimited(field: int, payload: bytes) -> bytes:
    size, out = len(payload), bytes((field << 3 | 2,))
    while size >= 128:
        out += bytes((size & 127 | 128,))
        size >>= 7
    return out + bytes((size,)) + payload


def examples(data: bytes) -> bytes:
    """Return a RegressionRequest with an Input of these bytes."""
    return delimited(1, delimited(1, b"examples") + delimited(3, b"double")) + delimited(2, data)


def _many_inputs(count: int, each: tensor_pb2.TensorProto | None = None) -> bytes:
    value = delimited(2, (each or tensor(1, [], float_val=[1.0])).SerializeToString())
    entries = b"".join(delimited(2, delimited(1, b"k%d" % n) + value) for n in range(count))
    return delimited(1, delimited(1, b"double")) + entries


def _nested_variants(depth: int) -> bytes:
    # TensorProto.variant_val[].tensors[] is a TensorProto again.
    data = b""
    for _ in range(depth):
        data = delimited(15, delimited(3, data))
    return delimited(1, delimited(1, b"double")) + delimited(
        2, delimited(1, b"x") + delimited(2, data)
    )


BAD = b"\xff\xfe"
NOT_A_MESSAGE = "The request is not a PredictRequest message"
PARSING = "tensor parsing error: x: "
COSTLY = "The request has so many values that it would take more than 268435456 bytes of memory: "
BILLION = 10**9
CALLS: dict[str, tuple[str, Callable[[], bytes], str, str]] = {
    "a billion elements of nothing": (
        PREDICT,
        shaped([BILLION]),
        "INVALID_ARGUMENT",
        PARSING + "the shape has 1000000000 elements, but only 0 values were sent",
    ),
    "a billion elements of one value": (
        PREDICT,
        shaped([10**3, 10**3, 10**3], float_val=[1.0]),
        "INVALID_ARGUMENT",
        PARSING + "the shape has 1000000000 elements, but only 1 values were sent",
    ),
    "a billion strings of nothing": (
        PREDICT,
        shaped([BILLION], "string", 7),
        "INVALID_ARGUMENT",
        PARSING + "the shape has 1000000000 elements, but only 0 values were sent",
    ),
    "a billion strings in four bytes": (
        PREDICT,
        shaped([BILLION], "string", 7, tensor_content=b"abcd"),
        "INVALID_ARGUMENT",
        PARSING + "tensor_content has 4 bytes, too few for 1000000000 strings",
    ),
    "a string of 2**63 bytes": (
        PREDICT,
        shaped([1], "string", 7, tensor_content=b"\xff" * 9 + b"\x01"),
        "INVALID_ARGUMENT",
        PARSING + "tensor_content of type string does not have the announced length",
    ),
    "a negative dimension": (
        PREDICT,
        shaped([-1]),
        "INVALID_ARGUMENT",
        PARSING + "the shape [-1] has a negative dimension",
    ),
    "two negative dimensions": (
        PREDICT,
        shaped([-2, -2], float_val=[1, 2, 3, 4]),
        "INVALID_ARGUMENT",
        PARSING + "the shape [-2, -2] has a negative dimension",
    ),
    "more elements than 64 bits count": (
        PREDICT,
        shaped([2**32, 2**32], float_val=[1.0]),
        "INVALID_ARGUMENT",
        PARSING + "the shape has 18446744073709551616 elements, but only 1 values were sent",
    ),
    "nothing, of a huge shape": (
        PREDICT,
        shaped([0, 2**62, 2**62]),
        "INVALID_ARGUMENT",
        PARSING + "the shape [0, 4611686018427387904, 4611686018427387904] is too large",
    ),
    "65 dimensions": (
        PREDICT,
        shaped([1] * 65),
        "INVALID_ARGUMENT",
        PARSING + "the shape has 65 dimensions, more than 64",
    ),
    "64 dimensions": (PREDICT, shaped([1] * 64), "OK", ""),
    "100 000 dimensions": (
        PREDICT,
        shaped([1] * 100_000),
        "INVALID_ARGUMENT",
        PARSING + "the shape has 100000 dimensions, more than 64",
    ),
    "an unknown rank": (
        PREDICT,
        lambda: asking(
            x=tensor_pb2.TensorProto(dtype=1, tensor_shape={"unknown_rank": True})
        ).SerializeToString(),
        "INVALID_ARGUMENT",
        PARSING + "the shape has an unknown rank",
    ),
    "no type": (
        PREDICT,
        shaped([1], dtype=0),
        "INVALID_ARGUMENT",
        PARSING + "a tensor of type invalid cannot be sent",
    ),
    "a resource": (
        PREDICT,
        shaped([1], dtype=20),
        "INVALID_ARGUMENT",
        PARSING + "a tensor of type resource cannot be sent",
    ),
    "a type that there is not": (
        PREDICT,
        shaped([1], dtype=77777),
        "INVALID_ARGUMENT",
        PARSING + "a tensor of type other cannot be sent",
    ),
    "content that does not fit": (
        PREDICT,
        shaped([2], tensor_content=b"12345"),
        "INVALID_ARGUMENT",
        PARSING + "tensor_content has 5 bytes, but the shape [2] of type float needs 8",
    ),
    "another type than the signature's": (
        PREDICT,
        shaped([1], "float", 9, int64_val=[1]),
        "INVALID_ARGUMENT",
        "",
    ),
    "100 000 inputs": (
        PREDICT,
        lambda: _many_inputs(100_000),
        "INVALID_ARGUMENT",
        "input size does not match signature: 100000!=1 len({",
    ),
    "40 unknown inputs of 64 MiB of nothing": (
        PREDICT,
        lambda: _many_inputs(40, tensor(1, [16 << 20])),
        "INVALID_ARGUMENT",
        "input size does not match signature: 40!=1 len({",
    ),
    "an unknown input of a size that does not fit": (
        PREDICT,
        lambda: asking(z=tensor(1, [3], tensor_content=b"12345")).SerializeToString(),
        "INVALID_ARGUMENT",
        "input tensor alias not found in signature: z.",
    ),
    "five million outputs asked for": (
        PREDICT,
        lambda: asking().SerializeToString() + b"\x1a\0" * 5_000_000,
        "INVALID_ARGUMENT",
        COSTLY,
    ),
    "five million strings": (
        PREDICT,
        lambda: delimited(
            2, delimited(1, b"x") + delimited(2, b"\x08\x07" + b"\x42\0" * 5_000_000)
        ),
        "INVALID_ARGUMENT",
        COSTLY,
    ),
    "five million examples": (
        REGRESS,
        lambda: examples(delimited(1, b"\x0a\0" * 5_000_000)),
        "INVALID_ARGUMENT",
        COSTLY,
    ),
    "65 MiB": (
        PREDICT,
        lambda: bytes(65 * MIB),
        "RESOURCE_EXHAUSTED",
        "",
    ),
    "100 000 outputs asked for": (
        PREDICT,
        lambda: (
            asking(x=tensor(1, [1], float_val=[1])).SerializeToString()
            + delimited(3, b"y") * 100_000
        ),
        "INVALID_ARGUMENT",
        "duplicate output tensor alias: y",
    ),
    "a model name of 1 MiB": (
        PREDICT,
        lambda: asking("m" * MIB).SerializeToString(),
        "NOT_FOUND",
        "Servable not found for request: Latest(mmm",
    ),
    "a model name of 1 MiB, asked for its status": (
        STATUS,
        lambda: delimited(1, delimited(1, b"m" * MIB)),
        "NOT_FOUND",
        "Could not find any versions of model mmm",
    ),
    "a model name of wide characters": (
        PREDICT,
        lambda: asking("😀" * 5000).SerializeToString(),
        "NOT_FOUND",
        "Servable not found for request: Latest(😀",
    ),
    "a signature name with NUL": (
        PREDICT,
        lambda: asking("double", "\0\r\n").SerializeToString(),
        "FAILED_PRECONDITION",
        'Serving signature key "\0\r\n" not found.',
    ),
    "a model name that is no UTF-8": (
        PREDICT,
        lambda: delimited(1, delimited(1, BAD)),
        "INTERNAL",
        NOT_A_MESSAGE,
    ),
    "a label that is no UTF-8": (
        PREDICT,
        lambda: delimited(1, delimited(1, b"double") + delimited(4, BAD)),
        "INTERNAL",
        NOT_A_MESSAGE,
    ),
    "a signature that is no UTF-8": (
        PREDICT,
        lambda: delimited(1, delimited(1, b"double") + delimited(3, BAD)),
        "INTERNAL",
        NOT_A_MESSAGE,
    ),
    "an alias that is no UTF-8": (
        PREDICT,
        lambda: delimited(1, delimited(1, b"double")) + delimited(2, delimited(1, BAD)),
        "INTERNAL",
        NOT_A_MESSAGE,
    ),
    "an output that is no UTF-8": (
        PREDICT,
        lambda: delimited(1, delimited(1, b"double")) + delimited(3, BAD),
        "INTERNAL",
        NOT_A_MESSAGE,
    ),
    "a metadata field that is no UTF-8": (
        METADATA,
        lambda: delimited(1, delimited(1, b"double")) + delimited(2, BAD),
        "INTERNAL",
        "The request is not a GetModelMetadataRequest message",
    ),
    "a string value that is no UTF-8": (
        PREDICT,
        shaped([1], "string", 7, string_val=[BAD]),
        "OK",
        "",
    ),
    "50 000 tensors in one another": (
        PREDICT,
        lambda: _nested_variants(2_000),
        "INTERNAL",
        NOT_A_MESSAGE,
    ),
    "100 000 examples of nothing": (
        REGRESS,
        lambda: examples(delimited(1, delimited(1, b"") * 100_000)),
        "OK",
        "",
    ),
    "no examples, with a context of 1 MiB": (
        REGRESS,
        lambda: examples(delimited(2, delimited(2, b"\n\0" * (MIB // 2)))),
        "INVALID_ARGUMENT",
        "Input is empty.",
    ),
    "10 000 examples with a context of 100 000 bytes": (
        REGRESS,
        lambda: examples(
            delimited(2, delimited(1, b"") * 10_000 + delimited(2, delimited(1, bytes(99_996))))
        ),
        "INVALID_ARGUMENT",
        "A context of 100000 bytes before each of 10000 examples exceeds the limit of 67108864 bytes",
    ),
    "an example that is none": (
        REGRESS,
        lambda: examples(delimited(1, delimited(1, b"\xff\xff"))),
        "INVALID_ARGUMENT",
        "",
    ),
    "no message": (PREDICT, lambda: b"\xff" * 1000, "INTERNAL", NOT_A_MESSAGE),
    "an empty message": (
        PREDICT,
        lambda: b"",
        "INVALID_ARGUMENT",
        "Missing ModelSpec",
    ),
    "a method that there is not": ("/tensorflow.serving.X/Y", lambda: b"", "UNIMPLEMENTED", ""),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call(stubs: Stubs, harmless: Harmless, name: str) -> None:
    path, build, code, said = CALLS[name]
    data = build()
    call = stubs.channel.unary_unary(path)
    try:
        harmless(lambda: call(data, timeout=30))
    except stubs.grpc.RpcError as error:
        found, message = error.code().name, error.details() or ""
    else:
        found, message = "OK", ""
    assert found == code, message
    assert message.startswith(said)
    assert len(message.encode()) <= 1024 + len("...TRUNCATED")


def test_a_message_that_grows_when_it_is_decompressed(stubs: Stubs, harmless: Harmless) -> None:
    bomb = asking("nomodel").SerializeToString() + delimited(15, bytes(128 * MIB))
    call = stubs.channel.unary_unary(PREDICT)

    def ask() -> Any:
        with pytest.raises(stubs.grpc.RpcError) as error:
            call(bomb, timeout=60, compression=stubs.grpc.Compression.Gzip)
        return error.value

    error = harmless(ask, seconds=1.0)
    assert error.code().name == "RESOURCE_EXHAUSTED"
    assert error.details().startswith("The request grows beyond 67108864 bytes when decompressed")


def test_sixty_four_bombs_at_once(server: ModelServer, harmless: Harmless) -> None:
    """Each alone would be refused cheaply; so are all of them together."""
    lists = gzipped(gzip.compress(b'{"instances":[' + b"[]," * 10_000_000 + b"[]]}"))
    with ThreadPoolExecutor(64) as threads:

        def ask() -> list[list[int]]:
            every = [threads.submit(exchange, server.rest_port, lists) for _ in range(64)]
            return [one.result(120).statuses for one in every]

        assert harmless(ask, seconds=4.0) == [[400]] * 64


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (grpc_call(PREDICT, b"", announced=1 << 31), "status"),
        (grpc_call(PREDICT, b"x" * 16_000, announced=0xFFFFFFFF), "status"),
        (grpc_call(PREDICT, b"x", announced=5, end=True), "status"),
        (GET, "closed"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), "closed"),
        (bytes(1000), "closed"),
        (PREFACE + b"\xff" * 1000, "reset"),
    ],
    ids=["2 GiB announced", "4 GiB announced", "cut off", "HTTP/1.1", "TLS", "zeros", "bad frames"],
)
def test_on_the_wire_of_grpc(
    server: ModelServer, harmless: Harmless, data: bytes, end: str
) -> None:
    found = harmless(lambda: grpc_end(server.port, data, patience=20))
    assert found in {end, "closed", "reset"}


def test_a_thousand_idle_connections_to_grpc(server: ModelServer, harmless: Harmless) -> None:
    with ExitStack() as stack:

        def crowd() -> None:
            for number in range(1000):
                connection = stack.enter_context(
                    socket.create_connection(("127.0.0.1", server.port))
                )
                if number < 300:  # far more than there are threads, and than are read ahead
                    connection.sendall(grpc_call(PREDICT, b"", announced=1000))

        harmless(crowd, seconds=1.0)
        with_all_open = Stubs(server.target)
        request = with_all_open.predict_request(Ask({"x": ("float", [1.0])}), content=True)
        harmless(lambda: with_all_open.prediction.Predict(request, timeout=30))
        with_all_open.channel.close()


def test_nothing_was_logged_as_a_fault(server: ModelServer) -> None:
    """Last: none of all this was a surprise to the server."""
    log = server.log_path.read_text()
    assert "Traceback" not in log
    assert "Exception" not in log
