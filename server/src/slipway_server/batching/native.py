"""A loaded model behind the queues of the extension module: the same `run`, and the batches that `--front=native` runs.

What Python's handlers ask for joins the queues that the native port fills without Python. The decisions are those of
`queues`, in `server/native/src/batching`.
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from slipway_server.batching.parameters import BatchingParameters
from slipway_server.observability.batching_metrics import (
    SIZES,
    WAIT_MICROS,
    WAIT_SECONDS,
    BatchCounts,
)
from slipway_server.servables.dtypes import DType
from slipway_server.servables.servable import OpenSession, RunsElsewhere, ServedModel
from slipway_server.servables.signature import Array, Signature

if TYPE_CHECKING:
    from slipway_server._native import NativeBatches

# Quantized values are without their type's name in NumPy's arrays, and smaller ones than a byte share one.
_JOINED: Final = frozenset(
    {
        *(DType.FLOAT, DType.DOUBLE, DType.HALF, DType.BFLOAT16, DType.COMPLEX64, DType.COMPLEX128),
        *(DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.BOOL, DType.STRING),
        *(DType.UINT8, DType.UINT16, DType.UINT32, DType.UINT64),
    }
)


class NativeQueues:
    """The threads of native batches, and what is counted of them."""

    def __init__(self, threads: int) -> None:
        from slipway_server._native import NativeBatching  # noqa: PLC0415 - whoever asks has the module

        self._batching = NativeBatching(
            threads, sizes=SIZES, seconds=WAIT_SECONDS, microseconds=WAIT_MICROS
        )

    def batched(
        self, model: ServedModel, parameters: BatchingParameters, name: str, version: int
    ) -> "NativeBatchedModel | None":
        """Return a version behind native queues; None for one that only Python can batch, which then does all of it."""
        if not isinstance(model, RunsElsewhere):
            return None
        signatures = (*model.signatures.values(), *model.example_signatures.values())
        if not all(_joins(signature) for signature in signatures):
            return None
        session = model.open_session()
        batches = self._batching.version(
            name,
            version,
            session.session,
            session.graph,
            session.on_caller,
            session.owner,
            (
                parameters.max_batch_size,
                parameters.batch_timeout,
                parameters.max_enqueued_batches,
                list(parameters.allowed_batch_sizes),
                parameters.pad_variable_length_inputs,
                parameters.enable_large_batch_splitting,
                parameters.max_execution_batch_size,
            ),
        )
        return NativeBatchedModel(model, batches)

    def counts(self) -> Iterator[BatchCounts]:
        """Yield what was counted of each signature of each version."""
        for (model, version, signature), counts in self._batching.counts():
            yield BatchCounts((model, str(version), signature), *counts)


class NativeBatchedModel:
    """One loaded version whose requests are batched natively; a `ServedModel`.

    Attributes:
        model: without queues.
        batches: the queues.
    """

    def __init__(self, model: RunsElsewhere, batches: "NativeBatches") -> None:
        self.model = model
        self.batches = batches
        self.signatures = model.signatures
        self.example_signatures = model.example_signatures
        self.signature_defs = model.signature_defs
        self._lock = threading.Lock()
        self._keys: dict[Signature, str] = {}
        for key, signature in model.signatures.items():
            self._describe(key, signature)
        for key, signature in model.example_signatures.items():
            self._describe(f"examples of {key}", signature)

    def run(
        self,
        signature: Signature,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        deadline: float | None = None,
    ) -> list[Array]:
        """Run a signature as part of a batch.

        Raises:
            ServingError: as `batching.model.BatchedModel.run`.
        """
        key = self._keys.get(signature) or self._of_one_request(signature)
        # What is fed partly from defaults, or is not what the signature says, runs alone: it may fail alone, too.
        if key is None or len(inputs) != len(signature.inputs):
            return self.model.run(signature, inputs, outputs, deadline)
        places = {alias: place for place, alias in enumerate(signature.outputs)}
        wanted = sorted({places[alias] for alias in outputs})
        left = None if deadline is None else deadline - time.monotonic()
        found = self.model.run_elsewhere(
            [inputs[alias] for alias in signature.inputs],
            lambda tensors: self.batches.run(key, wanted, tensors, left),
        )
        if found is None:
            return self.model.run(signature, inputs, outputs, deadline)
        values = dict(zip(wanted, found, strict=True))
        return [values[places[alias]] for alias in outputs]

    def open_session(self) -> OpenSession:
        """Return its session (`servables.servable.RunsInSession`)."""
        return self.model.open_session()

    def drain(self) -> None:
        """Return when everything that waits or runs is done; nothing new may come."""
        self.batches.drain()

    def close(self) -> None:
        """Let everything finish that waits or runs, and release the model."""
        self.drain()
        self.model.close()

    def _describe(self, key: str, signature: Signature) -> str | None:
        specs = (*signature.inputs.values(), *signature.outputs.values())
        if not signature.inputs or not signature.outputs or not all(spec.tensor for spec in specs):
            return None
        known = self.batches.describe(
            key,
            [
                (spec.tensor, int(spec.dtype), None if spec.shape is None else list(spec.shape))
                for spec in signature.inputs.values()
            ],
            [spec.tensor for spec in signature.outputs.values()],
            signature.key,
        )
        if known:
            self._keys[signature] = key
        return key if known else None

    def _of_one_request(self, signature: Signature) -> str | None:
        """Return the key of a signature that was made for one request, out of several of the model's own."""
        if not _joins(signature) or signature in self._lasting:
            return None
        tensors = (
            *(f"{alias}={spec.tensor}" for alias, spec in signature.inputs.items()),
            *(f">{spec.tensor}" for spec in signature.outputs.values()),
        )
        key = "\n".join(("tensors", *tensors))
        with self._lock:
            known = self._describe(key, signature)
            self._keys.pop(signature, None)  # it is never seen again
        return known

    @property
    def _lasting(self) -> set[Signature]:
        return {*self.signatures.values(), *self.example_signatures.values()}


def _joins(signature: Signature) -> bool:
    specs = (*signature.inputs.values(), *signature.outputs.values())
    return all(spec.dtype in _JOINED for spec in specs)
