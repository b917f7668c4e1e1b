"""The chain of checks: what is said about an export that is not right."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from slipway_sync.exports import Proof, Verdict, examine, reads
from slipway_sync.exports.proof import CHECKS, INDEX_LIMIT, READ_LIMIT
from slipway_sync.wire import tensorflow_pb2 as wire
from small_exports import ASSET, INDEX, SHARD_0, SHARD_1, contents, graph, listing_of
from tables import Tensor, bundle

Files = dict[str, bytes]
COMPLETE, INCOMPLETE, REJECTED = Verdict.COMPLETE, Verdict.INCOMPLETE, Verdict.REJECTED


def proof_of(files: Files, *, marker: str = "") -> Proof:
    listing = listing_of(files)
    return examine(listing, {path: files[path] for path in reads(listing)}, marker=marker)


def without(*paths: str) -> Files:
    return {path: content for path, content in contents().items() if path not in paths}


def changed(path: str, change: Callable[[bytes], bytes]) -> Files:
    files = contents()
    return files | {path: change(files.get(path, b""))}


def session_bundle(*others: str) -> Files:
    meta = wire.MetaGraphDef()
    meta.saver_def.filename_tensor_name = "save/Const:0"
    return {"export.meta": meta.SerializeToString()} | dict.fromkeys(others, b"x")


V2_INDEX, (V2_SHARD,) = bundle({"w": Tensor(b"1234")})

TABLE: dict[str, tuple[Files, tuple[Verdict, str, str]]] = {
    "a complete export": (contents(), (COMPLETE, "Complete", "")),
    "nothing yet": ({}, (INCOMPLETE, "Empty", "")),
    "a key that leaves the directory": (
        contents() | {"../2/saved_model.pb": b""},
        (REJECTED, "HostileKey", "../2/saved_model.pb"),
    ),
    "a hostile key counts before what is missing": (
        {"a\0b": b""},
        (REJECTED, "HostileKey", "a\0b"),
    ),
    "variables without a graph": (
        without("saved_model.pb"),
        (INCOMPLETE, "MissingGraph", "saved_model.pb"),
    ),
    "an empty graph": (
        changed("saved_model.pb", lambda _: b""),
        (INCOMPLETE, "UnreadableGraph", "saved_model.pb"),
    ),
    "a graph cut off": (
        changed("saved_model.pb", lambda old: old[:-1]),
        (REJECTED, "UnreadableGraph", "saved_model.pb"),
    ),
    "the graph alone, its variables still to come": (
        {"saved_model.pb": graph()},
        (INCOMPLETE, "MissingVariables", INDEX),
    ),
    "shards whose index is still to come": (
        without(INDEX),
        (INCOMPLETE, "MissingVariables", INDEX),
    ),
    "shards of a graph without saver, without their index": (
        without(INDEX) | {"saved_model.pb": graph(saver=False)},
        (INCOMPLETE, "MissingVariables", INDEX),
    ),
    "a graph without variables": (
        {"saved_model.pb": graph(saver=False, assets=())},
        (COMPLETE, "Complete", ""),
    ),
    "an empty index": (changed(INDEX, lambda _: b""), (INCOMPLETE, "UnreadableIndex", INDEX)),
    "a corrupt index": (
        changed(INDEX, lambda old: old.replace(b"weights", b"weighty")),
        (REJECTED, "UnreadableIndex", INDEX),
    ),
    "the first shard missing": (without(SHARD_0), (INCOMPLETE, "MissingShard", SHARD_0)),
    "the last shard missing": (without(SHARD_1), (INCOMPLETE, "MissingShard", SHARD_1)),
    "a shard one byte short": (
        changed(SHARD_1, lambda old: old[:-1]),
        (INCOMPLETE, "ShardTooShort", SHARD_1),
    ),
    "a shard longer than needed": (
        changed(SHARD_1, lambda old: old + b"x"),
        (COMPLETE, "Complete", ""),
    ),
    "an asset missing": (without(ASSET), (INCOMPLETE, "MissingAsset", ASSET)),
    "a zero-byte asset is an asset": (changed(ASSET, lambda _: b""), (COMPLETE, "Complete", "")),
    "a text graph": (
        without("saved_model.pb")
        | {"saved_model.pbtxt": b'meta_graphs { saver_def {} asset_file_def { filename: "y" } }'},
        (INCOMPLETE, "MissingAsset", "assets/y"),
    ),
    "a SessionBundle in the second format": (
        session_bundle() | {"export.index": V2_INDEX, "export.data-00000-of-00001": V2_SHARD},
        (COMPLETE, "Complete", ""),
    ),
    "such a SessionBundle without its shard": (
        session_bundle() | {"export.index": V2_INDEX},
        (INCOMPLETE, "MissingShard", "export.data-00000-of-00001"),
    ),
    "a SessionBundle in one file": (session_bundle("export"), (COMPLETE, "Complete", "")),
    "a SessionBundle in two shards": (
        session_bundle("export-00000-of-00002", "export-00001-of-00002"),
        (COMPLETE, "Complete", ""),
    ),
    "such a SessionBundle without a shard": (
        session_bundle("export-00000-of-00002"),
        (INCOMPLETE, "MissingShard", "export-00001-of-00002"),
    ),
    "a SessionBundle without variables": (
        session_bundle(),
        (INCOMPLETE, "MissingVariables", "export.index"),
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_verdict_on(name: str) -> None:
    files, expected = TABLE[name]
    proof = proof_of(files)
    assert (proof.verdict, proof.reason, proof.object) == expected


def test_every_check_of_the_chain_is_what_finds_something() -> None:
    """Leaving any one check out changes some verdict of the table."""
    for left_out in CHECKS:
        rest = tuple(check for check in CHECKS if check is not left_out)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("slipway_sync.exports.proof.CHECKS", rest)
            results = []
            for files, expected in [*TABLE.values(), MARKED]:
                try:
                    proof = proof_of(files, marker="_SUCCESS" if files is MARKED[0] else "")
                except ValueError:  # What the check would have caught.
                    results.append(False)
                else:
                    results.append((proof.verdict, proof.reason, proof.object) == expected)
        assert not all(results), left_out.__name__


MARKED: tuple[Files, tuple[Verdict, str, str]] = (
    contents(seed=1),
    (INCOMPLETE, "MissingMarker", "_SUCCESS"),
)


def test_sentences_name_the_file_and_what_asks_for_it() -> None:
    one = contents()
    one[INDEX], (shard,) = bundle({"w": Tensor(b"12345678")})
    assert proof_of(one).message == (
        "variables/variables.data-00000-of-00001 is missing: "
        "variables/variables.index names 1 shard"
    )
    one["variables/variables.data-00000-of-00001"] = shard[:5]
    assert proof_of(one).message == (
        "variables/variables.data-00000-of-00001 has 5 bytes, "
        "variables/variables.index needs at least 8"
    )
    assert proof_of({"saved_model.pb": graph()}).message == (
        "variables/variables.index is missing: saved_model.pb has variables to restore"
    )
    assert proof_of(without(ASSET)).message == (
        "assets/words.txt is missing: saved_model.pb names it"
    )


def test_a_completion_marker_is_waited_for() -> None:
    assert proof_of(contents(), marker="_SUCCESS").reason == "MissingMarker"
    assert proof_of(contents() | {"_SUCCESS": b""}, marker="_SUCCESS").verdict is COMPLETE


def test_a_large_graph_is_not_read_and_taken_on_trust() -> None:
    listing = tuple(
        replace(item, size=READ_LIMIT + 1) if item.path == "saved_model.pb" else item
        for item in listing_of(contents())
    )
    assert reads(listing) == (INDEX,)
    assert examine(listing, {INDEX: contents()[INDEX]}).verdict is COMPLETE


def test_an_index_that_is_too_large_is_refused_unread() -> None:
    listing = tuple(
        replace(item, size=INDEX_LIMIT + 1) if item.path == INDEX else item
        for item in listing_of(contents())
    )
    assert INDEX not in reads(listing)
    proof = examine(listing, {})
    assert (proof.verdict, proof.reason) == (REJECTED, "UnreadableIndex")


def test_a_saved_model_counts_before_a_session_bundle() -> None:
    assert reads(listing_of(contents() | session_bundle())) == ("saved_model.pb", INDEX)
