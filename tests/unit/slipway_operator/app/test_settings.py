"""What the process is started with."""

from pathlib import Path

import pytest

from slipway_operator.app.settings import ReceiverSettings, SettingsError, check, store_options
from slipway_operator.rendering.settings import RenderSettings


@pytest.mark.parametrize(
    ("pod_ip", "address"),
    [("10.1.2.3", "http://10.1.2.3:8090"), ("fd00::7", "http://[fd00::7]:8090"), ("", "")],
)
def test_other_replicas_reach_this_one_at_its_pods_address(pod_ip: str, address: str) -> None:
    assert ReceiverSettings(8090, Path("token"), pod_ip).address == address


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        (RenderSettings("s", "a", "Always", ("169.254.0.0/99",)), "--allow-network: "),
        (RenderSettings("s", "a", "Always", (), proxy="ftp://proxy"), "--proxy, --no-proxy: "),
    ],
)
def test_a_value_that_every_source_would_fail_with_is_refused_at_the_start(
    settings: RenderSettings, flag: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        check(settings)
    assert str(caught.value).startswith(flag)


def test_the_installations_proxy_and_networks_are_for_all_sources() -> None:
    settings = RenderSettings(
        "s", "a", "Always", ("169.254.20.0/24",), proxy="http://proxy:3128", no_proxy=(".svc",)
    )
    check(settings)
    options = store_options(settings)
    assert (options.proxy, tuple(options.no_proxy)) == ("http://proxy:3128", (".svc",))
    assert [str(network) for network in options.addresses.allowed] == ["169.254.20.0/24"]
