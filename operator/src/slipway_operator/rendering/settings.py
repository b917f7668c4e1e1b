"""What the installation decides for every Model."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """Images of new pods; pods that exist keep theirs."""

    server_image: str
    sync_image: str
    image_pull_policy: str = "IfNotPresent"
