"""Which way leads to a source: straight, or through a proxy. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Final
from urllib.parse import urlsplit

from slipway_sync.exports import printable
from slipway_sync.stores.addresses import Address, Network

_DEFAULT_PORT: Final = 80


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy.

    Attributes:
        username: For it; "" shows it none.
    """

    host: str
    port: int
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def read(cls, url: str, username: str = "", password: str = "") -> Proxy:
        """Read `http://HOST[:PORT]`.

        Raises:
            ValueError: It is no such URL; str() is a sentence without it.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            parts, host, port = urlsplit(""), "", None
        plain = parts.scheme == "http" and parts.path in {"", "/"} and "@" not in parts.netloc
        if not plain or not host or port == 0 or parts.query or parts.fragment:
            raise ValueError(
                "the proxy is not an http://HOST[:PORT] URL without credentials; put those into the "
                "Secret as PROXY_USERNAME and PROXY_PASSWORD"
            )
        if ":" in username:
            raise ValueError("PROXY_USERNAME contains a colon, which HTTP does not allow")
        return cls(host, port or _DEFAULT_PORT, username, password)


@dataclass(frozen=True, slots=True)
class Exceptions:
    """What is reached without the proxy.

    Attributes:
        names: Hosts, lower case; one with a `.` before it means all names below it.
        networks: Of addresses, whether a URL holds them or a name leads there.
        everything: Whether `*` was given.
    """

    names: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    everything: bool = False

    @classmethod
    def read(cls, entries: Iterable[str]) -> Exceptions:
        """Read hosts, `.suffixes`, addresses and networks; an entry may hold several, with commas.

        Raises:
            ValueError: One is none of these; str() is a sentence.
        """
        names: set[str] = set()
        suffixes: list[str] = []
        networks: list[Network] = []
        everything = False
        for entry in (part.strip().lower() for text in entries for part in text.split(",")):
            if entry == "*":
                everything = True
            elif (network := _network(entry)) is not None:
                networks.append(network)
            elif "/" in entry or ":" in entry or any(c.isspace() for c in entry):
                raise ValueError(
                    f"{printable(entry)} is not a host, .suffix or network such as 10.0.0.0/8"
                )
            elif entry.startswith((".", "*.")):
                suffixes.append("." + entry.lstrip("*."))
            elif entry:
                names.add(entry.rstrip("."))
        return cls(frozenset(names), tuple(suffixes), tuple(networks), everything)

    def hold_name(self, host: str) -> bool:
        """Whether a host is named; to be asked before it is looked up."""
        name = host.lower().rstrip(".")
        return self.everything or name in self.names or name.endswith(self.suffixes)

    def hold_all(self, addresses: Sequence[Address]) -> bool:
        """Whether all of a host's addresses lie in the networks."""
        return bool(addresses) and all(
            any(address.version == net.version and address in net for net in self.networks)
            for address in addresses
        )


@dataclass(frozen=True, slots=True)
class Route:
    """The way from this process to hosts.

    Attributes:
        proxy: Through which all but the exceptions are reached; None goes straight.
    """

    proxy: Proxy | None = None
    exceptions: Exceptions = field(default_factory=Exceptions)


def _network(text: str) -> Network | None:
    try:
        return ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None
