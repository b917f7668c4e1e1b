"""A loaded model: a TensorFlow session and its signatures, called on the caller's own thread.

The default `Session.run` hands the work to TensorFlow's inter-op pool and waits for it. For models of serving size the
hand-over costs more than the work, so each signature is compiled once into a callable, unless asked otherwise with
`inter_op_thread_pool = -1`: the operations run one after the other on the thread that asked, while each of them may
still use the intra-op pool.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from slipway_server.errors import Code, ServingError, deadline_exceeded
from slipway_server.servables.servable import OpenSession
from slipway_server.servables.signature import Array, Signature, TensorSpec
from slipway_server.servables.tensorflow.failures import as_run_error
from slipway_server.servables.tensorflow.session import GraphSession

_RUN_ON_CALLER: Final = -1
_SESSION_POOL: Final = 0
# A client may ask for any subset of the outputs; only so many subsets get a callable of their own.
_MAX_CALLABLES_PER_SIGNATURE: Final = 16

_Callable = Callable[..., Sequence[Any]]
_Tensors = tuple[str, ...]


class SessionModel:
    """One loaded version.

    Attributes:
        signatures: by key.
        signature_defs: the same as TensorFlow's messages, for the metadata API.
        example_signatures: signatures that Classify and Regress use in place of `signatures` of the same key.

    Args:
        on_caller: run operations on the thread that asks; otherwise on TensorFlow's inter-op pool, which takes longer
            to begin and works on a graph's branches side by side.
        directory: of the version, which no client is told.
    """

    def __init__(
        self,
        session: GraphSession,
        signatures: Mapping[str, Signature],
        signature_defs: Mapping[str, meta_graph_pb2.SignatureDef],
        example_signatures: Mapping[str, Signature] | None = None,
        *,
        on_caller: bool = True,
        directory: str = "",
    ) -> None:
        self.signatures = signatures
        self.signature_defs = signature_defs
        self.example_signatures = example_signatures or {}
        self._session = session
        self._directory = directory
        self._inter_op_pool = _RUN_ON_CALLER if on_caller else _SESSION_POOL
        self._lock = threading.Lock()
        self._lasting = frozenset({*signatures.values(), *self.example_signatures.values()})
        self._callables: dict[tuple[Signature, tuple[str, ...]], _Callable] = {}
        self._by_tensors: dict[tuple[_Tensors, _Tensors], _Callable] = {}

    def prepare(self, signature: Signature) -> None:
        """Compile a signature with all its outputs, so that the first request does not wait for that."""
        self._callable(signature, tuple(signature.outputs))

    def run(
        self,
        signature: Signature,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        deadline: float | None = None,
    ) -> list[Array]:
        """Run a signature.

        Args:
            signature: one of `signatures`, or one made of the graph's tensors for this call.
            inputs: alias → value; exactly the signature's aliases, those with a default may be missing.
            outputs: aliases of the signature's outputs.
            deadline: seconds on `time.monotonic`, after which nothing is begun. A run that has begun is finished: the
                options of a compiled callable, its timeout among them, are the same for every call.

        Returns:
            One array for each of `outputs`; strings are arrays of `bytes` objects.

        Raises:
            ServingError: DEADLINE_EXCEEDED, or TensorFlow's code and message; a `ModelFaultError` for what is wrong
                whatever the request.
        """
        run = self._callable(signature, tuple(outputs))
        if len(inputs) == len(signature.inputs):
            feeds = [inputs[alias] for alias in signature.inputs]
        else:
            values = {**signature.defaults, **inputs}
            feeds = [values[alias] for alias in signature.inputs]
        if deadline is not None and time.monotonic() >= deadline:
            raise deadline_exceeded()
        try:
            return [
                value if isinstance(value, np.ndarray) else _scalar(value) for value in run(*feeds)
            ]
        except Exception as error:
            found = as_run_error(error, self._directory)
            if found is None:
                raise
            try:
                raise found from error
            finally:
                del found  # else this frame and the error would keep each other, and the request

    def open_session(self) -> OpenSession | None:
        """Return where the session is (`servable.RunsInSession`)."""
        addresses = self._session.addresses()
        if addresses is None:
            return None
        on_caller = self._inter_op_pool == _RUN_ON_CALLER
        return OpenSession(*addresses, on_caller=on_caller, owner=self._session)

    def close(self) -> None:
        """Release the session and everything it holds."""
        self._callables.clear()
        self._by_tensors.clear()
        self._session.close()

    def _callable(self, signature: Signature, outputs: tuple[str, ...]) -> _Callable:
        key = (signature, outputs)
        found = self._callables.get(key)
        if found is not None:
            return found
        feeds = _tensors(signature, signature.inputs, tuple(signature.inputs))
        fetches = _tensors(signature, signature.outputs, outputs)
        with self._lock:
            found = self._by_tensors.get((feeds, fetches)) or self._compile(feeds, fetches)
            room = _MAX_CALLABLES_PER_SIGNATURE * len(self._lasting)
            if len(self._by_tensors) < room:
                self._by_tensors[feeds, fetches] = found
            kinds = [signature.outputs[alias].dtype for alias in outputs]
            if any(kind.quantized for kind in kinds):
                found = _naming(found, [kind.numpy if kind.quantized else None for kind in kinds])
            # A signature that was made for one call is never seen again.
            if signature in self._lasting and len(self._callables) < room:
                self._callables[key] = found
        return found

    def _compile(self, feeds: _Tensors, fetches: _Tensors) -> _Callable:
        options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
        options.run_options.inter_op_thread_pool = self._inter_op_pool
        try:
            return self._session.compile(options)
        except Exception as error:
            if found := as_run_error(error, self._directory):
                raise found from error
            raise


def _tensors(
    signature: Signature, specs: Mapping[str, TensorSpec], aliases: tuple[str, ...]
) -> _Tensors:
    for alias in aliases:
        if not specs[alias].tensor:
            raise ServingError(
                Code.UNIMPLEMENTED,
                f'Tensor "{alias}" of signature "{signature.key}" has no name in the graph',
            )
    return tuple(specs[alias].tensor for alias in aliases)


def _scalar(value: Any) -> Array:
    """Return as an array what TensorFlow returns bare: a tensor of no dimensions."""
    return np.array(value, object if isinstance(value, bytes) else None)


def _naming(compiled: _Callable, kinds: Sequence[np.dtype[Any] | None]) -> _Callable:
    """Give quantized outputs their element type back: TensorFlow returns them as plain integers."""

    def run(*feeds: Array) -> Sequence[Array]:
        values = compiled(*feeds)
        return [
            value if kind is None else np.asarray(value).view(kind)
            for value, kind in zip(values, kinds, strict=True)
        ]

    return run
