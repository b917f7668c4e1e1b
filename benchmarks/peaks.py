"""What requests at the limits take when 64 come at once, and what stays after 200 000 requests.

    python -m peaks --requests 200000

A server with a limit of 16 MiB for one request, and of 64 MiB for all bodies over REST (`LIMITS`), is sent, 64 at a
time, requests that are as large as may be, that become much larger than they are, and that are never finished, while a
client asks `/livez` without pause. Then it is sent good and hostile small requests in turns. Writes `results/peaks.md`.
"""

import gzip
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final, Self

import grpc
import httpx
import typer

from hostile import MIB, PeakMemory, gzip_bomb
from modelserver import ModelServer, running
from savedmodels import save_double

LIMITS: Final = {
    "rest_api_max_body_bytes": 16 * MIB,
    "rest_api_max_decompressed_bytes": 16 * MIB,
    "rest_api_max_inflight_bytes": 64 * MIB,
    "grpc_max_message_bytes": 16 * MIB,
}
AT_ONCE: Final = 64
_ONE: Final = 16 * MIB
_RESULTS: Final = Path(__file__).parent / "results" / "peaks.md"
_PREDICT: Final = "/tensorflow.serving.PredictionService/Predict"


@dataclass(frozen=True)
class Peak:
    """What a kind of request did.

    Attributes:
        growth: bytes of resident memory above what there was before.
        livez: the longest that `/livez` took meanwhile, in seconds.
    """

    kind: str
    growth: int
    livez: float


class Probe:
    """A client that asks `/livez` on connections of its own until it is stopped."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.longest = 0.0
        self.failed = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._stop.wait(0.02):
            began = time.monotonic()
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            try:
                connection.request("GET", "/livez")
                self.failed += connection.getresponse().status != 200
            except OSError:
                self.failed += 1
            finally:
                connection.close()
            self.longest = max(self.longest, time.monotonic() - began)


def post(server: ModelServer, body: bytes, *, packed: bool = False) -> None:
    headers = {"Content-Encoding": "gzip"} if packed else {}
    # The server may refuse before it has read everything.
    with suppress(httpx.TransportError), httpx.Client(timeout=120, trust_env=False) as client:
        client.post(f"{server.url}/v1/models/m:predict", content=body, headers=headers)


def call(server: ModelServer, message: bytes, *, packed: bool = False) -> None:
    compression = grpc.Compression.Gzip if packed else grpc.Compression.NoCompression
    with suppress(grpc.RpcError), grpc.insecure_channel(server.target) as channel:
        channel.unary_unary(_PREDICT)(message, timeout=120, compression=compression)


def unfinished(server: ModelServer) -> None:
    """Announce a body at the limit, and send nearly all of it."""
    head = f"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {16 * MIB}\r\n\r\n"
    with (
        suppress(OSError),
        socket.create_connection(("127.0.0.1", server.rest_port), timeout=5) as connection,
    ):
        connection.sendall(head.encode() + b" " * (16 * MIB - 1))


def message(model: str, content: int) -> bytes:
    """Return a PredictRequest whose input has so many bytes of floats."""
    from slipway_server.wire.tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    tensor = request.inputs["x"]
    tensor.dtype = 1
    tensor.tensor_shape.dim.add().size = content // 4
    tensor.tensor_content = bytes(content)
    data: bytes = request.SerializeToString()
    return data


def kinds(server: ModelServer) -> Iterator[tuple[str, Callable[[], None]]]:
    numbers = b'{"instances":[' + b",".join([b"1.5"] * (4 * MIB - 8)) + b"]}"
    lists = gzip.compress(b'{"instances":[' + b",".join([b"[]"] * (5 * MIB)) + b"]}")
    full, unknown = message("m", 16 * MIB - 512), message("nobody", 16 * MIB - 512)
    yield "REST, 16 MiB of numbers", lambda: post(server, numbers)
    yield "REST, 16 MiB of empty lists in a small gzip", lambda: post(server, lists, packed=True)
    yield "REST, 1 GiB in a small gzip", lambda: post(server, gzip_bomb(1024 * MIB), packed=True)
    yield "REST, 16 MiB announced and never finished", lambda: unfinished(server)
    yield "gRPC, 16 MiB of floats", lambda: call(server, full)
    yield "gRPC, 16 MiB to an unknown model", lambda: call(server, unknown)
    yield "gRPC, 16 MiB of zeros in a small gzip", lambda: call(server, full, packed=True)


def peak(server: ModelServer, kind: str, act: Callable[[], None]) -> Peak:
    with PeakMemory(server.process.pid) as memory, Probe(server.rest_port) as probe:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for done in [pool.submit(act) for _ in range(AT_ONCE)]:
                done.result()
        time.sleep(0.1)  # a probe that was begun meanwhile counts
    assert server.process.poll() is None, "the server has ended"
    found = Peak(kind, memory.growth, probe.longest if not probe.failed else float("inf"))
    typer.echo(f"{kind}: {found.growth / MIB:.0f} MiB, /livez {found.livez:.2f} s")
    return found


def resident(server: ModelServer) -> float:
    """MiB."""
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    [line] = [line for line in text.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


def soak(server: ModelServer, requests: int) -> list[float]:
    """Send small requests, most of them good; return the resident MiB after every tenth of them."""
    good, wrong = message("m", 64), message("nobody", 4096)
    bodies = [
        b'{"instances": [1.0, 2.0]}',
        b'{"instances": "x"}',
        b"{",
        b'{"instances": [[[[1]]]]}',
    ]

    def work(number: int) -> None:
        with (
            httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client,
            grpc.insecure_channel(server.target) as channel,
        ):
            predict = channel.unary_unary(_PREDICT)
            for step in range(number):
                match step % 8:
                    case 0:
                        with suppress(grpc.RpcError):
                            predict(wrong, timeout=60)
                    case 1:
                        with suppress(grpc.RpcError):
                            predict(b"\xff" * 200, timeout=60)
                    case 2 | 3 | 4:
                        predict(good, timeout=60)
                    case _:
                        client.post("/v1/models/m:predict", content=bodies[step // 8 % 4])

    found = []
    for _ in range(10):
        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(work, requests // 80) for _ in range(8)]:
                done.result()
        found.append(resident(server))
        typer.echo(f"{found[-1]:.1f} MiB")
    return found


@contextmanager
def served() -> Iterator[ModelServer]:
    with TemporaryDirectory() as work:
        save_double(Path(work) / "m" / "1", 1)
        flags = [f"--{name}={value}" for name, value in LIMITS.items()]
        base = f"--model_base_path={Path(work) / 'm'}"
        with running(Path(work), "--model_name=m", base, *flags) as server:
            yield server.wait_ready()


def page(peaks: list[Peak], before: float, after: list[float], requests: int) -> str:
    rows = "\n".join(
        f"| {one.kind} | {one.growth / MIB:.0f} | {one.growth / _ONE / AT_ONCE:.2f} | {one.livez * 1000:.0f} |"
        for one in peaks
    )
    series = ", ".join(f"{value:.0f}" for value in after)
    change = after[-1] / after[0] - 1
    return f"""# Requests at the limits

Written by `python -m peaks`. One request may have 16 MiB, as sent and decompressed, and all over REST together 64
MiB. {AT_ONCE} clients send a request of a kind at the same moment, on the server's machine; another one asks `/livez`.

| {AT_ONCE} × | MiB of memory above the start | for each request, / its limit | longest `/livez`, ms |
| --- | --- | --- | --- |
{rows}

Then {requests:,} small requests, half of them good, by 8 clients. Resident memory was {before:.0f} MiB before
all this, and after each tenth of the small requests {series} MiB. From the first tenth to the last: {change:+.1%}.
"""


def main(
    requests: Annotated[int, typer.Option(help="Small requests.")] = 200_000,
    results: Annotated[Path, typer.Option(help="Page to write.")] = _RESULTS,
) -> None:
    """Measure, and write the page."""
    with served() as server:
        httpx.post(f"{server.url}/v1/models/m:predict", json={"instances": [1.0]})
        before = resident(server)
        peaks = [peak(server, kind, act) for kind, act in kinds(server)]
        after = soak(server, requests)
    results.write_text(page(peaks, before, after, requests))


if __name__ == "__main__":
    typer.run(main)
