"""§17: tensor bundles: the index, and the checksums of what lies in the shards."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_sync.exports import (
    BundleError,
    ChecksumError,
    ShardChecker,
    TensorEntry,
    read_bundle,
)
from slipway_sync.wire import tensorflow_pb2 as wire
from tables import Tensor, bundle, table

TENSORS = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.builds(
        Tensor,
        data=st.binary(max_size=100),
        strings=st.none() | st.lists(st.binary(max_size=200), max_size=8).map(tuple),
        shard=st.integers(0, 2),
        variants=st.none() | st.lists(st.binary(max_size=200), max_size=5).map(tuple),
    ),
    max_size=12,
)


def check(tensors: tuple[TensorEntry, ...], shard: int, data: bytes, step: int) -> None:
    checker = ShardChecker(item for item in tensors if item.shard == shard)
    for start in range(0, len(data), step):
        checker.feed(data[start : start + step])
    checker.finish()


@given(TENSORS, st.integers(1, 64))
def test_what_was_written_is_read_and_its_checksums_are_right(
    tensors: dict[str, Tensor], step: int
) -> None:
    index, shards = bundle(tensors, shards=3)
    found = read_bundle(index, "variables/variables")
    assert found.least_sizes() == {
        f"variables/variables.data-0000{number}-of-00003": len(shard)
        for number, shard in enumerate(shards)
    }
    assert len(found.tensors) == len(tensors)
    for number, shard in enumerate(shards):
        check(found.tensors, number, shard, step)


@given(TENSORS.filter(bool), st.integers(1, 64), st.data())
def test_a_flipped_bit_is_found(tensors: dict[str, Tensor], step: int, data: st.DataObject) -> None:
    index, shards = bundle({name: replace(t, shard=0) for name, t in tensors.items()})
    if not shards[0]:
        return
    found = read_bundle(index, "export")
    changed = bytearray(shards[0])
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ChecksumError, match="is damaged"):
        check(found.tensors, 0, bytes(changed), step)


def test_the_damaged_tensor_is_named() -> None:
    index, (shard,) = bundle({"a": Tensor(b"1234"), "b": Tensor(b"5678"), "c": Tensor(b"90")})
    with pytest.raises(ChecksumError, match="tensor b is damaged: its checksum is wrong"):
        check(read_bundle(index, "v").tensors, 0, shard.replace(b"5", b"6"), 100)


def test_damaged_lengths_are_found_before_they_are_believed() -> None:
    index, (shard,) = bundle({"s": Tensor(strings=(b"abc", b"defg"))})
    changed = b"\x02\x05" + shard[2:]
    with pytest.raises(ChecksumError, match="checksum of its string lengths is wrong"):
        check(read_bundle(index, "v").tensors, 0, changed, 100)


def test_a_shard_that_ends_early_is_named() -> None:
    index, (shard,) = bundle({"a": Tensor(b"1234"), "b": Tensor(b"5678")})
    with pytest.raises(ChecksumError, match="tensor b extends past its end"):
        check(read_bundle(index, "v").tensors, 0, shard[:-1], 3)


def test_many_tensors_without_bytes_are_no_deep_recursion() -> None:
    index, (shard,) = bundle({f"empty{number}": Tensor() for number in range(5000)})
    check(read_bundle(index, "v").tensors, 0, shard, 1)


def test_bytes_between_tensors_do_not_matter() -> None:
    crc = read_bundle(bundle({"a": Tensor(b"1234")})[0], "v").tensors[0].crc32c
    tensor = TensorEntry("a", 1, 1, 0, 7, 4, crc)
    for step in (1, 3, 100):
        check((tensor,), 0, b"padding1234more", step)


def header(**fields: int) -> bytes:
    return wire.BundleHeaderProto(**fields).SerializeToString()


def entry(*, shard_id: int = 0, offset: int = 0, size: int = 0) -> bytes:
    return wire.BundleEntryProto(shard_id=shard_id, offset=offset, size=size).SerializeToString()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({}, "has no header"),
        ({b"a": entry()}, "has no header"),
        ({b"": header()}, "names 0 shards"),
        ({b"": header(num_shards=-1)}, "names -1 shards"),
        ({b"": header(num_shards=100_000)}, "names 100000 shards"),
        ({b"": header(num_shards=1, endianness=1)}, "big-endian"),
        ({b"": b"\xff\xff"}, "not a protocol buffer message"),
        ({b"": header(num_shards=1), b"a": b"\xff"}, "not a protocol buffer message"),
        ({b"": header(num_shards=1), b"a": entry(shard_id=1)}, "shard 1 of 1"),
        ({b"": header(num_shards=1), b"a": entry(shard_id=-1)}, "which cannot be"),
        ({b"": header(num_shards=1), b"a": entry(offset=-1)}, "which cannot be"),
        ({b"": header(num_shards=1), b"a": entry(size=-1)}, "which cannot be"),
        (
            {b"": header(num_shards=1), b"a": entry(size=9), b"b": entry(offset=8, size=9)},
            "tensors a and b overlap",
        ),
    ],
)
def test_an_index_that_cannot_be_is_one_error(content: dict[bytes, bytes], why: str) -> None:
    with pytest.raises(BundleError, match=why):
        read_bundle(table(content), "v")


@given(st.dictionaries(st.binary(max_size=3), st.binary(max_size=30), max_size=6))
def test_arbitrary_entries_are_one_documented_error(content: dict[bytes, bytes]) -> None:
    try:
        read_bundle(table({b"": header(num_shards=2), **content}), "v")
    except BundleError as error:
        assert str(error)  # noqa: PT017 - either outcome is right


def test_a_partitioned_variable_has_no_bytes_of_its_own() -> None:
    whole = wire.BundleEntryProto(dtype=1, crc32c=5)
    whole.slices.add()
    content = {b"": header(num_shards=1), b"whole": whole.SerializeToString()}
    assert read_bundle(table(content), "v").tensors == ()


def index_of(entries: dict[bytes, wire.BundleEntryProto]) -> bytes:
    header = wire.BundleHeaderProto(num_shards=1).SerializeToString()
    written = {key: entry.SerializeToString() for key, entry in entries.items()}
    return table({b"": header} | written, restart_interval=1000, per_block=1000)


def test_as_many_dimensions_as_tensorflow_has_are_multiplied() -> None:
    entry = wire.BundleEntryProto(dtype=1)
    for size in (3, *[1] * 253):
        entry.shape.dim.add(size=size)
    assert read_bundle(index_of({b"w": entry}), "v").tensors[0].elements == 3
    entry.shape.dim.add(size=1)
    with pytest.raises(BundleError, match="tensor w has more than 254 dimensions"):
        read_bundle(index_of({b"w": entry}), "v")


def test_keys_that_unfold_to_too_much_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from slipway_sync.exports.tensorbundle import leveldb_table

    monkeypatch.setattr(leveldb_table, "_MAX_KEYS", 1 << 20)
    keys = [b"w" * 10_000 + b"%04d" % number for number in range(110)]
    content = index_of(dict.fromkeys(keys, wire.BundleEntryProto(dtype=1)))
    assert len(content) < 40_000
    with pytest.raises(BundleError, match="its keys have more than 1 MiB"):
        read_bundle(content, "v")
    few = index_of(dict.fromkeys(keys[:90], wire.BundleEntryProto(dtype=1)))
    assert len(read_bundle(few, "v").tensors) == 90


def test_slices_count_as_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    from slipway_sync.exports.tensorbundle import index

    monkeypatch.setattr(index, "_MAX_TENSORS", 9)
    partitioned = wire.BundleEntryProto(dtype=1, slices=[wire.TensorSliceProto()])
    entries = {b"w%d" % number: partitioned for number in range(10)}
    with pytest.raises(BundleError, match="more than 9 tensors"):
        read_bundle(index_of(entries), "v")
    assert (
        read_bundle(index_of({key: entries[key] for key in list(entries)[:9]}), "v").tensors == ()
    )
