"""A loaded model: a TensorFlow session and its signatures, called on the caller's own thread.

The default `Session::Run` hands the work to TensorFlow's inter-op pool and waits for it. For models of serving size the
hand-over costs more than the work, so it is asked not to, unless told otherwise: the operations run one after the other
on the thread that asked, while each of them may still use the intra-op pool.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tensorflow.core.protobuf import meta_graph_pb2

from slipway_server.errors import Code, ServingError, deadline_exceeded
from slipway_server.servables.servable import OpenSession, Ran
from slipway_server.servables.signature import Array, Signature, TensorSpec
from slipway_server.servables.tensorflow.c_api.session import Call, Session
from slipway_server.servables.tensorflow.c_api.tensors import (
    delete_all,
    strings_array,
    to_array,
    to_tensor,
)
from slipway_server.servables.tensorflow.failures import as_run_error

# A client may ask for any subset of the outputs, and TensorFlow keeps a compiled graph for each that it ever ran.
_MAX_CALLS_PER_SIGNATURE: Final = 16

_Run = Callable[..., list[Array]]
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
        session: Session,
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
        self._on_caller = on_caller
        self._lock = threading.Lock()
        self._lasting = frozenset({*signatures.values(), *self.example_signatures.values()})
        self._calls: dict[tuple[Signature, tuple[str, ...]], _Run] = {}
        self._by_tensors: dict[tuple[_Tensors, _Tensors], Call] = {}

    def prepare(self, signature: Signature) -> None:
        """Find a signature's tensors in the graph. TensorFlow compiles what a run needs when it is first run.

        Raises:
            ServingError: the graph has no such tensor.
        """
        self._call(signature, tuple(signature.outputs))

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
            deadline: seconds on `time.monotonic`, after which nothing is begun. A run that has begun is finished, for
                on its caller's thread nothing can stop it.

        Returns:
            One array for each of `outputs`, perhaps read-only; strings are arrays of `bytes` objects.

        Raises:
            ServingError: DEADLINE_EXCEEDED, or TensorFlow's code and message; a `ModelFaultError` for what is wrong
                whatever the request.
        """
        run = self._call(signature, tuple(outputs))
        if len(inputs) == len(signature.inputs):
            feeds = [inputs[alias] for alias in signature.inputs]
        else:
            values = {**signature.defaults, **inputs}
            feeds = [values[alias] for alias in signature.inputs]
        if deadline is not None and time.monotonic() >= deadline:
            raise deadline_exceeded()
        try:
            return run(*feeds)
        except Exception as error:
            found = as_run_error(error, self._directory)
            if found is None or found is error:
                del found  # else this frame and the error would keep each other, and the request
                raise
            try:
                raise found from error
            finally:
                del found  # likewise

    def open_session(self) -> OpenSession:
        """Return where the session is (`servable.RunsInSession`)."""
        session = self._session
        return OpenSession(
            session.pointer, session.graph.pointer, on_caller=self._on_caller, owner=session
        )

    def run_elsewhere(
        self, inputs: Sequence[Array], run: Callable[[list[int]], Ran]
    ) -> list[Array] | None:
        """Let `run` take tensors over and return what it makes of them (`servable.RunsElsewhere`).

        Raises:
            ServingError: as `run` of this version.
        """
        tensors: list[int] = []
        try:
            for value in inputs:
                tensors.append(to_tensor(value))  # noqa: PERF401 - those before one that fails are deleted
        except BaseException:
            delete_all(tensors)
            raise
        found = run(tensors)
        if isinstance(found, tuple):
            code, message = found
            error = ServingError(Code(code), message)
            raise as_run_error(error, self._directory) or error
        if found is None:
            return None
        return [
            to_array(value) if isinstance(value, int) else strings_array(*value) for value in found
        ]

    def close(self) -> None:
        """Cancel what runs, refuse what comes, and release the session once nothing runs any more."""
        self._calls.clear()
        self._by_tensors.clear()
        self._session.close()

    def _call(self, signature: Signature, outputs: tuple[str, ...]) -> _Run:
        key = (signature, outputs)
        found = self._calls.get(key)
        if found is not None:
            return found
        feeds = _tensors(signature, signature.inputs, tuple(signature.inputs))
        fetches = _tensors(signature, signature.outputs, outputs)
        with self._lock:
            found = self._of_tensors(feeds, fetches)
            # A signature that was made for one call is never seen again.
            if signature in self._lasting and len(self._calls) < self._room:
                self._calls[key] = found
        return found

    @property
    def _room(self) -> int:
        return _MAX_CALLS_PER_SIGNATURE * len(self._lasting)

    def _of_tensors(self, feeds: _Tensors, fetches: _Tensors) -> _Run:
        known = self._by_tensors.get((feeds, fetches))
        if known is not None:
            return known
        if len(self._by_tensors) < self._room:
            return self._add(feeds, fetches)
        return self._composed(feeds, fetches) or self._add(feeds, fetches)

    def _add(self, feeds: _Tensors, fetches: _Tensors) -> Call:
        call = Call(self._session, feeds, fetches, on_caller=self._on_caller)
        self._by_tensors[feeds, fetches] = call
        return call

    def _composed(self, feeds: _Tensors, fetches: _Tensors) -> _Run | None:
        """Return a run of whole signatures that yields some tensors; None when there are no such signatures.

        It computes more than was asked for, and keeps nothing that is not there already.
        """
        runs: list[tuple[Call, tuple[int, ...]]] = []
        places: dict[str, tuple[int, int]] = {}
        wanted = {*fetches}
        for signature in sorted(
            (*self.signatures.values(), *self.example_signatures.values()),
            key=lambda one: len(wanted.intersection(spec.tensor for spec in one.outputs.values())),
            reverse=True,
        ):
            own_feeds, own_fetches = (
                tuple(spec.tensor for spec in specs.values())
                for specs in (signature.inputs, signature.outputs)
            )
            call = self._by_tensors.get((own_feeds, own_fetches))
            if call is None or not set(own_feeds) <= set(feeds):
                continue
            if not wanted.isdisjoint({*own_fetches} - places.keys()):
                for place, tensor in enumerate(own_fetches):
                    places.setdefault(tensor, (len(runs), place))
                runs.append((call, tuple(feeds.index(tensor) for tensor in own_feeds)))
        if not wanted <= places.keys():
            return None
        chosen = [places[tensor] for tensor in fetches]

        def run(*values: Array) -> list[Array]:
            answers = [call(*(values[index] for index in indices)) for call, indices in runs]
            return [answers[which][place] for which, place in chosen]

        return run


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
