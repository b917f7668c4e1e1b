"""What requests held is given back when they end, however they end, and never by the garbage collector (§7, §8).

The server under test has none: a file beside it switches the collector off. Each kind of request brings some ballast,
and many of a kind must not make the process grow.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from hostile import MIB, exchange
from modelserver import ModelServer, eventually, running

BALLAST = 4 * MIB
ROUNDS = 16
ALLOWED = ROUNDS * BALLAST // 3
"""All of them together would be three times that."""

CONFIG = """
model_config_list {{
  config {{ name: "double" base_path: "{root}/double" model_platform: "tensorflow" }}
  config {{ name: "kinds" base_path: "{root}/kinds" model_platform: "tensorflow" }}
  config {{ name: "examples" base_path: "{root}/examples" model_platform: "tensorflow" }}
}}
"""


def start(root: Path, exported: Path, *flags: str) -> Any:
    (root / "sitecustomize.py").write_text("import gc\n\ngc.disable()\n")
    config = root / "models.config"
    config.write_text(CONFIG.format(root=exported))
    path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    # Blocks of 1 MiB and more go back to the system when they are freed, so that what is seen is what is held.
    env = {"PYTHONPATH": path, "MALLOC_MMAP_THRESHOLD_": str(MIB)}
    return running(root, f"--model_config_file={config}", "--drain_seconds=0", *flags, env=env)


@pytest.fixture(scope="module")
def server(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    with start(tmp_path_factory.mktemp("collecting"), exported) as started:
        yield started.wait_ready()


@pytest.fixture(scope="module")
def channel(server: ModelServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(
        server.target, options=[("grpc.max_receive_message_length", -1)]
    ) as channel:
        yield channel


def resident(server: ModelServer) -> int:
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel tells no VmRSS")


def grows(server: ModelServer, act: Callable[[], Any], rounds: int = ROUNDS) -> int:
    """How much larger the process is after many requests of a kind; the first two do not count."""
    for _ in range(2):
        act()
    before = resident(server)
    for _ in range(rounds):
        act()
    # A request's end reaches the client before the last thread has let go of it.
    with contextlib.suppress(AssertionError):
        eventually("it is given back", lambda: resident(server) - before <= ALLOWED, timeout=60)
    return resident(server) - before


def delimited(field: int, payload: bytes) -> bytes:
    size, out = len(payload), bytes((field << 3 | 2,))
    while size >= 128:
        out += bytes((size & 127 | 128,))
        size >>= 7
    return out + bytes((size,)) + payload


ZEROS = bytes(BALLAST)
SERVICE = "/tensorflow.serving.PredictionService/"
PREDICT, REGRESS = SERVICE + "Predict", SERVICE + "Regress"
CLASSIFY, MULTI = SERVICE + "Classify", SERVICE + "MultiInference"
METADATA = SERVICE + "GetModelMetadata"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
INFER = "/inference.GRPCInferenceService/ModelInfer"


def predict(
    model: str = "double",
    *,
    alias: str = "x",
    dtype: int = 1,
    size: int = BALLAST // 4,
    **spec: Any,
) -> bytes:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    for name, value in spec.items():
        if name == "version":
            request.model_spec.version.value = value
        elif name == "output_filter":
            request.output_filter.extend(value)
        else:
            setattr(request.model_spec, name, value)
    tensor = tensor_pb2.TensorProto(dtype=dtype, tensor_content=ZEROS)  # type: ignore[arg-type]
    tensor.tensor_shape.dim.add(size=size)
    request.inputs[alias].CopyFrom(tensor)
    return request.SerializeToString()


def examples(model: str, example: bytes = ZEROS, signature: bytes = b"double") -> bytes:
    spec = delimited(1, model.encode()) + delimited(3, signature)
    return delimited(1, spec) + delimited(2, delimited(1, delimited(1, example)))


def multi(model: bytes) -> bytes:
    task = delimited(1, delimited(1, delimited(1, model)))
    return task + delimited(2, delimited(1, delimited(1, ZEROS)))


def infer(model: bytes, datatype: bytes = b"FP32", name: bytes = b"x", raw: bytes = ZEROS) -> bytes:
    shape = bytes((3 << 3 | 2, 3)) + b"\x80\x80\x40"  # [1048576]
    tensor = delimited(1, name) + delimited(2, datatype) + shape
    return delimited(1, model) + delimited(5, tensor) + delimited(7, raw)


CALLS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "an answer": (PREDICT, predict, "OK"),
    "no message": (PREDICT, lambda: b"\xff" * BALLAST, "INTERNAL"),
    "no model": (PREDICT, lambda: delimited(9, ZEROS), "INVALID_ARGUMENT"),
    "an unknown model": (PREDICT, lambda: predict("nomodel"), "NOT_FOUND"),
    "an unknown version": (PREDICT, lambda: predict(version=99), "NOT_FOUND"),
    "an unknown label": (PREDICT, lambda: predict(version_label="no"), "INVALID_ARGUMENT"),
    "an unknown signature": (
        PREDICT,
        lambda: predict(signature_name="no"),
        "FAILED_PRECONDITION",
    ),
    "an unknown input": (PREDICT, lambda: predict(alias="z"), "INVALID_ARGUMENT"),
    "an unknown output": (PREDICT, lambda: predict(output_filter=["no"]), "INVALID_ARGUMENT"),
    "a shape that does not fit": (PREDICT, lambda: predict(size=3), "INVALID_ARGUMENT"),
    "a type that there is not": (PREDICT, lambda: predict(dtype=20), "INVALID_ARGUMENT"),
    "another type than the model's": (PREDICT, lambda: predict(dtype=3), "INVALID_ARGUMENT"),
    "another type than the signature's": (
        PREDICT,
        lambda: predict("kinds", signature_name="int32"),
        "INVALID_ARGUMENT",
    ),
    "a model that fails": (
        PREDICT,
        lambda: predict(signature_name="checked"),
        "INVALID_ARGUMENT",
    ),
    "Classify, an unknown model": (CLASSIFY, lambda: examples("nomodel"), "NOT_FOUND"),
    "Regress, no example": (
        REGRESS,
        lambda: examples("examples", b"\xff" * BALLAST),
        "INVALID_ARGUMENT",
    ),
    "Classify, another method": (CLASSIFY, lambda: examples("examples"), "INVALID_ARGUMENT"),
    "Regress, no message": (REGRESS, lambda: b"\xff" * BALLAST, "INTERNAL"),
    "MultiInference, an unknown model": (MULTI, lambda: multi(b"nomodel"), "NOT_FOUND"),
    "MultiInference, an unknown method": (MULTI, lambda: multi(b"examples"), "UNIMPLEMENTED"),
    "GetModelMetadata, an unknown field": (
        METADATA,
        lambda: delimited(1, delimited(1, b"double")) + delimited(2, ZEROS),
        "INVALID_ARGUMENT",
    ),
    "GetModelStatus, an unknown model": (
        STATUS,
        lambda: delimited(1, delimited(1, b"m" * BALLAST)),
        "NOT_FOUND",
    ),
    "HandleReloadConfigRequest, no message": (RELOAD, lambda: b"\xff" * BALLAST, "INTERNAL"),
    "ModelInfer": (INFER, lambda: infer(b"double"), "OK"),
    "ModelInfer, an unknown model": (INFER, lambda: infer(b"nomodel"), "NOT_FOUND"),
    "ModelInfer, an unknown input": (
        INFER,
        lambda: infer(b"double", name=b"z"),
        "INVALID_ARGUMENT",
    ),
    "ModelInfer, another datatype": (
        INFER,
        lambda: infer(b"double", datatype=b"INT32"),
        "INVALID_ARGUMENT",
    ),
    "ModelInfer, too few bytes": (
        INFER,
        lambda: infer(b"double", raw=ZEROS[:-1]),
        "INVALID_ARGUMENT",
    ),
    "ModelInfer, no message": (INFER, lambda: b"\xff" * BALLAST, "INVALID_ARGUMENT"),
}


def code_of(channel: grpc.Channel, path: str, data: bytes) -> str:
    try:
        channel.unary_unary(path)(data, timeout=60)
    except grpc.RpcError as error:
        return str(error.code().name)  # type: ignore[attr-defined]
    return "OK"


@pytest.mark.parametrize("name", CALLS)
def test_over_grpc(server: ModelServer, channel: grpc.Channel, name: str) -> None:
    path, build, code = CALLS[name]
    data = build()
    assert code_of(channel, path, data) == code
    assert grows(server, lambda: code_of(channel, path, data)) <= ALLOWED


def test_calls_that_their_clients_cancel(server: ModelServer, channel: grpc.Channel) -> None:
    data = predict("nomodel")

    def cancelled() -> None:
        call = channel.unary_unary(PREDICT).future(data)
        call.cancel()
        with contextlib.suppress(grpc.RpcError, grpc.FutureCancelledError):
            call.result(60)

    assert grows(server, cancelled) <= ALLOWED


# ---- REST ------------------------------------------------------------------------------------------------------------

DOUBLE = "/v1/models/double:predict"


def post(body: bytes, path: str = DOUBLE, *headers: str, announced: int | None = None) -> bytes:
    length = len(body) if announced is None else announced
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def padded(body: bytes) -> bytes:
    """Ballast that JSON skips."""
    return body[:-1] + b" " * BALLAST + body[-1:]


GZIP = "Content-Encoding: gzip"
REST: dict[str, tuple[Callable[[], bytes], int]] = {
    "an answer": (lambda: post(padded(b'{"instances":[1.0]}')), 200),
    "no JSON": (lambda: post(b"x" * BALLAST), 400),
    "an unknown model": (
        lambda: post(padded(b'{"instances":[1.0]}'), "/v1/models/nomodel:predict"),
        404,
    ),
    "an unknown path": (lambda: post(b"x" * BALLAST, "/v1/models/double:nothing"), 400),
    "a value that does not fit": (lambda: post(padded(b'{"instances":["a"]}')), 400),
    "an unknown signature": (
        lambda: post(padded(b'{"signature_name":"no","instances":[1.0]}')),
        400,
    ),
    "no gzip": (lambda: post(b"x" * BALLAST, DOUBLE, GZIP), 400),
    "no examples": (lambda: post(padded(b'{"instances":[]}'), "/v1/models/examples:regress"), 400),
    "a body too large": (lambda: post(b"", announced=1 << 40), 413),
    "chunks that are none": (
        lambda: (
            b"POST /v1/models/double:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"400000\r\n" + ZEROS + b"\r\nzz\r\n"
        ),
        400,
    ),
    "the other protocol, no JSON": (
        lambda: post(b"x" * BALLAST, "/v2/models/double/infer"),
        400,
    ),
    "the other protocol, an unknown model": (
        lambda: post(padded(b'{"inputs":[]}'), "/v2/models/nomodel/infer"),
        404,
    ),
}


@pytest.mark.parametrize("name", REST)
def test_over_rest(server: ModelServer, name: str) -> None:
    build, status = REST[name]
    data = build()
    assert exchange(server.rest_port, data).statuses == [status]
    assert grows(server, lambda: exchange(server.rest_port, data)) <= ALLOWED


def test_uploads_that_are_broken_off(server: ModelServer) -> None:
    data = post(ZEROS, announced=2 * BALLAST)

    def broken_off() -> None:
        before = int(server.get("/livez").status_code)
        with socket.create_connection(("127.0.0.1", server.rest_port), timeout=30) as connection:
            connection.sendall(data)
        assert before == 200

    assert grows(server, broken_off) <= ALLOWED


def test_large_bodies_that_arrive_side_by_side_leave_no_holes(server: ModelServer) -> None:
    def crowd() -> None:
        with contextlib.ExitStack() as stack:
            connections = [
                stack.enter_context(
                    socket.create_connection(("127.0.0.1", server.rest_port), timeout=30)
                )
                for _ in range(8)
            ]
            for connection in connections:
                connection.sendall(post(b"", announced=64 * MIB))
            for _ in range(16):
                for connection in connections:
                    connection.sendall(bytes(MIB))

    exchange(server.rest_port, post(b'{"instances":[1.0]}'))
    before = resident(server)  # nothing warms up: what the first crowd leaves behind is what counts
    crowd()
    eventually("it is given back", lambda: resident(server) - before <= ALLOWED, timeout=20)


def test_idle_connections_keep_none_of_their_requests(server: ModelServer) -> None:
    with contextlib.ExitStack() as stack:

        def one() -> None:
            connection = stack.enter_context(
                socket.create_connection(("127.0.0.1", server.rest_port), timeout=30)
            )
            connection.sendall(post(padded(b'{"instances":[1.0]}')))
            assert connection.recv(100).startswith(b"HTTP/1.1 200")

        assert grows(server, one) <= ALLOWED


def test_failures_of_whole_batches(exported: Path, tmp_path: Path) -> None:
    flags = ("--enable_batching", "--batching_parameters=batch_timeout_micros { value: 1000 }")
    with start(tmp_path, exported, *flags) as server:
        server.wait_ready()
        with grpc.insecure_channel(server.target) as channel:
            data = predict("double", signature_name="checked")
            call = channel.unary_unary(PREDICT)

            def together() -> None:
                for one in [call.future(data) for _ in range(4)]:
                    assert one.exception(60) is not None

            # Four requests a round; how many batches they become, and on which threads, differs.
            assert grows(server, together) <= ROUNDS * 4 * BALLAST // 4
