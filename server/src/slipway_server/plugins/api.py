"""What plug-ins of the model server are written against, and all that they may import of it.

Three kinds of plug-ins are named by a configuration and found as entry points (`plugins.entry_points`):

    group                 entry point            named by
    slipway.servables     a `LoadServable`       model_platform: "NAME", or --model_platform=NAME
    slipway.sources       an `OpenSource`        base_path: "NAME://…"
    slipway.policies      a `Policy`             --aspired_version_policy=NAME

Promise: what stands here for `API_VERSION` 1 keeps its meaning; it only gains fields with defaults and methods that a
plug-in need not have. A change that breaks plug-ins is another version, which the server supports beside this one
for at least one minor release. An entry point may have an attribute `api_version`; without one it is for version 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from slipway_server.errors import Code, ServingError
from slipway_server.plugins.entry_points import API_VERSION

__all__ = [
    "API_VERSION",
    "Action",
    "Array",
    "Code",
    "Load",
    "LoadServable",
    "OpenSource",
    "PluginError",
    "Policy",
    "Servable",
    "Signature",
    "Source",
    "Tensor",
    "Unload",
    "Version",
    "VersionState",
]

Array = np.ndarray[Any, Any]


class PluginError(ServingError):
    """A request, load or look that cannot be carried out, in one sentence for who asked.

    Args:
        message: what is wrong, where, what to do.
        code: of the answer. A load that fails with UNAVAILABLE, UNKNOWN, INTERNAL, ABORTED, CANCELLED,
            DEADLINE_EXCEEDED or RESOURCE_EXHAUSTED is tried again; with another code, when the version changes.
    """

    def __init__(self, message: str, code: Code = Code.INVALID_ARGUMENT) -> None:
        super().__init__(code, message)


# ---- servables -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output of a signature.

    Attributes:
        dtype: `string`, or NumPy's name of the element type: `float32`, `int64`, `bool`, …
        shape: sizes by dimension, -1 where any size goes; None when any shape does.
    """

    dtype: str
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """One way to call a servable; every input is required."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


class Servable(Protocol):
    """One loaded version. `run` is called on many threads at a time."""

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures by name, read once after the load; requests without a name ask for `serving_default`."""
        ...

    def run(
        self, signature: str, inputs: Mapping[str, Array], deadline: float | None
    ) -> Mapping[str, Array]:
        """Answer a request: a value for each output of the signature.

        Args:
            signature: its name.
            inputs: a value for each input, of its element type; strings are arrays of `bytes` objects.
            deadline: on `time.monotonic`, in seconds, after which nobody waits for the answer; None means never.

        Raises:
            PluginError: the answer of the request. Any other error is logged and answered with INTERNAL.
        """
        ...

    def close(self) -> None:
        """Release everything. Nobody uses the version any more."""
        ...


LoadServable = Callable[[str, int, Path], Servable]
"""Loads a version: (model, version, its directory). Called once for each version, on any thread."""


# ---- sources ---------------------------------------------------------------------------------------------------------


class Source(Protocol):
    """Where the versions of one base path are. Its methods are called one at a time, on any thread."""

    def versions(self) -> Mapping[int, str]:
        """Return the versions there are: number → revision, a text that changes when the version's content does.

        Called every `--file_system_poll_wait_seconds`. The model's version policy chooses among them.

        Raises:
            PluginError: it cannot be said now; what is loaded stays.
        """
        ...

    def fetch(self, version: int, revision: str, directory: Path) -> None:
        """Write a version's files into an empty directory; if that fails it is thrown away.

        Raises:
            PluginError: why it cannot be fetched; tried again at the next look. What is loaded stays.
        """
        ...

    def close(self) -> None:
        """Release everything: no model is configured with this base path any more."""
        ...


OpenSource = Callable[[str], Source]
"""Opens a base path: what follows `NAME://`. Does not connect: what cannot be reached now is said by `versions`."""


# ---- policies --------------------------------------------------------------------------------------------------------


class VersionState(StrEnum):
    """Where a version stands."""

    NEW = "new"
    """Nothing has been done for it; it may be loaded."""
    LOADING = "loading"
    READY = "ready"
    """It answers requests; it may be unloaded."""
    UNLOADING = "unloading"
    UNLOADED = "unloaded"
    FAILED = "failed"
    """It could not be loaded."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a model, as a policy sees it.

    Attributes:
        aspired: whether it should be loaded, by its source and the model's version policy.
    """

    number: int
    state: VersionState
    aspired: bool


@dataclass(frozen=True, slots=True)
class Load:
    """Load a version that is aspired and new."""

    version: int


@dataclass(frozen=True, slots=True)
class Unload:
    """Unload a version that is ready."""

    version: int


Action = Load | Unload

Policy = Callable[[Sequence[Version]], Action | None]
"""Chooses the next step for one model, or None to wait for a change; a pure function that returns at once.

It is asked again after each step and each change of a version's state. A step that is not possible, and an error, are
logged and taken for None.
"""
