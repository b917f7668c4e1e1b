"""An S3 server that misbehaves on request: any key, any fault, and it remembers what it was asked.

For what no real server can be made to do; the rest is tested against a real one.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from typing_extensions import override


@dataclass
class Asked:
    """One request."""

    method: str
    key: str
    query: dict[str, list[str]]
    headers: dict[str, str]


@dataclass
class Fault:
    """What is done instead of a right answer."""

    status: int = 0
    code: str = ""
    body: bytes | None = None
    """Another body than the object's, with its own length."""
    cut: int | None = None
    """Bytes after which the connection breaks, the announced length being the whole."""
    hold: threading.Event | None = None
    """Waited for before the answer."""


@dataclass
class FakeS3:
    """`with FakeS3() as s3:` serves bucket `models` from `objects`."""

    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    fault: Callable[[Asked], Fault | None] = lambda _: None
    ignores_if_match: bool = False

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
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
    fake: FakeS3

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        _, _, key = unquote(parts.path).lstrip("/").partition("/")
        asked = Asked(
            self.command,
            key,
            parse_qs(parts.query, keep_blank_values=True),
            {name.lower(): value for name, value in self.headers.items()},
        )
        self.fake.asked.append(asked)
        fault = self.fake.fault(asked) or Fault()
        if fault.hold is not None:
            fault.hold.wait(30)
        if fault.status:
            body = f"<Error><Code>{fault.code}</Code><Secret>s3cr3t</Secret></Error>".encode()
            self._send(fault.status, body if fault.body is None else fault.body)
        elif "list-type" in asked.query:
            self._send(200, self._list(asked.query))
        elif key in self.fake.objects:
            self._object(asked, fault)
        else:
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def _object(self, asked: Asked, fault: Fault) -> None:
        content = self.fake.objects[asked.key]
        etag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
        wanted = asked.headers.get("if-match")
        if wanted not in {None, etag} and not self.fake.ignores_if_match:
            self._send(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            return
        total = len(content)
        headers = {"ETag": etag, "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
        status = 200
        if "range" in asked.headers:
            first, _, last = asked.headers["range"].removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or total - 1), total - 1)
            content = content[start : end + 1]
            headers["Content-Range"] = f"bytes {start}-{end}/{total}"
            status = 206
        self._send(status, content if fault.body is None else fault.body, headers, cut=fault.cut)

    def _list(self, query: dict[str, list[str]]) -> bytes:
        prefix = query.get("prefix", [""])[0]
        found = sorted(key for key in self.fake.objects if key.startswith(prefix))
        folders: list[str] = []
        if "delimiter" in query:
            deeper = {key for key in found if "/" in key[len(prefix) :]}
            folders = sorted({prefix + key[len(prefix) :].split("/")[0] + "/" for key in deeper})
            found = [key for key in found if key not in deeper]
        items = "".join(
            f"<Contents><Key>{_xml(key)}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{hashlib.md5(self.fake.objects[key], usedforsecurity=False).hexdigest()}"
            f"&quot;</ETag><Size>{len(self.fake.objects[key])}</Size></Contents>"
            for key in found
        )
        prefixes = "".join(
            f"<CommonPrefixes><Prefix>{_xml(key)}</Prefix></CommonPrefixes>" for key in folders
        )
        return (
            "<ListBucketResult><Name>models</Name><IsTruncated>false</IsTruncated>"
            f"{items}{prefixes}</ListBucketResult>"
        ).encode()

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
        if self.command != "HEAD":
            self.wfile.write(body if cut is None else body[:cut])
        if cut is not None or self.command == "HEAD":
            self.close_connection = True


def _xml(key: str) -> str:
    return "".join(f"&#{ord(c)};" if ord(c) < 32 else escape(c) for c in key)
