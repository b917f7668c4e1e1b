"""§2: who may change the models over gRPC."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

from certificates import Authority
from slipway_server.errors import ServingError
from slipway_server.frontends.rpc.reload import ReloadCallers, check_caller, is_local

OFF, LOCAL, ON = ReloadCallers.OFF, ReloadCallers.LOCAL, ReloadCallers.ON


@dataclass
class Caller:
    """A call's context, as gRPC shows it."""

    address: str
    metadata: tuple[tuple[str, str], ...] = ()
    auth: dict[str, list[bytes]] = field(default_factory=dict)

    def peer(self) -> str:
        return self.address

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self.metadata

    def auth_context(self) -> dict[str, list[bytes]]:
        return self.auth


def refused(callers: ReloadCallers, caller: Caller) -> str:
    try:
        check_caller(callers, cast("grpc.ServicerContext", caller))
    except ServingError as error:
        return str(error)
    return ""


HERE = "ipv4:127.0.0.1:5000"
AWAY = "ipv4:10.1.2.3:5000"
VERIFIED = {"x509_pem_cert": [b"..."], "transport_security_type": [b"ssl"]}


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        (HERE, True),
        ("ipv4:127.8.9.1:5000", True),
        ("ipv6:[::1]:5000", True),
        ("ipv6:[::ffff:127.0.0.1]:5000", True),
        ("unix:", True),
        ("unix:/run/serving.sock", True),
        ("unix-abstract:name", True),
        (AWAY, False),
        ("ipv4:0.0.0.0:5000", False),
        ("ipv4:169.254.169.254:80", False),
        ("ipv6:[::ffff:10.0.0.1]:5000", False),
        ("ipv6:[fd00::127.0.0.1]:5000", False),
        ("ipv6:[fe80::1%eth0]:5000", False),
        ("ipv4:127.0.0.1.example.com:5000", False),
        ("ipv4:localhost:5000", False),
        ("vsock:2:5000", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_who_is_on_this_machine(peer: str, *, local: bool) -> None:
    assert is_local(peer) is local


@pytest.mark.parametrize("peer", [HERE, AWAY, "unix:"])
def test_on_and_off_hold_for_everybody(peer: str) -> None:
    assert refused(ON, Caller(peer)) == ""
    for caller in (Caller(peer), Caller(peer, auth=VERIFIED)):
        assert refused(OFF, caller) == (
            "PERMISSION_DENIED: HandleReloadConfigRequest is off on this server (--reload_rpc); started with "
            "--reload_rpc=local it takes calls from its own machine"
        )


def test_somebody_elsewhere_is_told_what_is_missing() -> None:
    assert refused(LOCAL, Caller("ipv6:%5Bfd00::7%5D:5000")) == (
        "PERMISSION_DENIED: HandleReloadConfigRequest is taken over the UNIX socket, the loopback interface or with a "
        "client certificate that is verified (--reload_rpc=local); this call is from ipv6:[fd00::7]:5000"
    )


def test_a_verified_certificate_is_enough_and_mere_encryption_is_not() -> None:
    assert refused(LOCAL, Caller(AWAY, auth=VERIFIED)) == ""
    assert "this call is from" in refused(
        LOCAL, Caller(AWAY, auth={"transport_security_type": [b"ssl"]})
    )


@pytest.mark.parametrize(
    "header",
    ["x-forwarded-for", "X-Forwarded-Proto", "forwarded", "via", "x-real-ip", "x-envoy-internal"],
)
def test_a_proxy_on_this_machine_does_not_make_its_clients_local(header: str) -> None:
    for peer in (HERE, "unix:"):
        caller = Caller(peer, (("user-agent", "grpc"), (header, "10.0.0.1")))
        assert f"came through a proxy, which added {header.lower()}" in refused(LOCAL, caller)
    assert refused(LOCAL, Caller(HERE, (("x-request-id", "1"),))) == ""


# ---- what gRPC really says of its callers ----------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A gRPC server that refuses callers as `local` says: its port, its socket."""

    def answer(_request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            check_caller(LOCAL, context)
        except ServingError as error:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, error.message)
        return b"changed"

    class Methods(grpc.GenericRpcHandler):
        def service(self, _details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(2), handlers=[Methods()])
    path = tmp_path / "rpc.sock"
    port = server.add_insecure_port("[::]:0")
    server.add_insecure_port(f"unix:{path}")
    server.start()
    yield port, path
    server.stop(0).wait()


def ask(target: str) -> str:
    with grpc.insecure_channel(target, [("grpc.enable_http_proxy", 0)]) as channel:
        try:
            return cast("bytes", channel.unary_unary("/a/B")(b"", timeout=30)).decode()
        except grpc.RpcError as error:
            return str(cast("Any", error).details())


def addresses_elsewhere() -> set[str]:
    """Addresses of this machine that are no loopback: their callers could be anywhere."""
    found = set()
    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((target, 9))  # sends nothing
            except OSError:
                continue
            found.add(str(probe.getsockname()[0]))
    return found


def test_real_callers(guarded: tuple[int, Path]) -> None:
    port, path = guarded
    for target in (f"127.0.0.1:{port}", f"[::1]:{port}", f"unix:{path}"):
        assert ask(target) == "changed", target
    for address in addresses_elsewhere():
        target = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        assert f"this call is from ipv{6 if ':' in address else 4}:" in ask(target)


@pytest.mark.parametrize("verify", [True, False], ids=["verified", "only encrypted"])
def test_what_grpc_says_of_a_certificate(*, verify: bool) -> None:
    """From an address elsewhere, which is all that is not real here."""

    class Elsewhere:
        def __init__(self, context: grpc.ServicerContext) -> None:
            self.auth_context = context.auth_context

        def peer(self) -> str:
            return AWAY

    def answer(_request: bytes, context: grpc.ServicerContext) -> bytes:
        return refused(LOCAL, cast("Caller", Elsewhere(context))).encode()

    class Methods(grpc.GenericRpcHandler):
        def service(self, _details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(answer)

    authority = Authority()
    served, client = authority.issue(), authority.issue()
    server = grpc.server(ThreadPoolExecutor(1), handlers=[Methods()])
    port = server.add_secure_port(
        "127.0.0.1:0",
        grpc.ssl_server_credentials(
            [(served.key, served.certificate)],
            authority.pem if verify else None,
            require_client_auth=verify,
        ),
    )
    server.start()
    try:
        credentials = grpc.ssl_channel_credentials(authority.pem, client.key, client.certificate)
        with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
            said = channel.unary_unary("/a/B")(b"", timeout=30).decode()
    finally:
        server.stop(0).wait()
    assert (said == "") is verify
