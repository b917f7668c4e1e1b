"""How many bytes of unfinished gRPC messages there are, and which connections must give theirs up."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from slipway_server.frontends.rpc.transport.arrivals import (
    ArrivalWatch,
    ArrivingBytes,
    connection_of,
    received_bytes,
)


def since(connections: str) -> dict[str, float]:
    return dict.fromkeys(connections, 1.0)


def counting(limit: int = 100, **received: int) -> ArrivingBytes:
    """A counter that has looked once."""
    counter = ArrivingBytes(limit)
    assert counter.too_much(received, dict.fromkeys(received, 1.0)) == []
    assert counter.counts
    return counter


@pytest.mark.parametrize(
    ("received", "arriving", "chosen"),
    [
        ({"a": 100}, "a", []),
        ({"a": 101}, "a", ["a"]),
        ({"a": 60, "b": 50}, "ab", ["a"]),
        ({"a": 60, "b": 90, "c": 100}, "abc", ["c", "b"]),
        ({"a": 60, "b": 500}, "a", []),
        ({"a": 30, "b": 30, "c": 30}, "abc", []),
    ],
)
def test_the_largest_go_until_the_rest_fits(
    received: dict[str, int], arriving: str, chosen: list[str]
) -> None:
    counter = counting(**dict.fromkeys(received, 0))
    assert counter.too_much(received, since(arriving)) == chosen


def test_who_keeps_much_for_long_goes_before_who_brings_much_now() -> None:
    counter = counting(a=0, b=0)
    assert counter.too_much({"a": 30, "b": 90}, {"a": 60.0, "b": 0.2}) == ["a"]
    counter = counting(a=0, b=0)
    assert counter.too_much({"a": 30, "b": 90}, {"a": 0.2, "b": 0.2}) == ["b"]


def test_what_came_before_counts_only_on_connections_that_are_new() -> None:
    counter = counting(a=1000)
    assert counter.too_much({"a": 1050, "b": 40}, since("ab")) == []
    assert counter.too_much({"a": 1050, "b": 60}, since("ab")) == ["b"]


def test_complete_messages_are_taken_off() -> None:
    counter = counting(a=0, b=0)
    counter.completed("a", 5000)
    assert counter.too_much({"a": 5100, "b": 90}, since("ab")) == []
    assert counter.too_much({"a": 5300, "b": 90}, since("ab")) == ["a"]


def test_what_was_given_up_counts_no_longer() -> None:
    counter = counting(a=0)
    assert counter.too_much({"a": 150}, since("a")) == ["a"]
    assert counter.too_much({"a": 240}, since("a")) == []
    assert counter.too_much({"a": 260}, since("a")) == ["a"]


def test_a_connection_without_unfinished_messages_begins_anew() -> None:
    counter = counting(a=0)
    assert counter.too_much({"a": 90}, since("")) == []
    assert counter.too_much({"a": 180}, since("a")) == []
    assert counter.too_much({}, since("a")) == []
    assert counter.too_much({"a": 101}, since("a")) == ["a"], "another connection of the same name"


def test_once_all_is_quiet_it_begins_anew() -> None:
    counter = counting(a=0)
    counter.completed("a", 1)
    counter.forget()
    assert not counter.counts
    assert counter.too_much({"a": 5000}, since("a")) == []
    assert counter.too_much({"a": 5101}, since("a")) == ["a"]


class Call:
    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.aborted = b""

    def abort_arrival(self, details: bytes) -> None:
        self.aborted = details


def test_a_look_ends_the_calls_of_the_connections_that_were_chosen() -> None:
    calls = [Call("ipv4:10.0.0.1:1"), Call("ipv4:10.0.0.1:2"), Call("ipv4:10.0.0.1:2")]
    received = {"10.0.0.1:1": 0, "10.0.0.1:2": 0}
    watch = ArrivalWatch(
        ArrivingBytes(100), lambda _before: [(call, 0.0) for call in calls], lambda: received
    )
    watch.look()
    received = {"10.0.0.1:1": 10, "10.0.0.1:2": 110}
    watch.look()
    assert [call.aborted for call in calls[:1]] == [b""]
    assert all(b"overloaded" in call.aborted for call in calls[1:])


def test_nothing_is_counted_while_nothing_is_slow() -> None:
    counter = counting(a=0)

    def received() -> dict[str, int]:
        raise AssertionError("the connections were looked at")

    ArrivalWatch(counter, lambda _before: [], received).look()
    assert not counter.counts


def test_without_a_free_descriptor_the_calls_ages_count(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old, young = Call("ipv4:10.0.0.1:1"), Call("ipv4:10.0.0.1:2")
    now = time.monotonic()
    ages = [(old, now - 3600), (young, now)]
    counter = counting(a=0)

    def slow(before: float) -> list[tuple[Call, float]]:
        return [one for one in ages if one[1] <= before]

    def no_file(*_: object) -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    watch = ArrivalWatch(counter, slow, lambda: received_bytes({1}))
    with socket.socket():
        for owner, name in ((Path, "iterdir"), (os, "dup")):
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, no_file)
                old.aborted = b""
                watch.look()
            assert (bool(old.aborted), young.aborted) == (True, b""), name
            assert not counter.counts
    assert [one.levelname for one in caplog.records] == ["WARNING"]
    assert "Too many open files" in caplog.text


def test_a_look_that_fails_is_not_the_last(caplog: pytest.LogCaptureFixture) -> None:
    looks = 0
    looked = threading.Event()

    def slow(_before: float) -> list[tuple[Call, float]]:
        nonlocal looks
        looks += 1
        if looks >= 3:
            looked.set()
        raise RuntimeError("dictionary changed size during iteration")

    watch = ArrivalWatch(ArrivingBytes(100), slow, dict)
    watch.start()
    try:
        assert looked.wait(60)
    finally:
        watch.stop()
    assert [one.levelname for one in caplog.records] == ["WARNING"]


@pytest.fixture(params=["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def listener(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, str]]:
    host = request.param
    if host == "127.0.0.1":
        with socket.create_server((host, 0)) as server:
            yield server, host
    else:
        with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
            yield server, host


def test_the_kernel_tells_what_each_connection_has_received(
    listener: tuple[socket.socket, str],
) -> None:
    server, host = listener
    port = server.getsockname()[1]
    target = host.removeprefix("::ffff:") if "." in host else host
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection((target, port))) for _ in range(2)]
        ends = [stack.enter_context(server.accept()[0]) for _ in clients]
        clients[0].sendall(bytes(70_000))
        for end in ends[:1]:
            end.recv(1, socket.MSG_PEEK)
        shown = f"[{target}]" if ":" in target else target
        names = [f"{shown}:{client.getsockname()[1]}" for client in clients]
        # Its own ends of the connections are no connections to the port.
        counted = received_bytes({port})
        assert counted.keys() == set(names)
        assert 0 < counted[names[0]] <= 70_000
        assert counted[names[1]] == 0
        assert received_bytes({port + 1 if port < 65535 else 1}) == {}
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_what_gRPC_calls_a_client_is_the_kernels_name_of_it() -> None:  # noqa: N802 - its name
    assert connection_of("ipv6:%5B::1%5D:80") == "[::1]:80"
    assert connection_of("ipv4:127.0.0.1:80") == "127.0.0.1:80"
    assert connection_of("unix:/run/s") == "/run/s"
    assert os.sep in connection_of("unix:/run/s"), "which no connection over TCP is called"
