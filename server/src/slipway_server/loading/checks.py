"""Runs a version's checks before it serves: recorded requests whose answers are known.

    VERSION/assets.extra/slipway_checks     a JSON object on each line

    {"name": "sum",
     "request": {"predict_log": {"request": {"inputs": {"x": {"dtype": "DT_FLOAT", ...}}}}},
     "outputs": {"y": {"value": {"dtype": "DT_FLOAT", ...}, "absolute": 1e-05, "relative": 0.001}}}

`request` is a PredictionLog and `value` a TensorProto, both as JSON. The requests go the way of the warm-up's.
A version that answers otherwise is not served. `recording` writes such files.
"""

import math
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import orjson
import structlog
from google.protobuf import json_format
from tensorflow.core.framework import tensor_pb2

from slipway_server.core.managed_version import Loader
from slipway_server.core.serving_map import Servable
from slipway_server.errors import Code, ModelFaultError, ServingError, invalid_argument
from slipway_server.loading.comparison import Tolerance, difference
from slipway_server.loading.recorded_requests import RecordedRequests
from slipway_server.servables.servable import ServedModel
from slipway_server.servables.signature import Array
from slipway_server.servables.tensorflow.c_api.tensors import from_proto
from slipway_server.wire.tensorflow_serving.apis import prediction_log_pb2

CHECKS: Final = Path("assets.extra") / "slipway_checks"
MAX_BYTES: Final = 64 << 20
MAX_CHECKS: Final = 1000
MAX_ELEMENTS: Final = 1 << 24
"""Of a tensor, which may say that it has more values than it brings."""
MAX_NAME: Final = 100
SECONDS: Final = 300.0
"""For all checks of a version together; no other is begun later."""

M = TypeVar("M", bound=ServedModel)

_log: Final = structlog.get_logger("slipway_server.checks")


@dataclass(frozen=True, slots=True)
class ExpectedOutput:
    """What an output should be."""

    value: Array
    tolerance: Tolerance


@dataclass(frozen=True, slots=True)
class Check:
    """A request and its answer.

    Attributes:
        outputs: by the names of `RecordedRequests.run`; an answer may have others besides.
    """

    name: str
    request: prediction_log_pb2.PredictionLog
    outputs: Mapping[str, ExpectedOutput]


class CheckLoader(Generic[M]):
    """Adds the checks to another loader's loads (`core.managed_version.Loader`).

    Args:
        check_methods: as the predictor that serves (`Predictor`).
    """

    def __init__(
        self,
        loader: Loader[M],
        *,
        check_methods: bool = False,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loader = loader
        self._check_methods = check_methods
        self._seconds = seconds
        self._clock = clock

    def load(self, model: str, version: int, path: str) -> M:
        """Load a version and run its checks.

        Raises:
            ServingError: what the other loader says; FAILED_PRECONDITION for an answer that is another, or when the
                checks take too long; INVALID_ARGUMENT for a file that holds no checks.
        """
        content = self._loader.load(model, version, path)
        try:
            file = Path(path) / CHECKS
            if file.exists() or file.is_symlink():
                self._check(Servable[ServedModel](model, version, content), file)
        except BaseException:
            self._loader.unload(content)
            raise
        return content

    def unload(self, content: M) -> None:
        """Release what `load` returned."""
        self._loader.unload(content)

    def _check(self, servable: Servable[ServedModel], file: Path) -> None:
        started = self._clock()
        requests = RecordedRequests(servable, check_methods=self._check_methods)
        whose = f"version {servable.version} of model {servable.model}"
        passed = 0
        for check in read_checks(file):
            if self._clock() - started > self._seconds:
                raise ServingError(
                    Code.FAILED_PRECONDITION,
                    f"The checks in {CHECKS} of {whose} are not over after {self._seconds:g} s ({passed} have passed): "
                    "leave some out (--checks=false loads the version without)",
                )
            run_check(check, requests, whose)
            passed += 1
        seconds = round(self._clock() - started, 3)
        _log.info(
            "checked",
            model=servable.model,
            version=servable.version,
            checks=passed,
            seconds=seconds,
        )


def run_check(check: Check, requests: RecordedRequests, whose: str) -> None:
    """Run one check.

    Args:
        check: the request and its answer.
        requests: of the version.
        whose: the version, for the sentence.

    Raises:
        ServingError: FAILED_PRECONDITION when the answer is another, or the request's own code when it fails.
    """
    try:
        answer = requests.run(check.request)
    except ServingError as error:
        code = Code.FAILED_PRECONDITION if isinstance(error, ModelFaultError) else error.code
        raise ServingError(
            code, f'Check "{check.name}" of {whose} failed: {error.message}{_HINT}'
        ) from error
    for name, expected in check.outputs.items():
        got = answer.get(name)
        wrong = (
            f"is not there (there are {', '.join(sorted(answer)) or 'none'})"
            if got is None
            else difference(expected.value, got, expected.tolerance)
        )
        if wrong:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f'Check "{check.name}" of {whose} failed: output "{name}" {wrong}{_HINT}',
            )


_HINT: Final = f" ({CHECKS}; correct the check if this answer is right, or load the version with --checks=false)"


def read_checks(file: Path) -> Iterator[Check]:
    """Yield the checks of a file, in order.

    Raises:
        ServingError: INVALID_ARGUMENT with the file's name and the line where it is none; UNAVAILABLE when the file
            cannot be read.
    """
    names: set[str] = set()
    for number, line in enumerate(_content(file).split(b"\n"), 1):
        if not line.strip():
            continue
        if len(names) == MAX_CHECKS:
            raise invalid_argument(f"{file} has more than {MAX_CHECKS} checks: leave some out")
        try:
            check = parse_check(line, f"line {number}")
            if check.name in names:
                raise invalid_argument(f'"{check.name}" is the name of an earlier check, too')
        except ServingError as error:
            raise invalid_argument(
                f"{file} is broken: line {number}: {error.message}; correct it, or remove the file"
            ) from error
        names.add(check.name)
        yield check
    if not names:
        raise invalid_argument(f"{file} has no checks: write some, or remove the file")


def _content(file: Path) -> bytes:
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):  # Others may never end.
            raise invalid_argument(f"{file} is no regular file: replace or remove it")
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise invalid_argument(f"{file} is a link to nothing: replace or remove it") from error
    except OSError as error:
        raise ServingError(Code.UNAVAILABLE, f"{file}; {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise invalid_argument(
            f"{file} has more than {MAX_BYTES >> 20} MiB: leave out some checks, or outputs of them"
        )
    return content


def parse_check(line: bytes, name: str) -> Check:
    """Return the check of a line.

    Args:
        line: one JSON object.
        name: of a check that has none of its own.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise invalid_argument(f"it is no JSON ({error})") from error
    fields = _object(found, {"name", "request", "outputs"}, "it")
    called: Any = fields.get("name", name)
    if not isinstance(called, str) or not 0 < len(called) <= MAX_NAME:
        raise invalid_argument(f'"name" must be a string of 1 to {MAX_NAME} characters')
    request = _message(
        fields.get("request"), prediction_log_pb2.PredictionLog(), '"request"', "PredictionLog"
    )
    if request.WhichOneof("log_type") is None:
        raise invalid_argument('"request" is an empty PredictionLog')
    for alias, tensor in request.predict_log.request.inputs.items():
        _check_size(tensor, f'input "{alias}"')
    outputs = fields.get("outputs")
    if not isinstance(outputs, dict) or not outputs:
        raise invalid_argument('"outputs" must be an object with an output or more')
    return Check(called, request, {alias: _output(alias, one) for alias, one in outputs.items()})


def _output(alias: str, found: Any) -> ExpectedOutput:
    what = f'output "{alias}"'
    fields = _object(found, {"value", "absolute", "relative"}, what)
    proto = _message(
        fields.get("value"), tensor_pb2.TensorProto(), f'"value" of {what}', "TensorProto"
    )
    _check_size(proto, what)
    try:
        value = from_proto(proto)
    except ServingError as error:
        raise invalid_argument(f"the value of {what} is no tensor ({error.message})") from error
    tolerances = [fields.get(key, 0) for key in ("absolute", "relative")]
    for one in tolerances:
        if isinstance(one, bool) or not isinstance(one, int | float) or not _is_tolerance(one):
            raise invalid_argument(
                f'"absolute" and "relative" of {what} must be numbers from 0 on, not {str(one)[:40]}'
            )
    return ExpectedOutput(value, Tolerance(*map(float, tolerances)))


def _is_tolerance(value: float) -> bool:
    return math.isfinite(value) and value >= 0


def _object(found: Any, known: set[str], what: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise invalid_argument(f"{what} must be a JSON object")
    if others := sorted(found.keys() - known):
        raise invalid_argument(
            f'{what} has "{others[0][:40]}", which this release does not know (it knows {", ".join(sorted(known))})'
        )
    return found


def _message(found: Any, message: Any, what: str, kind: str) -> Any:
    if not isinstance(found, dict):
        raise invalid_argument(f"{what} must be a {kind} as a JSON object")
    try:
        return json_format.ParseDict(found, message)
    except (json_format.ParseError, ValueError, TypeError, RecursionError) as error:
        raise invalid_argument(f"{what} is no {kind} ({str(error)[:200]})") from error


def _check_size(tensor: tensor_pb2.TensorProto, what: str) -> None:
    count = 1
    for dimension in tensor.tensor_shape.dim:
        count *= max(dimension.size, 0)
    if count > MAX_ELEMENTS:
        raise invalid_argument(f"{what} has {count} values, more than {MAX_ELEMENTS}")
