"""What the manager knows: the versions it looks after and the events it acts on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from slipway_server.core.policies import Snapshot
from slipway_server.core.serving_map import Servable
from slipway_server.core.version_state_machine import FORGETTABLE, State, VersionStateMachine
from slipway_server.errors import ServingError

T = TypeVar("T")


class Loader(Protocol[T]):
    """Turns a directory into something that answers requests, and back into free memory."""

    def load(self, model: str, version: int, path: str) -> T:
        """Load a version; may take minutes.

        Raises:
            ServingError: its code decides whether the load is tried again (`ServingError.transient`).
        """
        ...

    def unload(self, content: T) -> None:
        """Release what `load` returned. Nobody uses it any more."""
        ...


@dataclass(frozen=True, slots=True)
class AspiredVersion:
    """A version that should be loaded.

    Attributes:
        path: the version's directory.
        fingerprint: changes when the directory's content does; a failed version is tried again then.
    """

    version: int
    path: str
    fingerprint: str = ""


@dataclass(slots=True, eq=False)
class ManagedVersion(Generic[T]):
    """One version in the manager's care.

    Attributes:
        attempts: how often it was measured, or since its approval loaded.
        busy: whether a thread measures or loads it now.
        retry_at: when the next attempt is due; monotonic seconds.
        memory: bytes that it is estimated to need; None until it is measured.
        failed_at: when its last attempt failed for good; monotonic seconds.
    """

    model: str
    aspiration: AspiredVersion
    state_machine: VersionStateMachine
    aspired: bool = True
    attempts: int = 0
    busy: bool = False
    retry_at: float | None = None
    started: float = 0.0
    failed_at: float = 0.0
    memory: int | None = None
    error: ServingError | None = None
    servable: Servable[T] | None = None

    @property
    def version(self) -> int:
        """The number of its directory."""
        return self.aspiration.version

    @property
    def state(self) -> State:
        """Its state, as the policy sees it; `core.states` has the coarser one that is published."""
        return self.state_machine.state

    @property
    def name(self) -> str:
        """The form in which TensorFlow Serving names a version."""
        return f"{{name: {self.model} version: {self.version}}}"

    @property
    def waits_for_memory(self) -> bool:
        """Whether only room is missing for its load to begin."""
        return self.state is State.LOAD_REQUESTED and self.memory is not None


@dataclass(slots=True)
class ManagedModel(Generic[T]):
    """All versions of a model, and the newest aspired list as long as it could not be applied."""

    versions: dict[int, ManagedVersion[T]] = field(default_factory=dict)
    pending: tuple[AspiredVersion, ...] | None = None

    def forget(self) -> None:
        """Drop the versions that nobody wants and that hold nothing."""
        for number, managed in list(self.versions.items()):
            if not managed.aspired and managed.state in FORGETTABLE and not managed.busy:
                del self.versions[number]

    def snapshots(self) -> Sequence[Snapshot]:
        """Return of each version what a policy decides from."""
        return [Snapshot(one.version, one.state, one.aspired) for one in self.versions.values()]


@dataclass(frozen=True, slots=True)
class Aspire:
    """Somebody said which versions of a model should be loaded."""

    model: str
    versions: tuple[AspiredVersion, ...]


@dataclass(frozen=True, slots=True)
class Measured(Generic[T]):
    """The size of a version's files is known, or cannot be."""

    managed: ManagedVersion[T]
    file_bytes: int
    error: ServingError | None


@dataclass(frozen=True, slots=True)
class LoadEnded(Generic[T]):
    """An attempt to load ended; exactly one of content and error is there."""

    managed: ManagedVersion[T]
    content: T | None
    error: ServingError | None


@dataclass(frozen=True, slots=True)
class Quiesced(Generic[T]):
    """The last request on a version has ended."""

    managed: ManagedVersion[T]


@dataclass(frozen=True, slots=True)
class Unloaded(Generic[T]):
    """A version's memory is free."""

    managed: ManagedVersion[T]


Event = Aspire | Measured[T] | LoadEnded[T] | Quiesced[T] | Unloaded[T]
