"""Fetches a server's metrics page, with bounds on time and size."""

import asyncio
from typing import Final

import aiohttp

from slipway_operator.api import names
from slipway_operator.model.analysis import Counters
from slipway_operator.model.observed import Pod
from slipway_operator.reconcile.analysis.page import PageError, read_page

METRICS_PATH: Final = "/monitoring/prometheus/metrics"
_SECONDS: Final = 3.0
_MOST_BYTES: Final = 4 << 20
"""Ten thousand series of requests, the most that a server keeps, are about half of it."""
_AT_ONCE: Final = 16
_OK: Final = 200
_LONGEST: Final = 200
"""Characters of a reason, of which a server may have written a part."""


class ScrapeError(Exception):
    """A page could not be read; the text says why, on one line and in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(brief(reason, _LONGEST))


def brief(text: str, most: int) -> str:
    """The text on one line, without what cannot be printed, and cut to so many characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 2 * most]).split())
    return line if len(line) <= most else line[: most - 1] + "…"


class Scraper:
    """Reads the pages of pods, a few at a time."""

    def __init__(self, port: int = names.REST_PORT) -> None:
        self._port = port
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def read(self, pod: Pod, model: str) -> Counters:
        """What the server of a pod has counted since it started.

        Raises:
            ScrapeError: Its page could not be read.
        """
        if not pod.address:
            raise ScrapeError("it has no address")
        host = f"[{pod.address}]" if ":" in pod.address else pod.address
        url = f"http://{host}:{self._port}{METRICS_PATH}"
        try:
            async with self._room, asyncio.timeout(_SECONDS):
                text = await _fetched(url)
        except TimeoutError as error:
            raise ScrapeError(f"{url} does not answer within {_SECONDS:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ScrapeError(f"{url}: {str(error) or type(error).__name__}") from error
        try:
            return await asyncio.to_thread(read_page, text, model)
        except PageError as error:
            raise ScrapeError(f"{url} {error}") from error


async def _fetched(url: str) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, allow_redirects=False) as response,
    ):
        if response.status != _OK:
            raise ScrapeError(f"{url} answers with status {response.status}")
        body = bytearray()
        async for part in response.content.iter_chunked(1 << 16):
            body += part
            if len(body) > _MOST_BYTES:
                raise ScrapeError(f"{url} is larger than {_MOST_BYTES >> 20} MiB")
    return body.decode("utf-8", "replace")
