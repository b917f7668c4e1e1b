"""What every loaded version offers, whatever runs it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from tensorflow.core.protobuf import meta_graph_pb2

from slipway_server.servables.signature import Array, Signature


class ServedModel(Protocol):
    """One loaded version (`session_model.SessionModel`, `tflite_model.TfLiteModel`)."""

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures by key."""
        ...

    @property
    def example_signatures(self) -> Mapping[str, Signature]:
        """Signatures that Classify and Regress use in place of `signatures` of the same key; usually none."""
        ...

    @property
    def signature_defs(self) -> Mapping[str, meta_graph_pb2.SignatureDef]:
        """`signatures` as TensorFlow's messages, for the metadata API."""
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
