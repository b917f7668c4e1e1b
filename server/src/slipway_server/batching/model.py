"""A loaded model behind queues: the same `run`, but requests that come together run together."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np

from slipway_server.batching.assembling import check_outputs, merged
from slipway_server.batching.parameters import BatchingParameters
from slipway_server.batching.queues import Batch, Layout
from slipway_server.batching.scheduler import BatchScheduler, WaitingRequest, WorkQueue
from slipway_server.errors import invalid_argument
from slipway_server.servables.dtypes import DType
from slipway_server.servables.servable import ServedModel
from slipway_server.servables.signature import Array, Signature

# Clients choose outputs, and each choice has a queue; the first so many of a version do.
_MAX_QUEUES: Final = 64

_Key = tuple[Signature | tuple[tuple[str, str], ...], tuple[str, ...]]


class BatchObserver(Protocol):
    """Who is told of the batches of a version, on the thread that ran them."""

    def waiting(self) -> object | None:
        """Return what `ran` is to be told of the request that this thread is about to put into a queue."""
        ...

    def ran(
        self,
        signature: str,
        requests: Sequence[int],
        waits: Sequence[float],
        size: int,
        callers: Sequence[object | None],
    ) -> None:
        """Take note of a batch.

        Args:
            signature: its key.
            requests: rows of each request, or of its piece, in the batch.
            waits: seconds from each one's coming to the batch's beginning.
            size: rows that ran, those included that only filled it up.
            callers: what `waiting` returned for each request.
        """
        ...

    def ran_alone(self, signature: str, rows: int, size: int) -> None:
        """Take note of a request that ran at once and alone."""
        ...


class BatchedModel:
    """One loaded version whose requests are batched; a `ServedModel`.

    Args:
        scheduler: shared by all models.
        observer: told of each batch.
    """

    def __init__(
        self,
        model: ServedModel,
        parameters: BatchingParameters,
        scheduler: BatchScheduler,
        observer: BatchObserver,
    ) -> None:
        self.model = model
        self.signatures = model.signatures
        self.example_signatures = model.example_signatures
        self.signature_defs = model.signature_defs
        self._parameters = parameters
        self._scheduler = scheduler
        self._observer = observer
        self._lock = threading.Lock()
        self._lasting = {*model.signatures.values(), *model.example_signatures.values()}
        self._lanes: dict[_Key, _Lane] = {}

    def run(
        self,
        signature: Signature,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        deadline: float | None = None,
    ) -> list[Array]:
        """Run a signature as part of a batch.

        Raises:
            ServingError: what the model's own `run` raises; besides that INVALID_ARGUMENT when the inputs have no 0th
                dimension, different ones or too many rows, UNAVAILABLE when too much waits, FAILED_PRECONDITION when
                the outputs cannot be told apart by row or the inner shapes are not those of the batch that is open.
        """
        chosen = tuple(outputs)
        lane = self._lanes.get((signature, chosen)) or self._lane(signature, chosen)
        # What is fed partly from defaults, or is not what the signature says, runs alone: it may fail alone, too.
        if lane is None or len(inputs) != len(signature.inputs):
            return self.model.run(signature, inputs, outputs, deadline)
        rows = _rows(inputs)
        if not lane.fits(inputs):
            return self.model.run(signature, inputs, outputs, deadline)
        if (began := self._scheduler.enter(lane.queue, rows)) is not None:
            try:
                return lane.run_alone(inputs, rows, deadline)
            finally:
                self._scheduler.leave(lane.queue, rows, began)
        request = _BatchedRequest(rows, lane.layout(inputs), deadline, inputs)
        request.caller = self._observer.waiting()
        self._scheduler.run(lane.queue, request)
        return request.answer()

    def drain(self) -> None:
        """Return when everything that waits or runs is done."""
        for lane in tuple(self._lanes.values()):
            self._scheduler.drain(lane.queue)

    def close(self) -> None:
        """Let everything finish that waits or runs, and release the model."""
        self.drain()
        self.model.close()

    def _lane(self, signature: Signature, outputs: tuple[str, ...]) -> "_Lane | None":
        key: _Key = (signature, outputs)
        if signature not in self._lasting:
            # Made for one request, out of several of the model's own: what it feeds and fetches is what counts.
            key = (
                tuple((alias, spec.tensor) for alias, spec in signature.inputs.items()),
                tuple(signature.outputs[alias].tensor for alias in outputs),
            )
        with self._lock:
            if key not in self._lanes and len(self._lanes) < _MAX_QUEUES:
                self._lanes[key] = _Lane(
                    signature, outputs, self._parameters, self.model, self._observer
                )
            return self._lanes.get(key)


class _BatchedRequest(WaitingRequest):
    """A request with its tensors.

    Attributes:
        parts: the answers of its pieces, each with its first row.
        caller: what the observer wants to be told of it.
    """

    __slots__ = ("caller", "inputs", "parts")

    def __init__(
        self, rows: int, layout: Layout, deadline: float | None, inputs: Mapping[str, Array]
    ) -> None:
        super().__init__(rows, layout, deadline)
        self.inputs = inputs
        self.parts: list[tuple[int, list[Array]]] = []
        self.caller: object | None = None

    def answer(self) -> list[Array]:
        if len(self.parts) == 1:
            return self.parts[0][1]
        ordered = [values for _, values in sorted(self.parts, key=lambda part: part[0])]
        return [np.concatenate(values) for values in zip(*ordered, strict=True)]


class _Lane:
    """One signature with one choice of outputs: what may run together."""

    def __init__(
        self,
        signature: Signature,
        outputs: tuple[str, ...],
        parameters: BatchingParameters,
        model: ServedModel,
        observer: BatchObserver,
    ) -> None:
        self._signature = signature
        self._outputs = outputs
        self._parameters = parameters
        self._model = model
        self._observer = observer
        self.queue = WorkQueue(parameters, self._work)
        self._checks = [
            _Check(alias, spec.tensor, spec.dtype, spec.shape)
            for alias, spec in signature.inputs.items()
        ]

    def fits(self, inputs: Mapping[str, Array]) -> bool:
        """Whether the inputs are what the signature says."""
        for check in self._checks:  # noqa: SIM110 - quicker than a generator
            if not check.fits(inputs[check.alias]):
                return False
        return True

    def layout(self, inputs: Mapping[str, Array]) -> Layout:
        """Return the inner shapes in which requests must agree to run in one batch."""
        layout: list[tuple[str, tuple[int, ...]]] = []
        for check in self._checks:
            if check.open:
                inner = inputs[check.alias].shape[1:]
                if self._parameters.pad_variable_length_inputs:
                    inner = (len(inner),)
                layout.append((check.tensor, inner))
        return tuple(layout)

    def run_alone(
        self, inputs: Mapping[str, Array], rows: int, deadline: float | None
    ) -> list[Array]:
        size = self._parameters.allowed(rows) if rows else 0
        if size > rows:
            inputs = merged([inputs], self._signature.inputs, size - rows)
        values = self._model.run(self._signature, inputs, self._outputs, deadline)
        check_outputs(values, size)
        self._observer.ran_alone(self._signature.key, rows, size)
        return [value[:rows] for value in values] if size > rows else values

    def _work(self, batch: Batch) -> None:
        pieces = [(piece.request, piece) for piece in batch.pieces]
        parts = [_part(request, piece.start, piece.rows) for request, piece in pieces]
        size = self._parameters.allowed(batch.rows) if batch.rows else 0
        surplus = size - batch.rows
        inputs = (
            parts[0]
            if len(parts) == 1 and not surplus
            else merged(parts, self._signature.inputs, surplus)
        )
        values = self._model.run(self._signature, inputs, self._outputs)
        check_outputs(values, size)
        if len(pieces) == 1 and not surplus:
            _answer(*pieces[0], values)
        else:
            row = 0
            for request, piece in pieces:
                end = row + piece.rows
                _answer(request, piece, [value[row:end] for value in values])
                row = end
        self._observer.ran(
            self._signature.key,
            [piece.rows for piece in batch.pieces],
            [batch.began - piece.request.arrived for piece in batch.pieces],
            size,
            [_caller(piece.request) for piece in batch.pieces],
        )


class _Check:
    """What the signature says of one input.

    Attributes:
        open: whether its inner shape may differ from request to request.
    """

    __slots__ = ("_dtype", "_inner", "_rank", "_rows_are_fixed", "alias", "open", "tensor")

    def __init__(
        self, alias: str, tensor: str, dtype: DType, shape: tuple[int, ...] | None
    ) -> None:
        self.alias = alias
        self.tensor = tensor
        self._dtype = dtype.numpy
        self._rank = None if shape is None else len(shape)
        self._inner = () if shape is None else shape[1:]
        # A model made for so many rows and no others cannot run several requests at once.
        self._rows_are_fixed = shape is not None and shape[:1] not in {(), (-1,)}
        self.open = shape is None or -1 in self._inner

    def fits(self, value: Array) -> bool:
        if value.dtype != self._dtype or self._rows_are_fixed:
            return False
        if self._rank is None:
            return True
        if value.ndim != self._rank:
            return False
        inner = value.shape[1:]
        return inner == self._inner or all(
            wanted in {-1, size} for wanted, size in zip(self._inner, inner, strict=True)
        )


def _rows(inputs: Mapping[str, Array]) -> int:
    rows = -1
    for value in inputs.values():
        if not value.ndim:
            raise invalid_argument("Batching Run() input tensors must have at least one dimension")
        if rows not in {-1, len(value)}:
            raise invalid_argument(
                "Batching Run() input tensors must have equal 0th-dimension size"
            )
        rows = len(value)
    if rows < 0:
        raise invalid_argument("Batching Run() must have at least one input tensor")
    return rows


def _part(request: Any, start: int, rows: int) -> Mapping[str, Array]:
    inputs: Mapping[str, Array] = request.inputs
    if rows == request.rows:
        return inputs
    return {alias: value[start : start + rows] for alias, value in inputs.items()}


def _answer(request: Any, piece: Any, values: list[Array]) -> None:
    request.parts.append((piece.start, values))


def _caller(request: Any) -> object | None:
    caller: object | None = request.caller
    return caller
