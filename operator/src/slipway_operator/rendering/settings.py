"""Settings of the installation that apply to every Model."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """Images of new pods and where their sync may go; pods that exist keep theirs.

    Attributes:
        allowed_networks: Networks that sources may lie in although they are loopback, link-local or the like.
        proxy: HTTP proxy for sources of Models that name none; "" for no proxy.
        no_proxy: Hosts, `.suffixes` and networks that are reached without any.
        ambient_identity: Whether sources may be read with the identity of the node or workload that runs
            the pod.
    """

    server_image: str
    sync_image: str
    image_pull_policy: str = "IfNotPresent"
    allowed_networks: tuple[str, ...] = ()
    proxy: str = ""
    no_proxy: tuple[str, ...] = ()
    ambient_identity: bool = False
