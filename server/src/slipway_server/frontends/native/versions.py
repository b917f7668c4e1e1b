"""The versions that the native port may run itself, kept in step with the serving map."""

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from slipway_server.batching.native import NativeBatchedModel
from slipway_server.core.managed_version import Loader
from slipway_server.core.serving_map import Servable
from slipway_server.errors import Code, ServingError
from slipway_server.inference.checks import check_predict_method
from slipway_server.observability.telemetry import PredictCounts
from slipway_server.servables.servable import OpenSession, RunsInSession, ServedModel
from slipway_server.servables.signature import Signature

if TYPE_CHECKING:
    from slipway_server._native import NativeFront, NativeVersion

M = TypeVar("M", bound=ServedModel)

_SignatureOf = tuple[str, list[tuple[str, str, int, bool]], list[tuple[str, str]], int]


class NativeVersions:
    """Tells the native port which versions there are (`core.serving_map.ServingObserver`).

    Every version is told of, also one that only Python can run: or a request for the newest would find an older one.
    """

    def __init__(self, front: "NativeFront") -> None:
        self._front = front
        self._check_methods = False
        self._lock = threading.Lock()
        # Of what is loaded and not in the serving map yet, by the identity of its content.
        self._prepared: dict[int, NativeVersion] = {}

    def enable(self, *, check_methods: bool) -> None:
        """Let Predict be answered without Python.

        Args:
            check_methods: leave signatures to Python whose export gives them another method.
        """
        self._check_methods = check_methods
        self._front.set_hot(True)

    def bind(self, library: Path) -> None:
        """Find TensorFlow's C API in its library; before anything is loaded.

        Raises:
            ServingError: UNIMPLEMENTED; the library is not as expected.
        """
        from slipway_server._native import bind_tensorflow  # noqa: PLC0415 - whoever has a port has the module

        try:
            bind_tensorflow(str(library))
        except OSError as error:
            raise ServingError(
                Code.UNIMPLEMENTED,
                f"--front=native cannot use TensorFlow's library {library}: {error}; use --front=python",
            ) from error

    def sample(self, rates: Mapping[str, float]) -> None:
        """Leave a share of the requests of some models to Python, which logs them."""
        self._front.sample(dict(rates))

    def chance(self, others: Callable[[], float]) -> Callable[[], float]:
        """Return what draws the number by which this thread's request is sampled: the port's own, if it has drawn one.

        Args:
            others: draws that of other requests.
        """

        def draw() -> float:
            drawn = self._front.chance()
            return others() if drawn is None else drawn

        return draw

    def prepare(self, model: str, version: int, content: ServedModel) -> None:
        """Have TensorFlow prepare a loaded version for runs without Python, so that no request waits for that."""
        prepared = self._version(model, version, content)
        with self._lock:
            self._prepared[id(content)] = prepared

    def forget(self, content: ServedModel) -> None:
        """Drop a version that is not going to serve, or does not any more."""
        with self._lock:
            self._prepared.pop(id(content), None)

    def added(self, servable: Servable[ServedModel]) -> None:
        """Let a version answer requests."""
        with self._lock:
            version = self._prepared.pop(id(servable.content), None)
        if version is None:
            version = self._version(servable.model, servable.version, servable.content)
        servable.outside = version
        self._front.add(version)

    def removed(self, servable: Servable[ServedModel]) -> None:
        """Let a version answer no new request."""
        if servable.outside is not None:
            self._front.remove(servable.outside)  # type: ignore[arg-type] # it is from `added`

    def labelled(self, labels: Mapping[str, Mapping[str, int]]) -> None:
        """Replace the version labels of all models."""
        self._front.set_labels({model: dict(of) for model, of in labels.items()})

    def watch(self, registry: CollectorRegistry) -> None:
        """Show on a metrics page which way Predict calls took."""
        registry.register(_Predictions(self._front))

    def counts(self) -> list[PredictCounts]:
        """Return what was counted of requests that were answered without Python."""
        return [
            PredictCounts(model, version, signature, seconds, classic, total, runs, run_total)
            for (model, version, signature), (
                seconds,
                classic,
                total,
                runs,
                run_total,
            ) in self._front.counts()
        ]

    def _version(self, model: str, number: int, content: ServedModel) -> "NativeVersion":
        session = OpenSession(0, 0, on_caller=False, owner=None)
        if isinstance(content, RunsInSession):
            session = content.open_session()
        return self._front.version(
            model,
            number,
            session.session,
            session.graph,
            session.on_caller,
            [
                _described(signature)
                for signature in content.signatures.values()
                if self._suits(signature)
            ],
            session.owner,
            content.batches if isinstance(content, NativeBatchedModel) else None,
        )

    def _suits(self, signature: Signature) -> bool:
        """Whether a signature may be run without Python.

        A run that fails is repeated by Python, which words the error: so not one that changes the model's state.
        """
        specs = (*signature.inputs.values(), *signature.outputs.values())
        if signature.stateful or not all(spec.tensor for spec in specs):
            return False
        if self._check_methods:
            try:
                check_predict_method(signature)
            except ServingError:
                return False
        return True


def _described(signature: Signature) -> _SignatureOf:
    return (
        signature.key,
        [
            (alias, spec.tensor, int(spec.dtype), bool(spec.shape))
            for alias, spec in signature.inputs.items()
        ],
        [(alias, spec.tensor) for alias, spec in signature.outputs.items()],
        signature.rows,
    )


class _Predictions(Collector):
    def __init__(self, front: "NativeFront") -> None:
        self._front = front

    @override
    def collect(self) -> Iterator[Metric]:
        """Yield what the page shows (`prometheus_client`)."""
        family = CounterMetricFamily(
            "slipway_native_predictions",
            "Predict calls over the native gRPC port, by who answered them.",
            labels=("answered_by",),
        )
        for who, count in zip(("native", "python"), self._front.predictions(), strict=True):
            family.add_metric((who,), count)
        yield family


class NativeLoader(Generic[M]):
    """Prepares what another loader has loaded (`core.managed_version.Loader`)."""

    def __init__(self, loader: Loader[M], versions: NativeVersions) -> None:
        self._loader = loader
        self._versions = versions

    def load(self, model: str, version: int, path: str) -> M:
        """Load a version and prepare it.

        Raises:
            ServingError: as the other loader.
        """
        content = self._loader.load(model, version, path)
        self._versions.prepare(model, version, content)
        return content

    def unload(self, content: M) -> None:
        """Release what `load` returned."""
        self._versions.forget(content)
        self._loader.unload(content)
