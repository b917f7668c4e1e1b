"""Identities: temporary credentials for a source, from what a cloud believes instead of from a Secret."""

from __future__ import annotations

from slipway_sync.stores.credentials import Identity, TemporaryCredentials
from slipway_sync.stores.identity.ambient import ambient
from slipway_sync.stores.identity.annotations import (
    AnnotationError,
    Federation,
    audience_to_ask,
    federation,
)
from slipway_sync.stores.identity.federated import TokenSource, federated, token_file
from slipway_sync.stores.identity.refresh import CachedIdentity

__all__ = [
    "AnnotationError",
    "CachedIdentity",
    "Federation",
    "Identity",
    "TemporaryCredentials",
    "TokenSource",
    "ambient",
    "audience_to_ask",
    "federated",
    "federation",
    "token_file",
]
