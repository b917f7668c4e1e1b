"""A listing that streams by: what is found is what a whole listing says, and little of it is held."""

import asyncio
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paged_stores import PagedStore, item
from signed_exports import PUBLIC, signed
from slipway_sync.exports import (
    ListingSummarizer,
    ListingSummary,
    ObjectInfo,
    Proof,
    Requirements,
    Verdict,
    Watchlist,
    hostile_key,
    revision,
    summarized,
)
from slipway_sync.exports.completeness import listing_summary as module
from slipway_sync.exports.listing import KeyJudge
from slipway_sync.stores import prove, summarize
from small_exports import ASSET, SHARD_1, contents, graph


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a listing be long with seven objects."""
    monkeypatch.setattr(module, "HELD", 6)


def looked(
    store: PagedStore, watchlist: Watchlist | None = None, *, unless: str = ""
) -> ListingSummary:
    found = asyncio.run(summarize(store, "1", watchlist, unless=unless))
    assert found is not None
    return found


PATHS = st.text(st.sampled_from("ab/-.\\\0 é"), max_size=6)
OBJECTS = st.lists(
    st.builds(item, PATHS, st.integers(0, 3), st.sampled_from(["x", "y"])),
    max_size=20,
    unique_by=lambda found: found.path.rstrip("/"),
)


@given(st.lists(PATHS))
def test_keys_in_order_are_judged_as_all_of_them_together(paths: list[str]) -> None:
    """The rule as it reads: each path by itself, then each path's parents."""
    judge = KeyJudge()
    ordered = sorted(set(paths))
    for path in ordered:
        judge.add(path)
    for path in ordered:
        alone = hostile_key([path])
        if alone is not None:
            assert judge.found() == alone
            return
    for path in ordered:
        steps = path.split("/")
        for depth in range(1, len(steps)):
            parent = "/".join(steps[:depth])
            if parent in ordered:
                found = judge.found()
                assert found is not None
                assert found[0] == parent
                return
    assert judge.found() is None


@given(OBJECTS, st.integers(1, 5), st.integers(0, 25), st.booleans())
def test_a_survey_says_what_the_whole_listing_says(
    objects: list[ObjectInfo],
    page: int,
    held: int,
    in_order: bool,  # noqa: FBT001
) -> None:
    """In whatever order it comes and however long: folder markers are no part of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "HELD", held)
        if in_order:
            objects = sorted(objects, key=lambda found: found.path.rstrip("/"))
        objects = [replace(o, size=0) if o.path.endswith("/") else o for o in objects]
        store = PagedStore({"1": objects}, page=page)
        files = tuple(
            replace(o, path=o.path.rstrip("/")) for o in objects if not o.path.endswith("/")
        )
        found = looked(store)
        whole = summarized(files)
        assert found.revision == whole.revision == revision(files)
        assert (found.bytes, found.count) == (whole.bytes, len(files))
        assert found.hostile == whole.hostile == hostile_key(o.path for o in files)
        assert found.whole == (found.count <= held)
        if found.whole:
            assert found.sizes == whole.sizes
        assert asyncio.run(summarize(store, "1", unless=found.fingerprint)) is None


def test_an_unchanged_listing_costs_its_pages_and_nothing_else(few: None) -> None:  # noqa: ARG001
    for count in (3, 10):
        objects = [item("made/"), *(item(f"{n}", 0) for n in range(count))]
        objects[0] = replace(objects[0], size=0)
        store = PagedStore({"1": objects})
        found = looked(store)
        assert "HEAD 1/made" in store.asked
        store.asked.clear()
        assert asyncio.run(summarize(store, "1", unless=found.fingerprint)) is None
        assert store.asked == ["LIST 1"]


def test_a_folder_that_becomes_an_empty_file_is_a_change() -> None:
    """The library lists both alike but for the time."""
    marker = replace(item("made/", 0, "e"), path="made/")
    store = PagedStore({"1": [marker, item("a")]})
    before = looked(store)
    later = replace(marker, path="made", modified=marker.modified + timedelta(seconds=1))
    store.objects["1"] = [later, item("a")]
    after = looked(store, unless=before.fingerprint)
    assert after.revision != before.revision


def test_a_listing_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 500)
    taken = 0

    def endless() -> Iterator[ObjectInfo]:
        nonlocal taken
        while True:
            taken += 1
            yield item(f"assets/{taken:09d}")

    store = PagedStore({"1": endless()})
    found = looked(store)
    assert found.too_many
    assert taken <= 1001
    proof = asyncio.run(prove(store, "1", found))
    assert (proof.verdict, proof.reason) == (Verdict.REJECTED, "TooManyObjects")


def test_a_key_that_the_library_cannot_name_is_the_listing() -> None:
    store = PagedStore({"1": [item("a")]}, hostile="a//b")
    found = looked(store)
    assert found.hostile == ("a//b", "contains an empty segment")
    assert asyncio.run(summarize(store, "1", unless=found.fingerprint)) is None


def proof_of(store: PagedStore, **asked: object) -> Proof:
    requirements = Requirements(**asked)  # type: ignore[arg-type]
    watchlist = Watchlist(frozenset({requirements.marker} - {""}))
    return asyncio.run(prove(store, "1", looked(store, watchlist), requirements))


def long_export(**others: bytes) -> PagedStore:
    files = contents() | {f"more/{n:05d}": b"x" for n in range(50)} | others
    return PagedStore.of(dict(sorted(files.items())))


def test_a_long_listing_proves_what_a_short_one_does(few: None) -> None:  # noqa: ARG001
    store = long_export()
    assert proof_of(store).verdict is Verdict.COMPLETE
    assert len(looked(store).sizes) < 6
    for path, reason in ((SHARD_1, "MissingShard"), (ASSET, "MissingAsset")):
        lacking = long_export()
        lacking.objects["1"] = [o for o in lacking.objects["1"] if o.path != path]
        proof = proof_of(lacking)
        assert (proof.verdict, proof.reason, proof.object) == (
            Verdict.INCOMPLETE,
            reason,
            path,
        )
    assert proof_of(long_export(), marker="_DONE").reason == "MissingMarker"
    assert proof_of(long_export(_DONE=b""), marker="_DONE").verdict is Verdict.COMPLETE


def test_a_long_listing_is_held_against_its_manifest(few: None) -> None:  # noqa: ARG001
    files = contents() | {f"more/{n:05d}": b"x" for n in range(50)}
    good = PagedStore.of(dict(sorted(signed(files).items())))
    assert proof_of(good, public_keys=(PUBLIC,)).verdict is Verdict.COMPLETE
    more = PagedStore.of(dict(sorted((signed(files) | {"more/x": b""}).items())))
    proof = proof_of(more, public_keys=(PUBLIC,))
    assert (proof.reason, proof.object) == ("UnsignedFile", "more/x")
    lacking = PagedStore.of(dict(sorted(signed(files).items())))
    lacking.objects["1"] = [o for o in lacking.objects["1"] if o.path != "more/00007"]
    proof = proof_of(lacking)
    assert (proof.reason, proof.object) == ("MissingFile", "more/00007")


def test_a_long_listing_that_changes_meanwhile_is_no_proof(few: None) -> None:  # noqa: ARG001
    store = long_export()
    found = looked(store)
    store.objects["1"] = [*store.objects["1"], item("z")]
    assert asyncio.run(prove(store, "1", found)).reason == "Moved"


def test_of_a_large_graph_only_some_pieces_are_read() -> None:
    files = contents() | {"saved_model.pb": graph(filler=40 << 20)}
    store = PagedStore.of(files)
    read = 0

    class Counting(PagedStore):
        async def read(
            self, directory: str, path: str, *, start: int = 0, length: int | None = None
        ) -> bytes:
            nonlocal read
            content = await super().read(directory, path, start=start, length=length)
            read += len(content)
            return content

    counting = Counting(store.objects, store.contents)
    assert proof_of(counting).verdict is Verdict.COMPLETE
    assert read < 2 << 20
    assert proof_of(counting, tags=("train",)).reason == "MissingTags"
    cut = store.contents["1/saved_model.pb"][:-1]
    shorter = PagedStore.of(files | {"saved_model.pb": cut})
    proof = proof_of(shorter)
    assert (proof.verdict, proof.reason) == (Verdict.REJECTED, "UnreadableGraph")
    store.contents["1/saved_model.pb"] = cut[:50_000]
    proof = proof_of(store)
    assert (proof.reason, proof.object) == ("Moved", "saved_model.pb")


def test_surveyors_refuse_what_is_out_of_order() -> None:
    summarizer = ListingSummarizer()
    summarizer.add([item("b")])
    with pytest.raises(module.OutOfOrderError):
        summarizer.add([item("a")])


MEASURE = """
import asyncio, resource, sys, time
from slipway_sync.exports import ObjectInfo
from slipway_sync.exports.completeness import listing_summary as module
from slipway_sync.stores import prove, summarize
from paged_stores import PagedStore, item
from signed_exports import PUBLIC, signed
from small_exports import contents

count, most = int(sys.argv[1]), int(sys.argv[2])
module.MOST = most
files = contents()

class Big(PagedStore):
    async def pages(self, directory):
        own = sorted(files)
        yield [item(path, len(files[path])) for path in own if path < "assets/x"]
        for start in range(0, count, 1000):
            Loop.pages += 1
            yield [item(f"assets/x{n:09d}/a-file-of-an-ordinary-name.txt", 7)
                   for n in range(start, min(start + 1000, count))]
        yield [item(path, len(files[path])) for path in own if path >= "assets/x"]

    async def folders(self, directory, empty):
        return frozenset()

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

class Loop(asyncio.SelectorEventLoop):
    pages = 0
    most = 0
    def _run_once(self):
        before = Loop.pages
        super()._run_once()
        Loop.most = max(Loop.most, Loop.pages - before)

async def main():
    small = PagedStore.of(files)
    assert (await prove(small, "1", await summarize(small, "1"))).reason == "Complete"
    store = Big({}, {f"1/{path}": content for path, content in files.items()})
    before, began = peak(), time.process_time()
    found = await summarize(store, "1")
    spent = time.process_time() - began
    proof = await prove(store, "1", found)
    print(found.count, proof.reason, peak() - before, Loop.most, round(spent, 2))

loop = Loop()
asyncio.set_event_loop(loop)
loop.run_until_complete(main())
"""


def measured(count: int, most: int) -> tuple[int, str, int, int, float]:
    """Objects counted, reason, MiB that the peak grew, most pages in a turn of the loop, CPU seconds."""
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, str(count), str(most)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=300,
    )
    counted, reason, grown, most_pages, spent = ran.stdout.split()
    return int(counted), reason, int(grown), int(most_pages), float(spent)


def test_100_000_objects_take_no_memory_and_do_not_hold_the_loop_up() -> None:
    counted, reason, grown, pages, spent = measured(100_000, module.MOST)
    print(f"100 000 objects: {grown} MiB, {pages} pages in a turn at most, {spent} s")  # noqa: T201
    assert (counted, reason) == (100_006, "Complete")
    assert grown <= 8
    assert pages == 1, "others get a turn after each page"


def test_a_million_objects_are_given_up_at_no_cost() -> None:
    counted, reason, grown, _, spent = measured(1_000_000, module.MOST)
    print(f"1 000 000 objects: {grown} MiB, {spent} s")  # noqa: T201
    assert counted <= module.MOST + 1000
    assert reason == "TooManyObjects"
    assert grown <= 8


def test_the_agent_holds_some_hundred_bytes_of_each_file() -> None:
    """So that 100 000 of them, and what else it needs, fit into 256 MiB."""
    from slipway_sync.agent.volume.record import FileRecord, Record
    from slipway_sync.exports import read_manifest

    count = 20_000
    listing = tuple(item(f"assets/{n:06d}/vocabulary-file.txt") for n in range(count))
    manifest = "".join(f"{n:064x}  {found.path}\n" for n, found in enumerate(listing)).encode()
    files = {found.path: FileRecord(found.size, found.etag, "0" * 64) for found in listing}
    record = Record("0" * 64, "sha256:0", "", files)
    for what, limit in (
        (lambda: revision(listing), 50),
        (lambda: summarized(listing), 400),
        (lambda: read_manifest(manifest), 600),
        (record.render, 600),
    ):
        tracemalloc.start()
        what()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak / count < limit
    assert Record.parse(record.render()) == record
