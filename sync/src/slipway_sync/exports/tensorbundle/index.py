"""The index of a tensor bundle: which shard files there are, and where each tensor lies in them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from google.protobuf.message import DecodeError

from slipway_sync.exports.tensorbundle import leveldb_table
from slipway_sync.wire import tensorflow_pb2 as wire

_MAX_TENSORS = 200_000
_MAX_DIMENSIONS = 254  # As in TensorFlow; the product of more could take for ever.
_MAX_SHARDS = 99_999  # The file names have five digits.
_ATTRIBUTE = b"/.ATTRIBUTES/"


INDEXES = {"variables/variables.index": "variables/variables", "export.index": "export"}
"""The paths that an index may have in a version, each with the prefix of its shards."""


class BundleError(ValueError):
    """The index is unreadable; the message says why, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """Where one tensor lies.

    Attributes:
        name: The tensor's key, as text for messages.
        dtype: TensorFlow's DataType number.
        elements: How many elements it has; 0 when its shape is not known.
        shard: Number of the shard file.
        offset: First byte in that shard.
        size: Bytes.
        crc32c: Masked CRC32C (see `checksums`).
    """

    name: str
    dtype: int
    elements: int
    shard: int
    offset: int
    size: int
    crc32c: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """A readable index.

    Attributes:
        prefix: The path that the shards' names begin with, `variables/variables` or `export`.
        shards: How many shards there are.
        tensors: Every tensor that has bytes, by shard and offset.
        keys: The names of all tensors that are attributes of exported objects.
    """

    prefix: str
    shards: int
    tensors: tuple[TensorEntry, ...]
    keys: tuple[str, ...] = ()

    def shard_path(self, shard: int) -> str:
        """Return the path of a shard file."""
        return f"{self.prefix}.data-{shard:05d}-of-{self.shards:05d}"

    def tensors_by_path(self) -> dict[str, tuple[TensorEntry, ...]]:
        """Return the tensors of every shard file that holds any, by its path."""
        found: dict[str, list[TensorEntry]] = {}
        for tensor in self.tensors:
            found.setdefault(self.shard_path(tensor.shard), []).append(tensor)
        return {path: tuple(tensors) for path, tensors in found.items()}

    def least_sizes(self) -> dict[str, int]:
        """Return the least length in bytes of every shard file that must be there."""
        sizes = {self.shard_path(shard): 0 for shard in range(self.shards)}
        for tensor in self.tensors:
            path = self.shard_path(tensor.shard)
            sizes[path] = max(sizes[path], tensor.offset + tensor.size)
        return sizes


def read_bundle(index: bytes, prefix: str) -> Bundle:
    """Read the content of `PREFIX.index`.

    Raises:
        BundleError: It is no table, or its entries cannot be.
    """
    try:
        shards, tensors, keys = _contents(index)
    except leveldb_table.TableError as error:
        raise BundleError(str(error)) from error
    except DecodeError as error:
        raise BundleError("an entry is not a protocol buffer message") from error
    tensors.sort(key=lambda tensor: (tensor.shard, tensor.offset, tensor.size))
    for before, after in pairwise(tensors):
        if before.shard == after.shard and before.offset + before.size > after.offset:
            # TensorFlow writes one after the other; checking overlaps could take for ever.
            raise BundleError(f"tensors {before.name} and {after.name} overlap")
    return Bundle(prefix, shards, tuple(tensors), keys)


def _contents(index: bytes) -> tuple[int, list[TensorEntry], tuple[str, ...]]:
    """Return the number of shards, the tensors that have bytes, and the keys of attributes."""
    entries = leveldb_table.entries(index)
    key, value = next(entries, (b"?", b""))
    if key != b"":  # It sorts first.
        raise BundleError("it has no header, so it is not a tensor bundle index")
    shards = _shards(wire.BundleHeaderProto.FromString(value))
    tensors: list[TensorEntry] = []
    keys: list[str] = []
    for number, (key, value) in enumerate(entries):
        if number >= _MAX_TENSORS:
            raise BundleError(f"it names more than {_MAX_TENSORS} tensors")
        if _ATTRIBUTE in key:
            keys.append(key.decode("utf-8", "replace"))
        tensor = _tensor(key, wire.BundleEntryProto.FromString(value), shards)
        if tensor is not None:
            tensors.append(tensor)
    return shards, tensors, tuple(keys)


def _shards(header: wire.BundleHeaderProto) -> int:
    if not 1 <= header.num_shards <= _MAX_SHARDS:
        raise BundleError(f"it names {header.num_shards} shards")
    if header.endianness != 0:
        raise BundleError("it was written on a big-endian machine")
    return header.num_shards


def _tensor(key: bytes, entry: wire.BundleEntryProto, shards: int) -> TensorEntry | None:
    if entry.slices:
        return None  # A partitioned variable: its slices have entries of their own.
    name = ascii(key.decode("utf-8", "replace"))[1:-1][:200]
    if not 0 <= entry.shard_id < shards or entry.offset < 0 or entry.size < 0:
        raise BundleError(
            f"tensor {name} lies at {entry.offset} in shard {entry.shard_id} of {shards}, "
            f"{entry.size} bytes, which cannot be"
        )
    if len(entry.shape.dim) > _MAX_DIMENSIONS:
        raise BundleError(f"tensor {name} has more than {_MAX_DIMENSIONS} dimensions")
    elements = 0 if entry.shape.unknown_rank else 1
    for dim in entry.shape.dim:
        if dim.size < 0:
            raise BundleError(f"tensor {name} has a dimension of {dim.size}")
        elements *= dim.size
    return TensorEntry(
        name, entry.dtype, elements, entry.shard_id, entry.offset, entry.size, entry.crc32c
    )
