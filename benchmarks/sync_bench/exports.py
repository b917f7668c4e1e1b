"""Writes the export that is transferred: a SavedModel's files, of any size, with nothing held in memory.

All that a sync looks at is right: the graph names the assets, the index names the shards and holds the checksum of each
tensor, one of them of strings as every export of TensorFlow 2 has it. The graph itself is filler.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from slipway_sync.wire import tensorflow_pb2 as wire
from small_exports import graph
from tables import Tensor, encoded, table

STRINGS = 7
FLOATS = 1
_TENSORS_A_SHARD = 4
_RANDOM = 64 << 20
"""Bytes at a time: the generator counts bits in an int of C's."""
_ASSETS = 7
_OTHERS = 2_000_000
"""Bytes for what is no shard, at most."""


def write(directory: Path, *, size: int, files: int) -> None:
    """Write an export.

    Args:
        directory: gets the files; is made.
        size: bytes of all files together.
        files: how many; at least 10. All but nine of them are shards of about one size.
    """
    shards = files - _ASSETS - 2
    assets = tuple(f"vocabulary-{number}.txt" for number in range(_ASSETS))
    for folder in ("variables", "assets"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    for name in assets:
        (directory / "assets" / name).write_bytes(b"".join(b"token %d\n" % n for n in range(500)))
    each = (size - min(size // 50, _OTHERS)) // shards
    entries = {b"": wire.BundleHeaderProto(num_shards=shards).SerializeToString()}
    for shard in range(shards):
        name = f"variables/variables.data-{shard:05}-of-{shards:05}"
        with (directory / name).open("wb") as out:
            for key, tensor in _tensors(shard, each):
                content, crc = encoded(tensor)
                entry = _entry(tensor, shard, out.tell(), len(content), crc)
                entries[key.encode()] = entry.SerializeToString()
                out.write(content)
    (directory / "variables" / "variables.index").write_bytes(table(entries))
    left = size - sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    (directory / "saved_model.pb").write_bytes(graph(assets=assets, filler=max(left, 1000)))


def _tensors(shard: int, size: int) -> Iterator[tuple[str, Tensor]]:
    """Yield names and tensors of one shard, about `size` bytes in all; the same each time."""
    source = random.Random(shard)  # noqa: S311 - not a secret
    if shard == 0:
        yield "_CHECKPOINTABLE_OBJECT_GRAPH", Tensor(strings=(source.randbytes(20_000),))
        size -= 21_000
    for number in range(_TENSORS_A_SHARD):
        left = size // _TENSORS_A_SHARD // 4 * 4
        data = b"".join(source.randbytes(min(_RANDOM, left - at)) for at in range(0, left, _RANDOM))
        yield f"layer-{shard}/weights-{number}", Tensor(data=data)


def _entry(tensor: Tensor, shard: int, offset: int, size: int, crc: int) -> wire.BundleEntryProto:
    numeric = tensor.strings is None
    entry = wire.BundleEntryProto(
        dtype=FLOATS if numeric else STRINGS, shard_id=shard, offset=offset, size=size, crc32c=crc
    )
    entry.shape.dim.add(size=size // 4 if numeric else len(tensor.strings or ()))
    return entry
