"""PersistentVolumeClaims as they are: whose volume a Model's pods mount."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from slipway_operator.api.conditions import Reason


class Sharing(StrEnum):
    """Which pods may use a volume at the same time."""

    ANYWHERE = "anywhere"
    """Pods on every node."""
    ONE_NODE = "one-node"
    """Pods of one node (ReadWriteOnce)."""
    ONE_POD = "one-pod"
    """One pod of the whole cluster (ReadWriteOncePod)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim that a Model mounts.

    Attributes:
        access_modes: Of the volume when it is bound, else those that are asked for.
        phase: `Pending`, `Bound` or `Lost`.
        deleting: It goes as soon as no pod uses it; no new pod can.
        owned: It is this Model's own.
        requested: Bytes that are asked for.
    """

    name: str
    uid: str
    access_modes: frozenset[str]
    phase: str = "Bound"
    deleting: bool = False
    owned: bool = False
    requested: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the API server refused about a Model's own claim.

    Attributes:
        size: Bytes that were asked for.
        message: What it said.
        retry: It is time to ask again.
    """

    size: int
    message: str
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Volume:
    """What a claim lets a Model's pods do.

    Attributes:
        reason: Why no new pod can use it now; None when one can.
        message: One sentence for that.
        exclusive: One sentence when the spec needs more pods at a time than may use it.
    """

    sharing: Sharing = Sharing.ANYWHERE
    reason: Reason | None = None
    message: str = ""
    exclusive: str = ""

    @property
    def most(self) -> int | None:
        """How many pods may use it at a time; None means any number."""
        return 1 if self.sharing is Sharing.ONE_POD else None


NO_VOLUME: Final = Volume()
"""Of a Model whose pods mount no claim."""
