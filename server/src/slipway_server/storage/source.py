"""What is to be served, and what a source is: whatever finds the versions of models and brings them within reach."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from slipway_server.errors import ServingError
from slipway_server.storage.versions import Latest, VersionPolicy


@dataclass(frozen=True, slots=True)
class LoggingRule:
    """Which of a model's requests are kept, and where: its `logging_config`.

    Attributes:
        prefix: path that the files' names begin with.
        sampling: the share of requests that are kept, from 0 to 1.
    """

    prefix: str
    sampling: float


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model to serve.

    Attributes:
        base_path: where its versions are; for the file system an absolute path whose numeric children they are.
        labels: version label → version.
        platform: what kind of model it is; never changes while it is served.
        logging: which requests are kept; None for none.
        within: the base path must lie below one of these folders also when links are followed; none given, anywhere.
    """

    name: str
    base_path: str
    policy: VersionPolicy = field(default_factory=Latest)
    labels: Mapping[str, int] = field(default_factory=dict)
    platform: str = "tensorflow"
    logging: LoggingRule | None = None
    within: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class VersionDirectory:
    """A version that should be loaded.

    Attributes:
        fingerprint: changes when anything under the directory does.
    """

    version: int
    path: str
    fingerprint: str


class Found(Protocol):
    """Is told, whenever a source has looked, which versions of a model should be loaded."""

    def __call__(self, model: str, versions: tuple[VersionDirectory, ...]) -> None:
        """Take them in the place of those said before."""


class Failed(Protocol):
    """Is told whenever a source has looked and found nothing to load for a model."""

    def __call__(self, model: str, trouble: ServingError) -> None:
        """Take in why there is nothing."""


class VersionSource(Protocol):
    """Says which versions should be loaded (`file_system_source.FileSystemSource`).

    It speaks through a `Found` and a `Failed`, from a thread of its own. A look that fails unloads nothing, and one
    model's trouble never touches another.
    """

    def start(self) -> None:
        """Begin to look."""
        ...

    def stop(self) -> None:
        """Look no more."""
        ...

    def update(self, models: Iterable[ModelConfig]) -> None:
        """Look for other models from now on; those no longer named lose all their versions at once."""
        ...

    def trouble(self, model: str) -> str:
        """Return why the last look found nothing to load for a model, or an empty string."""
        ...
