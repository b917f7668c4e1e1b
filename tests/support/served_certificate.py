"""A server's SSLConfig file, and its certificate as clients see it."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from certificates import Authority, Pair, ssl_config
from slipway_server.frontends.tls import CertificateFile

_SECONDS = 60.0


class ServedCertificate:
    """An SSLConfig file in a directory; `file` is what the server makes of it."""

    def __init__(self, directory: Path, *, verify: bool = False) -> None:
        self.authority = Authority()
        self._directory = directory
        self._verify = verify
        self._path = directory / "ssl.pbtxt"
        self.serial = self.renew(poll=False)
        self.said: list[str] = []
        self.file = CertificateFile(str(self._path), lambda said, _used: self.said.append(said))

    def renew(self, pair: Pair | None = None, *, poll: bool = True) -> int:
        pair = pair or self.authority.issue()
        self._path.write_text(ssl_config(pair, self.authority.pem, verify=self._verify))
        if poll:
            self.file.poll()
        return pair.serial

    def client(self, pair: Pair | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        if pair is not None:
            path = self._directory / "client.pem"
            path.write_bytes(pair.key + pair.certificate)
            context.load_cert_chain(path)
        return context

    def shown(self, port: int) -> int:
        with (
            socket.create_connection(("127.0.0.1", port), _SECONDS) as plain,
            self.client().wrap_socket(plain, server_hostname="localhost") as wrapped,
        ):
            return int(wrapped.getpeercert()["serialNumber"], 16)  # type: ignore[index, arg-type]
