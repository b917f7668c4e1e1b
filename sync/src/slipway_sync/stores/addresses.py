"""Which addresses a source may lie at. Pure.

Whoever may create a Model chooses the URL that the operator calls. Addresses that answer only to the caller's
own machine, and may hand out its credentials or obey it, are no sources: loopback, link-local ones, the clouds'
metadata services, and what is no address of one host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_METADATA: Final = frozenset(
    ip_address(text)
    for text in (
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure's host
        "192.0.0.192",  # Oracle Cloud, of old
        "fd20:ce::254",  # Google Cloud over IPv6
    )
)
_METADATA_NAMES: Final = frozenset(
    {"metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)
_LOCALHOST: Final = frozenset(
    {"localhost", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback"}
)
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_THIS_HOST: Final = ip_network("0.0.0.0/8")
_TRANSLATED: Final = tuple(ip_network(text) for text in ("64:ff9b::/96", "::ffff:0:0:0/96"))
"""NAT64 by its well-known prefix, and SIIT."""
_LOCAL_NAT64: Final = ip_network("64:ff9b:1::/48")
"""Where the IPv4 address stands in it is the network's own choice (RFC 8215), so that no reader can judge it."""
_RESERVED: Final = ip_network("240.0.0.0/4")
_AWS_LOCAL: Final = ip_network("fd00:ec2::/32")
"""Services that AWS gives an instance over IPv6: metadata, and a pod's credentials at ::23."""
_COMPATIBLE: Final = ip_network("::/96")


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What is refused, but for the networks that the cluster's administrator allows.

    Attributes:
        allowed: Networks whose addresses are never refused.
    """

    allowed: tuple[Network, ...] = ()

    @classmethod
    def allowing(cls, networks: Iterable[str]) -> AddressPolicy:
        """Read networks such as `169.254.20.0/24`.

        Raises:
            ValueError: One of them is none.
        """
        return cls(tuple(ip_network(text) for text in networks))

    def refusal(self, address: Address) -> str | None:
        """Return what an address is that makes it no source, or None when it may be reached."""
        if _within(address, self.allowed):
            return None
        inner = embedded(address)
        if inner is not None:
            return None if _within(inner, self.allowed) else _kind(inner)
        return _kind(address)


def embedded(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address is only another spelling of.

    >>> str(embedded(ip_address("::ffff:169.254.169.254")))
    '169.254.169.254'
    """
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    low = int(address) & 0xFFFFFFFF
    if _within(address, _TRANSLATED) or (address in _COMPATIBLE and low > 1):
        return IPv4Address(low)
    return None


def first_refusal(
    policy: AddressPolicy, addresses: Sequence[Address]
) -> tuple[Address, str] | None:
    """Return the first address that may not be reached, with what it is.

    One is enough: a name that leads to a good address and a bad one is asked until the bad one comes up.
    """
    for address in addresses:
        if (kind := policy.refusal(address)) is not None:
            return address, kind
    return None


def refusal_unseen(host: str) -> str | None:
    """Return what a host is that makes it no source, when no address of it is known here.

    For what only a proxy can look up: names of metadata services and of the proxy's own machine, and spellings that
    the proxy may take for the number of an address.

    >>> refusal_unseen("metadata.google.internal")
    "a cloud's metadata service"
    >>> refusal_unseen("169.254.169.254.")
    'no name of a host'
    """
    name = host.lower().rstrip(".")
    if name in _METADATA_NAMES:
        return "a cloud's metadata service"
    if name in _LOCALHOST or name.endswith(".localhost"):
        return "a name of the machine itself"
    if ":" in name or _NUMBER.fullmatch(name.rpartition(".")[2]):
        return "not a host name"
    return None


def _kind(address: Address) -> str | None:
    if address in _METADATA or _within(address, (_AWS_LOCAL,)):
        return "a cloud's metadata service"
    if address.is_loopback:
        return "a loopback address"
    if address.is_link_local:
        return "a link-local address"
    if isinstance(address, IPv6Address) and address.is_site_local:
        return "a site-local address"
    if _within(address, (_LOCAL_NAT64,)):
        return "an address of a local translator"
    if address.is_unspecified or (isinstance(address, IPv4Address) and address in _THIS_HOST):
        return "not a host address"
    if address.is_multicast:
        return "a multicast address"
    if address == IPv4Address("255.255.255.255"):
        return "the broadcast address"
    if _within(address, (_RESERVED,)):
        return "a reserved address"
    return None


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
