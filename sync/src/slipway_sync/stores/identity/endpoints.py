"""Whose host an endpoint names. Pure.

Whoever may create a Model chooses the endpoint. A bearer token signs nothing, it is sent itself; and a
ServiceAccount's token is believed by whoever gets it. Neither may go to a stranger.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from slipway_sync.store_kinds import kind_of

_AMAZON: Final = (".amazonaws.com", ".amazonaws.com.cn")


def is_amazon(endpoint: str) -> bool:
    """Whether a store is Amazon's own."""
    return not endpoint or (urlsplit(endpoint).hostname or "").endswith(_AMAZON)


def stranger(scheme: str, endpoint: str) -> str | None:
    """Return whose an endpoint should be where it is not, for clouds of bearer tokens.

    >>> stranger("gs", "https://storage.example.com")
    'Google Cloud Storage'
    """
    kind = kind_of(scheme)
    if not endpoint or kind is None or not kind.bearer_hosts:
        return None
    parts = urlsplit(endpoint)
    own = parts.scheme == "https" and (parts.hostname or "").endswith(kind.bearer_hosts)
    return None if own else kind.service
