"""Targets with the whole server behind the protocols, in this process, and loading."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from google.protobuf.message import Message
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.config import model_server_config_pb2, platform_config_pb2

from slipway_server.app.assembly import Assembly
from slipway_server.control.model_config import model_configs
from slipway_server.errors import Code
from slipway_server.frontends.http.messages import HttpRequest, HttpResponse
from slipway_server.loading.chain import make_loader
from slipway_server.settings import command_line
from slipway_server.settings.server import settings
from slipway_server.text_files import read_message
from slipway_server.wire import batching_parameters_pb2, monitoring_config_pb2, ssl_config_pb2

from .light import converse
from .oracle import FindingError, Target, judge

Models = Callable[[], Path]
"""Returns a directory with the models `double`, `kinds` and `examples`, in which scratch files may be made."""

_CONFIG = """
model_config_list {{
  config {{ name: "double" base_path: "{root}/double" model_platform: "tensorflow" }}
  config {{ name: "kinds" base_path: "{root}/kinds" model_platform: "tensorflow" }}
  config {{ name: "examples" base_path: "{root}/examples" model_platform: "tensorflow" }}
}}
"""
_MESSAGES: tuple[Callable[[], Message], ...] = (
    model_server_config_pb2.ModelServerConfig,
    batching_parameters_pb2.BatchingParameters,
    ssl_config_pb2.SSLConfig,
    monitoring_config_pb2.MonitoringConfig,
    config_pb2.ConfigProto,
    platform_config_pb2.PlatformConfigMap,
)
_READING = (
    "Predict",
    "Classify",
    "Regress",
    "MultiInference",
    "GetModelMetadata",
    "GetModelStatus",
)


def _served(root: Path) -> Assembly:
    config = root / "fuzz.config"
    config.write_text(_CONFIG.format(root=root))
    arguments = [f"--model_config_file={config}", "--isolated_first_load=false"]
    ready = threading.Event()
    holder: list[Assembly] = []

    def look() -> None:
        if holder and holder[0].report(draining=False).ready:
            ready.set()

    def failed(why: object) -> NoReturn:
        raise FindingError(str(why))

    chosen = settings(command_line.parse(arguments).values, cpus=2)
    assembly = Assembly(
        chosen, failed_for_good=failed, failed_to_start=failed, changed=look, waiting=dict
    )
    holder.append(assembly)
    assembly.start()
    if not ready.wait(120):
        raise FindingError("the models did not become available")
    return assembly


class _EndedError(Exception):
    """The call was ended with a status, which has been judged."""


class _Context:
    """What a method sees of its call."""

    def time_remaining(self) -> float:
        return 60.0

    def is_active(self) -> bool:
        return True

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    def add_callback(self, _callback: Any) -> bool:
        return True

    def abort(self, code: Any, details: str) -> NoReturn:
        judge(Code(code.value[0]), details)
        details.encode()
        raise _EndedError


def rpc(models: Models) -> Target:
    """Call a method, chosen by the first byte, with the rest as the message."""
    paths = _served(models()).rpc_methods
    methods = [
        paths[path] for name in _READING for path in sorted(paths) if path.endswith(f"/{name}")
    ]

    def run(data: bytes) -> None:
        choice = data[0] if data else 0
        context: Any = _Context()
        with contextlib.suppress(_EndedError):
            methods[choice % len(methods)](data[1:], context)

    return run


def rest(models: Models) -> Target:
    """Send bytes to an HTTP connection of the whole API."""
    api = _served(models()).rest_api

    def answer(request: HttpRequest) -> HttpResponse:
        response = api(request)
        if response.status == 500:
            raise FindingError(f"{request.target!r}: {response.body[:500]!r}")
        return response

    def run(data: bytes) -> None:
        converse(data, answer)

    return run


def text_file(models: Models) -> Target:
    """Read a text file as the message that the first byte chooses."""
    path = models() / "fuzzed.txt"

    def run(data: bytes) -> None:
        path.write_bytes(data[1:])
        message = _MESSAGES[(data[0] if data else 0) % len(_MESSAGES)]()
        read_message(str(path), message)
        if isinstance(message, model_server_config_pb2.ModelServerConfig):
            for config in model_configs(message) or ():
                Path(config.base_path).exists()

    return run


def _loading(models: Models, name: str, base: str) -> Target:
    root = models()
    version = root / "fuzzed" / "1"
    shutil.rmtree(version, ignore_errors=True)
    shutil.copytree(root / base, version)
    loader = make_loader(settings(command_line.parse([f"--model_base_path={root}"]).values, cpus=2))

    def run(data: bytes) -> None:
        (version / name).parent.mkdir(exist_ok=True)
        (version / name).write_bytes(data)
        loader.unload(loader.load("fuzzed", 1, str(version)))

    return run


def saved_model(models: Models) -> Target:
    """Load an export whose graph is these bytes; its variables are those of a sound one."""
    return _loading(models, "saved_model.pb", "double/1")


def variables_index(models: Models) -> Target:
    """Load a sound graph whose index of variables is these bytes."""
    return _loading(models, "variables/variables.index", "double/1")


def warmup(models: Models) -> Target:
    """Load a sound export with these bytes as its warm-up requests."""
    return _loading(models, "assets.extra/tf_serving_warmup_requests", "double/1")


SERVED: dict[str, Callable[[Models], Target]] = {
    "rpc": rpc,
    "rest": rest,
    "text_file": text_file,
    "saved_model": saved_model,
    "variables_index": variables_index,
    "warmup": warmup,
}
