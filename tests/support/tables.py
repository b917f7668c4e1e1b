"""Writes LevelDB tables and tensor bundles, to test their readers without TensorFlow."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import google_crc32c

from slipway_sync.wire import tensorflow_pb2 as wire

MAGIC = 0xDB4775248B80FB57


def masked_crc(data: bytes) -> int:
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def block(entries: Iterable[tuple[bytes, bytes]], *, restart_interval: int = 16) -> bytes:
    out = bytearray()
    restarts = [0]
    previous = b""
    for count, (key, value) in enumerate(entries):
        shared = 0
        if count % restart_interval:
            while shared < min(len(previous), len(key)) and previous[shared] == key[shared]:
                shared += 1
        elif count:
            restarts.append(len(out))
        out += (
            varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        )
        previous = key
    for restart in restarts:
        out += struct.pack("<I", restart)
    return bytes(out) + struct.pack("<I", len(restarts))


def table(
    entries: Mapping[bytes, bytes], *, per_block: int = 8, restart_interval: int = 16
) -> bytes:
    """A table as LevelDB and TensorFlow write it, uncompressed."""
    out = bytearray()

    def append(content: bytes) -> bytes:
        handle = varint(len(out)) + varint(len(content))
        sealed = content + b"\0"
        out.extend(sealed + struct.pack("<I", masked_crc(sealed)))
        return handle

    ordered = sorted(entries.items())
    index = []
    for start in range(0, len(ordered), per_block):
        chunk = ordered[start : start + per_block]
        index.append((chunk[-1][0], append(block(chunk, restart_interval=restart_interval))))
    meta = append(block([]))
    footer = meta + append(block(index, restart_interval=1))
    return bytes(out) + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC)


@dataclass(frozen=True)
class Tensor:
    """A tensor to write: a numeric one has `data`, a string one `strings`, a variant `variants`."""

    data: bytes = b""
    strings: tuple[bytes, ...] | None = None
    shard: int = 0
    variants: tuple[bytes, ...] | None = None

    @property
    def dtype(self) -> int:
        if self.variants is not None:
            return 21
        return 1 if self.strings is None else 7

    @property
    def elements(self) -> int:
        several = self.strings if self.variants is None else self.variants
        return len(self.data) // 4 if several is None else len(several)


def encoded(tensor: Tensor) -> tuple[bytes, int]:
    """Bytes and masked checksum."""
    if tensor.variants is not None:
        stored, summed = b"", b""
        for message in tensor.variants:
            summed += struct.pack("<Q", len(message)) + message
            check = struct.pack("<I", masked_crc(summed))
            stored += varint(len(message)) + message + check
            summed += check
        return stored, masked_crc(summed)
    if tensor.strings is None:
        return tensor.data, masked_crc(tensor.data)
    lengths = b"".join(struct.pack("<I", len(item)) for item in tensor.strings)
    check = struct.pack("<I", masked_crc(lengths))
    content = b"".join(tensor.strings)
    stored = b"".join(varint(len(item)) for item in tensor.strings) + check + content
    return stored, masked_crc(lengths + check + content)


def bundle(tensors: Mapping[str, Tensor], *, shards: int = 1) -> tuple[bytes, list[bytes]]:
    """The index and the shards of a tensor bundle."""
    data = [bytearray() for _ in range(shards)]
    entries = {b"": wire.BundleHeaderProto(num_shards=shards).SerializeToString()}
    for name, tensor in sorted(tensors.items()):
        stored, crc = encoded(tensor)
        entry = wire.BundleEntryProto(
            dtype=tensor.dtype,
            shard_id=tensor.shard,
            offset=len(data[tensor.shard]),
            size=len(stored),
            crc32c=crc,
        )
        entry.shape.dim.add(size=tensor.elements)
        entries[name.encode()] = entry.SerializeToString()
        data[tensor.shard] += stored
    return table(entries), [bytes(shard) for shard in data]
