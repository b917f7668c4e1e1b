"""A device plugin that offers GPUs which do not exist, so that scheduling by GPU can be tried.

Reads how many from a file, and again on SIGHUP. The kubelet finds the socket in its folder of
plugins by itself, also after it was restarted.
"""

import argparse
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from cluster.node.devicemessages import MESSAGES
from cluster.node.layout import GPU_RESOURCE

VERSION = "v1beta1"
VISIBLE = "NVIDIA_VISIBLE_DEVICES"


def device_names(count: int) -> list[str]:
    return [f"GPU-{number}" for number in range(count)]


def devices(count: int) -> Any:
    """The message that lists `count` healthy devices."""
    healthy = [MESSAGES["Device"](ID=name, health="Healthy") for name in device_names(count)]
    return MESSAGES["ListAndWatchResponse"](devices=healthy)


def allocation(request: Any) -> Any:
    """Tells each container its devices as NVIDIA's own plugin does."""
    responses = []
    for container in request.container_requests:
        entry = MESSAGES["EnvironmentEntry"](key=VISIBLE, value=",".join(container.devices_ids))
        responses.append(MESSAGES["ContainerAllocateResponse"](envs=[entry]))
    return MESSAGES["AllocateResponse"](container_responses=responses)


class Count:
    """How many devices there are; watchers wait for the next change."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._changed = threading.Condition()
        self._version = 0
        self._value = self._read()

    def reload(self) -> None:
        with self._changed:
            self._value = self._read()
            self._version += 1
            self._changed.notify_all()

    def values(self, active: Callable[[], bool]) -> Iterator[int]:
        """The value now and after each change, until `active` says no (asked every second)."""
        seen = -1
        while active():
            with self._changed:
                if self._version == seen:
                    self._changed.wait(timeout=1.0)
                version, value = self._version, self._value
            if version != seen:
                seen = version
                yield value

    def _read(self) -> int:
        return int(self._file.read_text())


def handlers(count: Count, endpoint: str) -> tuple[grpc.GenericRpcHandler, ...]:
    """Both services: how plugins introduce themselves, and how devices are offered."""
    info = MESSAGES["PluginInfo"](
        type="DevicePlugin", name=GPU_RESOURCE, endpoint=endpoint, supported_versions=[VERSION]
    )

    def watch(_: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        for value in count.values(context.is_active):
            yield devices(value)

    registration = {
        "GetInfo": _unary(lambda _: info, "Empty"),
        "NotifyRegistrationStatus": _unary(lambda _: MESSAGES["Empty"](), "RegistrationStatus"),
    }
    plugin = {
        "GetDevicePluginOptions": _unary(lambda _: MESSAGES["DevicePluginOptions"](), "Empty"),
        "ListAndWatch": grpc.unary_stream_rpc_method_handler(
            watch,
            request_deserializer=MESSAGES["Empty"].FromString,
            response_serializer=_serialized,
        ),
        "Allocate": _unary(allocation, "AllocateRequest"),
    }
    return (
        grpc.method_handlers_generic_handler("pluginregistration.Registration", registration),
        grpc.method_handlers_generic_handler(f"{VERSION}.DevicePlugin", plugin),
    )


def _unary(answer: Callable[[Any], Any], request: str) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        lambda message, _: answer(message),
        request_deserializer=MESSAGES[request].FromString,
        response_serializer=_serialized,
    )


def _serialized(message: Any) -> bytes:
    return bytes(message.SerializeToString())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--count-file", type=Path, required=True)
    arguments = parser.parse_args()

    signals = {signal.SIGHUP, signal.SIGTERM, signal.SIGINT}
    # Blocked before any thread starts and before the socket is there, so that only sigwait takes them.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    count = Count(arguments.count_file)
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers(handlers(count, str(arguments.socket)))
    arguments.socket.parent.mkdir(parents=True, exist_ok=True)
    arguments.socket.unlink(missing_ok=True)
    server.add_insecure_port(f"unix://{arguments.socket}")

    server.start()
    while signal.sigwait(signals) == signal.SIGHUP:
        count.reload()
    server.stop(grace=0.5).wait()
    arguments.socket.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
