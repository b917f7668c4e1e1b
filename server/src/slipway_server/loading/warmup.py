"""Runs a version's recorded requests before it serves: what is slow only once is slow before the first client asks.

    VERSION/assets.extra/tf_serving_warmup_requests     TFRecords of PredictionLog

The requests go through the same predictor, and through batching when that is on. What a record says about model and
version is ignored. A request that fails fails the load.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

import structlog
from google.protobuf.message import DecodeError

from slipway_server.core.managed_version import Loader
from slipway_server.core.serving_map import Servable
from slipway_server.errors import Code, ServingError, invalid_argument
from slipway_server.loading.recorded_requests import RecordedRequests
from slipway_server.servables.servable import ServedModel
from slipway_server.storage.records import read_records
from slipway_server.wire.tensorflow_serving.apis import prediction_log_pb2

REQUESTS: Final = Path("assets.extra") / "tf_serving_warmup_requests"
MAX_RECORDS: Final = 1000

M = TypeVar("M", bound=ServedModel)

_log = structlog.get_logger("slipway_server.warmup")


class WarmUpObserver(Protocol):
    """Is told of warm-ups (`observability.warmup_metrics`)."""

    def warmed_up(
        self, model: str, path: str, records: int, seconds: float, error: ServingError | None
    ) -> None:
        """Take note of one.

        Args:
            model: its name.
            path: the version's directory.
            records: how many were run.
            seconds: that all of it took.
            error: why it failed; None when it did not.
        """
        ...


@dataclass(frozen=True, slots=True)
class WarmUpRule:
    """How versions are warmed up.

    Attributes:
        iterations: how often each request is run.
        check_methods: as the predictor that serves them (`Predictor`).
    """

    iterations: int = 1
    check_methods: bool = False


class WarmUpLoader(Generic[M]):
    """Adds the warm-up to another loader's loads (`core.managed_version.Loader`).

    Args:
        observer: told of every version that has requests to run.
    """

    def __init__(
        self,
        loader: Loader[M],
        rule: WarmUpRule,
        observer: WarmUpObserver | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loader = loader
        self._rule = rule
        self._observer = observer
        self._clock = clock

    def load(self, model: str, version: int, path: str) -> M:
        """Load a version and run its warm-up requests.

        Raises:
            ServingError: what the other loader, the file or a request says.
        """
        content = self._loader.load(model, version, path)
        try:
            if (Path(path) / REQUESTS).exists():
                self._warm_up(Servable[ServedModel](model, version, content), path)
        except BaseException:
            self._loader.unload(content)
            raise
        return content

    def unload(self, content: M) -> None:
        """Release what `load` returned."""
        self._loader.unload(content)

    def _warm_up(self, servable: Servable[ServedModel], path: str) -> None:
        started = self._clock()
        records = 0
        error: ServingError | None = None
        requests = RecordedRequests(servable, check_methods=self._rule.check_methods)
        try:
            for record in read_logs(Path(path) / REQUESTS):
                for _ in range(self._rule.iterations):
                    requests.run(record)
                records += 1
                if records > MAX_RECORDS:
                    raise invalid_argument(
                        f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {Path(path) / REQUESTS}"
                    )
        except ServingError as failure:
            error = failure
            raise
        finally:
            seconds = self._clock() - started
            if self._observer is not None:
                self._observer.warmed_up(servable.model, path, records, seconds, error)
        _log.info(
            "warmed up",
            model=servable.model,
            version=servable.version,
            records=records,
            seconds=round(seconds, 3),
        )


def read_logs(path: Path) -> Iterator[prediction_log_pb2.PredictionLog]:
    """Yield the requests that a file of recorded ones has.

    Raises:
        ServingError: it cannot be read, or is no such file.
    """
    try:
        for data in read_records(path):
            yield _parsed(data, path)
    except ServingError as error:
        if error.code is not Code.DATA_LOSS:
            raise
        raise ServingError(
            Code.DATA_LOSS,
            f"{error.message}. Please verify your warmup data is in TFRecord format.",
        ) from error


def _parsed(data: bytes, path: Path) -> prediction_log_pb2.PredictionLog:
    try:
        return prediction_log_pb2.PredictionLog.FromString(data)
    except DecodeError as error:
        # What is no message may be anything; so much of it as helps to recognise it.
        excerpt = data[:64].decode("utf-8", "backslashreplace")
        raise invalid_argument(f"Failed to parse warmup record: {excerpt} from {path}") from error
