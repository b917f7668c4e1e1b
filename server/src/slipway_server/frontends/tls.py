"""The certificate of both ports: read from TensorFlow Serving's SSLConfig file, and again whenever that changes.

Connections that are open keep what they were opened with; each new one gets the certificate of its moment. A changed
file that cannot be used is reported once and changes nothing.
"""

import os
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
from google.protobuf import text_format

from slipway_server.errors import ServingError, invalid_argument, not_found
from slipway_server.wire.ssl_config_pb2 import SSLConfig

_POLL_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Key, certificate chain and client verification of the server. All PEM text.

    Attributes:
        ca: certificates that client certificates must be signed by; empty means the machine's own list.
        client_verify: refuse clients without such a certificate.
    """

    key: bytes
    chain: bytes
    ca: bytes = b""
    client_verify: bool = False


def read_tls_config(path: str) -> TlsConfig:
    """Read an SSLConfig file.

    Raises:
        ServingError: NOT_FOUND when it cannot be read, INVALID_ARGUMENT when key or certificate is missing.
    """
    message = SSLConfig()
    try:
        text_format.Parse(Path(path).read_text("utf-8"), message)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        # The parser's own words may quote the key.
        raise invalid_argument(f"Invalid protobuf file: '{path}'") from error
    except OSError as error:
        raise not_found(f"{path}; {error.strerror}") from error
    if not message.server_key or not message.server_cert:
        raise invalid_argument(f"'{path}' must set server_key and server_cert, as PEM text")
    return TlsConfig(
        message.server_key.encode(),
        message.server_cert.encode(),
        message.custom_ca.encode(),
        message.client_verify,
    )


def server_context(config: TlsConfig) -> ssl.SSLContext:
    """Return the TLS context of the HTTP port.

    Raises:
        ServingError: INVALID_ARGUMENT when key and certificate are no PEM or no pair, or the CA is none.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    try:
        # OpenSSL reads the pair from a file only; this one never reaches a disk.
        with _in_memory(config.key + b"\n" + config.chain) as path:
            context.load_cert_chain(path, password=lambda: "")
    except ssl.SSLError as error:
        raise invalid_argument(
            f"server_key and server_cert cannot be used: {error.reason or error}"
        ) from error
    if config.client_verify:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            if config.ca:
                context.load_verify_locations(cadata=config.ca.decode())
            else:
                context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        except (ssl.SSLError, ValueError, TypeError) as error:  # TypeError: letters that no PEM has
            raise invalid_argument(f"custom_ca cannot be used: {error}") from error
    return context


@contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - it has no path
            file.write(data)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
    else:
        with tempfile.NamedTemporaryFile() as named:
            named.write(data)
            named.flush()
            yield named.name


@dataclass(frozen=True, slots=True)
class _Current:
    config: TlsConfig
    context: ssl.SSLContext


class CertificateFile:
    """The SSLConfig file and what it said when it was last right.

    Args:
        log: called with a sentence when the file has changed; the flag is False when it could not be used.

    Raises:
        ServingError: INVALID_ARGUMENT when the file cannot be used now.
    """

    def __init__(self, path: str, log: Callable[[str, bool], None]) -> None:
        self._path = path
        self._log = log
        config = read_tls_config(path)
        self._current = _Current(config, server_context(config))
        self._use: Callable[[TlsConfig], None] = lambda _config: None
        self._last_error = ""
        self._stopped = threading.Event()

    def context(self) -> ssl.SSLContext:
        """Return the TLS context for the next HTTP connection."""
        return self._current.context

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials for one gRPC port that always use the newest certificate."""
        current = self._current
        return grpc.dynamic_ssl_server_credentials(
            _configuration(current.config),
            self.updates(),  # type: ignore[arg-type] # the stubs forget that None means no change
            current.config.client_verify,
        )

    def updates(self) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
        """Return what a port calls at each handshake: it gives a certificate that is new to the port, else None."""
        last = self._current

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal last
            if self._current is last:
                return None
            last = self._current
            return _configuration(last.config)

        return fetch

    def follow(self, use: Callable[[TlsConfig], None]) -> None:
        """Call a function with the certificate now, and with each new one before anything else uses it.

        Raises:
            ServingError: what the function says of a certificate that it cannot use.
        """
        use(self._current.config)
        self._use = use

    def poll(self) -> None:
        """Read the file once; a changed certificate that can be used takes effect."""
        before = self._current
        try:
            config = read_tls_config(self._path)
            if config == before.config:
                self._last_error = ""
                return
            if config.client_verify != before.config.client_verify:
                raise invalid_argument("client_verify cannot change while the server runs")
            context = server_context(config)
            self._use(config)
            self._current = _Current(config, context)
        except ServingError as error:
            if error.message != self._last_error:
                self._last_error = error.message
                self._log(f"the certificate in use is kept: {error.message}", False)
            return
        self._last_error = ""
        self._log("a new certificate is used for new connections", True)

    def watch(self) -> None:
        """Poll the file every second, on a thread of its own, until `stop`."""
        threading.Thread(target=self._watch, name="certificates", daemon=True).start()

    def stop(self) -> None:
        """Stop polling."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(_POLL_SECONDS):
            try:
                self.poll()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next certificate must not be missed
                self._log(f"the certificate in use is kept: {type(error).__name__}: {error}", False)


def _configuration(config: TlsConfig) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(config.key, config.chain)], client_roots(config)
    )


def client_roots(config: TlsConfig) -> bytes | None:
    """Return the certificates that clients' certificates must come from, as PEM text; None where clients need none."""
    if not config.client_verify:
        return None
    if config.ca:
        return config.ca
    path = ssl.get_default_verify_paths().cafile
    try:
        return Path(path).read_bytes() if path else None
    except OSError as error:
        raise not_found(f"{path}; {error.strerror}") from error
