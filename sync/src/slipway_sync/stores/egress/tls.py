"""TLS between the proxy and a store: whose certificates are trusted, and what a failure means."""

from __future__ import annotations

import ssl
from functools import lru_cache
from typing import Final

import certifi

from slipway_sync.stores.base import SourceError

_UNKNOWN: Final = "its certificate is signed by an unknown CA: add that CA to caBundle"
_OTHER_HOST: Final = "its certificate is not valid for this host: use a host name that it lists"
_LATE: Final = "its certificate has expired or is not valid yet: renew it, or check the clock"
_NO_TLS: Final = "it does not speak TLS: write http:// or another port"

TLS_FAILURES: Final = (
    ("UnknownIssuer", _UNKNOWN),
    ("unable to get local issuer", _UNKNOWN),
    ("unable to get issuer", _UNKNOWN),
    ("self-signed certificate", _UNKNOWN),
    ("NotValidForName", _OTHER_HOST),
    ("hostname mismatch", _OTHER_HOST),
    ("IP address mismatch", _OTHER_HOST),
    ("Expired", _LATE),
    ("NotValidYet", _LATE),
    ("certificate has expired", _LATE),
    ("certificate is not yet valid", _LATE),
    ("InvalidContentType", _NO_TLS),
    ("wrong version number", _NO_TLS),
    ("wrong_version_number", _NO_TLS),
    ("record layer failure", _NO_TLS),
    ("http request", _NO_TLS),
    ("certificate", "its certificate is not valid"),
)
"""Words of rustls and of OpenSSL, in any case, and our sentence for them. The first that fits counts."""


@lru_cache(maxsize=16)
def trust(ca_bundle: bytes | None) -> ssl.SSLContext:
    """Return a context that trusts the system's certificates, certifi's and those of a bundle.

    Raises:
        SourceError: The bundle holds no certificate.
    """
    context = ssl.create_default_context()
    # Images without the system's own certificates have these.
    context.load_verify_locations(certifi.where())
    # Since Python 3.13 this is on by default; many private authorities do not meet it.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.hostname_checks_common_name = False
    if ca_bundle is not None:
        try:
            # Bundles have comments in any encoding between their certificates.
            context.load_verify_locations(cadata=ca_bundle.decode("ascii", "ignore"))
        except (ssl.SSLError, ValueError) as error:
            raise SourceError("InvalidSource", "the CA bundle contains no certificate") from error
    return context


def tls_trouble(error: OSError) -> str:
    """Return why a handshake failed, as a sentence without its subject."""
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    text = str(error).lower()
    return next(
        (sentence for words, sentence in TLS_FAILURES if words.lower() in text),
        "it closes connections early",
    )
