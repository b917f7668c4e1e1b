"""Real certificates, made on the spot: an authority and whom it vouches for."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_HOURS = dt.timedelta(hours=2)


@dataclass(frozen=True)
class Pair:
    key: bytes
    certificate: bytes
    serial: int


class Authority:
    def __init__(self, name: str = "authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self._certificate = (
            _builder(self._name, self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)
        self.der = self._certificate.public_bytes(serialization.Encoding.DER)

    def issue(
        self,
        name: str = "localhost",
        *,
        names: Sequence[str] = (),
        hours: int = 2,
        curve: ec.EllipticCurve | None = None,
    ) -> Pair:
        """A key and a certificate for a server on this machine or of some names, or for a client.

        Args:
            name: The subject's.
            names: DNS names; none means this machine.
            hours: For how long from now it is valid; -1: until an hour ago.
            curve: The key's; none means P-256.
        """
        key = ec.generate_private_key(curve or ec.SECP256R1())
        local = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        extension = x509.SubjectAlternativeName([x509.DNSName(n) for n in names] or local)
        certificate = (
            _builder(_named(name), self._name, key, hours)
            .add_extension(extension, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Pair(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
            certificate.public_bytes(serialization.Encoding.PEM),
            certificate.serial_number,
        )


def server_context(pair: Pair, directory: Path) -> ssl.SSLContext:
    """What a server of the standard library needs; the files lie in the directory."""
    key, certificate = directory / f"{pair.serial}.key", directory / f"{pair.serial}.crt"
    key.write_bytes(pair.key)
    certificate.write_bytes(pair.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def ssl_config(pair: Pair, ca: bytes = b"", *, verify: bool = False) -> str:
    """The text of an SSLConfig file, written the way people write it: one string, its lines escaped."""
    fields = {"server_key": pair.key, "server_cert": pair.certificate, "custom_ca": ca}
    lines = [f'{name}: "{_escaped(value)}"' for name, value in fields.items() if value]
    return "\n".join([*lines, f"client_verify: {str(verify).lower()}"]) + "\n"


def _escaped(pem: bytes) -> str:
    return pem.decode().replace("\n", "\\n")


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, hours: int = 2
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _HOURS)
        .not_valid_after(now + dt.timedelta(hours=hours))
    )
