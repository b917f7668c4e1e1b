"""Ways through a proxy, and the heads that are sent along: pure functions."""

from ipaddress import ip_address

import pytest

from slipway_sync.stores.addresses import refusal_unseen
from slipway_sync.stores.egress.request_head import read_head
from slipway_sync.stores.egress.routes import Exceptions, Proxy, Route


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://proxy.corp:3128", "proxy.corp", 3128),
        ("http://proxy.corp/", "proxy.corp", 80),
        ("http://[fd00::1]:8080", "fd00::1", 8080),
    ],
)
def test_a_proxy_is_a_host_and_a_port(url: str, host: str, port: int) -> None:
    assert Proxy.read(url) == Proxy(host, port)


def test_a_proxys_credentials_are_in_no_repr() -> None:
    route = Route(Proxy.read("http://p", "ada", "pa55"))
    assert "ada" not in repr(route)
    assert "pa55" not in repr(route)


@pytest.mark.parametrize(
    ("entries", "inside", "outside"),
    [
        (["s3.corp"], ["s3.corp", "S3.Corp.", "s3.corp"], ["a.s3.corp", "s3.corpo"]),
        ([".svc"], ["m.default.svc"], ["svc", "msvc"]),
        (["*.svc , .local"], ["m.svc", "a.b.local"], ["svc"]),
        (["*"], ["anything"], []),
        ([""], [], ["anything"]),
        ([], [], ["anything"]),
    ],
)
def test_exceptions_by_name(entries: list[str], inside: list[str], outside: list[str]) -> None:
    found = Exceptions.read(entries)
    assert [name for name in inside if not found.hold_name(name)] == []
    assert [name for name in outside if found.hold_name(name)] == []


def test_exceptions_by_address_hold_for_all_addresses_of_a_name() -> None:
    found = Exceptions.read(["10.0.0.0/8,fd00::/8", "192.0.2.7"])
    inside = [ip_address(text) for text in ("10.1.2.3", "fd00::1", "192.0.2.7")]
    assert found.hold_all(inside)
    assert not found.hold_all([*inside, ip_address("192.0.2.8")])
    assert not found.hold_all([])


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "a b", "host:80", "http://host"])
def test_an_exception_that_cannot_be_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"is not a host, \.suffix or network"):
        Exceptions.read([entry])


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("models.corp", True),
        ("7.models.corp", True),
        ("169.254.169.254.", False),
        ("1.2.3.0x7f", False),
        ("2852039166", False),
        ("fe80::1%eth0", False),
        ("Metadata.Google.Internal.", False),
        ("LocalHost", False),
        ("ip6-loopback.", False),
        ("store.localhost", False),
        ("localhost.corp", True),
    ],
)
def test_what_is_left_to_a_proxy_is_a_name(host: str, *, known: bool) -> None:
    assert (refusal_unseen(host) is None) is known


GET = b"GET http://h:9000/a%20b?x=1 HTTP/1.1\r\nHost: h:9000\r\nProxy-Authorization: Basic eDp5"


def test_a_server_is_asked_for_a_path_and_a_proxy_for_a_url() -> None:
    asked = read_head(GET)
    assert asked.token == "y"
    assert asked.forwarded() == b"GET /a%20b?x=1 HTTP/1.1\r\nHost: h:9000\r\n\r\n"
    assert asked.forwarded(Proxy("p", 1)) == (
        b"GET http://h:9000/a%20b?x=1 HTTP/1.1\r\nHost: h:9000\r\n\r\n"
    )
    assert asked.forwarded(Proxy("p", 1, "ada", "pa:55")).endswith(
        b"\r\nProxy-Authorization: Basic YWRhOnBhOjU1\r\n\r\n"
    )


def test_a_tunnel_names_the_host() -> None:
    asked = read_head(b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443")
    assert asked.forwarded(Proxy("p", 1)).startswith(b"CONNECT [::1]:443 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://h", b"/"),
        ("http://h/", b"/"),
        ("http://h?list-type=2&prefix=a%2F", b"/?list-type=2&prefix=a%2F"),
        ("http://h//a//b;c?d//e", b"//a//b;c?d//e"),
    ],
)
def test_a_target_is_what_stands_in_the_url(url: str, target: bytes) -> None:
    assert read_head(f"GET {url} HTTP/1.1".encode()).target == target


@pytest.mark.parametrize(
    "head",
    [
        b"GET /a HTTP/1.1",
        b"GET https://h/ HTTP/1.1",
        b"GET http:///a HTTP/1.1",
        b"GET http://h/ HTTP/2",
        b"CONNECT  HTTP/1.1",
        b"nonsense",
        b"PUT http://h/ HTTP/1.1\r\nTransfer-Encoding: chunked",
        b"PUT http://h/ HTTP/1.1\r\nContent-Length: x",
        b"GET http://h/ HTTP/1.1\r\nProxy-Authorization: Basic YQ",
    ],
)
def test_what_no_client_of_ours_sends_is_refused(head: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any of them
        read_head(head)
