"""The store of static web servers, against one that can be made to do anything."""

import asyncio
import gc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from local_stores import local_options
from slipway_sync.exports import ObjectInfo, Verdict, revision
from slipway_sync.stores import (
    ObjectReplacedError,
    Patience,
    SourceError,
    Store,
    StoreOptions,
    WrongAnswerError,
    credential_names,
    missing_credentials,
    open_store,
    prove,
)
from slipway_sync.stores.backends import http, index_cache
from slipway_sync.stores.backends.index_cache import IndexCache, Known
from slipway_sync.stores.backends.index_document import Index, parse_index
from small_exports import contents
from static_server import StaticServer, indexed

QUICK = Patience(retries=1, pause=0.001)
WORD = "the-secret-itself"


@pytest.fixture
def server() -> Iterator[StaticServer]:
    with StaticServer(indexed({f"1/{name}": data for name, data in contents().items()})) as it:
        yield it


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = IndexCache()
    monkeypatch.setattr(index_cache, "shared", lambda: cache)


def store_of(server: StaticServer, path: str = "m", **options: Any) -> Store:
    return open_store(f"{server.url}/{path}", local_options(patience=QUICK, **options))


def error_of(store: Store) -> SourceError:
    with pytest.raises(SourceError) as caught:
        asyncio.run(store.children())
    assert WORD not in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    return caught.value


async def streamed(store: Store, item: ObjectInfo, start: int, length: int) -> bytes:
    parts = store.stream("1", item, start=start, length=length)
    return b"".join([part async for part in parts])


def item_of(store: Store, path: str) -> ObjectInfo:
    listing = asyncio.run(store.listing("1"))
    return next(item for item in listing if item.path == path)


def test_versions_and_files_are_those_of_the_index(server: StaticServer) -> None:
    server.files |= indexed({"1/a": b"one", "00000002/b/c": b"two", "notes/x": b""})
    store = store_of(server)
    assert asyncio.run(store.children()) == ("00000002", "1", "notes")
    (item,) = asyncio.run(store.listing("00000002"))
    assert (item.path, item.size) == ("b/c", 3)
    assert item.etag == item.sha256
    assert len(item.sha256) == 64
    assert asyncio.run(store.listing("7")) == ()
    assert server.paths() == ["/m/index.json"], "one request for a poll"


def test_a_listing_that_is_asked_for_again_is_taken_anew(server: StaticServer) -> None:
    store = store_of(server)
    asyncio.run(store.children())
    before = revision(asyncio.run(store.listing("1")))
    server.files |= indexed({"1/a": b"another"})
    assert revision(asyncio.run(store.listing("1"))) != before


def test_an_index_that_has_not_changed_is_not_sent_again(server: StaticServer) -> None:
    assert asyncio.run(store_of(server).children()) == ("1",)
    first = server.asked[0].headers
    assert "if-none-match" not in first
    assert asyncio.run(store_of(server).children()) == ("1",)
    assert "if-none-match" in server.asked[1].headers
    server.files |= indexed({"1/a": b"x", "2/a": b"x"})
    assert asyncio.run(store_of(server).children()) == ("1", "2")
    server.etags = False
    server.files |= indexed({"3/a": b"x"})
    assert asyncio.run(store_of(server).children()) == ("3",)
    server.files |= indexed({"4/a": b"x"})
    assert asyncio.run(store_of(server).children()) == ("4",)
    assert "if-none-match" not in server.asked[-1].headers


def test_nobody_reads_what_was_sent_to_another(server: StaticServer) -> None:
    asyncio.run(store_of(server, credentials={"HTTP_BEARER_TOKEN": "good"}).children())
    asyncio.run(store_of(server, credentials={"HTTP_BEARER_TOKEN": "other"}).children())
    assert "if-none-match" not in server.asked[1].headers


def test_the_cache_has_a_bound_and_forgets_the_oldest() -> None:
    index = parse_index(indexed({f"1/{n}": b"" for n in range(100)})["m/index.json"])
    cache = IndexCache(max_bytes=1_000_000)
    for number in range(1000):
        cache.put(str(number), Known("tag", index))
    kept = [number for number in range(1000) if cache.get(str(number))]
    assert 5 < len(kept) < 14
    assert kept[-1] == 999
    cache.put("999", Known("other", index))
    assert cache.get("999") == Known("other", index)
    cache.put("large", Known("tag", replace(index, files=10_000)))
    assert cache.get("large") is None
    cache.drop("999")
    assert cache.get("999") is None
    del index
    gc.collect()


def test_an_export_is_proven_by_its_graph_and_index(server: StaticServer) -> None:
    store = store_of(server)
    listing = asyncio.run(store.listing("1"))
    assert asyncio.run(prove(store, "1", listing)).verdict is Verdict.COMPLETE
    assert sorted(server.paths()[1:]) == [
        "/m/1/saved_model.pb",
        "/m/1/variables/variables.index",
    ]


@pytest.mark.parametrize("ranges", [True, False])
def test_bytes_are_read_from_where_they_are_asked(server: StaticServer, *, ranges: bool) -> None:
    server.ranges = ranges
    content = bytes(range(256)) * 12_000
    server.files |= indexed({"1/big": content})
    store = store_of(server)
    item = item_of(store, "big")
    assert asyncio.run(store.ranged("1", item)) is ranges
    assert asyncio.run(store.read("1", "big")) == content
    assert asyncio.run(store.read("1", "big", start=5, length=70_000)) == content[5:70_005]
    assert asyncio.run(store.read("1", "big", start=3_071_000)) == content[3_071_000:]
    assert asyncio.run(store.read("1", "big", length=0)) == b""
    assert asyncio.run(streamed(store, item, 0, item.size)) == content
    assert asyncio.run(streamed(store, item, 1_000_003, 2_000_000)) == content[1_000_003:3_000_003]


def test_names_of_files_reach_the_server_as_they_are(server: StaticServer) -> None:
    names = ["a b", "50%25", "ü#?&", "q=1+1;x", "~tilde'()*", "[x]"]
    server.files = indexed({f"1/{name}": name.encode() for name in names}, base="my models/m")
    store = open_store(f"{server.url}/my%20models/m/", local_options(patience=QUICK))
    for item in asyncio.run(store.listing("1")):
        assert asyncio.run(store.read("1", item.path)) == item.path.encode()
    assert store_of(server, "my models/m").__class__ is store.__class__
    assert asyncio.run(store_of(server, "my models/m").children()) == ("1",)


def test_a_file_of_another_size_is_named_and_may_still_come(server: StaticServer) -> None:
    store = store_of(server)
    item = item_of(store, "saved_model.pb")
    server.files["m/1/saved_model.pb"] += b"!"
    with pytest.raises(SourceError) as caught:
        asyncio.run(streamed(store, item, 0, item.size))
    assert caught.value.reason == "Unavailable"
    assert str(caught.value) == (
        f"{server.url}/m/1/saved_model.pb does not match index.json: the file there has "
        f"{item.size + 1} bytes, not {item.size}"
    )


def test_a_missing_file_is_named_and_may_still_come(server: StaticServer) -> None:
    store = store_of(server)
    item = item_of(store, "saved_model.pb")
    del server.files["m/1/saved_model.pb"]
    with pytest.raises(
        SourceError, match=r"1/saved_model\.pb does not match index\.json"
    ) as caught:
        asyncio.run(streamed(store, item, 0, item.size))
    assert caught.value.reason == "Unavailable"
    with pytest.raises(SourceError) as caught:
        asyncio.run(store.read("1", "saved_model.pb"))
    assert caught.value.reason == "NotFound"


def test_a_file_that_ends_before_a_part_of_it_is_named(server: StaticServer) -> None:
    server.files |= indexed({"1/big": bytes(3_000_000)})
    store = store_of(server)
    item = item_of(store, "big")
    server.files["m/1/big"] = b"short"
    with pytest.raises(WrongAnswerError, match=r"index\.json: the file there is shorter"):
        asyncio.run(streamed(store, item, 1_000_000, 1_000_000))


@pytest.mark.parametrize("new", [b"longer than it was" * 1000, None])
def test_a_file_whose_index_changed_meanwhile_was_replaced(
    server: StaticServer, new: bytes | None
) -> None:
    store = store_of(server)
    item = item_of(store, "saved_model.pb")
    server.files.clear()
    server.files |= indexed({"1/saved_model.pb": new} if new else {"2/a": b""})
    with pytest.raises(ObjectReplacedError, match=r"saved_model\.pb was replaced"):
        asyncio.run(streamed(store, item, 0, item.size))


def test_a_body_that_breaks_off_is_unavailable(server: StaticServer) -> None:
    server.files |= indexed({"1/big": bytes(3_000_000)})
    server.cut = {"m/1/big": 1_500_000}
    store = store_of(server)
    item = item_of(store, "big")
    assert asyncio.run(streamed(store, item, 0, item.size)) == bytes(3_000_000), "taken up again"
    server.etags = False
    with pytest.raises(SourceError) as caught:
        asyncio.run(streamed(store, item, 0, item.size))
    assert caught.value.reason == "Unavailable"


def test_what_the_index_is_not_is_said(server: StaticServer) -> None:
    server.files["m/index.json"] = b"<html><a href='1/'>1/</a>"
    said = error_of(store_of(server))
    assert said.reason == "InvalidSource"
    assert str(said) == f"{server.url}/m/index.json: it is not JSON at line 1, column 1"
    del server.files["m/index.json"]
    said = error_of(store_of(server))
    assert said.reason == "NotFound"
    assert "index.json does not exist: create it with `slipway-sync index`" in str(said)


def test_an_index_without_end_is_not_read(
    server: StaticServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway_sync.stores.backends.http.MAX_BYTES", 100)
    assert "index.json is longer than" in str(error_of(store_of(server)))


def test_large_documents_are_read_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway_sync.stores.backends.http._SMALL", 0)
    present, most = 0, 0
    parse = http.parse_index

    def counted(document: bytes) -> Index:
        nonlocal present, most
        present += 1
        most = max(most, present)
        try:
            return parse(document)
        finally:
            present -= 1

    monkeypatch.setattr("slipway_sync.stores.backends.http.parse_index", counted)

    async def read() -> list[tuple[str, ...]]:
        stores = [store_of(server, f"m{number}") for number in range(20)]
        return await asyncio.gather(*(store.children() for store in stores))

    with StaticServer() as server:
        for number in range(20):
            server.files |= indexed({f"{number}/a": b""}, base=f"m{number}")
        assert asyncio.run(read()) == [(str(number),) for number in range(20)]
    assert most == 1
    assert http._reading.acquire(timeout=0), "the room was given back"
    http._reading.release()


def test_a_hostile_file_rejects_its_version_alone(server: StaticServer) -> None:
    server.files |= indexed({"1/../../x": b"", "2/a": b""})
    store = store_of(server)
    assert asyncio.run(store.children()) == ("1", "2")
    listing = asyncio.run(store.listing("1"))
    proof = asyncio.run(prove(store, "1", listing))
    assert (proof.verdict, proof.reason) == (Verdict.REJECTED, "HostileKey")
    with pytest.raises(SourceError, match=r"holds '\.\.'"):
        asyncio.run(streamed(store, listing[0], 0, 0))
    assert server.paths() == ["/m/index.json"]


@pytest.mark.parametrize(
    ("credentials", "header"),
    [
        ({"HTTP_BEARER_TOKEN": f" {WORD}\n"}, f"Bearer {WORD}"),
        (
            {"HTTP_USERNAME": "ada", "HTTP_PASSWORD": "p:w ü"},
            "Basic YWRhOnA6dyDDvA==",
        ),
        ({"HTTP_BEARER_TOKEN": WORD, "HTTP_USERNAME": "a", "HTTP_PASSWORD": "b"}, f"Bearer {WORD}"),
    ],
)
def test_credentials_let_in(server: StaticServer, credentials: dict[str, str], header: str) -> None:
    server.authorization = header
    assert asyncio.run(store_of(server, credentials=credentials).children()) == ("1",)
    wrong = error_of(store_of(server, credentials={"HTTP_BEARER_TOKEN": WORD + "x"}))
    assert wrong.reason == "AccessDenied"
    assert "index.json: access denied (401): check the credentials" in str(wrong)
    assert error_of(store_of(server)).reason == "AccessDenied"


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        ({"HTTP_USERNAME": "ada"}, "hold HTTP_USERNAME but no HTTP_PASSWORD"),
        ({"HTTP_PASSWORD": WORD}, "hold HTTP_PASSWORD but no HTTP_USERNAME"),
        ({"HTTP_USERNAME": "a:b", "HTTP_PASSWORD": WORD}, "HTTP_USERNAME contains a colon"),
        ({"HTTP_BEARER_TOKEN": f"{WORD}\r\nx: y"}, "HTTP_BEARER_TOKEN contains characters"),
        ({"HTTP_BEARER_TOKEN": f"{WORD}ü"}, "HTTP_BEARER_TOKEN contains characters"),
    ],
)
def test_credentials_that_cannot_be_are_refused(credentials: dict[str, str], said: str) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        open_store("https://models.example/m", StoreOptions(credentials=credentials))
    assert WORD not in str(caught.value)


def test_credentials_go_to_no_other_host_or_port(server: StaticServer) -> None:
    """Over plain HTTP the gate stops the redirect; what the library itself would send is seen without it."""
    import obstore
    import obstore.store

    credentials = {"HTTP_BEARER_TOKEN": WORD}
    with StaticServer(server.files) as other:
        server.redirects = {"m/index.json": f"{other.url}/m/index.json"}
        said = error_of(store_of(server, credentials=credentials))
        assert said.reason == "InvalidSource"
        assert "it redirects to another host, which is not followed" in str(said)
        assert other.asked == []
        bare = obstore.store.HTTPStore(
            f"{server.url}/m",
            client_options={
                "allow_http": True,
                "default_headers": {"authorization": f"Bearer {WORD}"},
            },
        )
        asyncio.run(_got(bare))
        assert "authorization" in server.asked[-1].headers
        assert [set(asked.headers) & {"authorization", "cookie"} for asked in other.asked] == [
            set()
        ]


async def _got(client: Any) -> None:
    import obstore

    await (await obstore.get_async(client, "index.json")).bytes_async()


def test_a_redirect_on_the_same_host_is_followed(server: StaticServer) -> None:
    server.redirects = {"old/index.json": f"{server.url}/m/index.json"}
    server.authorization = f"Bearer {WORD}"
    store = store_of(server, "old", credentials={"HTTP_BEARER_TOKEN": WORD})
    assert asyncio.run(store.children()) == ("1",)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://", r"write http\(s\)://HOST\[:PORT\]/PATH"),
        ("http://:80/m", "write http"),
        ("http://h:99999/m", "write http"),
        ("http://h:0/m", "write http"),
        ("http://a b/m", "write http"),
        ("http://h/a\\b", "write http"),
        ("http://ada:pa55@h/m", "put HTTP_USERNAME and HTTP_PASSWORD into the Secret"),
        ("https://h/m?sig=1", r"must not contain \? or #"),
        ("https://h/m#1", r"must not contain \? or #"),
        ("https://h/a/../b", r"the path holds '\.\.'"),
        ("https://h/a//b", "the path contains an empty segment"),
    ],
)
def test_a_uri_that_cannot_be_is_refused(uri: str, said: str) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        open_store(uri, StoreOptions())
    assert caught.value.reason == "InvalidSource"
    assert "pa55" not in str(caught.value)


def test_an_endpoint_is_refused() -> None:
    with pytest.raises(SourceError, match="takes no endpoint"):
        open_store("https://h/m", StoreOptions(endpoint="https://h"))


def test_what_a_secret_may_and_must_hold_is_told() -> None:
    assert credential_names("https://h/m") == (
        "HTTP_BEARER_TOKEN",
        "HTTP_USERNAME",
        "HTTP_PASSWORD",
        "PROXY_USERNAME",
        "PROXY_PASSWORD",
    )
    assert missing_credentials("http://h/m", ()) == (
        "HTTP_BEARER_TOKEN, or HTTP_USERNAME and HTTP_PASSWORD"
    )
    assert missing_credentials("http://h/m", ["HTTP_BEARER_TOKEN"]) is None
    assert missing_credentials("http://h/m", ["HTTP_USERNAME"]) is not None
    both = ["PROXY_USERNAME", "PROXY_PASSWORD"]
    assert missing_credentials("s3://models/m", both) is None
    assert missing_credentials("s3://models/m", [*both, "AWS_ACCESS_KEY_ID"]) is not None
