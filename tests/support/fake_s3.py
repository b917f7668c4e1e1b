"""An S3 server that misbehaves on request: any key, any fault, and it remembers what it was asked.

For what no real server can be made to do; the rest is tested against a real one.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from http_server import HttpHandler, LocalHttpServer, byte_range


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


class _Handler(HttpHandler):
    owner: FakeS3

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        _, _, key = unquote(parts.path).lstrip("/").partition("/")
        asked = Asked(
            self.command,
            key,
            parse_qs(parts.query, keep_blank_values=True),
            self.header_map(),
        )
        self.owner.asked.append(asked)
        fault = self.owner.fault(asked) or Fault()
        if fault.hold is not None:
            fault.hold.wait(30)
        if fault.status:
            body = f"<Error><Code>{fault.code}</Code><Secret>s3cr3t</Secret></Error>".encode()
            self.send_body(fault.status, body if fault.body is None else fault.body)
        elif "list-type" in asked.query:
            self.send_body(200, self._list(asked.query))
        elif key in self.owner.objects:
            self._object(asked, fault)
        else:
            self.send_body(404, b"<Error><Code>NoSuchKey</Code></Error>")

    do_HEAD = do_GET = _answer  # noqa: N815 (the server's names)

    def _object(self, asked: Asked, fault: Fault) -> None:
        content = self.owner.objects[asked.key]
        etag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
        wanted = asked.headers.get("if-match")
        if wanted not in {None, etag} and not self.owner.ignores_if_match:
            self.send_body(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            return
        total = len(content)
        headers = {"ETag": etag, "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
        status = 200
        if "range" in asked.headers:
            start, end = byte_range(asked.headers["range"], total)
            content = content[start : end + 1]
            headers["Content-Range"] = f"bytes {start}-{end}/{total}"
            status = 206
        self.send_body(
            status, content if fault.body is None else fault.body, headers, cut=fault.cut
        )

    def _list(self, query: dict[str, list[str]]) -> bytes:
        prefix = query.get("prefix", [""])[0]
        found = sorted(key for key in self.owner.objects if key.startswith(prefix))
        folders: list[str] = []
        if "delimiter" in query:
            deeper = {key for key in found if "/" in key[len(prefix) :]}
            folders = sorted({prefix + key[len(prefix) :].split("/")[0] + "/" for key in deeper})
            found = [key for key in found if key not in deeper]
        items = "".join(
            f"<Contents><Key>{_xml(key)}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{hashlib.md5(self.owner.objects[key], usedforsecurity=False).hexdigest()}"
            f"&quot;</ETag><Size>{len(self.owner.objects[key])}</Size></Contents>"
            for key in found
        )
        prefixes = "".join(
            f"<CommonPrefixes><Prefix>{_xml(key)}</Prefix></CommonPrefixes>" for key in folders
        )
        return (
            "<ListBucketResult><Name>models</Name><IsTruncated>false</IsTruncated>"
            f"{items}{prefixes}</ListBucketResult>"
        ).encode()


@dataclass
class FakeS3(LocalHttpServer):
    """`with FakeS3() as s3:` serves bucket `models` from `objects`."""

    handler = _Handler

    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    fault: Callable[[Asked], Fault | None] = lambda _: None
    ignores_if_match: bool = False

    @property
    def endpoint(self) -> str:
        return self.url


def _xml(key: str) -> str:
    return "".join(f"&#{ord(c)};" if ord(c) < 32 else escape(c) for c in key)
