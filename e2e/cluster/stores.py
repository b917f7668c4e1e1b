"""Servers of other clouds' object stores, for tests: Google Cloud Storage and Azure Blob Storage.

with GcsServer.start(directory) as gcs:
    gcs.create_bucket("models")
    gcs.put("models", "m/1/saved_model.pb", b"...")
"""

import base64
import fcntl
import hashlib
import hmac
import json
import shutil
import subprocess
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote, urlsplit

import httpx
from typing_extensions import override

from cluster import paths, tools
from cluster.daemons import Daemon, Program
from cluster.errors import ClusterError
from cluster.ports import free_ports
from cluster.probes import accepts
from cluster.progress import note

READY_SECONDS: Final = 30.0
ADDRESS: Final = "127.0.0.1"


class StoreServer(ABC):
    """A server over a folder or its memory, on a port of its own."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port
        self.daemon = Daemon(self.program(), directory)

    @classmethod
    def start(cls, directory: Path) -> Self:
        """Starts a server and waits until it takes connections.

        Args:
            directory: takes the data and the log; the caller removes it.

        Raises:
            ComponentError: with the end of the server's log.
        """
        server = cls(directory.resolve(), free_ports(1, ADDRESS)[0])
        server.daemon.start()
        server.daemon.wait_ready(
            lambda: accepts(ADDRESS, server.port), within=READY_SECONDS, sign="taking connections"
        )
        return server

    @property
    @abstractmethod
    def endpoint(self) -> str:
        """Its URL, as a Model names it."""

    @abstractmethod
    def program(self) -> Program:
        """Its command line."""

    @abstractmethod
    def create_bucket(self, name: str) -> None:
        """Makes a bucket or container."""

    @abstractmethod
    def put(self, bucket: str, key: str, content: bytes) -> None:
        """Writes an object."""

    @abstractmethod
    def delete(self, bucket: str, key: str) -> None:
        """Removes an object."""

    def stop(self) -> None:
        """Ends the server."""
        self.daemon.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class GcsServer(StoreServer):
    """fake-gcs-server; it takes requests without credentials."""

    @property
    @override
    def endpoint(self) -> str:
        return f"http://{ADDRESS}:{self.port}"

    @override
    def program(self) -> Program:
        return Program(
            "gcs",
            (
                str(tools.find("fake-gcs-server")),
                "-scheme=http",
                f"-host={ADDRESS}",
                f"-port={self.port}",
                f"-public-host={ADDRESS}:{self.port}",
                "-backend=memory",
            ),
            {},
        )

    @override
    def create_bucket(self, name: str) -> None:
        answer = httpx.post(f"{self.endpoint}/storage/v1/b?project=test", json={"name": name})
        answer.raise_for_status()

    @override
    def put(self, bucket: str, key: str, content: bytes) -> None:
        name = quote(key, safe="")
        url = f"{self.endpoint}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}"
        httpx.post(url, content=content).raise_for_status()

    @override
    def delete(self, bucket: str, key: str) -> None:
        url = f"{self.endpoint}/storage/v1/b/{bucket}/o/{quote(key, safe='')}"
        httpx.delete(url).raise_for_status()


class AzureServer(StoreServer):
    """Azurite, with the account that its documentation names."""

    account: Final = "devstoreaccount1"
    # Published with the emulator; no secret.
    key: Final = (
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    )

    @property
    @override
    def endpoint(self) -> str:
        return f"http://{ADDRESS}:{self.port}/{self.account}"

    @override
    def program(self) -> Program:
        return Program(
            "azurite",
            (
                _node(),
                str(azurite()),
                f"--blobHost={ADDRESS}",
                f"--blobPort={self.port}",
                f"--location={self.directory}",
                "--skipApiVersionCheck",
                "--disableTelemetry",
                "--silent",
            ),
            {},
        )

    @override
    def create_bucket(self, name: str) -> None:
        self._send("PUT", f"/{name}?restype=container", b"", "restype:container")

    @override
    def put(self, bucket: str, key: str, content: bytes) -> None:
        self._send("PUT", f"/{bucket}/{quote(key)}", content)

    @override
    def delete(self, bucket: str, key: str) -> None:
        self._send("DELETE", f"/{bucket}/{quote(key)}", b"")

    def _send(self, method: str, path: str, content: bytes, query: str = "") -> None:
        """One request, signed with the account's key as Azure's reference says."""
        own = {
            "x-ms-date": format_datetime(datetime.now(UTC), usegmt=True),
            "x-ms-version": "2021-08-06",
        }
        if method == "PUT" and not query:
            own["x-ms-blob-type"] = "BlockBlob"
        lines = "\n".join(f"{name}:{value}" for name, value in sorted(own.items()))
        resource = f"/{self.account}{urlsplit(self.endpoint + path).path}"
        resource += f"\n{query}" if query else ""
        length = str(len(content)) if content else ""
        fields = [method, "", "", length, *[""] * 8]  # of which a plain request has no others
        text = "\n".join([*fields, lines, resource])
        signed = hmac.new(base64.b64decode(self.key), text.encode(), hashlib.sha256).digest()
        own["Authorization"] = f"SharedKey {self.account}:{base64.b64encode(signed).decode()}"
        httpx.request(method, self.endpoint + path, content=content, headers=own).raise_for_status()


def azurite() -> Path:
    """The emulator's program; its pinned packages are installed into the cache when it is not there.

    Raises:
        ClusterError: with the end of what npm says.
    """
    source = Path(__file__).resolve().parent / "azurite"
    lock = (source / "package-lock.json").read_bytes()
    home = paths.cache() / "tools" / f"azurite-{hashlib.sha256(lock).hexdigest()[:12]}"
    program = home / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "install.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not (home / "installed").exists():
            note("  install azurite …")
            for name in ("package.json", "package-lock.json"):
                shutil.copy(source / name, home / name)
            command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                said = json.dumps(done.stderr.splitlines()[-10:])
                raise ClusterError(f"`npm ci` for azurite failed ({done.returncode}): {said}")
            (home / "installed").touch()
    return program


def _node() -> str:
    found = shutil.which("node")
    if found is None:
        raise ClusterError(
            "Node 20 or newer is needed to run azurite and `node` is not on the PATH"
        )
    return found
