"""What one replica forwards to another is signed with the token, which itself does not travel.

The way between replicas is plain http. Whoever listens there sees object names and can send the same
notification again, which polls once more; nothing else can be sent with it.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Final

HEADER: Final = "X-Slipway-Signature"
_PURPOSE: Final = "slipway forwarded notification "


def relevant(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that a notification is read with: its type, and those of CloudEvents."""
    lower = {name.lower(): value for name, value in headers.items()}
    return {n: v for n, v in lower.items() if n.startswith("ce-") or n == "content-type"}


def sign(token: str, headers: Mapping[str, str], body: bytes) -> str:
    """The signature of a notification: a digest of it, and who says so."""
    digest = _digest(headers, body)
    return f"{digest}.{_mac(token, digest)}"


def is_signed(token: str, signature: str) -> bool:
    """Whether a signature was made with the token, of whatever notification: before its body is read."""
    digest, _, mac = signature.encode(errors="surrogateescape").partition(b".")
    expected = _mac(token, digest.decode(errors="replace")).encode()
    return bool(token) and hmac.compare_digest(mac, expected)


def covers(signature: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a signature is this notification's."""
    return signature.partition(".")[0] == _digest(headers, body)


def _digest(headers: Mapping[str, str], body: bytes) -> str:
    signed = json.dumps(sorted(relevant(headers).items())).encode() + b"\n" + body
    return hashlib.sha256(signed).hexdigest()


def _mac(token: str, digest: str) -> str:
    return hmac.new(token.encode(), (_PURPOSE + digest).encode(), hashlib.sha256).hexdigest()
