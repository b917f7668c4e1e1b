"""gRPC over TLS (§11), with either front and without TensorFlow."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from certificates import Authority, Pair
from modelserver import free_port
from served_certificate import ServedCertificate
from slipway_server.errors import ServingError
from slipway_server.frontends.native.server import NativeRpcServer
from slipway_server.frontends.rpc.transport.limits import RpcLimits
from slipway_server.frontends.rpc.transport.server import Address, RpcServer
from slipway_server.frontends.tls import TlsConfig

PREDICT = "/tensorflow.serving.PredictionService/Predict"
WAIT = 60.0
HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"

Start = Callable[[ServedCertificate], int]


def whose(_request: bytes, context: grpc.ServicerContext) -> bytes:
    """The certificate that the client has shown."""
    return b"".join(context.auth_context().get("x509_pem_cert", [b"nobody's"]))


def python_port(certificate: ServedCertificate) -> tuple[RpcServer, int]:
    port = free_port()
    address = Address(f"[::]:{port}", tls=True)
    server = RpcServer([address], RpcLimits(threads=2), credentials=certificate.file.credentials)
    return server, port


def native_port(certificate: ServedCertificate) -> tuple[NativeRpcServer, int]:
    port = free_port()
    server = NativeRpcServer(RpcLimits(threads=2), {}, tensor_content=False)
    certificate.file.follow(server.use_certificate)
    server.listen([f"[::]:{port}"])
    return server, port


@pytest.fixture(params=[python_port, native_port], ids=["python", "native"])
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def started(certificate: ServedCertificate) -> int:
            server, port = request.param(certificate)
            stack.callback(server.stop, 1.0)
            server.start()
            server.serve({PREDICT: whose})
            return int(port)

        yield started


def channel(port: int, authority: Authority, pair: Pair | None = None) -> grpc.Channel:
    own = (pair.key, pair.certificate) if pair else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.pem, *own)
    # Else a channel takes over the connection of an earlier one.
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.secure_channel(f"localhost:{port}", credentials, options)


def asks(port: int, authority: Authority, pair: Pair | None = None) -> str:
    """What a client of its own hears: the answer, or a code."""
    with channel(port, authority, pair) as client:
        try:
            return bytes(client.unary_unary(PREDICT)(b"", timeout=WAIT)).decode()
        except grpc.RpcError as error:
            return str(error.code().name)


def context(*protocols: str) -> ssl.SSLContext:
    """Of a client that takes any certificate."""
    made = ssl.create_default_context()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if protocols:
        made.set_alpn_protocols(list(protocols))
    return made


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=WAIT)


def presented(port: int) -> int:
    """The serial number that the port shows."""
    with connected(port) as plain, context("h2").wrap_socket(plain) as wrapped:
        return int(x509.load_der_x509_certificate(wrapped.getpeercert(True) or b"").serial_number)


def test_a_new_certificate_is_used_for_new_connections(start: Start, tmp_path: Path) -> None:
    certificate = ServedCertificate(tmp_path)
    port = start(certificate)
    with channel(port, certificate.authority) as client:
        predict = client.unary_unary(PREDICT)
        assert predict(b"", timeout=WAIT) == b"nobody's"
        assert presented(port) == certificate.serial
        renewed = certificate.renew()
        assert presented(port) == renewed != certificate.serial
        assert predict(b"", timeout=WAIT) == b"nobody's"
    assert asks(port, certificate.authority) == "nobody's"


def test_clients_need_a_certificate_of_the_authority(start: Start, tmp_path: Path) -> None:
    certificate = ServedCertificate(tmp_path, verify=True)
    authority = certificate.authority
    port = start(certificate)
    known = authority.issue("client")
    assert asks(port, authority, known) == known.certificate.decode()
    assert asks(port, authority) == "UNAVAILABLE"
    assert asks(port, authority, Authority("another").issue("client")) == "UNAVAILABLE"
    # The same name, and another key.
    assert asks(port, authority, Authority().issue("client")) == "UNAVAILABLE"
    assert asks(port, authority, authority.issue("client", hours=-1)) == "UNAVAILABLE"


def test_another_authority_decides_about_new_connections(start: Start, tmp_path: Path) -> None:
    certificate = ServedCertificate(tmp_path, verify=True)
    before = certificate.authority
    port = start(certificate)
    known = before.issue("client")
    with channel(port, before, known) as client:
        predict = client.unary_unary(PREDICT)
        assert predict(b"", timeout=WAIT) == known.certificate
        certificate.authority = Authority("another")
        certificate.renew()
        assert predict(b"", timeout=WAIT) == known.certificate
        # Neither with a session of the connection that is open.
        assert asks(port, certificate.authority, known) == "UNAVAILABLE"
    now = certificate.authority.issue("client")
    assert asks(port, certificate.authority, now) == now.certificate.decode()


def test_a_session_is_not_resumed_after_a_change_of_the_authority(
    start: Start, tmp_path: Path
) -> None:
    certificate = ServedCertificate(tmp_path, verify=True)
    port = start(certificate)
    known = tmp_path / "known.pem"
    pair = certificate.authority.issue("client")
    known.write_bytes(pair.key + pair.certificate)
    client = context("h2")
    client.load_cert_chain(known)
    client.maximum_version = ssl.TLSVersion.TLSv1_2  # its session is there with the handshake
    with connected(port) as plain, client.wrap_socket(plain) as wrapped:
        session = wrapped.session
    certificate.authority = Authority("another")
    certificate.renew()
    with connected(port) as plain, pytest.raises((ssl.SSLError, ConnectionError)):
        client.wrap_socket(plain, session=session).recv(1)


def test_whoever_is_no_client_of_grpc_over_tls_harms_nobody(start: Start, tmp_path: Path) -> None:
    certificate = ServedCertificate(tmp_path)
    port = start(certificate)
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(connected(port))
            stack.enter_context(connected(port)).sendall(HALF_A_HELLO)
        for sent in (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), b"GET / HTTP/1.1\r\n\r\n"):
            with connected(port) as plain:
                plain.sendall(sent)
                assert b"HTTP" not in received(plain)
        assert asks(port, certificate.authority) == "nobody's"


@pytest.mark.parametrize("protocols", [(), ("http/1.1",)], ids=["no protocol", "HTTP/1.1"])
def test_a_client_that_does_not_ask_for_http_2_is_left(
    start: Start, tmp_path: Path, protocols: tuple[str, ...]
) -> None:
    port = start(ServedCertificate(tmp_path))
    with (
        connected(port) as plain,
        contextlib.suppress(ssl.SSLError, ConnectionError),
        context(*protocols).wrap_socket(plain) as wrapped,
    ):
        assert received(wrapped) == b""


def received(client: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(1 << 16):
            data += piece
    return data


def test_what_the_native_front_cannot_use_is_said_and_the_old_certificate_kept(
    tmp_path: Path,
) -> None:
    certificate = ServedCertificate(tmp_path)
    server, port = native_port(certificate)
    server.start()
    try:
        for _ in range(2):
            certificate.renew(certificate.authority.issue(curve=ec.SECP521R1()))
        assert presented(port) == certificate.serial
        [said] = certificate.said
        assert said.startswith(
            "the certificate in use is kept: server_key and server_cert cannot be used: "
        )
        assert said.endswith("(--front=native)")
    finally:
        server.stop(1.0)


@pytest.mark.parametrize(
    "ca", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_at_the_start_such_a_certificate_is_an_error(ca: bytes) -> None:
    pair = Authority().issue(curve=ec.SECP521R1() if not ca else ec.SECP256R1())
    config = TlsConfig(pair.key, pair.certificate, ca, client_verify=bool(ca))
    server = NativeRpcServer(RpcLimits(threads=2), {}, tensor_content=False)
    with pytest.raises(ServingError) as refused:
        server.use_certificate(config)
    server.stop(0.0)
    what = "custom_ca" if ca else "server_key and server_cert"
    assert refused.value.message.startswith(f"{what} cannot be used: ")
