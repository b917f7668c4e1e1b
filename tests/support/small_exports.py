"""Exports made without TensorFlow: all that the sync reads is right, the graph itself is filler."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

from slipway_sync.exports import Listing, ObjectInfo
from slipway_sync.wire import tensorflow_pb2 as wire
from tables import Tensor, bundle

INDEX = "variables/variables.index"
SHARD_0 = "variables/variables.data-00000-of-00002"
SHARD_1 = "variables/variables.data-00001-of-00002"
ASSET = "assets/words.txt"
FILES = frozenset({"saved_model.pb", INDEX, SHARD_0, SHARD_1, ASSET, "assets.extra/empty"})


def graph(
    *, saver: bool = True, assets: tuple[str, ...] = ("words.txt",), filler: int = 100
) -> bytes:
    model = wire.SavedModel(saved_model_schema_version=1)
    meta = model.meta_graphs.add()
    meta.meta_info_def.tags.append("serve")
    if saver:
        meta.saver_def.filename_tensor_name = "saver_filename:0"
    for name in assets:
        meta.asset_file_def.add(filename=name)
    # A graph_def (field 2) of a given size, which nobody here looks into.
    padding = b"\x12" + _varint(filler) + bytes(filler)
    return model.SerializeToString() + b"\x12" + _varint(len(padding)) + padding


def calling_python() -> bytes:
    """A graph whose signature runs `tf.numpy_function`."""
    model = wire.SavedModel()
    meta = model.meta_graphs.add()
    meta.meta_info_def.tags.append("serve")
    meta.graph_def.node.add(name="call", op="PyFunc")
    meta.signature_def["serving_default"].outputs["y"].name = "call:0"
    return model.SerializeToString()


def capturing(*variables: str) -> bytes:
    """A graph whose signature reads some variables, each an object of that name below the root."""
    model = wire.SavedModel()
    meta = model.meta_graphs.add()
    meta.meta_info_def.tags.append("serve")
    meta.saver_def.filename_tensor_name = "saver_filename:0"
    root, signatures, function = (meta.object_graph_def.nodes.add() for _ in range(3))
    root.children.add(local_name="signatures", node_id=1)
    signatures.children.add(local_name="serving_default", node_id=2)
    function.bare_concrete_function.concrete_function_name = "run"
    for number, name in enumerate(variables, start=3):
        root.children.add(local_name=name, node_id=number)
        meta.object_graph_def.nodes.add().variable.name = f"{name}_1"
        meta.object_graph_def.concrete_functions["run"].bound_inputs.append(number)
    return model.SerializeToString()


def values(*variables: str) -> dict[str, bytes]:
    """The files with the values of such variables."""
    tensors = {f"{name}/.ATTRIBUTES/VARIABLE_VALUE": Tensor(b"1234") for name in variables}
    index, (shard,) = bundle(tensors)
    return {INDEX: index, "variables/variables.data-00000-of-00001": shard}


def _varint(value: int) -> bytes:
    from tables import varint

    return varint(value)


def contents(*, seed: int = 0, size: int = 4000) -> dict[str, bytes]:
    """The files of a complete export with two shards of about `size` bytes each."""
    source = random.Random(seed)  # noqa: S311 - not a secret
    index, shards = bundle(
        {
            "bias": Tensor(data=source.randbytes(size // 8 * 4), shard=0),
            "notes": Tensor(strings=(b"", b"one", source.randbytes(300)), shard=0),
            "weights": Tensor(data=source.randbytes(size // 4 * 4), shard=1),
        },
        shards=2,
    )
    return {
        "saved_model.pb": graph(),
        INDEX: index,
        SHARD_0: shards[0],
        SHARD_1: shards[1],
        ASSET: b"apple\nbanana\n",
        "assets.extra/empty": b"",
    }


def write(directory: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def tree(directory: Path) -> dict[str, bytes]:
    """Every file below a directory, by relative path."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def listing_of(files: dict[str, bytes]) -> Listing:
    when = datetime(2024, 1, 1, tzinfo=UTC)
    return tuple(
        ObjectInfo(path, len(content), f"tag-{path}", when)
        for path, content in sorted(files.items())
    )
