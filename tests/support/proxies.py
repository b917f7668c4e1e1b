"""A real HTTP proxy in a process of its own (proxy.py), which writes down what it was asked for.

with HttpProxy.start(directory) as proxy:
    ... proxy.url ...
    proxy.asked()  # ["GET models.behind.example:8000/m/index.json", "CONNECT models.behind.example:443"]
"""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from proxy.http.parser import HttpParser
from proxy.http.proxy import HttpProxyBasePlugin
from typing_extensions import override

from cluster.daemons import Daemon, Program
from cluster.ports import free_ports
from cluster.probes import accepts

ADDRESS = "127.0.0.1"
BEHIND = "models.behind.example"
"""A name that only the proxy knows: it leads to this machine."""
_ASKED = re.compile(r" asked for (\S+ \S+)$", re.MULTILINE)
_log = logging.getLogger(__name__)


class Names(HttpProxyBasePlugin):
    """Knows names that nobody else knows, and tells of every request: the access log, of connections."""

    @override
    def handle_client_request(self, request: HttpParser) -> HttpParser | None:
        method, host, path = (
            (part or b"").decode() for part in (request.method, request.host, request.path)
        )
        _log.info("asked for %s %s:%s%s", method, host, request.port, path)
        return request

    @override
    def resolve_dns(self, host: str, port: int) -> tuple[str | None, Any]:
        return (ADDRESS if host.endswith(".behind.example") else None), None


class HttpProxy:
    """The process; `credentials` is NAME:PASSWORD, "" takes everybody."""

    def __init__(self, directory: Path, credentials: str = "") -> None:
        self.port = free_ports(1, ADDRESS)[0]
        arguments = [
            sys.executable, "-m", "proxy", f"--hostname={ADDRESS}", f"--port={self.port}",
            "--num-workers=1", "--num-acceptors=1", "--log-level=INFO",
            "--plugins=proxies.Names", f"--data-dir={directory}",
        ]  # fmt: skip
        if credentials:
            arguments.append(f"--basic-auth={credentials}")
        paths = f"{Path(__file__).parent}:{Path(__file__).parents[2] / 'e2e'}"
        program = Program("proxy", tuple(arguments), {"PYTHONPATH": paths})
        self._daemon = Daemon(program, directory, dies_with_parent=True)

    @classmethod
    def start(cls, directory: Path, credentials: str = "") -> Self:
        made = cls(directory, credentials)
        made._daemon.start()
        made._daemon.wait_ready(
            lambda: accepts(ADDRESS, made.port), within=20, sign="taking connections"
        )
        return made

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.port}"

    def asked(self) -> list[str]:
        """What it was asked for, in this order."""
        return _ASKED.findall(self._daemon.log.read_text())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._daemon.stop()
