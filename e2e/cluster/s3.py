"""A real S3 server (versitygw over a plain folder) for tests and the local cluster.

with S3Server.start(directory) as s3:
    s3.create_bucket("models")
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from minio import Minio
from urllib3 import PoolManager

from cluster import tools
from cluster.daemons import Daemon, Program
from cluster.ports import free_ports
from cluster.probes import accepts

READY_SECONDS = 20.0
REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The one account of a server."""

    access_key: str
    secret_key: str

    @classmethod
    def fresh(cls) -> Self:
        return cls("slipway" + secrets.token_hex(6), secrets.token_hex(20))


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files of a server that speaks TLS."""

    certificate: Path
    key: Path
    authority: Path


@dataclass(frozen=True, slots=True)
class Layout:
    """What the server's command line follows from."""

    directory: Path
    binary: Path
    address: str
    port: int
    tls: Tls | None = None
    flags: tuple[str, ...] = ()

    @property
    def data(self) -> Path:
        return self.directory / "s3"


def program(layout: Layout, credentials: Credentials) -> Program:
    """The server; its keys go through the environment, for anyone can read a command line."""
    tls = (f"--cert={layout.tls.certificate}", f"--key={layout.tls.key}") if layout.tls else ()
    return Program(
        "s3",
        (
            str(layout.binary),
            *tls,
            f"--port={layout.address}:{layout.port}",
            f"--region={REGION}",
            "--quiet",
            *layout.flags,
            "posix",
            str(layout.data),
        ),
        {
            "ROOT_ACCESS_KEY_ID": credentials.access_key,
            "ROOT_SECRET_ACCESS_KEY": credentials.secret_key,
        },
    )


class S3Server:
    """An S3 server with one account; buckets are folders under `data`.

    Its keys are kept in its folder, so that another process finds a running one again.
    """

    region = REGION

    def __init__(self, layout: Layout, *, dies_with_parent: bool = True) -> None:
        self.layout = layout
        self._dies_with_parent = dies_with_parent
        self._record = layout.directory / "s3-credentials.json"
        self._credentials = self._recorded() or Credentials.fresh()
        self.daemon = self._new_daemon()

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        tls: Tls | None = None,
        flags: Sequence[str] = (),
    ) -> Self:
        """Starts a server with fresh keys and waits until it takes connections.

        Args:
            directory: takes the data and the log; the caller removes it.
            address: where to listen.
            port: 0 takes a free one.
            tls: None speaks plain HTTP.
            flags: More of the server's own, an access log for example.

        Raises:
            ComponentError: with the end of the server's log.
        """
        layout = Layout(
            directory.resolve(),
            tools.find("versitygw"),
            address,
            port or free_ports(1, address)[0],
            tls,
            tuple(flags),
        )
        server = cls(layout)
        server.resume()
        return server

    @property
    def endpoint(self) -> str:
        scheme = "http" if self.layout.tls is None else "https"
        return f"{scheme}://{self.layout.address}:{self.layout.port}"

    @property
    def access_key(self) -> str:
        return self._credentials.access_key

    @property
    def secret_key(self) -> str:
        return self._credentials.secret_key

    @property
    def data(self) -> Path:
        return self.layout.data

    def stop(self) -> None:
        """Ends the server; the data stays."""
        self.daemon.stop()

    def resume(self) -> None:
        """Starts the server again after `stop`: same port, same keys, same data."""
        self.data.mkdir(parents=True, exist_ok=True)
        self._record.touch(mode=0o600)
        self._record.write_text(json.dumps(asdict(self._credentials)))
        self.daemon.start()
        self.daemon.wait_ready(
            lambda: accepts(self.layout.address, self.layout.port),
            within=READY_SECONDS,
            sign="taking connections",
        )

    def change_credentials(self, credentials: Credentials | None = None) -> Credentials:
        """Restarts the server with other keys: the old ones are refused from then on.

        The default keeps the access key and takes a fresh secret, which clients see as 403. (An
        access key that the server does not know at all it answers with 404, unlike other stores.)

        Returns:
            The keys until now, to hand back later.
        """
        before = self._credentials
        self.stop()
        self._credentials = credentials or Credentials(
            before.access_key, Credentials.fresh().secret_key
        )
        self.daemon = self._new_daemon()
        self.resume()
        return before

    def create_bucket(self, name: str) -> None:
        """Makes a bucket; one that is there already is left as it is."""
        client = self.client()
        if not client.bucket_exists(name):
            client.make_bucket(name)

    def client(self) -> Minio:
        """A client with the account's keys, for what tests do to the store by hand."""
        tls = self.layout.tls
        return Minio(
            f"{self.layout.address}:{self.layout.port}",
            access_key=self.access_key,
            secret_key=self.secret_key,
            secure=tls is not None,
            region=REGION,
            http_client=PoolManager(ca_certs=str(tls.authority)) if tls is not None else None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _recorded(self) -> Credentials | None:
        """The keys of a server that another process started."""
        try:
            return Credentials(**json.loads(self._record.read_text()))
        except FileNotFoundError:
            return None

    def _new_daemon(self) -> Daemon:
        return Daemon(
            program(self.layout, self._credentials),
            self.layout.directory,
            dies_with_parent=self._dies_with_parent,
        )
