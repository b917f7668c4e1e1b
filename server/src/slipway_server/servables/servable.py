"""The one contract of a loaded version, whatever format it has and whatever runs it. Needs no TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Protocol

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
