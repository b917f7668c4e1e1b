"""Reads requests to record: JSON as the REST API takes it, one a line, or TFRecords of PredictionLog."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from slipway_server.errors import Code, ServingError, invalid_argument, not_found
from slipway_server.frontends.codec.json_text import parse
from slipway_server.frontends.codec.tensors import write_tensor
from slipway_server.frontends.rest.json_examples import read_examples
from slipway_server.frontends.rest.json_tensor import read_predict, signature_name
from slipway_server.inference.predictor import DEFAULT_SIGNATURE
from slipway_server.loading.checks import MAX_BYTES
from slipway_server.loading.warmup import read_logs
from slipway_server.servables.servable import ServedModel
from slipway_server.storage.records import HEAD_BYTES, begins_records
from slipway_server.wire.tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

_CLASSIFY: Final = "tensorflow/serving/classify"
_REGRESS: Final = "tensorflow/serving/regress"


@dataclass(frozen=True, slots=True)
class Request:
    """A request.

    Attributes:
        name: what sentences call it, and then its check: `line 3`, `record 3`.
    """

    name: str
    log: PredictionLog


def read_requests(
    file: Path, model: ServedModel, *, strict_types: bool = True
) -> Iterator[Request]:
    """Yield the requests of a file, in order.

    Args:
        file: which of the two it is, its first bytes say.
        model: whose signatures the JSON is read for.
        strict_types: as the REST API (`RestApi`).

    Raises:
        ServingError: the file cannot be read, or a request is none; the sentence has the file and the place.
    """
    try:
        with file.open("rb") as opened:
            head = opened.read(HEAD_BYTES)
            records = begins_records(head)
            content = b"" if records else head + opened.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise not_found(f"{file} does not exist: name the file with --requests=FILE") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ServingError(Code.UNAVAILABLE, f"{file} cannot be read: {reason}") from error
    if len(content) > MAX_BYTES:
        raise invalid_argument(
            f"{file} has more than {MAX_BYTES >> 20} MiB: leave some requests out"
        )
    yield from (
        _of_records(file) if records else _of_lines(file, content, model, strict=strict_types)
    )


def _of_records(file: Path) -> Iterator[Request]:
    number = 0
    try:
        for number, log in enumerate(read_logs(file), 1):
            yield Request(f"record {number}", log)
    except ServingError as error:
        raise ServingError(
            error.code, f"{file} is broken after {number} records: {error.message}"
        ) from error


def _of_lines(file: Path, content: bytes, model: ServedModel, *, strict: bool) -> Iterator[Request]:
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            log = _log_of(parse(line, whole=True), model, strict=strict)
        except ServingError as error:
            raise invalid_argument(
                f"Line {number} of {file} is no request: {error.message}"
            ) from error
        yield Request(f"line {number}", log)


def _log_of(body: Any, model: ServedModel, *, strict: bool) -> PredictionLog:
    name = signature_name(body)
    return (
        _example_log(body, name, model)
        if "examples" in body
        else _predict_log(body, name, model, strict=strict)
    )


def _predict_log(body: Any, name: str, model: ServedModel, *, strict: bool) -> PredictionLog:
    signature = model.signatures.get(name or DEFAULT_SIGNATURE)
    if signature is None:
        raise _unknown(name, model)
    log = PredictionLog()
    request = log.predict_log.request
    if name:
        request.model_spec.signature_name = name
    for alias, value in read_predict(body, signature, strict=strict).inputs.items():
        request.inputs[alias].ParseFromString(write_tensor(value, as_content=False))
    return log


def _example_log(body: Any, name: str, model: ServedModel) -> PredictionLog:
    key = name or DEFAULT_SIGNATURE
    signature = model.example_signatures.get(key) or model.signatures.get(key)
    if signature is None:
        raise _unknown(name, model)
    log = PredictionLog()
    request: Any
    match signature.method:
        case method if method == _CLASSIFY:
            request = log.classify_log.request
        case method if method == _REGRESS:
            request = log.regress_log.request
        case method:
            raise invalid_argument(
                f'"examples" are for Classify and Regress, and signature "{key}" has the method "{method}": '
                'use "instances" or "inputs"'
            )
    if name:
        request.model_spec.signature_name = name
    for example in read_examples(body).examples:
        request.input.example_list.examples.add().ParseFromString(example)
    return log


def _unknown(name: str, model: ServedModel) -> ServingError:
    known = sorted(model.signatures.keys() | model.example_signatures.keys())
    return invalid_argument(
        f'there is no signature "{name or DEFAULT_SIGNATURE}" (there are {", ".join(known) or "none"})'
    )
