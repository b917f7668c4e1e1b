"""§1: the file of `--grpc_socket_path`."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from slipway_server.frontends.rpc.transport import unix_socket


def _bound(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    return listening


def test_the_socket_of_a_killed_server_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    _bound(path).close()
    assert path.exists()
    unix_socket.remove_stale(str(path))
    assert not path.exists()


def test_the_socket_of_a_living_server_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with _bound(path) as listening:
        listening.listen()
        with pytest.raises(OSError, match="another process listens on it"):
            unix_socket.remove_stale(str(path))
    assert path.exists()


def test_another_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("mine")
    with pytest.raises(OSError, match="the file exists and is not a socket"):
        unix_socket.remove_stale(str(path))
    assert path.read_text() == "mine"


def test_permissions_and_end(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with _bound(path):
        before = path.stat().st_mode
        unix_socket.set_mode(str(path), None)
        assert path.stat().st_mode == before
        unix_socket.set_mode(str(path), 0o660)
        assert path.stat().st_mode & 0o777 == 0o660
    unix_socket.remove(str(path))
    unix_socket.remove(str(path))
    assert list(tmp_path.iterdir()) == []
