"""Which addresses are no sources, in every spelling."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_sync.stores.addresses import AddressPolicy, embedded, first_refusal

REFUSED = [
    ("169.254.169.254", "a link-local address"),
    ("169.254.0.1", "a link-local address"),
    ("fe80::1", "a link-local address"),
    ("::ffff:169.254.169.254", "a link-local address"),
    ("::ffff:a9fe:a9fe", "a link-local address"),
    ("::169.254.169.254", "a link-local address"),
    ("64:ff9b::169.254.169.254", "a link-local address"),
    ("64:ff9b:1::169.254.169.254", "an address of a local translator"),
    ("64:ff9b:1:a9fe:a9:fe00::", "an address of a local translator"),
    ("::ffff:0:169.254.169.254", "a link-local address"),
    ("2002:a9fe:a9fe::1", "a link-local address"),
    ("fd00:ec2::254", "a cloud's metadata service"),
    ("fd00:ec2::23", "a cloud's metadata service"),
    ("fec0::1", "a site-local address"),
    ("240.0.0.1", "a reserved address"),
    ("::ffff:250.1.2.3", "a reserved address"),
    ("fd20:ce::254", "a cloud's metadata service"),
    ("100.100.100.200", "a cloud's metadata service"),
    ("168.63.129.16", "a cloud's metadata service"),
    ("::ffff:100.100.100.200", "a cloud's metadata service"),
    ("0.0.0.0", "not a host address"),  # noqa: S104 (refused)
    ("0.1.2.3", "not a host address"),
    ("::", "not a host address"),
    ("127.0.0.1", "a loopback address"),
    ("127.83.76.87", "a loopback address"),
    ("::1", "a loopback address"),
    ("::ffff:127.0.0.1", "a loopback address"),
    ("::127.0.0.1", "a loopback address"),
    ("64:ff9b::7f00:1", "a loopback address"),
    ("::ffff:0:127.0.0.1", "a loopback address"),
    ("2002:7f00:1::", "a loopback address"),
    ("224.0.0.1", "a multicast address"),
    ("ff02::1", "a multicast address"),
    ("255.255.255.255", "the broadcast address"),
]


@pytest.mark.parametrize(("text", "kind"), REFUSED)
def test_what_is_no_source(text: str, kind: str) -> None:
    assert AddressPolicy().refusal(ip_address(text)) == kind


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1",
        "192.168.1.9",
        "126.255.255.255",
        "128.0.0.1",
        "52.216.1.1",
        "2600:1f18::5",
        "fd12::7",
    ],
)
def test_what_may_be_one(text: str) -> None:
    assert AddressPolicy().refusal(ip_address(text)) is None


@pytest.mark.parametrize("text", ["169.254.20.10", "::ffff:169.254.20.10", "64:ff9b::a9fe:140a"])
def test_an_allowed_network_is_allowed_in_every_spelling_and_nothing_beside_it(text: str) -> None:
    policy = AddressPolicy.allowing(["169.254.20.0/24"])
    assert policy.refusal(ip_address(text)) is None
    assert policy.refusal(ip_address("169.254.169.254")) is not None


@pytest.mark.parametrize(
    ("network", "reached"),
    [("127.0.0.0/8", ["127.0.0.1", "::ffff:127.9.9.9", "64:ff9b::7f00:1"]), ("::1/128", ["::1"])],
)
def test_loopback_is_allowed_by_its_network_alone(network: str, reached: list[str]) -> None:
    policy = AddressPolicy.allowing([network])
    for text in ("127.0.0.1", "::1", *reached):
        expected = None if text in reached else "a loopback address"
        assert policy.refusal(ip_address(text)) == expected


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"169\.254"):
        AddressPolicy.allowing(["169.254.300.0/24"])


def test_one_bad_address_of_a_name_is_enough() -> None:
    addresses = [ip_address("52.216.1.1"), ip_address("169.254.169.254")]
    found = first_refusal(AddressPolicy(), addresses)
    assert found == (addresses[1], "a link-local address")
    assert first_refusal(AddressPolicy(), addresses[:1]) is None


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_no_spelling_of_an_address_changes_the_answer(address: IPv4Address) -> None:
    policy = AddressPolicy()
    for prefix in (0xFFFF << 32, 0x64FF9B << 96):
        spelt = IPv6Address(prefix | int(address))
        assert embedded(spelt) == address
        assert policy.refusal(spelt) == policy.refusal(address)
