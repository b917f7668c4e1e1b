"""Translates what the object store library raises, once, into SourceError.

Its messages quote request URLs and response bodies; of all that, only the HTTP status and the
store's error code (a plain word) reach a sentence of ours.
"""

from __future__ import annotations

import re

from obstore.exceptions import (
    InvalidPathError,
    PermissionDeniedError,
    UnauthenticatedError,
)

from slipway_sync.stores.base import Reason, SourceError
from slipway_sync.stores.egress.tls import TLS_FAILURES
from slipway_sync.stores.egress.token import ProxyToken

_STATUS = re.compile(r"status code: ([0-9]{3})")
_TOKEN_IS_MISSING = "status code: 407"  # noqa: S105 - a status
_CODE = re.compile(r"<Code>([A-Za-z0-9.]{1,64})</Code>")
_DENIED_CODES = frozenset(
    {
        "AccessDenied",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "XAdminUserNotFound",
    }
)
_PASSING = frozenset({408, 425, 429})
"""Client errors of HTTP that go away by themselves."""
_DEBUG_PATH = re.compile(r'\bpath: "((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(?:u\{([0-9a-f]{1,6})\}|(.))")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}

_BREAKS_OFF = "it closes connections early"

# The library's own words for what happened below HTTP, and ours. The first that fits counts.
_TRANSPORT = (
    ("InvalidListResponse", "its answer is not a listing: check the endpoint"),
    (
        "NotPartial",
        "it does not answer as expected: check the endpoint and any gateway in front of it",
    ),
    ("UnexpectedRange", "it sends a different range of the object than requested"),
    *TLS_FAILURES,
    ("dns error", "its name cannot be resolved by DNS"),
    ("Connection refused", "it refuses connections"),
    ("TimedOut", "it does not answer in time"),
    ("timed out", "it does not answer in time"),
    ("timeout", "it does not answer in time"),
    ("Connection reset", _BREAKS_OFF),
    ("connection closed", _BREAKS_OFF),
    ("kind: Interrupted", _BREAKS_OFF),
    ("IncompleteMessage", _BREAKS_OFF),
    ("error decoding", _BREAKS_OFF),
    ("end of file", _BREAKS_OFF),
)


def translated(error: Exception, where: str) -> SourceError:
    """Return the SourceError for an exception of the library.

    Args:
        error: What it raised.
        where: The source and, if it matters, the object, as the sentence's subject.
    """
    text = str(error)
    status = int(match[1]) if (match := _STATUS.search(text)) else 0
    code = match[1] if (match := _CODE.search(text)) else ""
    answer = f"{status} {code}".strip() if status else code

    denied = isinstance(error, PermissionDeniedError | UnauthenticatedError)
    if denied or status in {401, 403} or code in _DENIED_CODES:
        reason: Reason = "AccessDenied"
        why = f"access denied ({answer}): check the credentials, the bucket's policy and the clock"
    elif isinstance(error, FileNotFoundError) or status == 404:  # noqa: PLR2004 - HTTP
        reason = "NotFound"
        why = "there is no such bucket" if code == "NoSuchBucket" else "not found"
    elif isinstance(error, InvalidPathError):
        reason, why = "InvalidSource", "it contains a key that is not a valid path"
    elif status in _PASSING or status >= 500:  # noqa: PLR2004 - HTTP
        reason, why = "Unavailable", f"the store answers {answer}"
    elif status >= 400:  # noqa: PLR2004 - HTTP
        reason, why = "InvalidSource", f"the store refuses the request ({answer})"
    elif status >= 300 or "BareRedirect" in text:  # noqa: PLR2004 - HTTP
        reason, why = "InvalidSource", "the store redirects elsewhere: check endpoint and region"
    else:
        reason, why = "Unavailable", _transport(text)
    return SourceError(reason, f"{where}: {why}")


def egress_error(error: Exception, where: str, egress: ProxyToken) -> SourceError:
    """Return the SourceError for an exception of a client that goes through the egress proxy."""
    if egress.refusal is not None:
        return SourceError("InvalidSource", f"{where}: {egress.refusal}")
    if egress.denial is not None:
        return SourceError("AccessDenied", f"{where}: {egress.denial}")
    if _TOKEN_IS_MISSING in str(error):
        # A client shows its token to no other host than the first, so this can only be a redirect.
        why = "it redirects to another host, which is not followed: use that host in the source"
        return SourceError("InvalidSource", f"{where}: {why}")
    found = translated(error, where)
    if egress.trouble is not None and found.reason == "Unavailable":
        return SourceError("Unavailable", f"{where}: {egress.trouble}")
    return found


def broke_off(error: Exception) -> bool:
    """Whether the body of an answer ended before its announced length."""
    return _transport(str(error)) == _BREAKS_OFF


def is_beyond_the_end(error: Exception) -> bool:
    """Whether a range was refused that an object of the listed size would have."""
    return "status code: 416" in str(error)


def invalid_key(error: Exception) -> str | None:
    """Return the key that the library refused to represent, if that is what it raised."""
    if not isinstance(error, InvalidPathError):
        return None
    match = _DEBUG_PATH.search(str(error))
    return _ESCAPE.sub(_unescaped, match[1]) if match else ""


def _unescaped(match: re.Match[str]) -> str:
    if match[1]:
        return chr(min(int(match[1], 16), 0x10FFFF))
    return _ESCAPED.get(match[2], match[2])


def _transport(text: str) -> str:
    # Its setting of that name is quoted with every error.
    lowered = text.lower().replace("retry_timeout", "")
    return next(
        (sentence for words, sentence in _TRANSPORT if words.lower() in lowered),
        "the connection failed",
    )
