"""The rows of a file: JSON lines, CSV, TFRecord, each of them also compressed with gzip."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, BinaryIO, Final
from zlib import error as ZlibError  # noqa: N812

import google_crc32c
from typing_extensions import Buffer, override

from slipway_cli.batch.inputs import InputFile
from slipway_cli.errors import CliError, UsageError
from slipway_cli.serving.signature import Signature, TensorSpec, suggestion

_MASK: Final = 0xA282EAD8
_MOST_RECORD: Final = 1 << 30
_SUFFIXES: Final = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
}
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}
_STRING, _BOOL = 7, 10
_FLOATS: Final = frozenset({1, 2, 14, 19})


class RecordFormat(StrEnum):
    """What the rows of a file are."""

    JSONL = "jsonl"
    CSV = "csv"
    TFRECORD = "tfrecord"


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        number: From 1, over all files.
        where: File and line, or record.
        instance: What the model is asked; None where `error` says why there is nothing to ask.
        size: Bytes of it, about.
        position: Bytes of all files up to here, about.
        error: One sentence, or "".
    """

    number: int
    where: str
    instance: Any
    size: int
    position: int
    error: str = ""


_Found = Iterator[tuple[int, Any, int, str]]
"""Line or record, instance, its bytes, and what is wrong with it."""


def format_of(file: str) -> RecordFormat:
    """Return the format that a file's name tells.

    Raises:
        UsageError: It tells none.
    """
    name = file.lower().removesuffix(".gz")
    found = next((form for suffix, form in _SUFFIXES.items() if name.endswith(suffix)), None)
    if found is None:
        raise UsageError(f"{file}: its name tells no format; give --format jsonl, csv or tfrecord")
    return RecordFormat(found)


def formats_of(files: Sequence[InputFile], given: str) -> Mapping[str, RecordFormat]:
    """Return the format of each file, by its name: what was given, or what its name tells.

    Raises:
        UsageError: There is no such format.
    """
    if not given:
        return {file.name: format_of(file.name) for file in files}
    if given not in list(RecordFormat):
        raise UsageError(f"--format: there is no {given}: write {', '.join(RecordFormat)}")
    return dict.fromkeys((file.name for file in files), RecordFormat(given))


def read_rows(
    files: Sequence[InputFile],
    formats: Mapping[str, RecordFormat],
    signature: Signature,
    input_name: str,
) -> Iterator[Row]:
    """Yield the rows of all files, numbered through.

    Args:
        files: In the order of their rows.
        formats: By their names.
        signature: What the model wants: types of CSV's cells, and the input of a TFRecord's records.
        input_name: The input of these where there are several, or "".

    Raises:
        CliError: A file cannot be read to its end.
    """
    number = 0
    before = 0
    for file in files:
        form = formats[file.name]
        with file.open() as raw:
            counter = _Counter(raw)
            content: BinaryIO = io.BufferedReader(counter, 1 << 16)
            if file.name.lower().endswith(".gz"):
                content = gzip.GzipFile(fileobj=content)  # type: ignore[assignment]
            what = "record" if form is RecordFormat.TFRECORD else "line"
            found = _READERS[form](content, file.name, signature, input_name)
            try:
                for at, instance, size, error in found:
                    number += 1
                    where = f"{file.name}, {what} {at}"
                    yield Row(number, where, instance, size, before + counter.count, error)
            except (gzip.BadGzipFile, EOFError, ZlibError) as error:
                raise UsageError(f"{file.name} is no whole gzip file: {error}") from error
        before += file.size


def _jsonl(content: BinaryIO, _name: str, _signature: Signature, _input: str) -> _Found:
    for at, line in enumerate(content, 1):
        text = line.strip()
        if at == 1:
            text = text.removeprefix(b"\xef\xbb\xbf")
        if not text:
            continue
        try:
            yield at, json.loads(text), len(text), ""
        except (ValueError, RecursionError) as error:
            yield at, None, len(text), f"it is not JSON: {error}"


def _csv(content: BinaryIO, name: str, signature: Signature, _input: str) -> _Found:
    csv.field_size_limit(1 << 30)
    text = io.TextIOWrapper(content, "utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text)
    header = next(reader, None)
    if header is None:
        return
    convert = _converter(header, name, signature)
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield reader.line_num, None, 0, f"it is not CSV: {error}"
            continue
        if cells is None:
            return
        if not cells:
            continue
        size = sum(map(len, cells))
        if len(cells) != len(header):
            wrong = f"it has {len(cells)} cells, and the header {len(header)}"
            yield reader.line_num, None, size, wrong
            continue
        try:
            yield reader.line_num, convert(cells), size, ""
        except ValueError as error:
            yield reader.line_num, None, size, str(error)


def _converter(
    header: Sequence[str], name: str, signature: Signature
) -> Callable[[Sequence[str]], Any]:
    """How cells become an instance: inputs by the names of the columns, or the vector of the only input."""
    inputs = signature.inputs
    unknown = [column for column in header if column not in inputs]
    if not unknown:
        specs = [inputs[column] for column in header]
        return lambda cells: {
            column: _cell(cell, spec, column)
            for column, cell, spec in zip(header, cells, specs, strict=True)
        }
    if len(inputs) == 1 and len(unknown) == len(header):
        ((only, spec),) = inputs.items()
        if len(header) == 1 and spec.shape is not None and len(spec.shape) == 1:
            return lambda cells: _cell(cells[0], spec, only)
        return lambda cells: [
            _cell(cell, spec, column) for column, cell in zip(header, cells, strict=True)
        ]
    raise UsageError(
        f"{name}: the signature has no input {unknown[0]!r}{suggestion(unknown[0], inputs)} The first line of a CSV "
        "file names the input of each column"
    )


def _cell(cell: str, spec: TensorSpec, column: str) -> Any:
    try:
        if spec.dtype == _STRING:
            return _text(cell)
        if spec.dtype == _BOOL:
            return _BOOLEANS[cell.strip().lower()]
        return float(cell) if spec.dtype in _FLOATS else int(cell)
    except (ValueError, KeyError):
        shown = cell if len(cell) <= 40 else f"{cell[:39]}…"  # noqa: PLR2004 - a line's worth
        raise ValueError(
            f"column {column!r} is of type {spec.type_name}, and {shown!r} is not"
        ) from None


def _text(cell: str) -> Any:
    """The cell, or its bytes where they are no UTF-8."""
    try:
        cell.encode()
    except UnicodeEncodeError:
        return {"b64": base64.b64encode(cell.encode("utf-8", "surrogateescape")).decode()}
    return cell


def _tfrecord(content: BinaryIO, name: str, signature: Signature, input_name: str) -> _Found:
    target = _record_input(name, signature, input_name)
    at = 0
    while head := content.read(12):
        at += 1
        length = _checked_length(head)
        body = content.read(length + 4) if length is not None else b""
        if length is None or len(body) != length + 4:
            raise CliError(
                f"{name}, record {at} is damaged or truncated: nothing after it can be read"
            )
        data = body[:length]
        if _masked(data) != struct.unpack("<I", body[length:])[0]:
            yield at, None, length, "its checksum is wrong"
            continue
        value = {"b64": base64.b64encode(data).decode()}
        yield at, ({target: value} if target else value), length, ""


def _record_input(name: str, signature: Signature, input_name: str) -> str:
    strings = [key for key, spec in signature.inputs.items() if spec.dtype == _STRING]
    if input_name:
        if input_name not in signature.inputs:
            raise UsageError(
                f"--input: the signature has no input {input_name!r}{suggestion(input_name, signature.inputs)}"
            )
        return input_name
    if len(signature.inputs) == 1 and len(strings) == 1:
        return ""
    if len(strings) == 1:
        return strings[0]
    raise UsageError(
        f"{name}: its records are bytes, and the signature has {len(strings)} inputs of strings: name one with --input"
    )


def _checked_length(head: bytes) -> int | None:
    if len(head) != 12:  # noqa: PLR2004 - a length and its checksum
        return None
    length, checksum = struct.unpack("<QI", head)
    return int(length) if _masked(head[:8]) == checksum and length <= _MOST_RECORD else None


def _masked(data: bytes) -> int:
    value = google_crc32c.value(data)
    return int(((value >> 15 | value << 17) + _MASK) & 0xFFFFFFFF)


class _Counter(io.RawIOBase):
    """Counts what is read of a file."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.count = 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, target: Buffer, /) -> int:
        room = memoryview(target).cast("B")
        data = self._raw.read(len(room))
        room[: len(data)] = data
        self.count += len(data)
        return len(data)


_READERS: Final[Mapping[RecordFormat, Callable[[BinaryIO, str, Signature, str], _Found]]] = {
    RecordFormat.JSONL: _jsonl,
    RecordFormat.CSV: _csv,
    RecordFormat.TFRECORD: _tfrecord,
}
