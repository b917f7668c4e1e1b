"""The columns of the fault matrix: one real server of each kind, and the agent's process before it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import ssl
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

from certificates import Authority
from cluster.s3 import S3Server
from cluster.stores import AzureServer, GcsServer
from faults import Asked, FaultProxy
from local_stores import ALLOW, local_options
from slipway_sync.exports import Listing, SyncOutcome, revision
from slipway_sync.stores import Patience, Store, StoreOptions, open_store
from static_server import StaticServer, indexed

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
    own_files: tuple[str, ...] = ()
    """What `flags` puts beside the Secret."""
    proof_reads: frozenset[str] = frozenset()
    """What looks like a transfer, but is read to prove the export."""

    def behind(self, proxy: FaultProxy) -> Self:
        """The same server behind another proxy."""
        made = copy(self)
        made.proxy = proxy
        return made

    @contextmanager
    def own_proxy(self) -> Iterator[Self]:
        """The same server behind a proxy of its own, for tests that run at once."""
        with self.proxy.twin() as proxy:
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
        return local_options(**given | changes)

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

    def transfers(self, asked: Asked) -> bool:
        """Whether a request belongs to a transfer: those name the ETag that they expect."""
        return asked.conditional

    def flags(self, home: Path) -> list[str]:
        """What the agent is told of this kind of store; files go into `home`."""
        secret = home / "secret"
        secret.mkdir(exist_ok=True)
        for name, value in self.keys.items():
            (secret / name).write_text(value)
        return [f"--endpoint={self.endpoint}", f"--credentials={secret}"]

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


@dataclass
class HttpsColumn(Column):
    """A static server behind TLS that a private authority vouches for, and its index document."""

    server: StaticServer
    proxy: FaultProxy
    authority: bytes
    scheme: str = "https"
    own_files: tuple[str, ...] = ("ca.crt",)
    proof_reads: frozenset[str] = frozenset({"saved_model.pb", "variables/variables.index"})
    keys: Mapping[str, str] = field(default_factory=lambda: {"HTTP_BEARER_TOKEN": "first"})
    objects: dict[str, bytes] = field(default_factory=dict)

    @property
    @override
    def endpoint(self) -> str:
        return ""

    @override
    def source(self, prefix: str) -> str:
        return f"{self.proxy.endpoint}/{prefix}"

    @override
    def options(self, **changes: Any) -> StoreOptions:
        given: dict[str, Any] = {"endpoint": "", "ca_bundle": self.authority}
        return super().options(**given | changes)

    @override
    def flags(self, home: Path) -> list[str]:
        (home / "ca.crt").write_bytes(self.authority)
        return [*super().flags(home)[1:], f"--ca-bundle={home / 'ca.crt'}"]

    @override
    def put(self, key: str, content: bytes) -> None:
        self.objects[key] = content
        self._publish(key.partition("/")[0])

    @override
    def delete(self, key: str) -> None:
        del self.objects[key]
        self._publish(key.partition("/")[0])

    def _publish(self, prefix: str) -> None:
        """Write the index document of one source anew."""
        of_prefix = {
            key.removeprefix(f"{prefix}/"): content
            for key, content in self.objects.items()
            if key.startswith(f"{prefix}/")
        }
        others = {k: v for k, v in self.server.files.items() if not k.startswith(f"{prefix}/")}
        self.server.files = others | indexed(of_prefix, prefix)

    @override
    def lists(self, asked: Asked) -> bool:
        return asked.path.endswith("/index.json")

    @override
    def transfers(self, asked: Asked) -> bool:
        return not self.lists(asked)

    @override
    def denial(self) -> tuple[int, bytes]:
        return 401, b"s3cr3t: the token has expired"


def _tls(authority: Authority, directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return what a server and a client speak."""
    pair = authority.issue()
    (directory / "tls.crt").write_bytes(pair.certificate)
    (directory / "tls.key").write_bytes(pair.key)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    return serving, ssl.create_default_context(cadata=authority.pem.decode())


@contextmanager
def column(kind: str, directory: Path) -> Iterator[Column]:
    """Start a server of a kind (`s3`, `gs`, `az`, `https`) and its proxy."""
    with ExitStack() as stack:
        match kind:
            case "s3":
                s3 = stack.enter_context(S3Server.start(directory))
                proxy = stack.enter_context(FaultProxy(s3.layout.port))
                yield S3Column(s3, proxy)
            case "https":
                authority = Authority()
                serving, asking = _tls(authority, directory)
                static = stack.enter_context(StaticServer(tls=serving))
                static.authorization = "Bearer first"
                proxy = stack.enter_context(
                    FaultProxy(static.port, tls=serving, upstream_tls=asking)
                )
                yield HttpsColumn(static, proxy, authority.pem)
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

    def run_files(self) -> None:
        """Write what the command line refers to, as each run does."""
        self.column.flags(self.home)

    def run(self, *more: str, endpoint: str = "", source: str = "") -> Ended:
        log = self.home / "termination-log"
        log.unlink(missing_ok=True)
        command = [
            *self.wrapper, sys.executable, "-m", "slipway_sync.agent", "fetch",
            f"--source={source or self.column.source(self.prefix)}",
            *self.column.flags(self.home), *([f"--endpoint={endpoint}"] if endpoint else []),
            f"--directory={self.directory}", f"--version={int(self.directory)}",
            f"--revision={self.revision}", f"--destination={self.volume}",
            f"--termination-log={log}", ALLOW, *FLAGS, *more,
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
