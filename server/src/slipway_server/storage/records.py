"""TFRecord files: what `tf.io.TFRecordWriter` writes and `tf.data.TFRecordDataset` reads, uncompressed.

uint64 length, uint32 masked CRC32C of the length, the record, uint32 masked CRC32C of the record
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import google_crc32c

from slipway_server.errors import Code, ServingError

_LENGTH: Final = struct.Struct("<Q")
_CHECKSUM: Final = struct.Struct("<I")
HEAD_BYTES: Final = _LENGTH.size + _CHECKSUM.size
_MASK_DELTA: Final = 0xA282EAD8


def read_records(path: Path) -> Iterator[bytes]:
    """Yield the records of a file, in order, as TensorFlow does: a head that is cut short at the end is no record.

    Raises:
        ServingError: DATA_LOSS, in TensorFlow's words, where it is no such file or a record is cut short; otherwise
            what the system says of it.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            position = 0
            while len(head := file.read(HEAD_BYTES)) == HEAD_BYTES:
                record = _record(file, head, position, size)
                position += HEAD_BYTES + len(record) + _CHECKSUM.size
                yield record
    except OSError as error:
        code = Code.NOT_FOUND if isinstance(error, FileNotFoundError) else Code.UNAVAILABLE
        raise ServingError(code, f"{path}; {error.strerror}") from error


def _record(file: BinaryIO, head: bytes, position: int, size: int) -> bytes:
    (length,) = _LENGTH.unpack_from(head)
    if _CHECKSUM.unpack_from(head, _LENGTH.size) != (_masked(head[: _LENGTH.size]),):
        hint = "" if position else " (Is this even a TFRecord file?)"
        raise ServingError(Code.DATA_LOSS, f"corrupted record at {position}{hint}")
    begin = position + HEAD_BYTES
    # Compared before memory is taken for it: the length may be anything.
    fits = begin + length + _CHECKSUM.size <= size
    record, checksum = (file.read(length), file.read(_CHECKSUM.size)) if fits else (b"", b"")
    if len(checksum) < _CHECKSUM.size:
        raise ServingError(
            Code.DATA_LOSS,
            f"truncated record at {position}' failed with Read less bytes than requested",
        )
    if _CHECKSUM.unpack(checksum) != (_masked(record),):
        raise ServingError(Code.DATA_LOSS, f"corrupted record at {begin}")
    return record


def begins_records(head: bytes) -> bool:
    """Whether a file that begins with these `HEAD_BYTES` has records: their first checksum fits."""
    length = head[: _LENGTH.size]
    return len(head) == HEAD_BYTES and _CHECKSUM.unpack_from(head, _LENGTH.size) == (
        _masked(length),
    )


class RecordWriter:
    """Writes records to a new file, or over an old one.

    Raises:
        OSError: the file cannot be written; also from the methods.
    """

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("wb")  # noqa: SIM115 - closed by `close`

    def write(self, record: bytes) -> None:
        """Append a record to the buffer."""
        length = _LENGTH.pack(len(record))
        self._file.write(length + _CHECKSUM.pack(_masked(length)))
        self._file.write(record)
        self._file.write(_CHECKSUM.pack(_masked(record)))

    def flush(self) -> None:
        """Write the buffer to the file."""
        self._file.flush()

    def close(self) -> None:
        """Flush and close the file."""
        self._file.close()


def _masked(data: bytes) -> int:
    """Return the CRC32C of data in the form that is stored: a CRC of what holds CRCs is weak."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF
