"""The one contract of a loaded version, whatever format it has and whatever runs it. Needs no TensorFlow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from google.protobuf.message import Message

from slipway_server.servables.signature import Array, Signature


class ServedModel(Protocol):
    """One loaded version: made by a format's loader, perhaps put behind queues, run by the predictor."""

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures by key."""
        ...

    @property
    def example_signatures(self) -> Mapping[str, Signature]:
        """Signatures that Classify and Regress use in place of `signatures` of the same key; usually none."""
        ...

    @property
    def signature_defs(self) -> Mapping[str, Message]:
        """`signatures` for the metadata API, each a `tensorflow.SignatureDef`."""
        ...

    def run(
        self,
        signature: Signature,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        deadline: float | None = None,
    ) -> list[Array]:
        """Run a signature; one array for each of `outputs`.

        After `deadline` (on `time.monotonic`, seconds) nothing is begun: DEADLINE_EXCEEDED instead.
        """
        ...

    def close(self) -> None:
        """Release everything. Nobody uses the version any more."""
        ...


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Where TensorFlow has a version's session, for who runs it through TensorFlow's C API.

    Attributes:
        session: address of the `TF_Session`.
        graph: address of its `TF_Graph`.
        on_caller: run operations on the thread that asks.
        owner: keeps both in memory for as long as it is referenced.
    """

    session: int
    graph: int
    on_caller: bool
    owner: object


Ran = list[int | tuple[list[int], list[bytes]]] | tuple[int, str] | None
"""What a run elsewhere returns: for each output a `TF_Tensor*`, which is the caller's to delete, or shape and strings;
code and sentence of a failure; None when it has not run."""


@runtime_checkable
class RunsInSession(Protocol):
    """A loaded version that runs in a session of TensorFlow's."""

    def open_session(self) -> OpenSession:
        """Return its session."""
        ...


@runtime_checkable
class RunsElsewhere(ServedModel, RunsInSession, Protocol):
    """A loaded version whose tensors somebody else may run in its session."""

    def run_elsewhere(
        self, inputs: Sequence[Array], run: Callable[[list[int]], Ran]
    ) -> list[Array] | None:
        """Let `run` take tensors over, each a `TF_Tensor*`, and return what it makes of them; None when it has not run.

        Raises:
            ServingError: as `run` of this version.
        """
        ...
