"""Who is measured, with what, and what is promised about it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from server_bench import standin
from server_bench.generators import Call, GrpcCall, RestCall
from server_bench.peers import Peer
from server_bench.processes import SERVER_CORE, Program, free_port

SERVERS = Path(__file__).resolve().parent / "servers"
FRONTS = (
    ("native front", "native", str(SERVER_CORE)),
    ("Python front, 2 cores", "python", "0,1"),
    ("native front, 2 cores", "native", "0,1"),
)
"""Name, front and cores of further slipway-servers."""

THREADS = 8
"""Worker threads, of the echo and of slipway-server alike."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A program and the calls to measure it with, by workload."""

    program: Program
    calls: Mapping[str, Call]


@dataclass(frozen=True, slots=True)
class Goal:
    """A promise: `figure` of some series, at most `limit`.

    Attributes:
        series: (workload, subject) pairs, the arguments of `figure`, which takes µs of CPU a request.
        concurrencies: where the promise was made; elsewhere the ratio is only told.
        limit: None where nothing is promised.
    """

    name: str
    series: tuple[tuple[str, str], ...]
    figure: Callable[..., float]
    limit: float | None
    concurrencies: tuple[int, ...] = (16, 64)


def goals(tf_call: float) -> list[Goal]:
    """The promises; `tf_call` is the CPU time of the bare TensorFlow call in µs."""

    def ratio(ours: float, theirs: float) -> float:
        return ours / theirs

    def over_floor(ours: float, echo: float) -> float:
        return ours / (echo + tf_call)

    def over_echo(ours: float, echo: float) -> float:
        return ours / echo

    def against(
        workload: str, other: str, limit: float | None, concurrencies: tuple[int, ...] = (16, 64)
    ) -> Goal:
        return Goal(
            f"{workload}: slipway-server / {other}",
            ((workload, "slipway-server"), (workload, other)),
            ratio,
            limit,
            concurrencies,
        )

    grpc, rest = "gRPC, 784 floats", "REST, 784 floats"
    return [
        Goal(
            f"{grpc}: slipway-server / (echo + TensorFlow call)",
            ((grpc, "slipway-server"), (grpc, "echo")),
            over_floor,
            1.5,
        ),
        Goal(
            f"{grpc}: slipway-server / (echo through its own front + TensorFlow call)",
            ((grpc, "slipway-server"), (grpc, "echo, own front")),
            over_floor,
            None,
        ),
        against(grpc, "naive grpc.aio", 0.33),
        against(grpc, standin.NAME, None, concurrencies=(1, 16, 64)),
        against("gRPC, 1 MiB", standin.NAME, None, concurrencies=(1, 16, 64)),
        against(grpc, "KServe", 0.4),
        against(grpc, "MLServer", 0.4),
        against(rest, "KServe", 0.3),
        against(rest, "MLServer", 0.3),
        Goal(
            "gRPC, 1 MiB: slipway-server / echo",
            (("gRPC, 1 MiB", "slipway-server"), ("gRPC, 1 MiB", "echo")),
            over_echo,
            1.5,
            (1, 16, 64),
        ),
    ]


def subjects(work: Path, peers: Mapping[str, Peer], cpp: Path | None) -> list[Subject]:
    """All programs, each with ports of its own.

    Args:
        work: the folder that `server_bench.exports` has filled.
        peers: other people's programs, as far as they are installed.
        cpp: the C++ stand-in; None where it is left out.
    """
    return [
        _slipway(work, "slipway-server"),
        *(_slipway(work, name, f"--front={front}", cores=cores) for name, front, cores in FRONTS),
        _echo(work, "echo", "echo.py"),
        _echo(work, "echo, own front", "own_front.py"),
        _naive(work),
        *([_standin(work, cpp)] if cpp else []),
        *_peers(work, peers),
    ]


def _predict(work: Path, port: int, body: str) -> GrpcCall:
    return GrpcCall(
        f"127.0.0.1:{port}",
        "tensorflow.serving.PredictionService.Predict",
        work / "opaque.protoset",
        work / body,
    )


def _infer(work: Path, port: int) -> GrpcCall:
    return GrpcCall(
        f"127.0.0.1:{port}",
        "inference.GRPCInferenceService.ModelInfer",
        work / "opaque.protoset",
        work / "small.infer",
    )


def _slipway(work: Path, name: str, *flags: str, cores: str = "") -> Subject:
    port, rest = free_port(), free_port()
    config = work / "models.config"
    config.write_text(
        "model_config_list {\n"
        + "".join(
            f'  config {{ name: "{name}" base_path: "{work / name}" model_platform: "tensorflow" }}\n'
            for name in ("softmax", "identity")
        )
        + "}\n"
    )
    return Subject(
        Program(
            name,
            [
                *(sys.executable, "-m", "slipway_server"),
                *(f"--port={port}", f"--rest_api_port={rest}", f"--model_config_file={config}"),
                *(f"--grpc_max_threads={THREADS}", f"--rest_api_num_threads={THREADS}"),
                *flags,
            ],
            {},
            cores,
        ),
        {
            "gRPC, 784 floats": _predict(work, port, "small.predict"),
            "gRPC, 1 MiB": _predict(work, port, "large.predict"),
            "REST, 784 floats": RestCall(
                f"http://127.0.0.1:{rest}/v1/models/softmax:predict", work / "small.v1.json"
            ),
            "REST, 1 MiB": RestCall(
                f"http://127.0.0.1:{rest}/v1/models/identity:predict", work / "large.v1.json"
            ),
        },
    )


def _echo(work: Path, name: str, script: str) -> Subject:
    port = free_port()
    return Subject(
        Program(name, [sys.executable, str(SERVERS / script), str(port), str(THREADS)], {}),
        {
            "gRPC, 784 floats": _predict(work, port, "small.predict"),
            "gRPC, 1 MiB": _predict(work, port, "large.predict"),
        },
    )


def _standin(work: Path, program: Path) -> Subject:
    port = free_port()
    return Subject(
        Program(standin.NAME, standin.command(program, port, work), {"TF_CPP_MIN_LOG_LEVEL": "2"}),
        {
            "gRPC, 784 floats": _predict(work, port, "small.predict"),
            "gRPC, 1 MiB": _predict(work, port, "large.predict"),
        },
    )


def _naive(work: Path) -> Subject:
    port = free_port()
    return Subject(
        Program(
            "naive grpc.aio",
            [sys.executable, str(SERVERS / "naive.py"), str(port), str(work / "softmax" / "1")],
            {"TF_CPP_MIN_LOG_LEVEL": "2"},
        ),
        {"gRPC, 784 floats": _predict(work, port, "small.predict")},
    )


def _peers(work: Path, peers: Mapping[str, Peer]) -> list[Subject]:
    export = str(work / "softmax" / "1")
    found = []
    # PYTHONPATH is this checkout's; it must not reach environments that hold other versions.
    clean = {"PYTHONPATH": "", "TF_CPP_MIN_LOG_LEVEL": "2"}
    if kserve := peers.get("KServe"):
        port, rest = free_port(), free_port()
        script = str(SERVERS / "with_kserve.py")
        found.append(
            Subject(
                Program("KServe", [kserve.python, script, str(port), str(rest), export], clean),
                {
                    "gRPC, 784 floats": _infer(work, port),
                    "REST, 784 floats": RestCall(
                        f"http://127.0.0.1:{rest}/v1/models/model:predict", work / "small.v1.json"
                    ),
                },
            )
        )
    if mlserver := peers.get("MLServer"):
        port, rest, folder = free_port(), free_port(), work / "mlserver"
        folder.mkdir(exist_ok=True)
        settings = {
            "http_port": rest,
            "grpc_port": port,
            "metrics_port": free_port(),
            "debug": False,
            "parallel_workers": 0,
            "metrics_dir": str(folder),
        }
        (folder / "settings.json").write_text(json.dumps(settings))
        model = {
            "name": "model",
            "implementation": "with_mlserver.SavedModel",
            "parameters": {"uri": export},
        }
        (folder / "model-settings.json").write_text(json.dumps(model))
        found.append(
            Subject(
                Program(
                    "MLServer",
                    [str(Path(mlserver.python).with_name("mlserver")), "start", str(folder)],
                    {**clean, "PYTHONPATH": str(SERVERS)},
                ),
                {
                    "gRPC, 784 floats": _infer(work, port),
                    "REST, 784 floats": RestCall(
                        f"http://127.0.0.1:{rest}/v2/models/model/infer", work / "small.v2.json"
                    ),
                },
            )
        )
    return found
