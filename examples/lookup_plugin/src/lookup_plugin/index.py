"""Tables behind an index on a web server: `table-index://HOST/PATH` is `http://HOST/PATH`.

    {"versions": {"3": {"table": "table-3.json", "sha256": "…"}}}

It is asked for only if it has changed (ETag), and what it names is checked before it is served.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urljoin
from urllib.request import Request, urlopen

from slipway_server.plugins.api import Code, PluginError

_SECONDS = 10.0
_MAX_BYTES = 64 << 20
_NOT_MODIFIED = 304


class TableIndex:
    """One index.

    Args:
        location: what follows `table-index://`.
    """

    def __init__(self, location: str) -> None:
        self._url = f"http://{location}"
        self._etag = ""
        self._versions: dict[int, dict[str, str]] = {}

    def versions(self) -> Mapping[int, str]:
        """Read the index, if it is another one than last time."""
        body = self._get(self._url, self._etag)
        if body is not None:
            try:
                found = json.loads(body)["versions"]
                self._versions = {
                    int(number): {"table": str(one["table"]), "sha256": str(one["sha256"])}
                    for number, one in found.items()
                }
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                self._etag = ""
                raise PluginError(f"{self._url} is no index of tables: {error!r}") from error
        return {number: one["sha256"] for number, one in self._versions.items()}

    def fetch(self, version: int, revision: str, directory: Path) -> None:
        """Download a table."""
        url = urljoin(self._url, self._versions[version]["table"])
        body = self._get(url) or b""
        if (digest := hashlib.sha256(body).hexdigest()) != revision:
            raise PluginError(
                f"{url} has SHA-256 {digest}, and the index says {revision}", Code.DATA_LOSS
            )
        (directory / "table.json").write_bytes(body)

    def close(self) -> None:
        """Nothing is open between requests."""

    def _get(self, url: str, etag: str = "") -> bytes | None:
        request = Request(url, headers={"If-None-Match": etag} if etag else {})  # noqa: S310 - see _url
        try:
            with urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 - likewise
                body: Any = answer.read(_MAX_BYTES + 1)
                if url == self._url:
                    self._etag = answer.headers.get("ETag", "")
        except HTTPError as error:
            if error.code == _NOT_MODIFIED:
                return None
            raise PluginError(f"{url} answered {error.code}", Code.UNAVAILABLE) from None
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise PluginError(f"{url} cannot be reached: {reason}", Code.UNAVAILABLE) from None
        if len(body) > _MAX_BYTES:
            raise PluginError(f"{url} is larger than {_MAX_BYTES} bytes")
        return bytes(body)
