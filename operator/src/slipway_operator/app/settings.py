"""What the process is started with; `__main__` fills it from flags and environment variables."""

from dataclasses import dataclass
from pathlib import Path

from slipway_operator.reconcile.sources.errors import Installation
from slipway_operator.rendering.settings import RenderSettings
from slipway_sync.stores import AddressPolicy, SourceError, StoreOptions
from slipway_sync.stores.egress.clients import route


class SettingsError(ValueError):
    """A flag has a value that cannot be; str() starts with the flag's name."""


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """Where notifications of object stores are received.

    Attributes:
        port: TCP port of `/v1/notifications`.
        token_file: Holds the token that senders must present.
        pod_ip: Where other replicas reach this one; empty where there are none.
    """

    port: int
    token_file: Path
    pod_ip: str = ""

    @property
    def address(self) -> str:
        """The URL for the other replicas; empty without a pod IP."""
        host = f"[{self.pod_ip}]" if ":" in self.pod_ip else self.pod_ip
        return f"http://{host}:{self.port}" if host else ""


@dataclass(frozen=True, slots=True)
class StatusPageSettings:
    """Where the status page is served.

    Attributes:
        port: TCP port of `/ui/`.
        address: Address to listen on; empty for all.
        hosts: Host names under which it may be asked for, besides those inside the cluster.
    """

    port: int
    address: str
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """Everything that the process is started with.

    Attributes:
        namespaces: Namespaces to watch; empty for all.
        installation: Names in messages; its namespace holds the Lease.
        render: Images and what pods of all Models get.
        lease: Name of the Lease.
        port: TCP port of `/livez`, `/readyz` and `/metrics`.
        receiver: None where no notifications are received.
        status_page: None where there is none.
    """

    namespaces: tuple[str, ...]
    installation: Installation
    render: RenderSettings
    lease: str
    port: int
    receiver: ReceiverSettings | None = None
    status_page: StatusPageSettings | None = None


def store_options(settings: RenderSettings) -> StoreOptions:
    """What the installation decides for all sources: allowed addresses and the proxy.

    Raises:
        ValueError: A network is none.
    """
    return StoreOptions(
        addresses=AddressPolicy.allowing(settings.allowed_networks),
        proxy=settings.proxy,
        no_proxy=settings.no_proxy,
    )


def check(settings: RenderSettings) -> None:
    """Refuse at the start what would make every source fail.

    Raises:
        SettingsError: A network or the proxy cannot be.
    """
    try:
        route(store_options(settings))
    except ValueError as error:
        raise SettingsError(f"--allow-network: {error}") from error
    except SourceError as error:
        raise SettingsError(f"--proxy, --no-proxy: {error}") from error
