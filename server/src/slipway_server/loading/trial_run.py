"""Runs each signature of a version once before it serves: AVAILABLE means that it has answered.

The inputs are zeros, empty strings and defaults, with one element where a dimension is open. What fails because of
these values is a warning, for requests bring others. What no request can change (a variable or table without a value,
an operation without a kernel) fails the load, and the version that serves stays.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import numpy as np
import structlog

from slipway_server.core.managed_version import Loader
from slipway_server.errors import Code, ModelFaultError, ServingError
from slipway_server.servables.servable import ServedModel
from slipway_server.servables.signature import Array, Signature, TensorSpec

M = TypeVar("M", bound=ServedModel)

SECONDS: Final = 30.0
"""For all signatures of a version together; a slower one serves without having answered."""
MAX_ELEMENTS: Final = 1 << 24
"""Of the inputs of one run; a signature that takes more is not tried."""

_log: Final = structlog.get_logger("slipway_server.trial_run")


class TrialRunLoader(Generic[M]):
    """Adds the trial run to another loader's loads (`core.managed_version.Loader`).

    Args:
        seconds: that the runs of a version may take in all.
    """

    def __init__(
        self,
        loader: Loader[M],
        seconds: float = SECONDS,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loader = loader
        self._seconds = seconds
        self._clock = clock

    def load(self, model: str, version: int, path: str) -> M:
        """Load a version and run its signatures.

        Raises:
            ServingError: what the other loader says; FAILED_PRECONDITION when a signature can answer no request.
        """
        content = self._loader.load(model, version, path)
        try:
            self._try_all(model, version, content)
        except BaseException:
            self._loader.unload(content)
            raise
        return content

    def unload(self, content: M) -> None:
        """Release what `load` returned."""
        self._loader.unload(content)

    def _try_all(self, model: str, version: int, content: M) -> None:
        end = self._clock() + self._seconds
        log = _log.bind(model=model, version=version)
        for signature in (*content.signatures.values(), *content.example_signatures.values()):
            inputs = trial_inputs(signature)
            if inputs is None:
                continue
            run = _Run(content, signature, inputs)
            if not run.ended_within(end - self._clock()):
                log.warning("trial run not over; served all the same", signature=signature.key)
                return
            match run.error:
                case None:
                    continue
                case ModelFaultError() as fault:
                    raise ServingError(
                        Code.FAILED_PRECONDITION,
                        f'Signature "{signature.key}" of version {version} of model {model} can answer no request: '
                        f"{fault.message} (found by a trial run; --trial_run=false loads the version without)",
                    )
                case error:
                    log.warning("trial run failed", signature=signature.key, error=str(error))


def trial_inputs(signature: Signature) -> dict[str, Array] | None:
    """Return the inputs of a trial run, or None for a signature that is not tried.

    Those are the ones that change the model's state, and whose inputs can be of any rank, of no type that a request
    can bring, or large.
    """
    if signature.stateful:
        return None
    elements = 0
    inputs: dict[str, Array] = {}
    for alias, spec in signature.inputs.items():
        if alias in signature.defaults:
            continue
        shape = _shape(spec)
        if shape is None or spec.dtype.numpy is None:
            return None
        elements += int(np.prod(shape, dtype=object))
        if elements > MAX_ELEMENTS:
            return None
        inputs[alias] = _empty(shape, spec.dtype.numpy)
    return inputs


def _shape(spec: TensorSpec) -> tuple[int, ...] | None:
    if spec.shape is None:
        return None
    return tuple(1 if size < 0 else size for size in spec.shape)


def _empty(shape: tuple[int, ...], kind: np.dtype[Any]) -> Array:
    return np.full(shape, b"", kind) if kind.hasobject else np.zeros(shape, kind)


class _Run:
    """One run, on a thread of its own: native code cannot be stopped, but it need not be waited for."""

    def __init__(
        self, content: ServedModel, signature: Signature, inputs: dict[str, Array]
    ) -> None:
        self.error: Exception | None = None
        self._thread = threading.Thread(
            target=self._run,
            args=(content, signature, inputs),
            name=f"trial-run-{signature.key}",
            daemon=True,
        )
        self._thread.start()

    def ended_within(self, seconds: float) -> bool:
        self._thread.join(max(seconds, 0))
        return not self._thread.is_alive()

    def _run(self, content: ServedModel, signature: Signature, inputs: dict[str, Array]) -> None:
        try:
            content.run(signature, inputs, tuple(signature.outputs))
        except Exception as error:  # noqa: BLE001 - told on the thread that waits
            # Without what hangs on it: its frames hold this object, and the model.
            error.__cause__ = error.__context__ = None
            self.error = error.with_traceback(None)
