"""Puts loaded versions behind queues, as the parameters say."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slipway_server.batching.model import BatchedModel, BatchObserver
from slipway_server.batching.native import NativeBatchedModel, NativeQueues
from slipway_server.batching.parameters import (
    PER_MODEL_FILE,
    BatchingParameters,
    read_parameters,
)
from slipway_server.batching.scheduler import BatchScheduler
from slipway_server.core.managed_version import Loader
from slipway_server.servables.servable import ServedModel


@dataclass(frozen=True, slots=True)
class BatchingRule:
    """Which versions are batched, and how.

    Attributes:
        parameters: of all models; the threads among them in any case.
        per_model: only versions with a file of their own are batched, as that says.
    """

    parameters: BatchingParameters
    per_model: bool = False

    def of(self, path: str) -> BatchingParameters | None:
        """Return the parameters of the version in a directory; None when it is not batched.

        Raises:
            ServingError: its file cannot be used.
        """
        if not self.per_model:
            return self.parameters
        file = Path(path) / PER_MODEL_FILE
        return read_parameters(str(file)) if file.exists() else None


class BatchingLoader:
    """Loads with another loader and batches what that returns (`core.managed_version.Loader`).

    Args:
        rule: None means that nothing is batched.
        observer: of a model and a version: who is told of its batches.
        native: queues of the extension module, for the versions that it can run.
    """

    def __init__(
        self,
        loader: Loader[ServedModel],
        rule: BatchingRule | None,
        observer: Callable[[str, int], BatchObserver],
        native: NativeQueues | None = None,
    ) -> None:
        self._native = native
        self._loader = loader
        self._rule = rule
        self._observer = observer
        self._scheduler = (
            BatchScheduler(rule.parameters.num_batch_threads, rule.parameters.thread_pool_name)
            if rule
            else None
        )

    def load(self, model: str, version: int, path: str) -> ServedModel:
        """Load a version.

        Raises:
            ServingError: as the other loader, or when the version's parameters cannot be used.
        """
        parameters = self._rule.of(path) if self._rule else None
        loaded = self._loader.load(model, version, path)
        if parameters is None or self._scheduler is None:
            return loaded
        if self._native is not None:
            batched = self._native.batched(loaded, parameters, model, version)
            if batched is not None:
                return batched
        return BatchedModel(loaded, parameters, self._scheduler, self._observer(model, version))

    def unload(self, content: ServedModel) -> None:
        """Let what runs finish, even if nobody waits for it any more, and release the version."""
        if isinstance(content, BatchedModel | NativeBatchedModel):
            content.drain()
            content = content.model
        self._loader.unload(content)
