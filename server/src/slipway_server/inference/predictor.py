"""The one predictor behind every front end: (model, version, signature, tensors) → tensors.

Front ends are codecs around it. Whatever replaces it or them one day meets at this boundary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from slipway_server.core.serving_map import Handle, Selector
from slipway_server.inference.checks import check_inputs, choose_outputs, signature_not_found
from slipway_server.savedmodel.signature import Array, Signature

DEFAULT_SIGNATURE: Final = "serving_default"


class RunnableModel(Protocol):
    """What the predictor needs of a loaded version (`savedmodel.session_model.SessionModel`)."""

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures by key."""
        ...

    @property
    def example_signatures(self) -> Mapping[str, Signature]:
        """Signatures that Classify and Regress use in place of `signatures` of the same key; usually none."""
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


@dataclass(frozen=True, slots=True)
class Prediction:
    """An answer.

    Attributes:
        version: the version that answered.
        signature: the signature that was used.
        outputs: alias → value; strings are arrays of `bytes` objects.
    """

    version: int
    signature: str
    outputs: dict[str, Array]


class Versions(Protocol):
    """Where the version that answers a request is found (`core.serving_map.ServingMap`)."""

    def open(self, selector: Selector) -> Handle[RunnableModel]:
        """Take hold of a version, or raise a ServingError."""
        ...


class Predictor:
    """Answers prediction requests from the versions in a serving map."""

    def __init__(self, serving: Versions) -> None:
        self._serving = serving

    def open(self, selector: Selector) -> Handle[RunnableModel]:
        """Take hold of the version that a request asks for (`ServingMap.open`)."""
        return self._serving.open(selector)

    def predict(
        self,
        handle: Handle[RunnableModel],
        signature_name: str,
        inputs: Mapping[str, Array],
        output_filter: Sequence[str] = (),
        deadline: float | None = None,
    ) -> Prediction:
        """Run one request.

        Args:
            handle: the version, from `open`.
            signature_name: empty means `serving_default`.
            inputs: alias → value, of the signature's element types.
            output_filter: aliases of the wanted outputs; empty means all.
            deadline: seconds on `time.monotonic`; None means never.

        Raises:
            ServingError: FAILED_PRECONDITION for an unknown signature, INVALID_ARGUMENT when the request does not fit
                it, DEADLINE_EXCEEDED when it is too late to run it, or TensorFlow's own code and message.
        """
        name = signature_name or DEFAULT_SIGNATURE
        signature = handle.content.signatures.get(name)
        if signature is None:
            raise signature_not_found(name)
        check_inputs(signature, inputs.keys())
        outputs = choose_outputs(signature, output_filter)
        values = handle.content.run(signature, inputs, outputs, deadline)
        return Prediction(handle.version, name, dict(zip(outputs, values, strict=True)))
