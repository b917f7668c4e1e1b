"""What is read from /proc/net, in its own words."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from slipway_server.app.sockets import SocketListing, client_peers, tcp_listing, unix_listing

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
REST = (
    "00000000:00000000 00:00000000 00000000     0        0 523396 1 0000000097c4844b 100 0 0 10 0"
)
ANY4, ANY6 = "00000000", "0" * 32
HERE4, HERE6 = "0100007F", "00000000000000000000000001000000"
MAPPED = "0000000000000000FFFF00000100007F"
OTHER6 = "000000FD000000000000000007000000"  # fd00::7
GRPC, API = 8500, 8501


def row(local: str, remote: str, state: str) -> str:
    return f"   0: {local} {remote} {state} {REST}\n"


@pytest.mark.parametrize(
    ("rows", "listening", "peers"),
    [
        ((), set(), ()),
        # 8500 is 2134 and 8501 is 2135 in hexadecimal.
        ((row(f"{ANY4}:2134", f"{ANY4}:0000", "0A"),), {GRPC}, ()),
        ((row(f"{ANY6}:2135", f"{ANY6}:0000", "0A"),), {API}, ()),
        ((row(f"{HERE4}:2134", f"{HERE4}:C986", "01"),), set(), ("127.0.0.1:51590",)),
        ((row(f"{HERE6}:2134", f"{HERE6}:C986", "01"),), set(), ("[::1]:51590",)),
        # An IPv4 client of a socket for both families.
        ((row(f"{MAPPED}:2135", f"{MAPPED}:C986", "01"),), set(), ("127.0.0.1:51590",)),
        ((row(f"{HERE6}:2135", f"{OTHER6}:FFFF", "01"),), set(), ("[fd00::7]:65535",)),
        # Not the server's port; the client's end of a connection to it; a port with the same digits in decimal.
        ((row(f"{HERE4}:0016", f"{HERE4}:C986", "01"),), set(), ()),
        ((row(f"{HERE4}:C986", f"{HERE4}:2134", "01"),), set(), ()),
        ((row(f"{HERE4}:8500", f"{HERE4}:C986", "01"),), set(), ()),
        # Over, or not yet begun: SYN_RECV, FIN_WAIT1, FIN_WAIT2, TIME_WAIT, CLOSE_WAIT, LAST_ACK.
        *(
            ((row(f"{HERE4}:2134", f"{HERE4}:C986", state),), set(), ())
            for state in ("03", "04", "05", "06", "08", "09")
        ),
        (
            (
                row(f"{ANY4}:2134", f"{ANY4}:0000", "0A"),
                row(f"{HERE4}:2134", f"{HERE4}:C986", "01"),
                row(f"{HERE4}:2135", f"{HERE4}:C987", "01"),
                "   half a li",
            ),
            {GRPC},
            ("127.0.0.1:51590", "127.0.0.1:51591"),
        ),
    ],
)
def test_which_sockets_are_the_servers(
    rows: tuple[str, ...], listening: set[int], peers: tuple[str, ...]
) -> None:
    found = tcp_listing(HEAD + "".join(rows), {GRPC, API})
    assert found == SocketListing(frozenset(listening), peers)


UNIX_HEAD = "Num       RefCount Protocol Flags    Type St Inode Path\n"


@pytest.mark.parametrize(
    ("row", "listens", "connections"),
    [
        ("00: 00000002 00000000 00010000 0001 01 52247 /run/s", True, 0),
        ("00: 00000003 00000000 00000000 0001 03 52247 /run/s", False, 1),
        ("00: 00000002 00000000 00000000 0001 02     0 /run/s", False, 1),
        ("00: 00000003 00000000 00000000 0001 03 52247 /run/s2", False, 0),
        ("00: 00000003 00000000 00000000 0001 03 52247", False, 0),
        ("00: 00000003 00000000 00000000 0001 04 52247 /run/s", False, 0),
        ("00: 000", False, 0),
    ],
)
def test_connections_over_a_unix_socket(row: str, listens: bool, connections: int) -> None:  # noqa: FBT001
    found = unix_listing(UNIX_HEAD + row + "\n", "/run/s")
    assert (bool(found.listening), len(found.peers)) == (listens, connections)


def test_both_families_and_the_unix_socket_are_counted(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(
        HEAD
        + row(f"{ANY4}:2134", f"{ANY4}:0000", "0A")
        + row(f"{HERE4}:2134", f"{HERE4}:C986", "01")
    )
    (tmp_path / "tcp6").write_text(
        HEAD
        + row(f"{ANY6}:2135", f"{ANY6}:0000", "0A")
        + row(f"{MAPPED}:2135", f"{MAPPED}:C987", "01")
    )
    (tmp_path / "unix").write_text(
        UNIX_HEAD
        + "00: 00000002 00000000 00010000 0001 01 52247 /a path/s\n"
        + "00: 00000003 00000000 00000000 0001 03 52248 /a path/s\n"
    )
    assert client_peers([GRPC, API], "/a path/s", tmp_path) == (
        "127.0.0.1:51590",
        "127.0.0.1:51591",
        "",
    )


def test_without_a_listing_nothing_is_known(tmp_path: Path) -> None:
    assert client_peers([GRPC], "", tmp_path) is None
    (tmp_path / "tcp").write_text(HEAD + row(f"{HERE4}:2134", f"{HERE4}:C986", "01"))
    # What does not even show the port that is listened on would not show its connections.
    assert client_peers([GRPC], "", tmp_path) is None
    (tmp_path / "tcp").write_text(HEAD + row(f"{ANY4}:2134", f"{ANY4}:0000", "0A"))
    assert client_peers([GRPC], "", tmp_path) == ()
    assert client_peers([GRPC], "/run/s", tmp_path) is None


@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_this_machine_lists_what_is_connected(host: str, tmp_path: Path) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    path = str(tmp_path / "s")
    try:
        server = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"no {host} here")
    with server, socket.socket(socket.AF_UNIX) as local, socket.socket(socket.AF_UNIX) as caller:
        local.bind(path)
        local.listen()
        port = int(server.getsockname()[1])
        assert client_peers([port], path) == ()
        with socket.create_connection((host, port)) as client:
            caller.connect(path)
            name = f"[{host}]" if ":" in host else host
            # Neither is accepted yet.
            assert client_peers([port], path) == (f"{name}:{client.getsockname()[1]}", "")
        caller.close()
        server.accept()[0].close()
        local.accept()[0].close()
        assert client_peers([port], path) == ()
