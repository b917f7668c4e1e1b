"""Inference, readiness and metadata of the Open Inference Protocol, alike over gRPC and REST."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from slipway_server.core.serving_map import Selector
from slipway_server.core.states import StateMonitor
from slipway_server.errors import invalid_argument
from slipway_server.frontends.oip.datatypes import LABELS, label_of
from slipway_server.inference.predictor import (
    DEFAULT_SIGNATURE,
    Prediction,
    Predictor,
)
from slipway_server.observability.telemetry import Call
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Array, Signature, TensorSpec

SIGNATURE_PARAMETER: Final = "signature_name"
"""The request parameter that names a signature other than `serving_default`."""

_PLATFORM: Final = "tensorflow_savedmodel"
_VERSION: Final = re.compile("[0-9]{1,19}", re.ASCII)


@dataclass(frozen=True, slots=True)
class InferRequest:
    """One request, whichever way it came.

    Attributes:
        version: empty means the newest.
        id: what the client calls it; goes back with the answer.
        signature: empty means `serving_default`.
        datatypes: each input's element type, as the client said.
        outputs: wanted outputs; empty means all.
    """

    model: str
    version: str
    id: str
    signature: str
    inputs: Mapping[str, Array]
    datatypes: Mapping[str, DType]
    outputs: Sequence[str]


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """An input or output of a model; a dimension of any size is -1."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a model's default signature takes and gives."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


class OipModels:
    """Answers the protocol's questions about models.

    Args:
        serving: the versions of a model that answer now.
    """

    def __init__(
        self,
        predictor: Predictor,
        monitor: StateMonitor,
        serving: Callable[[str], tuple[int, ...]],
    ) -> None:
        self._predictor = predictor
        self._monitor = monitor
        self._serving = serving

    def check_names(
        self, model: str, version: str, signature: str, inputs: Collection[str]
    ) -> None:
        """Refuse a request that `infer` would refuse for its names, before its tensors are read.

        Raises:
            ServingError: as `infer`.
        """
        with self._predictor.open(selector(model, version)) as handle:
            self._predictor.check_names(handle, signature, inputs)

    def infer(self, request: InferRequest, call: Call) -> Prediction:
        """Run a request.

        Raises:
            ServingError: as `Predictor.predict`, and INVALID_ARGUMENT for an input of another datatype than declared.
        """
        with self._predictor.open(selector(request.model, request.version)) as handle:
            call.version = handle.version
            signature = handle.content.signatures.get(request.signature or DEFAULT_SIGNATURE)
            if signature is not None:
                _check_datatypes(request, signature)
            prediction = self._predictor.predict(
                handle, request.signature, request.inputs, request.outputs, call.deadline
            )
        call.signature = prediction.signature
        return prediction

    def ready(self, model: str, version: str) -> bool:
        """Whether a model answers, or a version of it; one that is not known does not."""
        wanted = selector(model, version).version
        serving = self._serving(model)
        return bool(serving) if wanted is None else wanted in serving

    def known(self, model: str, version: str) -> bool:
        """Whether a model, or a version of it, has ever been here."""
        wanted = selector(model, version).version
        states = self._monitor.of(model)
        return bool(states) and wanted in {None, *(state.version for state in states)}

    def metadata(self, model: str, version: str, call: Call) -> ModelMetadata:
        """Describe a model by its default signature, or where it has none by the first of its names.

        Raises:
            ServingError: NOT_FOUND for a model or version that does not answer.
        """
        with self._predictor.open(selector(model, version)) as handle:
            call.version = handle.version
            signatures = handle.content.signatures
            chosen = signatures.get(DEFAULT_SIGNATURE) or next(
                (signatures[key] for key in sorted(signatures)), None
            )
            numbers = {handle.version} if version else {handle.version, *self._serving(model)}
            return ModelMetadata(
                handle.model,
                tuple(str(number) for number in sorted(numbers)),
                _PLATFORM,
                _described(chosen.inputs) if chosen else (),
                _described(chosen.outputs) if chosen else (),
            )


def selector(model: str, version: str) -> Selector:
    """Return which version is meant; an empty one means the newest.

    Raises:
        ServingError: INVALID_ARGUMENT for a version that is no number.
    """
    if not version:
        return Selector(model)
    if not _VERSION.fullmatch(version):
        raise invalid_argument(f"The model version '{version:.80}' is not a number")
    return Selector(model, int(version))


def _check_datatypes(request: InferRequest, signature: Signature) -> None:
    for name, dtype in request.datatypes.items():
        spec = signature.inputs.get(name)
        if spec is not None and spec.dtype is not dtype:
            raise invalid_argument(
                f"Input '{name}' has the datatype {LABELS[dtype]}, but the model expects {label_of(spec.dtype)}"
            )


def _described(specs: Mapping[str, TensorSpec]) -> tuple[TensorMetadata, ...]:
    return tuple(
        TensorMetadata(alias, label_of(spec.dtype), (-1,) if spec.shape is None else spec.shape)
        for alias, spec in specs.items()
    )
