"""§1: the file of `--grpc_socket_path`."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest

from slipway_server.frontends.rpc.transport.unix_socket import UnixSocket


def _bound(path: Path | str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    return listening


def _listening(path: Path | str) -> socket.socket:
    listening = _bound(path)
    listening.listen(8)
    return listening


def _accepted(listening: socket.socket) -> int:
    """Accept the connections that wait, and count them."""
    listening.setblocking(False)
    accepted = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listening.accept()[0].close()
            accepted += 1
    return accepted


def _answered_by(path: Path, listening: socket.socket) -> bool:
    """Whether a new connection to the path arrives at a listener."""
    _accepted(listening)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(path))
        return _accepted(listening) == 1


def test_the_socket_of_a_killed_server_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    _bound(path).close()
    ours = UnixSocket(str(path))
    assert not ours.listener()
    with _listening(ours.bound) as listening:
        ours.publish(None)
        assert _answered_by(path, listening)
    ours.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_socket_of_a_living_server_is_taken_over_and_stays_with_its_new_owner(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s"
    first, second = UnixSocket(str(path)), UnixSocket(str(path))
    with _listening(first.bound) as old, _listening(second.bound) as new:
        first.publish(None)
        assert second.listener()
        second.publish(None)
        assert _answered_by(path, new)
        assert not _answered_by(path, old)
        first.remove()  # the old server ends after the new one has begun
        assert _answered_by(path, new)
        second.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_server_with_a_full_queue_does_not_hold_up_the_next(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with _bound(path) as hung:
        hung.listen(0)
        waiting = []
        for _ in range(3):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.setblocking(False)
            client.connect_ex(str(path))
            waiting.append(client)
        assert UnixSocket(str(path)).listener()
        for client in waiting:
            client.close()


def test_another_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("mine")
    with pytest.raises(OSError, match="the file exists and is not a socket"):
        UnixSocket(str(path))
    path.unlink()
    ours = UnixSocket(str(path))
    with _listening(ours.bound):
        path.write_text("mine")
        with pytest.raises(OSError, match="the file exists and is not a socket"):
            ours.publish(None)
    assert [one.name for one in tmp_path.iterdir()] == ["s"]
    assert path.read_text() == "mine"


def test_a_path_that_is_too_long_is_refused() -> None:
    with pytest.raises(OSError, match="the path is too long by 13 bytes"):
        UnixSocket("/" + "d" * 119)
    with pytest.raises(OSError, match="the path is too long by 3 bytes"):
        UnixSocket("/" + "d" * 99 + "/s")


def test_permissions_and_end(tmp_path: Path) -> None:
    path = tmp_path / "s"
    for mode in (None, 0o660):
        ours = UnixSocket(str(path))
        with _listening(ours.bound):
            before = Path(ours.bound).stat().st_mode & 0o777
            ours.publish(mode)
            assert path.stat().st_mode & 0o777 == (before if mode is None else mode)
            ours.remove()
            ours.remove()
    assert list(tmp_path.iterdir()) == []
