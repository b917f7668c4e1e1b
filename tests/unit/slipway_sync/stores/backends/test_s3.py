"""The S3 store, against a server that can be made to do anything."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from fake_s3 import Asked, FakeS3, Fault
from local_stores import local_options
from slipway_sync.exports import ObjectInfo, Verdict, revision
from slipway_sync.stores import (
    ObjectReplacedError,
    Patience,
    SourceError,
    Store,
    StoreOptions,
    open_store,
    prove,
)
from small_exports import contents

KEYS = {"AWS_ACCESS_KEY_ID": "AKEXAMPLE", "AWS_SECRET_ACCESS_KEY": "the-secret-itself"}


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    with FakeS3() as fake:
        yield fake


BRISK = Patience(pause=0.001)


def store_of(fake: FakeS3, path: str = "m", **options: Any) -> Store:
    given = {"endpoint": fake.endpoint, "credentials": KEYS, "patience": BRISK, **options}
    return open_store(f"s3://models/{path}", local_options(**given))


def test_children_take_one_listing_and_are_directories_only(s3: FakeS3) -> None:
    s3.objects = {"m/1/a": b"", "m/00000002/a/b": b"", "m/file": b"", "mm/3/a": b""}
    assert asyncio.run(store_of(s3).children()) == ("00000002", "1")
    (asked,) = s3.asked
    assert asked.query["prefix"] == ["m/"]
    assert asked.query["delimiter"] == ["/"]


def test_the_whole_bucket_may_be_the_source(s3: FakeS3) -> None:
    s3.objects = {"1/saved_model.pb": b"x"}
    store = store_of(s3, "")
    assert asyncio.run(store.children()) == ("1",)
    assert [item.path for item in asyncio.run(store.listing("1"))] == ["saved_model.pb"]


def test_a_listing_never_holds_the_neighbour_of_a_like_name(s3: FakeS3) -> None:
    s3.objects = {"m/1/a": b"one", "m/10/b": b"ten"}
    (item,) = asyncio.run(store_of(s3).listing("1"))
    assert item == ObjectInfo("a", 3, hashlib.md5(b"one").hexdigest(), item.modified)  # noqa: S324
    assert item.modified.tzinfo is not None
    assert s3.asked[0].query["prefix"] == ["m/1/"]


def test_empty_objects_stay_and_folder_markers_go(s3: FakeS3) -> None:
    s3.objects = {
        "m/1/": b"",
        "m/1/assets/": b"",
        "m/1/assets/empty.txt": b"",
        "m/1/variables/": b"",
        "m/1/made/by hand/": b"",
        "m/1/saved_model.pb": b"x",
    }
    listing = asyncio.run(store_of(s3).listing("1"))
    assert [item.path for item in listing] == ["assets/empty.txt", "saved_model.pb"]
    # Only names that a marker cannot be told from cost a request.
    assert sorted(asked.key for asked in s3.asked if asked.method == "HEAD") == [
        "m/1/assets/empty.txt",
        "m/1/made/by hand",
    ]


def test_a_version_that_is_not_there_is_an_empty_listing(s3: FakeS3) -> None:
    assert asyncio.run(store_of(s3).listing("7")) == ()


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("m/1/../2/saved_model.pb", "../2/saved_model.pb"),
        ("m/1/..", ".."),
        ("m/1/a//b", "a//b"),
        ("m/1/./a", "./a"),
        ("m/1/a\tb", "a\tb"),
        ("m/1/a\nb", "a\nb"),
        ("m/1/a\\..\\b", "a\\..\\b"),
        ("m/1/C:/x", "C:/x"),
        ("m/1/" + "n" * 300, "n" * 300),
    ],
)
def test_a_hostile_key_is_rejected_by_name(s3: FakeS3, key: str, named: str) -> None:
    s3.objects = {f"m/1/{path}": content for path, content in contents().items()}
    store = store_of(s3)
    before = asyncio.run(store.listing("1"))
    s3.objects[key] = b"evil"
    listing = asyncio.run(store.listing("1"))
    proof = asyncio.run(prove(store, "1", listing))
    assert (proof.verdict, proof.reason, proof.object) == (Verdict.REJECTED, "HostileKey", named)
    assert revision(listing) != revision(before)
    assert not [asked for asked in s3.asked if asked.method == "GET" and asked.key]


def test_a_hostile_directory_beside_the_versions_is_named(s3: FakeS3) -> None:
    s3.objects = {"m/1/a": b"", "m/../b": b""}
    with pytest.raises(
        SourceError, match=r"holds the key m/\.\./, which is not a valid path"
    ) as caught:
        asyncio.run(store_of(s3).children())
    assert caught.value.reason == "InvalidSource"


def test_a_proof_reads_the_graph_and_the_index_and_nothing_else(s3: FakeS3) -> None:
    s3.objects = {f"m/1/{path}": content for path, content in contents().items()}
    store = store_of(s3)
    listing = asyncio.run(store.listing("1"))
    s3.asked.clear()
    assert asyncio.run(prove(store, "1", listing)).verdict is Verdict.COMPLETE
    assert sorted(asked.key for asked in s3.asked) == [
        "m/1/saved_model.pb",
        "m/1/variables/variables.index",
    ]


def test_a_file_that_goes_away_while_it_is_proven_is_incomplete(s3: FakeS3) -> None:
    s3.objects = {f"m/1/{path}": content for path, content in contents().items()}
    store = store_of(s3)
    listing = asyncio.run(store.listing("1"))
    del s3.objects["m/1/saved_model.pb"]
    proof = asyncio.run(prove(store, "1", listing))
    assert (proof.verdict, proof.object) == (Verdict.INCOMPLETE, "saved_model.pb")


def test_bytes_are_read_from_where_they_are_asked(s3: FakeS3) -> None:
    s3.objects = {"m/1/a": b"0123456789"}
    store = store_of(s3)
    assert asyncio.run(store.read("1", "a")) == b"0123456789"
    assert asyncio.run(store.read("1", "a", start=4)) == b"456789"
    assert asyncio.run(store.read("1", "a", start=4, length=3)) == b"456"
    assert asyncio.run(store.read("1", "a", start=8, length=30)) == b"89"
    assert asyncio.run(store.read("1", "a", length=0)) == b""


async def streamed(store: Store, item: ObjectInfo, start: int, length: int) -> bytes:
    return b"".join([chunk async for chunk in store.stream("1", item, start=start, length=length)])


def test_a_stream_is_exactly_what_was_listed(s3: FakeS3) -> None:
    s3.objects = {"m/1/a": bytes(range(256)) * 20_000}
    store = store_of(s3)
    (item,) = asyncio.run(store.listing("1"))
    found = asyncio.run(streamed(store, item, 100, 4_000_000))
    assert found == s3.objects["m/1/a"][100:4_000_100]
    assert s3.asked[-1].headers["if-match"] == f'"{item.etag}"'
    assert s3.asked[-1].headers["range"] == "bytes=100-4000099"


@pytest.mark.parametrize("ignores_if_match", [False, True])
@pytest.mark.parametrize("new", [b"9876543210", b"longer than before", None])
def test_an_object_that_is_not_the_listed_one_is_noticed(
    s3: FakeS3,
    new: bytes | None,
    ignores_if_match: bool,  # noqa: FBT001
) -> None:
    s3.ignores_if_match = ignores_if_match
    s3.objects = {"m/1/a": b"0123456789"}
    store = store_of(s3)
    (item,) = asyncio.run(store.listing("1"))
    if new is None:
        del s3.objects["m/1/a"]
    else:
        s3.objects["m/1/a"] = new
    with pytest.raises(ObjectReplacedError, match="a was replaced or removed"):
        asyncio.run(streamed(store, item, 0, 10))


def test_a_body_that_breaks_off_is_taken_up_where_it_stood(s3: FakeS3) -> None:
    s3.objects = {"m/1/a": b"0123456789"}
    store = store_of(s3)
    (item,) = asyncio.run(store.listing("1"))
    s3.fault = lambda asked: Fault(cut=4) if asked.key else None
    assert asyncio.run(streamed(store, item, 0, 10)) == b"0123456789"
    ranges = [asked.headers["range"] for asked in s3.asked if asked.key]
    assert ranges == ["bytes=0-9", "bytes=4-9", "bytes=8-9"]


def test_a_body_that_never_comes_is_no_short_file(s3: FakeS3) -> None:
    s3.objects = {"m/1/a": b"0123456789"}
    store = store_of(s3)
    (item,) = asyncio.run(store.listing("1"))
    s3.fault = lambda asked: Fault(cut=0) if asked.key else None
    with pytest.raises(SourceError, match="it closes connections early") as caught:
        asyncio.run(streamed(store, item, 0, 10))
    assert caught.value.reason == "Unavailable"
    assert len(s3.asked) <= 6, "retries are bounded"


def test_a_server_that_sends_less_than_it_was_asked_is_noticed(s3: FakeS3) -> None:
    s3.objects = {"m/1/a": b"0123456789"}
    store = store_of(s3)
    (item,) = asyncio.run(store.listing("1"))
    s3.fault = lambda asked: Fault(body=b"0123") if asked.key else None
    with pytest.raises(SourceError, match=r"4 of the 10 bytes|breaks connections off"):
        asyncio.run(streamed(store, item, 0, 10))


ANSWERS = {
    (403, "AccessDenied"): "AccessDenied",
    (403, "SignatureDoesNotMatch"): "AccessDenied",
    (401, ""): "AccessDenied",
    (400, "ExpiredToken"): "AccessDenied",
    (404, "XAdminUserNotFound"): "AccessDenied",
    (404, "NoSuchBucket"): "NotFound",
    (301, "PermanentRedirect"): "InvalidSource",
    (400, "InvalidBucketName"): "InvalidSource",
    (429, "SlowDown"): "Unavailable",
    (500, "InternalError"): "Unavailable",
    (503, "SlowDown"): "Unavailable",
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("operation", ["children", "listing", "read"])
def test_what_the_store_answers_becomes_one_reason_without_its_body(
    s3: FakeS3, answer: tuple[int, str], operation: str
) -> None:
    s3.fault = lambda _: Fault(status=answer[0], code=answer[1])
    store = store_of(s3)
    calls: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
        "children": store.children,
        "listing": lambda: store.listing("1"),
        "read": lambda: store.read("1", "a"),
    }
    with pytest.raises(SourceError) as caught:
        asyncio.run(calls[operation]())
    assert caught.value.reason == ANSWERS[answer]
    sentence = str(caught.value)
    assert sentence.startswith("s3://models/m")
    for hidden in ("s3cr3t", "<", "the-secret-itself", "AKEXAMPLE", "http://", "\n"):
        assert hidden not in sentence
    assert len(s3.asked) <= 4, "retries are bounded"


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with FakeS3() as gone:
        store = store_of(gone)
    with pytest.raises(SourceError, match="refuses connections") as caught:
        asyncio.run(store.children())
    assert caught.value.reason == "Unavailable"


def test_a_server_that_stalls_is_unavailable(s3: FakeS3) -> None:
    import threading

    gate = threading.Event()
    s3.fault = lambda _: Fault(hold=gate)
    patience = Patience(stall=0.1, pause=0.001)
    with pytest.raises(SourceError, match="does not answer in time") as caught:
        asyncio.run(store_of(s3, patience=patience).children())
    gate.set()
    assert caught.value.reason == "Unavailable"
    assert len(s3.asked) <= 4


def test_a_secret_is_in_no_representation() -> None:
    assert "the-secret-itself" not in repr(StoreOptions(credentials=KEYS))


def authorization(asked: Asked) -> str:
    return asked.headers.get("authorization", "")


def test_the_given_credentials_sign_and_the_environment_has_no_say(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    polluted = {
        "AWS_ACCESS_KEY_ID": "AKOFTHEOPERATOR",
        "AWS_SECRET_ACCESS_KEY": "environment",
        "AWS_SESSION_TOKEN": "environment-token",
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_REGION": "mars-1",
        "AWS_REQUEST_PAYER": "requester",
        "AWS_PROXY_URL": "http://127.0.0.1:1",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/credentials",
        "AWS_USER_AGENT": "environment",
    }
    for name, value in polluted.items():
        monkeypatch.setenv(name, value)
    s3.objects = {"m/1/a": b"x"}
    assert asyncio.run(store_of(s3).children()) == ("1",)
    (asked,) = s3.asked
    assert "Credential=AKEXAMPLE/" in authorization(asked)
    assert "/us-east-1/s3/" in authorization(asked)
    assert "x-amz-security-token" not in asked.headers
    assert "x-amz-request-payer" not in asked.headers
    assert asked.headers["user-agent"] != "environment"
    assert {name: os.environ[name] for name in polluted} == polluted, "and it is as it was"


def test_without_credentials_requests_are_anonymous(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKOFTHEOPERATOR")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "environment")
    asyncio.run(store_of(s3, credentials={}).children())
    (asked,) = s3.asked
    assert authorization(asked) == ""


def test_a_session_token_and_a_region_are_used(s3: FakeS3) -> None:
    keys = {**KEYS, "AWS_SESSION_TOKEN": "token\n", "AWS_REGION": "eu-west-1"}
    asyncio.run(store_of(s3, credentials=keys).children())
    asyncio.run(store_of(s3, credentials=keys, region="eu-north-1").children())
    assert s3.asked[0].headers["x-amz-security-token"] == "token"
    assert "/eu-west-1/s3/" in authorization(s3.asked[0])
    assert "/eu-north-1/s3/" in authorization(s3.asked[1])


@pytest.mark.parametrize(
    ("uri", "options", "why"),
    [
        ("s3://", {}, "write s3://BUCKET/PATH"),
        ("s3://a", {}, "write s3://BUCKET/PATH"),
        ("s3://user:pw@bucket/m", {}, "write s3://BUCKET/PATH"),
        ("s3://models/a/../b", {}, r"holds '\.\.'"),
        ("s3://models/a//b", {}, "contains an empty segment"),
        ("ftp://models/m", {}, "is not a valid source"),
        ("models/m", {}, "is not a valid source"),
        ("file://host/m", {}, "is not a valid source"),
        ("s3://models/m", {"endpoint": "ftp://x"}, "the endpoint is no"),
        ("s3://models/m", {"endpoint": "http://user:pw@x"}, "the endpoint is no"),
        ("s3://models/m", {"endpoint": "http://x:99999"}, "the endpoint is no"),
        ("s3://models/m", {"addressing": "auto"}, "write path or virtual"),
        ("s3://models/m", {"credentials": {"AWS_ACCESS_KEY_ID": "A"}}, "no AWS_SECRET_ACCESS_KEY"),
        ("s3://models/m", {"ca_bundle": b"junk"}, "CA bundle contains no certificate"),
    ],
)
def test_what_cannot_be_a_source_is_said_before_any_request(
    uri: str, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(SourceError, match=why) as caught:
        open_store(uri, StoreOptions(**options))
    assert caught.value.reason == "InvalidSource"
    assert "pw" not in str(caught.value).replace(uri, "")


def test_virtual_addressing_puts_the_bucket_into_the_host(s3: FakeS3) -> None:
    # Any name below localhost is this machine.
    endpoint = s3.endpoint.replace("127.0.0.1", "localhost")
    store = store_of(s3, addressing="virtual", endpoint=endpoint)
    try:
        asyncio.run(store.children())
    except SourceError as error:
        assert "DNS" in str(error)  # noqa: PT017 - where localhost has no subdomains
        return
    assert s3.asked[0].headers["host"].startswith("models.localhost:")


@pytest.mark.parametrize("directory", ["", "..", "1/..", "a/b", "1/", "/"])
def test_only_a_child_can_be_listed(s3: FakeS3, directory: str) -> None:
    with pytest.raises(SourceError, match="not the name of a version's directory"):
        asyncio.run(store_of(s3).listing(directory))
    assert s3.asked == []
