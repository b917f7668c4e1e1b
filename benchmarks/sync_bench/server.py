"""The S3 server that all are measured against: versitygw over a folder, which counts what it is asked."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cluster import tools
from cluster.daemons import Daemon, Program
from cluster.ports import free_ports
from cluster.probes import accepts
from server_bench.processes import cpu_seconds

ADDRESS = "127.0.0.1"
NETWORK = f"{ADDRESS}/32"
"""Loopback is no source unless it is allowed."""
REGION = "us-east-1"
_OPERATION = re.compile(r" s3_([A-Za-z0-9]+) ")


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in PEM form: the server's, and whom to trust."""

    certificate: Path
    key: Path
    authority: Path


@dataclass(slots=True)
class Server:
    """A running server."""

    endpoint: str
    access_key: str
    secret_key: str
    pid: int
    log: Path
    authority: Path | None
    _read: int = field(default=0)

    def environment(self) -> dict[str, str]:
        """What clients find their keys in."""
        found = {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }
        if self.authority is not None:
            found["AWS_CA_BUNDLE"] = str(self.authority)
        return found

    def cpu(self) -> float:
        """CPU seconds used so far."""
        return cpu_seconds(self.pid)

    def asked(self) -> Counter[str]:
        """The operations since the last call, by name, `GetObject` and the like."""
        text = self.log.read_text() if self.log.exists() else ""
        new, self._read = text[self._read :], len(text)
        return Counter(_OPERATION.findall(new))


@contextlib.contextmanager
def running(folder: Path, buckets: Path, tls: Certificates | None = None) -> Iterator[Server]:
    """Serve the folders in `buckets`.

    Args:
        folder: takes logs.
        buckets: the folder of buckets.
        tls: serves https with these.
    """
    port = free_ports(1, ADDRESS)[0]
    access, secret = f"bench{secrets.token_hex(4)}", secrets.token_hex(20)
    log = folder / f"requests-{port}.log"
    encrypted = () if tls is None else (f"--cert={tls.certificate}", f"--key={tls.key}")
    daemon = Daemon(
        Program(
            "s3",
            (
                *(str(tools.find("versitygw")), f"--port={ADDRESS}:{port}", f"--region={REGION}"),
                # Other servers keep connections, this one only when it is told to.
                *("--quiet", "--keep-alive", f"--access-log={log}", *encrypted),
                *("posix", str(buckets)),
            ),
            {"ROOT_ACCESS_KEY_ID": access, "ROOT_SECRET_ACCESS_KEY": secret},
        ),
        folder / f"s3-{port}",
        dies_with_parent=True,
    )
    daemon.start()
    try:
        daemon.wait_ready(lambda: accepts(ADDRESS, port), within=30.0, sign="taking connections")
        scheme = "http" if tls is None else "https"
        yield Server(
            f"{scheme}://{ADDRESS}:{port}",
            access,
            secret,
            daemon.pid or 0,
            log,
            None if tls is None else tls.authority,
        )
    finally:
        daemon.stop()
