"""Runs requests and writes down what is answered, as the lines of a file of checks."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
from google.protobuf import json_format
from tensorflow.core.framework import tensor_pb2

from slipway_server.errors import Code, ServingError, invalid_argument
from slipway_server.frontends.codec.tensors import write_tensor
from slipway_server.frontends.codec.value_fields import TensorError
from slipway_server.loading.checks import CHECKS, MAX_BYTES, MAX_CHECKS, parse_check
from slipway_server.loading.comparison import Tolerance, difference
from slipway_server.loading.recorded_requests import RecordedRequests
from slipway_server.recording.errors import RefusedError
from slipway_server.recording.requests import Request
from slipway_server.recording.tolerances import Tolerances
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Array

_READABLE: Final = 16
"""Numbers of a tensor up to which they are written as such; more of them as base64."""


class Recorder:
    """Records checks of one version.

    Args:
        requests: runs them on it.
        tolerances: of its outputs.
        left_out: outputs that are not recorded.
    """

    def __init__(
        self, requests: RecordedRequests, tolerances: Tolerances, left_out: frozenset[str]
    ) -> None:
        self._requests = requests
        self._tolerances = tolerances
        self._left_out = left_out

    def record(self, requests: Iterable[Request]) -> list[bytes]:
        """Run each request twice, first all of them and then all again, and return a line for each.

        Raises:
            ServingError: what `requests` raises, or INVALID_ARGUMENT for options that do not fit them; `RefusedError`
                when a request fails, or is answered otherwise the second time.
        """
        lines: list[bytes] = []
        seen: set[str] = set()
        size = 0
        for request in requests:
            if len(lines) == MAX_CHECKS:
                raise invalid_argument(
                    f"There are more than {MAX_CHECKS} requests, and {CHECKS} may have no more: leave some out"
                )
            answer = self._run(request)
            seen |= answer.keys()
            lines.append(self._line(request, answer))
            size += len(lines[-1]) + 1
            if size > MAX_BYTES:
                raise invalid_argument(
                    f"The answers up to {request.name} need more than {MAX_BYTES >> 20} MiB, and {CHECKS} may have no "
                    "more: leave some requests out, or outputs with --without_output=OUTPUT"
                )
        if not lines:
            raise invalid_argument("There are no requests in the file: add one")
        self._check_names(seen)
        self._run_again(lines)
        return lines

    def _run(self, request: Request) -> dict[str, Array]:
        try:
            answer = self._requests.run(request.log)
        except ServingError as error:
            raise RefusedError(
                error.code, f"The request of {request.name} failed: {error.message}"
            ) from error
        if not answer:
            raise invalid_argument(f"There is no request in {request.name}: leave it out")
        return answer

    def _line(self, request: Request, answer: Mapping[str, Array]) -> bytes:
        outputs = {
            alias: _output(alias, value, self._tolerances.of(alias, DType.of_array(value)))
            for alias, value in answer.items()
            if alias not in self._left_out
        }
        if not outputs:
            raise invalid_argument(
                f"All outputs of {request.name} are left out ({', '.join(sorted(answer))}): leave the request out"
            )
        line = orjson.dumps(
            {"name": request.name, "request": _as_json(_request_alone(request)), "outputs": outputs}
        )
        try:
            parse_check(line, request.name)
        except ServingError as error:
            raise RefusedError(
                error.code, f"The answer to {request.name} cannot be a check: {error.message}"
            ) from error
        return line

    def _check_names(self, seen: set[str]) -> None:
        if others := sorted((self._tolerances.outputs | self._left_out) - seen):
            raise invalid_argument(
                f'No request has an output "{others[0]}": there are {", ".join(sorted(seen))}'
            )

    def _run_again(self, lines: Iterable[bytes]) -> None:
        """Run what was written down, as the server will: this also finds what an earlier request has changed."""
        first = ""
        differing: dict[str, bool] = {}
        for line in lines:
            check = parse_check(line, "")
            answer = self._run(Request(check.name, check.request))
            for alias, expected in check.outputs.items():
                got = answer.get(alias)
                wrong = (
                    "is not there"
                    if got is None
                    else difference(expected.value, got, expected.tolerance)
                )
                if wrong:
                    first = (
                        first or f'the second time {check.name} was run, output "{alias}" {wrong}'
                    )
                    ordered = DType.of_array(expected.value) not in {DType.STRING, DType.BOOL}
                    differing.setdefault(alias, ordered)
        if differing:
            raise RefusedError(Code.FAILED_PRECONDITION, _not_the_same(first, differing))


def _not_the_same(first: str, differing: Mapping[str, bool]) -> str:
    alias, ordered = next(iter(differing.items()))
    others = [f'"{other}"' for other in differing if other != alias]
    also = f"; also another one each time: {', '.join(others)}" if others else ""
    leave = f"leave the output out with --without_output={alias}"
    advice = f"add a tolerance (--tolerance={alias}=NUMBER), or {leave}" if ordered else leave
    return f"The export does not always answer alike: {first}{also}; {advice}"


def _output(alias: str, value: Array, tolerance: Tolerance) -> dict[str, Any]:
    try:
        encoded = write_tensor(
            value, as_content=value.size > _READABLE and value.dtype.kind not in "OSU"
        )
    except TensorError as error:
        raise RefusedError(
            Code.UNIMPLEMENTED,
            f'Output "{alias}" cannot be written down ({error}): leave it out with --without_output={alias}',
        ) from error
    found: dict[str, Any] = {"value": _as_json(tensor_pb2.TensorProto.FromString(encoded))}
    if tolerance.absolute:
        found["absolute"] = tolerance.absolute
    if tolerance.relative:
        found["relative"] = tolerance.relative
    return found


def _request_alone(request: Request) -> Any:
    """Return a logged request without what was answered then."""
    alone = type(request.log)()
    alone.CopyFrom(request.log)
    alone.ClearField("log_metadata")
    if kind := alone.WhichOneof("log_type"):
        getattr(alone, kind).ClearField("response")
    return alone


def _as_json(message: Any) -> Any:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)
