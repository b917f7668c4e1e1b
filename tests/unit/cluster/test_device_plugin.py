"""The fake GPUs' plugin, spoken to over its socket as the kubelet speaks to it."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from cluster.node.devicemessages import MESSAGES
from cluster.node.deviceplugin import Count, handlers


class Plugin:
    """A running plugin and a channel to it."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "gpus"
        self.file.write_text("2")
        self.count = Count(self.file)
        self.socket = directory / "gpu.sock"
        self.server = grpc.server(ThreadPoolExecutor(max_workers=4))
        self.server.add_generic_rpc_handlers(handlers(self.count, str(self.socket)))
        self.server.add_insecure_port(f"unix://{self.socket}")
        self.server.start()
        self.channel = grpc.insecure_channel(f"unix://{self.socket}")

    def call(self, method: str, request: Any, answer: str) -> Any:
        stub: Any = self.channel.unary_unary(
            method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=MESSAGES[answer].FromString,
        )
        return stub(request, timeout=5)

    def watch(self) -> Any:
        stub: Any = self.channel.unary_stream(
            "/v1beta1.DevicePlugin/ListAndWatch",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=MESSAGES["ListAndWatchResponse"].FromString,
        )
        return stub(MESSAGES["Empty"](), timeout=10)


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Plugin]:
    running = Plugin(tmp_path)
    yield running
    running.channel.close()
    running.server.stop(grace=None).wait()


def test_it_introduces_itself_as_the_kubelet_expects(plugin: Plugin) -> None:
    info = plugin.call(
        "/pluginregistration.Registration/GetInfo", MESSAGES["Empty"](), "PluginInfo"
    )
    assert (info.type, info.name) == ("DevicePlugin", "nvidia.com/gpu")
    assert info.endpoint == str(plugin.socket)
    assert list(info.supported_versions) == ["v1beta1"]


def test_messages_have_the_kubelets_bytes() -> None:
    # Field numbers are the contract: 1 (ID) and 2 (health) in field 1 of the list.
    device = MESSAGES["Device"](ID="GPU-0", health="Healthy")
    listed = MESSAGES["ListAndWatchResponse"](devices=[device]).SerializeToString()
    assert listed == b"\x0a\x10\x0a\x05GPU-0\x12\x07Healthy"


def test_a_changed_count_reaches_those_who_watch(plugin: Plugin) -> None:
    stream = plugin.watch()
    assert [device.ID for device in next(stream).devices] == ["GPU-0", "GPU-1"]
    plugin.file.write_text("3")
    plugin.count.reload()
    assert [device.ID for device in next(stream).devices] == ["GPU-0", "GPU-1", "GPU-2"]
    plugin.file.write_text("0")
    plugin.count.reload()
    assert list(next(stream).devices) == []
    stream.cancel()


def test_each_container_is_told_its_own_devices(plugin: Plugin) -> None:
    wanted = [
        MESSAGES["ContainerAllocateRequest"](devices_ids=["GPU-1"]),
        MESSAGES["ContainerAllocateRequest"](devices_ids=["GPU-0", "GPU-2"]),
    ]
    answer = plugin.call(
        "/v1beta1.DevicePlugin/Allocate",
        MESSAGES["AllocateRequest"](container_requests=wanted),
        "AllocateResponse",
    )
    told = [{e.key: e.value for e in c.envs} for c in answer.container_responses]
    assert told == [
        {"NVIDIA_VISIBLE_DEVICES": "GPU-1"},
        {"NVIDIA_VISIBLE_DEVICES": "GPU-0,GPU-2"},
    ]


def test_a_watcher_that_has_gone_is_let_go(tmp_path: Path) -> None:
    file = tmp_path / "gpus"
    file.write_text("1")
    count = Count(file)
    active = threading.Event()
    active.set()
    values = count.values(active.is_set)
    assert next(values) == 1
    active.clear()
    assert list(values) == []
