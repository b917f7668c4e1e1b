"""A client's right to use the proxy: where it may lead, how long answers may be, and what came of the last attempt."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Container
from typing import Final

from slipway_sync.stores.addresses import AddressPolicy
from slipway_sync.stores.egress.routes import Route

ANSWER_BYTES: Final = 64 << 20
"""Of one answer: twice the longest that anybody asks for, but for whole files. None may announce more, either."""
_MAX_REDIRECTS: Final = 64
"""Other hosts that one client may have been led to; those before are forgotten."""


class ProxyToken:
    """One client's right to use the egress proxy, and what its last attempt to connect met.

    Attributes:
        url: What the client's `proxy_url` has to be; nobody else knows it.
        refusal: Why the address may not be reached, as a sentence without its subject; or None.
        trouble: Why it could not be reached, likewise.
        denial: Why a proxy on the way does not let it through, likewise.
        most: Bytes that one answer may have; None sets no limit.
        received: Bytes of all answers together.
        ca_bundle: Certificates that stores are trusted by, beside the system's.
        tls_port: The port of the client's own store where TLS is spoken to it, although the client speaks plain
            HTTP; else None.
        tunnels: Hosts that a tunnel may lead to; None sets no limit.
        alias_suffix: How the names end that stand for hosts which a store has redirected to.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        route: Route,
        address: str,
        *,
        ca_bundle: bytes | None,
        tls_port: int | None,
        tunnels: Container[str] | None,
    ) -> None:
        self.policy = policy
        self.route = route
        self.ca_bundle = ca_bundle
        self.tls_port = tls_port
        self.tunnels = tunnels
        self.alias_suffix = f"{secrets.token_hex(16)}.redirect.invalid"
        self._aliases: dict[str, tuple[str, int]] = {}
        self.most: int | None = ANSWER_BYTES
        self.received = 0
        self.token = secrets.token_hex(16)
        self.url = f"http://slipway:{self.token}@{address}"
        self.refusal: str | None = None
        self.trouble: str | None = None
        self.denial: str | None = None

    def may_tunnel(self, host: str) -> bool:
        """Whether a connection may be opened whose bytes nobody here can read."""
        return self.tunnels is None or host in self.tunnels

    def alias(self, host: str, port: int) -> str:
        """Return a name that leads to a host by TLS, for nobody else."""
        mark = hashlib.sha256(f"{host}:{port}".encode()).hexdigest()[:16]
        name = f"{mark}.{self.alias_suffix}"
        if len(self._aliases) >= _MAX_REDIRECTS and name not in self._aliases:
            self._aliases = {}
        self._aliases[name] = host, port
        return name

    def aliased(self, name: str) -> tuple[str, int] | None:
        """Return the host and port that a name stands for."""
        return self._aliases.get(name)
