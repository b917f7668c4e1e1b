"""Names that somebody with a grudge would choose, in the listings of every store."""

import asyncio
import json
from collections.abc import Iterator
from html import escape
from pathlib import Path

import pytest

from faults import Asked, Fault
from faults_columns import Agent, Column, HttpsColumn, column, fingerprint
from faults_names import HARMLESS, HOSTILE
from slipway_sync.exports import ExitCode, Listing, Proof, Verdict, hostile_key, printable
from slipway_sync.stores import SourceError, prove
from small_exports import ASSET, contents, tree

PREFIX = "good"
PLACE = ASSET
"""The object whose name is exchanged in the listings."""


@pytest.fixture(scope="module", params=["s3", "gs", "az", "https"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Column]:
    with column(request.param, tmp_path_factory.mktemp(request.param)) as made:
        made.upload(f"{PREFIX}/3", contents())
        yield made


def renamed(store: Column, name: str) -> Fault:
    """The listing as it is, but for one object that is called otherwise."""

    def in_json(body: bytes) -> bytes:
        document = json.loads(body)
        for version in document["versions"]:
            for file in version["files"]:
                if file["path"] == PLACE:
                    file["path"] = name
        return json.dumps(document).encode()

    def in_xml(body: bytes) -> bytes:
        text = "".join(
            escape(c) if c.isprintable() or ord(c) > 0x9F else f"&#{ord(c)};" for c in name
        )
        return body.replace(f"3/{PLACE}<".encode(), f"3/{text}<".encode())

    if isinstance(store, HttpsColumn):
        return Fault(rewrite=in_json, headers={"ETag": ""})
    return Fault(rewrite=in_xml)


async def judged(store: Column) -> tuple[Listing, Proof]:
    source = store.store(PREFIX)
    listing = await source.listing("3")
    return listing, await prove(source, "3", listing)


def test_no_hostile_name_in_a_listing_is_taken(store: Column) -> None:
    """Each in a listing of its own: refused by name, or the whole listing as what is none."""
    refused = 0
    unreadable: dict[str, str] = {}
    for name in HOSTILE:
        fault = renamed(store, name)

        def rule(asked: Asked, fault: Fault = fault) -> Fault | None:
            return fault if store.lists(asked) else None

        store.proxy.rule = rule
        try:
            listing, proof = asyncio.run(judged(store))
        except SourceError as error:
            unreadable[name] = str(error)
            continue
        assert proof.verdict is Verdict.REJECTED, (name, listing)
        assert proof.reason == "HostileKey"
        assert proof.message.isprintable()
        # What the library strips or tells otherwise is refused for what is left of it.
        assert proof.object, name
        refused += 1
    store.proxy.reset()
    assert refused + len(unreadable) == len(HOSTILE)
    # Characters that XML cannot hold make the listing none; everything else is named.
    assert all(any(ord(c) < 0x20 for c in name) for name in unreadable), unreadable
    assert all(message.isprintable() for message in unreadable.values())
    assert refused > 180


@pytest.mark.parametrize(
    "name",
    ["../../outside", "/etc/outside", "a\\..\\b", "C:/x", "n" * 300, "a/../../../x", "saved_model.pb/x"],
)  # fmt: skip
def test_the_agent_writes_nothing_for_a_hostile_name(
    store: Column, tmp_path: Path, name: str
) -> None:
    home = tmp_path / "home"
    for directory in (home / "beside", home / "volume", tmp_path / "outside"):
        directory.mkdir(parents=True)
        (directory / "file").write_text("not to be touched")
    with store.own_proxy() as own:
        fault = renamed(own, name)
        own.proxy.rule = lambda asked: fault if own.lists(asked) else None
        agent = Agent(own, PREFIX, home)
        listing = asyncio.run(agent.plan())
        agent.run_files()
        before = fingerprint(tmp_path, but=home / "termination-log")
        within_limit = agent.run()
        assert within_limit.code == ExitCode.REJECTED, within_limit.said
        found = hostile_key([item.path for item in listing])
        assert found is not None
        assert (within_limit.outcome.reason, within_limit.outcome.object) == (
            "HostileKey",
            found[0],
        )
        assert printable(found[0]) in within_limit.outcome.message
        assert fingerprint(tmp_path, but=home / "termination-log") == before
        # Whoever removes the object needs do no more.
        own.proxy.reset()
        asyncio.run(agent.plan())
        assert agent.run().code == ExitCode.SYNCED
        assert tree(agent.version) == contents()


def test_odd_names_that_do_no_harm_arrive_as_they_are(store: Column, tmp_path: Path) -> None:
    prefix = "odd"
    files = contents() | {f"assets.extra/{name}": name.encode() for name in HARMLESS}
    taken = {}
    for path, content in files.items():
        try:
            store.put(f"{prefix}/3/{path}", content)
        except Exception:  # noqa: BLE001, S112 (the store refuses the name)
            continue
        taken[path] = content
    with store.own_proxy() as own:
        agent = Agent(own, prefix, tmp_path)
        listed = {item.path for item in asyncio.run(agent.plan())}
        assert len(listed) >= len(contents()) + 60
        within_limit = agent.run()
    assert within_limit.code == ExitCode.SYNCED, within_limit.said
    arrived = tree(agent.version)
    assert set(arrived) == listed
    assert {path: content for path, content in arrived.items() if taken.get(path) != content} == {}
