"""`python -m server_bench.batching`: what batching by the server is worth, and what it costs who is alone.

Two models whose batch of 32 takes about 20 ms: one that waits for a device of its own, one run at a time, however many
rows come; and one that computes. 64 clients that send one row each, against two clients that send 32 rows each to a
server that does not batch: as many rows on their way, in batches that could not be better. And one client alone, with
batching on and off, beside the small model. Both fronts take turns in one run.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from server_bench import exports
from server_bench.generators import GrpcCall, Load
from server_bench.measuring import _load, _wait_for
from server_bench.processes import Program, cpu_seconds, free_port, other_load, running

FEATURES, HIDDEN, LAYERS = 784, 2048, 4
DEVICE_SECONDS = 0.02
BATCH, CLIENTS = 32, 64
FRONTS = ("python", "native")
RESULTS = Path(__file__).resolve().parents[1] / "results"


def main() -> None:
    options = argparse.ArgumentParser(prog="server_bench.batching", description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=4.0)
    options.add_argument("--note", default="", help="what is to be known of the machine")
    options.add_argument("--results", type=Path, default=RESULTS)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as name:
        work = Path(name)
        subprocess.run(
            [sys.executable, "-c", f"from server_bench.batching import export; export({name!r})"],
            check=True,
            capture_output=True,
        )
        exports.protoset(work / "opaque.protoset")
        lines = []
        for model in ("device", "compute"):
            lines += _crowd(work, model, chosen.rounds, chosen.seconds)
        for model in ("softmax", "device"):
            lines += _alone(work, model, chosen.rounds, chosen.seconds)
    note = (chosen.note, "") if chosen.note else ()
    page = "\n".join(["# Batching", "", *note, "| what | figure |", "| --- | --- |", *lines, ""])
    chosen.results.mkdir(parents=True, exist_ok=True)
    (chosen.results / "batching.md").write_text(page)
    print(page)


def export(folder: str) -> None:
    import numpy as np
    import tensorflow as tf
    from tensorflow.python.data.experimental.ops import testing
    from tensorflow_serving.apis import predict_pb2

    rows = [tf.TensorSpec([None, FEATURES], tf.float32, name="x")]

    class Device(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=rows)  # type: ignore[untyped-decorator]
        def call(self, x: Any) -> Any:
            # The data set sleeps before its element and before its end.
            pause = tf.constant(round(DEVICE_SECONDS * 5e5), tf.int64)
            waited = (
                tf.data.Dataset.range(1)
                .apply(testing.sleep(pause))
                .reduce(tf.constant(0, tf.int64), lambda a, b: a + b)
            )
            with tf.control_dependencies([waited]):
                return {"y": tf.reduce_sum(x, 1, keepdims=True)}

    class Layers(tf.Module):  # type: ignore[misc]
        def __init__(self, sizes: list[int]) -> None:
            super().__init__()
            self.weights = [
                tf.Variable(tf.random.stateless_normal([wide, narrow], [1, number]) / 50)
                for number, (wide, narrow) in enumerate(pairwise(sizes))
            ]

        @tf.function(input_signature=rows)  # type: ignore[untyped-decorator]
        def call(self, x: Any) -> Any:
            for weights in self.weights:
                x = tf.nn.relu(tf.matmul(x, weights))
            return {"y": tf.nn.softmax(x)}

    models = {
        "device": Device(),
        "compute": Layers([FEATURES, *[HIDDEN] * LAYERS, 10]),
        "softmax": Layers([FEATURES, 10]),
    }
    for name, module in models.items():
        tf.saved_model.save(module, str(Path(folder) / name / "1"), signatures=module.call)
        for size in (1, BATCH):
            request = predict_pb2.PredictRequest()
            request.model_spec.name = name
            values = np.random.default_rng(1).random((size, FEATURES), np.float32)
            request.inputs["x"].CopyFrom(tf.make_tensor_proto(values))
            Path(folder, f"{name}.{size}").write_bytes(request.SerializeToString())


class _Server:
    def __init__(self, work: Path, model: str, name: str, *flags: str) -> None:
        self.rest_port, self._port = free_port(), free_port()
        self._work, self._model, self._log = work, model, work / f"{name}.log"
        self.program = Program(
            name,
            (
                *(sys.executable, "-m", "slipway_server", f"--port={self._port}"),
                *(f"--rest_api_port={self.rest_port}", "--drain_seconds=0"),
                *(f"--model_name={model}", f"--model_base_path={work / model}", *flags),
            ),
            {},
        )

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        with running(self.program, self._log) as self._pid:
            _wait_for(self._call(1), self.program.name, self._log)
            self.load(1, 8, 1.0)
            yield

    def load(self, rows: int, clients: int, seconds: float) -> Load:
        found = _load(self._call(rows), clients, seconds)
        assert not found.failed, f"{found.failed} of {found.requests} failed"
        return found

    def cpu(self) -> float:
        """CPU time so far, in seconds."""
        return cpu_seconds(self._pid)

    def counts(self) -> tuple[float, float]:
        """Requests and batches that have run."""
        url = f"http://127.0.0.1:{self.rest_port}/monitoring/prometheus/metrics"
        lines = urllib.request.urlopen(url).read().decode().splitlines()
        requests, batches = (
            sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))
            for name in ("slipway_batch_request_size_count", "slipway_batch_size_count")
        )
        return requests, batches

    def _call(self, rows: int) -> GrpcCall:
        return GrpcCall(
            f"127.0.0.1:{self._port}",
            "tensorflow.serving.PredictionService.Predict",
            self._work / "opaque.protoset",
            self._work / f"{self._model}.{rows}",
        )


@contextlib.contextmanager
def _up(work: Path, model: str) -> Iterator[dict[str, _Server]]:
    """One that does not batch and one that does, of each front."""
    rule = f"--batching_parameters=max_batch_size {{ value: {BATCH} }}"
    servers = {}
    for front in FRONTS:
        flag = f"--front={front}"
        servers[f"{front} plain"] = _Server(work, model, f"{model}-{front}-plain", flag)
        servers[front] = _Server(
            work, model, f"{model}-{front}-batching", flag, "--enable_batching", rule
        )
    with contextlib.ExitStack() as stack:
        for server in servers.values():
            stack.enter_context(server.up())
        yield servers


def _crowd(work: Path, model: str, rounds: int, seconds: float) -> list[str]:
    ratios: dict[str, list[float]] = {front: [] for front in FRONTS}
    means: dict[str, list[float]] = {front: [] for front in FRONTS}
    cpu: dict[str, list[float]] = {front: [] for front in FRONTS}
    times = []
    with _up(work, model) as servers:
        ideal = servers[f"{FRONTS[-1]} plain"]
        for number in range(rounds):
            quiet = other_load(0.3)
            rates = {}
            order = ["ideal", *FRONTS]
            for name in order[number % 3 :] + order[: number % 3]:
                if name == "ideal":
                    rates[name] = ideal.load(BATCH, CLIENTS // BATCH, seconds).rate * BATCH
                    continue
                server = servers[name]
                requests, batches = server.counts()
                before = server.cpu()
                rates[name] = server.load(1, CLIENTS, seconds).rate
                later, more = server.counts()
                cpu[name].append(1e6 * (server.cpu() - before) / (later - requests))
                means[name].append((later - requests) / (more - batches))
            times.append(ideal.load(BATCH, 1, 1.0).p50)
            for front in FRONTS:
                ratios[front].append(rates[front] / rates["ideal"])
            print(f"{model}: rows/s {rates} (others took {quiet:.0%} of the machine)", flush=True)
    lines = [f"| {model}: a batch of {BATCH} from one client | {statistics.median(times):.1f} ms |"]
    for front in FRONTS:
        mean, ratio, micros = (statistics.median(of[front]) for of in (means, ratios, cpu))
        lines += [
            f"| {model}, {front}: mean batch of {CLIENTS} clients with a row each | {mean:.1f} |",
            f"| {model}, {front}: their rate / that of ideal batches | {ratio:.2f} |",
            f"| {model}, {front}: CPU time of a row | {micros:.0f} µs |",
        ]
    return lines


def _alone(work: Path, model: str, rounds: int, seconds: float) -> list[str]:
    found: dict[str, list[float]] = {}
    with _up(work, model) as servers:
        for number in range(2 * rounds):
            names = list(servers) if number % 2 else list(servers)[::-1]
            for name in names:
                p50 = servers[name].load(1, 1, seconds / 2).p50
                found.setdefault(name, []).append(p50)
            print(f"{model}, one client: {found}", flush=True)
    lines = []
    for front in FRONTS:
        off, on = found[f"{front} plain"], found[front]
        ratio = statistics.median(one / other for one, other in zip(on, off, strict=True))
        alone = statistics.median(off)
        lines += [
            f"| {model}, {front}: latency of one client alone, batching off | {alone:.2f} ms |",
            f"| {model}, {front}: the same with batching on / off | {ratio:.3f} |",
        ]
    return lines


if __name__ == "__main__":
    main()
