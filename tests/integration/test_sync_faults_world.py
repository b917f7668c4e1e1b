"""Faults of what lies around a sync: names, clocks, tokens, and a source that changes under it."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults import Asked, Fault
from faults_columns import Agent, Column, column
from slipway_sync.exports import ExitCode
from small_exports import SHARD_0, SHARD_1, contents, tree

FILES = contents(size=300_000)


@pytest.fixture(scope="module", params=["s3", "gs", "az", "https"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Column]:
    with column(request.param, tmp_path_factory.mktemp(request.param)) as made:
        made.upload("good/3", FILES)
        yield made


@pytest.fixture
def agent(store: Column, tmp_path: Path) -> Iterator[Agent]:
    with store.own_proxy() as own:
        made = Agent(own, "good", tmp_path)
        asyncio.run(made.plan())
        own.proxy.reset()
        yield made


def of_shard(agent: Agent, path: str = SHARD_1) -> int:
    column = agent.column
    return column.proxy.count(lambda a: a.path.endswith(path) and column.transfers(a))


def test_a_token_that_expires_in_mid_sync_is_told_and_a_renewed_one_goes_on(agent: Agent) -> None:
    column = agent.column
    status, body = column.denial()
    expired = True

    def rule(asked: Asked) -> Fault | None:
        late = asked.path.endswith(SHARD_1) and column.transfers(asked)
        return Fault(status, body=body) if late and expired else None

    column.proxy.rule = rule
    within_limit = agent.run("--concurrency=1")
    assert (within_limit.code, within_limit.outcome.object) == (ExitCode.ACCESS_DENIED, SHARD_1), (
        within_limit.said
    )
    assert "access denied" in within_limit.outcome.message
    assert not agent.version.exists()
    expired = False
    before = of_shard(agent, SHARD_0)
    assert agent.run("--concurrency=1").code == ExitCode.SYNCED
    assert tree(agent.version) == FILES
    assert of_shard(agent, SHARD_0) == before, "what was whole is not brought again"


@pytest.mark.parametrize("change", ["replaced", "removed", "emptied"])
def test_a_source_that_changes_while_it_is_brought_is_not_taken(
    store: Column, tmp_path: Path, change: str
) -> None:
    prefix = f"changing-{change}"
    store.upload(f"{prefix}/3", FILES)
    harmed = False

    def rule(asked: Asked) -> Fault | None:
        nonlocal harmed
        if asked.path.endswith(SHARD_1) and own.transfers(asked) and not harmed:
            harmed = True
            if change == "replaced":
                store.upload(f"{prefix}/3", contents(seed=9, size=300_000))
            for path in {"replaced": (), "removed": (SHARD_1,), "emptied": FILES}[change]:
                store.delete(f"{prefix}/3/{path}")
        return None

    with store.own_proxy() as own:
        agent = Agent(own, prefix, tmp_path)
        asyncio.run(agent.plan())
        own.proxy.rule = rule
        within_limit = agent.run("--concurrency=1")
        assert harmed
        assert (within_limit.code, within_limit.outcome.object) == (
            ExitCode.REVISION_MOVED,
            SHARD_1,
        ), within_limit.said
        assert SHARD_1 in within_limit.outcome.message
        assert not agent.version.exists()
        store.upload(f"{prefix}/3", contents(seed=9, size=300_000))
        asyncio.run(agent.plan())
        assert agent.run().code == ExitCode.SYNCED
    assert tree(agent.version) == contents(seed=9, size=300_000)
    assert [path.name for path in agent.volume.iterdir() if "partial" in path.name] == []


def test_a_version_that_has_vanished_is_moved(store: Column, tmp_path: Path) -> None:
    store.upload("vanishing/3", contents())
    agent = Agent(store, "vanishing", tmp_path)
    store.proxy.reset()
    asyncio.run(agent.plan())
    for path in contents():
        store.delete(f"vanishing/3/{path}")
    within_limit = agent.run()
    assert within_limit.code == ExitCode.REVISION_MOVED, within_limit.said
    assert "empty now" in within_limit.outcome.message
    store.upload("vanishing/3", contents())
    asyncio.run(agent.plan())
    assert agent.run().code == ExitCode.SYNCED


def named(agent: Agent, line: str) -> None:
    """Let the agent's process alone see another /etc/hosts."""
    hosts = agent.home / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{line}\n")
    script = 'mount --bind "$0" /etc/hosts && exec "$@"'
    agent.wrapper = ("unshare", "--mount", "sh", "-c", script, str(hosts))


@pytest.mark.parametrize("store", ["s3", "gs"], indirect=True)
def test_a_name_that_dns_does_not_know_is_told_and_known_later(agent: Agent) -> None:
    endpoint = agent.column.endpoint.replace("127.0.0.1", "store.invalid")
    named(agent, "")
    within_limit = agent.run(endpoint=endpoint)
    assert within_limit.code == ExitCode.SOURCE_UNAVAILABLE, within_limit.said
    assert within_limit.outcome.message.endswith("its name cannot be resolved by DNS")
    named(agent, "127.0.0.1 store.invalid")
    again = agent.run(endpoint=endpoint)
    assert again.code == ExitCode.SYNCED, again.said


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_a_clock_that_is_wrong_is_told(agent: Agent) -> None:
    """The whole agent a day ahead: the real server refuses its signatures."""
    from cluster import debian

    debian.ensure(("faketime",))
    found = subprocess.run(
        ["dpkg", "-L", "libfaketime"], capture_output=True, text=True, check=True
    ).stdout.split()
    library = next(path for path in found if path.endswith("libfaketime.so.1"))
    agent.environment = {"LD_PRELOAD": library, "FAKETIME": "+1d"}
    within_limit = agent.run()
    assert within_limit.code == ExitCode.ACCESS_DENIED, within_limit.said
    assert "RequestTimeTooSkewed" in within_limit.outcome.message
    assert "clock" in within_limit.outcome.message
    agent.environment = {}
    assert agent.run().code == ExitCode.SYNCED
    assert tree(agent.version) == FILES
