"""A static web server that misbehaves on request, and remembers what it was asked.

For what an ordinary one cannot be made to do; the rest is tested against Python's own file server.
"""

from __future__ import annotations

import hashlib
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from http_server import HttpHandler, LocalHttpServer, byte_range


@dataclass
class Asked:
    """One request: the path as it stood there, and headers by lower-case name."""

    path: str
    headers: dict[str, str]


class _Handler(HttpHandler):
    owner: StaticServer

    def _serve(self) -> None:
        static, headers = self.owner, self.header_map()
        static.asked.append(Asked(self.path, headers))
        path = unquote(urlsplit(self.path).path).lstrip("/")
        static.before(path)
        if path in static.redirects:
            self.send_body(302, b"", {"Location": static.redirects[path]})
        elif static.authorization and headers.get("authorization") != static.authorization:
            self.send_body(401, b"s3cr3t: who are you?")
        elif path in static.files:
            self._file(path, static.files[path], headers)
        else:
            self.send_body(404, b"<html>s3cr3t</html>")

    do_GET = _serve  # noqa: N815 (the server's name)

    def _file(self, path: str, content: bytes, headers: dict[str, str]) -> None:
        own = {}
        if self.owner.etags:
            own["ETag"] = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
            if headers.get("if-none-match") == own["ETag"]:
                self.send_response(304)
                self.end_headers()
                return
        status, total = 200, len(content)
        if "range" in headers and self.owner.ranges:
            start, end = byte_range(headers["range"], total)
            if start >= total:
                self.send_body(416, b"", {"Content-Range": f"bytes */{total}"})
                return
            content = content[start : end + 1]
            own["Content-Range"] = f"bytes {start}-{end}/{total}"
            status = 206
        self.send_body(status, content, own, cut=self.owner.cut.get(path))


@dataclass
class StaticServer(LocalHttpServer):
    """`with StaticServer({"m/index.json": b"{}"}) as server:` serves `files` below `server.url`."""

    handler = _Handler

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

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]


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
