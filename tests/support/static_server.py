"""A static web server that misbehaves on request, and remembers what it was asked.

For what an ordinary one cannot be made to do; the rest is tested against Python's own file server.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from typing_extensions import override


@dataclass
class Asked:
    """One request: the path as it stood there, and headers by lower-case name."""

    path: str
    headers: dict[str, str]


@dataclass
class StaticServer:
    """`with StaticServer({"m/index.json": b"{}"}) as server:` serves `files` below `server.url`."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    ranges: bool = True
    etags: bool = True
    redirects: dict[str, str] = field(default_factory=dict)
    """Where the requests for a path are sent instead."""
    authorization: str = ""
    """What has to stand in the header; "" lets everybody in."""
    before: Callable[[str], None] = lambda _: None
    """Called with the path of each request before it is answered."""
    cut: Mapping[str, int] = field(default_factory=dict)
    """Bytes of a path's body after which the connection breaks, the announced length being the whole."""
    tls: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        return self._server.server_port

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"static": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    static: StaticServer

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass

    @override
    def handle(self) -> None:
        try:
            super().handle()
        except (ssl.SSLError, ConnectionError):
            self.close_connection = True

    def do_GET(self) -> None:
        static = self.static
        headers = {name.lower(): value for name, value in self.headers.items()}
        static.asked.append(Asked(self.path, headers))
        path = unquote(urlsplit(self.path).path).lstrip("/")
        static.before(path)
        if path in static.redirects:
            self._send(302, b"", {"Location": static.redirects[path]})
        elif static.authorization and headers.get("authorization") != static.authorization:
            self._send(401, b"s3cr3t: who are you?")
        elif path in static.files:
            self._file(path, static.files[path], headers)
        else:
            self._send(404, b"<html>s3cr3t</html>")

    def _file(self, path: str, content: bytes, headers: dict[str, str]) -> None:
        own = {}
        if self.static.etags:
            own["ETag"] = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
            if headers.get("if-none-match") == own["ETag"]:
                self.send_response(304)
                self.end_headers()
                return
        status, total = 200, len(content)
        if "range" in headers and self.static.ranges:
            first, _, last = headers["range"].removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or total - 1), total - 1)
            if start >= total:
                self._send(416, b"", {"Content-Range": f"bytes */{total}"})
                return
            content = content[start : end + 1]
            own["Content-Range"] = f"bytes {start}-{end}/{total}"
            status = 206
        self._send(status, content, own, cut=self.static.cut.get(path))

    def _send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        *,
        cut: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.close_connection = True


def indexed(files: Mapping[str, bytes], base: str = "m") -> dict[str, bytes]:
    """Files by `VERSION/PATH`, put below a path together with the index document of them."""
    versions: dict[str, list[dict[str, Any]]] = {}
    for name, content in sorted(files.items()):
        directory, _, path = name.partition("/")
        digest = hashlib.sha256(content).hexdigest()
        entry = {"path": path, "size": len(content), "sha256": digest}
        versions.setdefault(directory, []).append(entry)
    document = {
        "formatVersion": 1,
        "versions": [{"directory": name, "files": listed} for name, listed in versions.items()],
    }
    there = {f"{base}/{name}": content for name, content in files.items()}
    return there | {f"{base}/index.json": json.dumps(document).encode()}
