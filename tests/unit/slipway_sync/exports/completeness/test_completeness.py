"""The chain of checks: what is said about an export that is not right."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from signed_exports import OTHER_KEY, OTHER_PUBLIC, PUBLIC, signed, summed
from slipway_sync.exports import Proof, Requirements, Verdict, examine, reads, summarized
from slipway_sync.exports.completeness.completeness import CHECKS, INDEX_LIMIT, READ_LIMIT
from slipway_sync.exports.manifest import MANIFEST_LIMIT
from slipway_sync.wire import tensorflow_pb2 as wire
from small_exports import (
    ASSET,
    INDEX,
    SHARD_0,
    SHARD_1,
    calling_python,
    capturing,
    contents,
    graph,
    listing_of,
    values,
)
from tables import Tensor, bundle

Files = dict[str, bytes]
COMPLETE, INCOMPLETE, REJECTED = Verdict.COMPLETE, Verdict.INCOMPLETE, Verdict.REJECTED


def proof_of(files: Files, **asked: Any) -> Proof:
    listing = listing_of(files)
    requirements = Requirements(**asked)
    read = {path: files[path] for path in reads(listing, requirements)}
    return examine(listing, read, requirements)


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
    "a graph that calls Python": (
        {"saved_model.pb": calling_python()},
        (REJECTED, "UnsupportedOperation", "saved_model.pb"),
    ),
    "values of all variables that a signature reads": (
        {"saved_model.pb": capturing("a", "b"), **values("a", "b")},
        (COMPLETE, "Complete", ""),
    ),
    "values of variables of another export": (
        {"saved_model.pb": capturing("a", "b"), **values("a")},
        (REJECTED, "MissingTensor", INDEX),
    ),
    "a text graph": (
        without("saved_model.pb")
        | {
            "saved_model.pbtxt": b'meta_graphs { meta_info_def { tags: "serve" } saver_def {} '
            b'asset_file_def { filename: "y" } }'
        },
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
            patch.setattr("slipway_sync.exports.completeness.completeness.CHECKS", rest)
            results = []
            for files, expected, asked in [
                *((files, expected, {}) for files, expected in TABLE.values()),
                *ASKED.values(),
            ]:
                try:
                    proof = proof_of(files, **asked)
                except ValueError:  # What the check would have caught.
                    results.append(False)
                else:
                    results.append((proof.verdict, proof.reason, proof.object) == expected)
            results.append(examine(TOO_MANY, {}).reason == "TooManyObjects")
        assert not all(results), left_out.__name__


TOO_MANY = replace(summarized(listing_of(contents())), too_many=True)


def test_a_listing_without_end_is_rejected() -> None:
    proof = examine(TOO_MANY, {})
    assert proof.verdict is REJECTED
    assert proof.message == (
        "the version's directory contains more than 200000 objects: remove what is not part of the "
        "export"
    )


SIGNED = {"public_keys": (PUBLIC,)}
GOOD = signed(contents())
NAMES_MORE = contents() | {"SHA256SUMS": summed(contents(), more=b"")}
TOO_LARGE = replace(listing_of({"SHA256SUMS": b"x"})[0], size=MANIFEST_LIMIT + 1)
NO_TAGS = wire.SavedModel(meta_graphs=[wire.MetaGraphDef()]).SerializeToString()

ASKED: dict[str, tuple[Files, tuple[Verdict, str, str], dict[str, Any]]] = {
    "a marker that is not there": (
        contents(seed=1),
        (INCOMPLETE, "MissingMarker", "_SUCCESS"),
        {"marker": "_SUCCESS"},
    ),
    "other tags": (contents(), (REJECTED, "MissingTags", "saved_model.pb"), {"tags": ("train",)}),
    "more tags than a graph has": (
        contents(),
        (REJECTED, "MissingTags", "saved_model.pb"),
        {"tags": ("serve", "gpu")},
    ),
    "a graph without tags": (
        {"saved_model.pb": NO_TAGS},
        (REJECTED, "MissingTags", "saved_model.pb"),
        {},
    ),
    "the manifest of a whole export": (
        contents() | {"SHA256SUMS": summed(contents())},
        (COMPLETE, "Complete", ""),
        {},
    ),
    "a manifest that names not every file": (
        contents() | {"SHA256SUMS": summed({ASSET: contents()[ASSET]})},
        (COMPLETE, "Complete", ""),
        {},
    ),
    "a manifest that names a file that is not there": (
        NAMES_MORE,
        (INCOMPLETE, "MissingFile", "more"),
        {},
    ),
    "an empty manifest": (
        contents() | {"SHA256SUMS": b""},
        (INCOMPLETE, "UnreadableManifest", "SHA256SUMS"),
        {},
    ),
    "a manifest that is none": (
        contents() | {"SHA256SUMS": b"hello\n"},
        (REJECTED, "UnreadableManifest", "SHA256SUMS"),
        {},
    ),
    "a signed export": (GOOD, (COMPLETE, "Complete", ""), SIGNED),
    "signed by the other one of two keys": (
        GOOD,
        (COMPLETE, "Complete", ""),
        {"public_keys": (OTHER_PUBLIC, PUBLIC)},
    ),
    "a signature in hex": (
        GOOD | {"SHA256SUMS.sig": GOOD["SHA256SUMS.sig"].hex().encode() + b"\n"},
        (COMPLETE, "Complete", ""),
        SIGNED,
    ),
    "nothing signed": (contents(), (REJECTED, "Unsigned", "SHA256SUMS"), SIGNED),
    "a manifest without signature": (
        {path: content for path, content in GOOD.items() if path != "SHA256SUMS.sig"},
        (REJECTED, "Unsigned", "SHA256SUMS.sig"),
        SIGNED,
    ),
    "signed by somebody else": (
        signed(contents(), key=OTHER_KEY),
        (REJECTED, "WrongSignature", "SHA256SUMS.sig"),
        SIGNED,
    ),
    "a manifest that was changed after it was signed": (
        GOOD | {"SHA256SUMS": GOOD["SHA256SUMS"] + b"# more\n"},
        (REJECTED, "WrongSignature", "SHA256SUMS.sig"),
        SIGNED,
    ),
    "a signature that is none": (
        GOOD | {"SHA256SUMS.sig": b"hello"},
        (REJECTED, "WrongSignature", "SHA256SUMS.sig"),
        SIGNED,
    ),
    "a signature that is far too large": (
        GOOD | {"SHA256SUMS.sig": bytes(5000)},
        (REJECTED, "WrongSignature", "SHA256SUMS.sig"),
        SIGNED,
    ),
    "a file beside the signed ones": (
        signed(contents(), unnamed=ASSET),
        (REJECTED, "UnsignedFile", ASSET),
        SIGNED,
    ),
    "a signed export whose upload has not ended": (
        {path: content for path, content in GOOD.items() if path != SHARD_1},
        (INCOMPLETE, "MissingShard", SHARD_1),
        SIGNED,
    ),
    "an unsigned export whose upload has not ended": (
        without(SHARD_1),
        (INCOMPLETE, "MissingShard", SHARD_1),
        SIGNED,
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_the_verdict_on_what_is_asked_for(name: str) -> None:
    files, expected, asked = ASKED[name]
    proof = proof_of(files, **asked)
    assert (proof.verdict, proof.reason, proof.object) == expected


def test_a_manifest_that_is_far_too_large_is_refused_unread() -> None:
    listing = (*listing_of(contents()), TOO_LARGE)
    assert "SHA256SUMS" not in reads(listing)
    proof = examine(listing, {path: contents()[path] for path in reads(listing)})
    assert (proof.verdict, proof.reason) == (REJECTED, "UnreadableManifest")
    assert proof.message == "SHA256SUMS is larger than 16 MiB"


def test_every_reason_of_a_wrong_signature_says_what_to_do() -> None:
    for name in ("nothing signed", "a manifest without signature", "signed by somebody else"):
        files, _, asked = ASKED[name]
        message = proof_of(files, **asked).message
        assert "openssl pkeyutl -sign -rawin -inkey KEY.pem -in SHA256SUMS" in message
        assert len(message) < 400


def test_the_tags_that_are_there_are_named() -> None:
    model = wire.SavedModel()
    for tags in (["train"], ["eval"]):
        model.meta_graphs.add().meta_info_def.tags.extend(tags)
    content = model.SerializeToString()
    assert proof_of({"saved_model.pb": content}).message == (
        "saved_model.pb has no graph with the tags serve: it has [train] and [eval]"
    )
    assert proof_of({"saved_model.pb": content}, tags=("train",)).verdict is COMPLETE
    model.meta_graphs.add().meta_info_def.tags.extend(["gpu", "serve"])
    content = model.SerializeToString()
    assert proof_of({"saved_model.pb": content}, tags=("serve", "gpu")).verdict is COMPLETE
    for number in range(20):
        model.meta_graphs.add().meta_info_def.tags.append(f"t{number}\u202e")
    message = proof_of({"saved_model.pb": model.SerializeToString()}).message
    assert message.endswith("and 15 more")
    assert "\u202e" not in message


def test_a_session_bundle_has_no_tags() -> None:
    assert proof_of(session_bundle("export"), tags=("gpu",)).verdict is COMPLETE


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


def test_only_the_tag_set_that_is_served_is_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    from slipway_sync.exports.graph import graph as module

    read: list[str] = []

    def reading(graph: wire.MetaGraphDef) -> None:
        read.extend(graph.meta_info_def.tags)

    monkeypatch.setattr(module, "python_operation", reading)
    two = graph() + graph().replace(b"serve", b"train")
    assert proof_of(contents() | {"saved_model.pb": two}, tags=("train",)).reason == "Complete"
    assert read == ["train"]
