"""Stores on this machine: their addresses are loopback, which is no source unless it is allowed."""

from __future__ import annotations

from typing import Any, Final

from slipway_sync.stores import AddressPolicy, StoreOptions

NETWORK: Final = "127.0.0.0/8"
ALLOW: Final = f"--allow-network={NETWORK}"
"""For the operator and for the agent."""
LOOPBACK: Final = AddressPolicy.allowing([NETWORK])


def local_options(**given: Any) -> StoreOptions:
    """Options as StoreOptions takes them, under which servers on this machine may be sources."""
    return StoreOptions(**{"addresses": LOOPBACK} | given)
