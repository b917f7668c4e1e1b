"""What the installation decides for every Model."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """Images of new pods and where their sync may go; pods that exist keep theirs.

    Attributes:
        allowed_networks: Networks that sources may lie in although they are link-local or the like.
        proxy: On the way to the sources of Models that name none, or "".
        no_proxy: Hosts, `.suffixes` and networks that are reached without any.
        ambient_identity: Whether sources may be read with what the pods' surroundings give.
    """

    server_image: str
    sync_image: str
    image_pull_policy: str = "IfNotPresent"
    allowed_networks: tuple[str, ...] = ()
    proxy: str = ""
    no_proxy: tuple[str, ...] = ()
    ambient_identity: bool = False
