"""The agent as the pod runs it: its own process, a real S3 server, real faults."""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cluster.s3 import S3Server
from fake_s3 import Asked, FakeS3, Fault
from local_stores import ALLOW, local_options
from slipway_sync.exports import ExitCode, SyncOutcome, Verdict, revision
from slipway_sync.stores import Store, open_store, prove
from small_exports import ASSET, INDEX, SHARD_0, SHARD_1, calling_python, contents, tree

BUCKET = "sync-agent"
DIRECTORY = "00000003"


def run_async(operation: Any) -> Any:
    import asyncio

    return asyncio.run(operation)


@dataclass
class Ended:
    """What a run of the agent left behind."""

    code: int
    lines: list[dict[str, Any]]
    outcome: SyncOutcome | None
    stderr: str


@dataclass
class Agent:
    """Starts `slipway-sync fetch` against one source."""

    endpoint: str
    source: str
    home: Path
    keys: dict[str, str]
    revision: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def end(self) -> None:
        """End what a failed test left running."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=30)

    @property
    def volume(self) -> Path:
        return self.home / "volume"

    @property
    def version(self) -> Path:
        return self.volume / "3"

    def store(self) -> Store:
        options = local_options(endpoint=self.endpoint, credentials=self.keys)
        return open_store(self.source, options)

    def plan(self) -> str:
        self.revision = revision(run_async(self.store().listing(DIRECTORY)))
        return self.revision

    def command(self, *more: str) -> list[str]:
        secret = self.home / "secret"
        secret.mkdir(exist_ok=True)
        for name, value in self.keys.items():
            (secret / name).write_text(value)
        return [
            str(Path(sys.executable).with_name("slipway-sync")),
            *("fetch", "--source", self.source, "--endpoint", self.endpoint, ALLOW),
            *("--directory", DIRECTORY, "--version", "3"),
            *("--revision", self.revision or self.plan()),
            *("--destination", str(self.volume), "--credentials", str(secret)),
            *("--termination-log", str(self.home / "termination-log")),
            *more,
        ]

    def start(self, *more: str, **options: Any) -> subprocess.Popen[str]:
        (self.home / "termination-log").unlink(missing_ok=True)
        process = subprocess.Popen(
            self.command(*more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment},
            **options,
        )
        self.started.append(process)
        return process

    def run(self, *more: str, **options: Any) -> Ended:
        process = self.start(*more, **options)
        out, err = process.communicate(timeout=120)
        log = self.home / "termination-log"
        text = log.read_text() if log.exists() else ""
        lines = [json.loads(line) for line in out.splitlines()]
        for secret in self.keys.values():
            assert secret not in out + err + text
        return Ended(process.returncode, lines, SyncOutcome.parse(text), err)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server.start(tmp_path_factory.mktemp("s3")) as running:
        running.create_bucket(BUCKET)
        yield running


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A place of its own in the bucket for each test."""
    return f"t{abs(hash(request.node.name))}/digits"


@pytest.fixture
def agent(server: S3Server, prefix: str, tmp_path: Path) -> Iterator[Agent]:
    keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    agent = Agent(server.endpoint, f"s3://{BUCKET}/{prefix}", tmp_path, keys)
    yield agent
    agent.end()


@dataclass
class Bucket:
    """What is done to the source by hand."""

    server: S3Server
    prefix: str

    def put(self, path: str, content: bytes) -> None:
        key = f"{self.prefix}/{DIRECTORY}/{path}"
        self.server.client().put_object(BUCKET, key, io.BytesIO(content), len(content))

    def remove(self, path: str) -> None:
        self.server.client().remove_object(BUCKET, f"{self.prefix}/{DIRECTORY}/{path}")

    def upload(self, files: dict[str, bytes]) -> None:
        for path, content in files.items():
            self.put(path, content)


@pytest.fixture
def bucket(server: S3Server, prefix: str) -> Bucket:
    return Bucket(server, prefix)


def test_a_version_arrives_verified(agent: Agent, bucket: Bucket) -> None:
    bucket.upload(contents())
    within_limit = agent.run()
    assert within_limit.code == ExitCode.SYNCED, within_limit.stderr
    assert tree(agent.version) == contents()
    total = sum(map(len, contents().values()))
    assert within_limit.outcome is not None
    assert (within_limit.outcome.reason, within_limit.outcome.bytes) == ("Synced", total)
    assert within_limit.outcome.digest.startswith("sha256:")
    progress = [line for line in within_limit.lines if line["event"] == "progress"]
    assert (progress[0]["bytes"], progress[-1]["bytes"]) == (0, total)
    assert progress[-1]["totalFiles"] == 6
    assert within_limit.stderr == ""


def test_a_second_run_asks_the_store_nothing(
    agent: Agent, bucket: Bucket, server: S3Server
) -> None:
    bucket.upload(contents())
    first = agent.run()
    server.stop()
    try:
        second = agent.run()
    finally:
        server.resume()
    assert second.code == ExitCode.SYNCED
    assert first.outcome is not None
    assert second.outcome is not None
    assert second.outcome.digest == first.outcome.digest


def flipped(content: bytes) -> bytes:
    return content[:50] + bytes([content[50] ^ 1]) + content[51:]


FAULTS: dict[str, tuple[Callable[[Bucket], object], str, str]] = {
    "a missing shard": (lambda b: b.remove(SHARD_1), "MissingShard", SHARD_1),
    "a truncated shard": (
        lambda b: b.put(SHARD_0, contents()[SHARD_0][:-1]),
        "ShardTooShort",
        SHARD_0,
    ),
    "a missing asset": (lambda b: b.remove(ASSET), "MissingAsset", ASSET),
    "a flipped bit": (
        lambda b: b.put(SHARD_1, flipped(contents()[SHARD_1])),
        "CorruptShard",
        SHARD_1,
    ),
    "a corrupt index": (
        lambda b: b.put(INDEX, flipped(contents()[INDEX])),
        "UnreadableIndex",
        INDEX,
    ),
    "a corrupt graph": (
        lambda b: b.put("saved_model.pb", b"\xff" * 100),
        "UnreadableGraph",
        "saved_model.pb",
    ),
    "a graph that calls Python": (
        lambda b: b.put("saved_model.pb", calling_python()),
        "UnsupportedOperation",
        "saved_model.pb",
    ),
    "a hostile key": (lambda b: b.put("assets/a\\..\\b", b""), "HostileKey", "assets/a\\..\\b"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_export_is_rejected_by_file_for(agent: Agent, bucket: Bucket, name: str) -> None:
    harm, reason, path = FAULTS[name]
    bucket.upload(contents())
    harm(bucket)
    within_limit = agent.run()
    assert within_limit.code == ExitCode.REJECTED
    assert within_limit.outcome is not None
    assert (within_limit.outcome.reason, within_limit.outcome.object) == (reason, path)
    assert path.replace("\\", "") in within_limit.outcome.message.replace("\\", "")
    assert not agent.version.exists()


def test_an_upload_is_incomplete_until_its_last_file_whatever_the_order(
    agent: Agent, bucket: Bucket
) -> None:
    """As the operator sees it: the graph first, and at every moment one missing file by name."""
    files = contents()
    del files["assets.extra/empty"]  # Nothing asks for it.
    order = ["saved_model.pb", ASSET, SHARD_1, INDEX, SHARD_0]
    assert sorted(order) == sorted(files)
    for path in order:
        store = agent.store()
        listing = run_async(store.listing(DIRECTORY))
        proof = run_async(prove(store, DIRECTORY, listing))
        assert proof.verdict is Verdict.INCOMPLETE
        assert proof.object not in {item.path for item in listing}
        bucket.put(path, files[path])
    store = agent.store()
    listing = run_async(store.listing(DIRECTORY))
    assert run_async(prove(store, DIRECTORY, listing)).verdict is Verdict.COMPLETE


def test_a_listing_that_is_not_the_planned_one_is_not_synced(agent: Agent, bucket: Bucket) -> None:
    bucket.upload(contents())
    agent.plan()
    bucket.put("assets/more.txt", b"x")
    within_limit = agent.run()
    assert within_limit.code == ExitCode.REVISION_MOVED
    assert not agent.volume.exists()


def test_wrong_credentials_are_access_denied(agent: Agent, bucket: Bucket) -> None:
    bucket.upload(contents())
    agent.plan()
    agent.keys = {**agent.keys, "AWS_SECRET_ACCESS_KEY": "another-secret"}
    within_limit = agent.run()
    assert within_limit.code == ExitCode.ACCESS_DENIED
    assert within_limit.outcome is not None
    assert "SignatureDoesNotMatch" in within_limit.outcome.message


def test_a_server_that_is_down_is_unavailable(
    agent: Agent, bucket: Bucket, server: S3Server
) -> None:
    bucket.upload(contents())
    agent.plan()
    server.stop()
    try:
        within_limit = agent.run()
    finally:
        server.resume()
    assert within_limit.code == ExitCode.SOURCE_UNAVAILABLE
    assert within_limit.outcome is not None
    assert within_limit.outcome.message.endswith("it refuses connections")


def test_a_full_volume_is_a_volume_error_and_holds_no_version(agent: Agent, bucket: Bucket) -> None:
    """A limit on the size of files stands for the disk: the kernel refuses the write alike."""
    bucket.upload(contents(size=400_000))
    limit = 100_000
    within_limit = agent.run(
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    )
    assert within_limit.code == ExitCode.VOLUME_ERROR
    assert within_limit.outcome is None or "the volume is full" in within_limit.outcome.message
    assert not agent.version.exists()
    assert agent.run().code == ExitCode.SYNCED


def test_a_small_volume_is_refused_before_the_first_byte(agent: Agent, bucket: Bucket) -> None:
    bucket.upload(contents(size=4_000_000))
    agent.volume.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(agent.volume)], check=True
    )
    try:
        within_limit = agent.run()
        assert within_limit.code == ExitCode.VOLUME_ERROR
        assert within_limit.outcome is not None
        assert "the volume is too small" in within_limit.outcome.message
        assert [line["event"] for line in within_limit.lines] == ["failed"]
    finally:
        subprocess.run(["umount", str(agent.volume)], check=True)


def test_it_writes_only_below_its_destination(agent: Agent, bucket: Bucket, tmp_path: Path) -> None:
    bucket.upload(contents())
    agent.plan()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert agent.run().code == ExitCode.SYNCED
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    new = {path for path in after if before.get(path) != after[path]}
    allowed = {agent.volume, agent.home / "termination-log", agent.home / "secret"}
    assert all(path in allowed or allowed & set(path.parents) for path in new)


@dataclass
class Slow:
    """A source that a test can stop in mid-transfer."""

    fake: FakeS3
    agent: Agent
    files: dict[str, bytes]
    wanted: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=threading.Event)

    def hold(self, path: str) -> None:
        """From now on, answer the transfer of this file when the gate opens."""

        # (A proof reads the graph and the index too, without If-Match.)
        def fault(asked: Asked) -> Fault | None:
            if asked.key.endswith(path) and "if-match" in asked.headers:
                self.wanted.set()
                return Fault(hold=self.gate)
            return None

        self.fake.fault = fault

    def fetched(self) -> list[str]:
        return [asked.key for asked in self.fake.asked if "if-match" in asked.headers]


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Slow]:
    files = contents(size=300_000)
    with FakeS3(
        objects={f"digits/{DIRECTORY}/{path}": data for path, data in files.items()}
    ) as fake:
        keys = {"AWS_ACCESS_KEY_ID": "AKEXAMPLE", "AWS_SECRET_ACCESS_KEY": "not-a-word-of-the-log"}
        agent = Agent(fake.endpoint, "s3://models/digits", tmp_path, keys)
        agent.plan()
        slow = Slow(fake, agent, files)
        yield slow
        slow.gate.set()
        agent.end()


@pytest.mark.parametrize("path", [INDEX, ASSET, SHARD_1])
def test_killed_in_mid_transfer_the_next_run_finishes(slow: Slow, path: str) -> None:
    slow.hold(path)
    process = slow.agent.start()
    assert slow.wanted.wait(30)
    process.kill()
    process.communicate(timeout=30)
    assert not slow.agent.version.exists()
    slow.gate.set()
    slow.fake.fault = lambda _: None
    before = len(slow.fetched())
    within_limit = slow.agent.run()
    assert within_limit.code == ExitCode.SYNCED, within_limit.stderr
    assert tree(slow.agent.version) == slow.files
    assert sorted(path.name for path in slow.agent.volume.iterdir()) == [".slipway-3.json", "3"]
    again = slow.fetched()[before:]
    assert any(key.endswith("variables.data-00001-of-00002") for key in again)


def test_killed_after_some_files_only_the_others_come_again(slow: Slow) -> None:
    slow.hold(SHARD_1)
    process = slow.agent.start("--concurrency", "1")
    assert slow.wanted.wait(30)
    process.kill()
    process.communicate(timeout=30)
    slow.gate.set()
    slow.fake.fault = lambda _: None
    before = len(slow.fetched())
    assert slow.agent.run().code == ExitCode.SYNCED
    transferred = {key.removeprefix(f"digits/{DIRECTORY}/") for key in slow.fetched()[before:]}
    assert transferred == {SHARD_1}


def test_a_term_signal_stops_it_at_once_and_leaves_only_the_partial_directory(slow: Slow) -> None:
    slow.hold(SHARD_1)
    process = slow.agent.start("--stall-timeout", "600", "--request-timeout", "600")
    assert slow.wanted.wait(60)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=90)  # it does not wait for the file that stands still
    assert process.returncode == 143
    (left,) = slow.agent.volume.iterdir()
    assert left.name == f".slipway-3-{slow.agent.revision[:12]}.partial"


def test_an_object_replaced_while_it_downloads_is_noticed(slow: Slow) -> None:
    slow.hold(SHARD_1)
    process = slow.agent.start()
    assert slow.wanted.wait(30)
    slow.fake.objects[f"digits/{DIRECTORY}/{SHARD_1}"] = bytes(len(slow.files[SHARD_1]))
    slow.gate.set()
    process.communicate(timeout=60)
    assert process.returncode == ExitCode.REVISION_MOVED
    outcome = SyncOutcome.parse((slow.agent.home / "termination-log").read_text())
    assert outcome is not None
    assert outcome.object == SHARD_1
    assert not slow.agent.version.exists()


def test_a_storm_of_errors_passes_or_is_unavailable(slow: Slow) -> None:
    countdown = iter(range(3))
    slow.fake.fault = lambda _: None if next(countdown, None) is None else Fault(503, "SlowDown")
    assert slow.agent.run().code == ExitCode.SYNCED
    shutil.rmtree(slow.agent.volume)
    slow.fake.fault = lambda asked: Fault(503, "SlowDown") if asked.key.endswith(ASSET) else None
    within_limit = slow.agent.run()
    assert within_limit.code == ExitCode.SOURCE_UNAVAILABLE
    assert within_limit.outcome is not None
    assert "503 SlowDown" in within_limit.outcome.message


def test_the_environment_signs_nothing(slow: Slow) -> None:
    slow.agent.environment = {
        "AWS_ACCESS_KEY_ID": "AKOFTHENODE",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    }
    assert slow.agent.run().code == ExitCode.SYNCED
    assert not [a for a in slow.fake.asked if "AKOFTHENODE" in a.headers.get("authorization", "")]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fetch"],
        ["fetch", "--nonsense"],
        ["fetch", "--version", "x"],
    ],
)
def test_a_wrong_command_line_is_usage(arguments: list[str]) -> None:
    command = Path(sys.executable).with_name("slipway-sync")
    within_limit = subprocess.run(
        [command, *arguments], capture_output=True, text=True, check=False
    )
    assert within_limit.returncode == ExitCode.USAGE
    assert within_limit.stderr.startswith("slipway-sync: ")


@pytest.mark.parametrize(
    "change",
    [
        ("--revision", "abc"),
        ("--directory", "4"),
        ("--directory", "../3"),
        ("--source", "ftp://x/y"),
        ("--endpoint", "nonsense"),
        ("--credentials", "/nonexistent/../dev/null"),
    ],
)
def test_a_wrong_argument_says_what_to_write(slow: Slow, change: tuple[str, str]) -> None:
    within_limit = slow.agent.run(*change)
    assert within_limit.code in {ExitCode.USAGE, ExitCode.ACCESS_DENIED}
    assert within_limit.outcome is not None
    assert within_limit.outcome.message
    assert not slow.agent.volume.exists()
