"""The columns of the fault matrix: one real server of each kind, and the agent's process before it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from typing_extensions import override

from cluster.s3 import S3Server
from cluster.stores import AzureServer, GcsServer
from faults import Asked, FaultProxy
from slipway_sync.exports import Listing, SyncOutcome, revision
from slipway_sync.stores import Patience, Store, StoreOptions, open_store

BUCKET: Final = "models"
BRISK: Final = Patience(connect=2.0, stall=1.0, request=2.0, retries=2, pause=0.02)
"""What the tests wait: the same rules as in production, on a shorter clock."""
FLAGS: Final = ("--stall-timeout=1", "--request-timeout=2", "--tries=2", "--first-pause=0.05")


class Column(ABC):
    """A server with a bucket, and a fault proxy before it."""

    scheme: str
    keys: Mapping[str, str]
    base: str = ""
    proxy: FaultProxy

    def behind(self, proxy: FaultProxy) -> Self:
        """The same server behind another proxy."""
        made = copy(self)
        made.proxy = proxy
        return made

    @contextmanager
    def own_proxy(self) -> Iterator[Self]:
        """The same server behind a proxy of its own, for tests that run at once."""
        with FaultProxy(self.proxy.upstream, host=self.proxy.host) as proxy:
            yield self.behind(proxy)

    @property
    def endpoint(self) -> str:
        """As a Model names it: the proxy's."""
        return f"{self.proxy.endpoint}{self.base}"

    def source(self, prefix: str) -> str:
        return f"{self.scheme}://{BUCKET}/{prefix}"

    def options(self, **changes: Any) -> StoreOptions:
        given: dict[str, Any] = {
            "endpoint": self.endpoint,
            "credentials": self.keys,
            "patience": BRISK,
        }
        return StoreOptions(**given | changes)

    def store(self, prefix: str, **changes: Any) -> Store:
        return open_store(self.source(prefix), self.options(**changes))

    def upload(self, prefix: str, files: Mapping[str, bytes]) -> None:
        """Write objects, past the proxy."""
        for path, content in files.items():
            self.put(f"{prefix}/{path}", content)

    @abstractmethod
    def put(self, key: str, content: bytes) -> None:
        """Write an object, past the proxy."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object, past the proxy."""

    def lists(self, asked: Asked) -> bool:
        """Whether a request asks for a listing."""
        return "prefix" in asked.query or asked.query.get("comp") == ["list"]

    @abstractmethod
    def denial(self) -> tuple[int, bytes]:
        """Status and body with which this store refuses a token that has expired."""


@dataclass
class S3Column(Column):
    server: S3Server
    proxy: FaultProxy
    scheme: str = "s3"

    def __post_init__(self) -> None:
        self.keys = {
            "AWS_ACCESS_KEY_ID": self.server.access_key,
            "AWS_SECRET_ACCESS_KEY": self.server.secret_key,
        }
        self.server.create_bucket(BUCKET)
        self._client = self.server.client()

    @override
    def put(self, key: str, content: bytes) -> None:
        self._client.put_object(BUCKET, key, io.BytesIO(content), len(content))

    @override
    def delete(self, key: str) -> None:
        self._client.remove_object(BUCKET, key)

    @override
    def denial(self) -> tuple[int, bytes]:
        return 400, b"<Error><Code>ExpiredToken</Code><Message>s3cr3t</Message></Error>"


@dataclass
class GcsColumn(Column):
    server: GcsServer
    proxy: FaultProxy
    scheme: str = "gs"
    keys: Mapping[str, str] = field(default_factory=lambda: {"GOOGLE_BEARER_TOKEN": "first"})

    def __post_init__(self) -> None:
        self.server.create_bucket(BUCKET)

    @override
    def put(self, key: str, content: bytes) -> None:
        self.server.put(BUCKET, key, content)

    @override
    def delete(self, key: str) -> None:
        self.server.delete(BUCKET, key)

    @override
    def denial(self) -> tuple[int, bytes]:
        return 401, b"<Error><Code>AuthenticationRequired</Code></Error>"


@dataclass
class AzureColumn(Column):
    server: AzureServer
    proxy: FaultProxy
    scheme: str = "az"
    base: str = f"/{AzureServer.account}"
    keys: Mapping[str, str] = field(
        default_factory=lambda: {"AZURE_STORAGE_ACCOUNT_KEY": AzureServer.key}
    )

    def __post_init__(self) -> None:
        self.server.create_bucket(BUCKET)

    @override
    def put(self, key: str, content: bytes) -> None:
        self.server.put(BUCKET, key, content)

    @override
    def delete(self, key: str) -> None:
        self.server.delete(BUCKET, key)

    @override
    def denial(self) -> tuple[int, bytes]:
        return 403, b"<Error><Code>AuthenticationFailed</Code></Error>"


@contextmanager
def column(kind: str, directory: Path) -> Iterator[Column]:
    """Start a server of a kind (`s3`, `gs`, `az`) and its proxy."""
    with ExitStack() as stack:
        match kind:
            case "s3":
                s3 = stack.enter_context(S3Server.start(directory))
                proxy = stack.enter_context(FaultProxy(s3.layout.port))
                yield S3Column(s3, proxy)
            case "gs":
                gcs = stack.enter_context(GcsServer.start(directory))
                # It serves only the host that it was told, and no signature holds `Host`.
                host = f"127.0.0.1:{gcs.port}"
                yield GcsColumn(gcs, stack.enter_context(FaultProxy(gcs.port, host=host)))
            case _:
                azure = stack.enter_context(AzureServer.start(directory))
                yield AzureColumn(azure, stack.enter_context(FaultProxy(azure.port)))


@dataclass(frozen=True)
class Ended:
    """What a run of the agent left behind."""

    code: int
    outcome: SyncOutcome
    said: str


@dataclass
class Agent:
    """Runs `slipway-sync fetch` for one version into `home/volume`."""

    column: Column
    prefix: str
    home: Path
    directory: str = "3"
    revision: str = ""
    wrapper: Sequence[str] = ()
    """What the command line is given to, for example to change its clock."""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def volume(self) -> Path:
        return self.home / "volume"

    @property
    def version(self) -> Path:
        return self.volume / str(int(self.directory))

    async def plan(self) -> Listing:
        listing = await self.column.store(self.prefix).listing(self.directory)
        self.revision = revision(listing)
        return listing

    def run(self, *more: str, endpoint: str = "") -> Ended:
        secret = self.home / "secret"
        secret.mkdir(exist_ok=True)
        for name, value in self.column.keys.items():
            (secret / name).write_text(value)
        log = self.home / "termination-log"
        log.unlink(missing_ok=True)
        command = [
            *self.wrapper, sys.executable, "-m", "slipway_sync.agent", "fetch",
            f"--source={self.column.source(self.prefix)}",
            f"--endpoint={endpoint or self.column.endpoint}",
            f"--directory={self.directory}", f"--version={int(self.directory)}",
            f"--revision={self.revision}", f"--destination={self.volume}",
            f"--credentials={secret}", f"--termination-log={log}", *FLAGS, *more,
        ]  # fmt: skip
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, **self.environment},
        )
        said = done.stdout + done.stderr
        assert log.exists(), said
        outcome = SyncOutcome.parse(log.read_text())
        assert outcome is not None, said
        assert "s3cr3t" not in said + log.read_text()
        assert all(value not in said for value in self.column.keys.values() if len(value) > 8)
        for line in done.stdout.splitlines():
            json.loads(line)
        assert done.stderr == ""
        return Ended(done.returncode, outcome, said)


def fingerprint(top: Path, *, but: Path | None = None) -> str:
    """A hash of a whole tree: names, kinds, modes, links, contents; without one subtree."""
    hasher = hashlib.sha256()
    for path in sorted(top.rglob("*")):
        if but is not None and (path == but or but in path.parents):
            continue
        found = path.lstat()
        hasher.update(os.fsencode(path.relative_to(top)) + b"\0%o\0" % found.st_mode)
        if stat.S_ISLNK(found.st_mode):
            hasher.update(os.fsencode(path.readlink()))
        elif stat.S_ISREG(found.st_mode):
            hasher.update(hashlib.sha256(path.read_bytes()).digest())
    return hasher.hexdigest()
