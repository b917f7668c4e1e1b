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
        access_modes: Access modes of the volume once it is bound, until then those of the spec.
        phase: `Pending`, `Bound` or `Lost`.
        deleting: Being deleted: it goes when the last pod has, and no new pod can mount it.
        owned: Created from the Model's claimTemplate.
        requested: Bytes that its spec requests.
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
        size: Bytes that were requested.
        message: The API server's message.
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
"""For a Model whose pods mount no claim."""
