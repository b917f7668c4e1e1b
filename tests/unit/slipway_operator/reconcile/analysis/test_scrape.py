"""Metrics pages over HTTP: what is read, and what a page may not do."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from aiohttp import web

from slipway_operator.model.analysis import Counters
from slipway_operator.reconcile.analysis import scrape
from slipway_operator.reconcile.analysis.scrape import METRICS_PATH, ScrapeError, Scraper
from snapshots import deployment, model, pods

POD = replace(pods(deployment(model(), 3))[0], address="127.0.0.1")
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def read(answer: Answer) -> Counters:
    async def run() -> Counters:
        application = web.Application()
        application.router.add_get(METRICS_PATH, answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            return await Scraper(runner.addresses[0][1]).read(POD, "digits")
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def test_a_page_is_read() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(
            text='slipway_requests_total{model="digits",method="Predict",code="OK"} 7.0\n'
        )

    assert read(answer) == Counters(7, 0, {})


def test_a_page_that_no_server_of_ours_writes_is_told() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="slipway_request\n" * 50_001)

    with pytest.raises(ScrapeError, match=r"/metrics has more than 50000 series of requests"):
        read(answer)


def test_a_redirect_is_not_followed() -> None:
    async def answer(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://127.0.0.1:1/elsewhere")

    with pytest.raises(ScrapeError, match="answers with status 302"):
        read(answer)


def test_a_page_without_end_is_given_up() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * (1 << 20))

    with pytest.raises(ScrapeError, match="is larger than 4 MiB"):
        read(answer)


def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "_SECONDS", 0.2)
    ended = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        await ended.wait()
        return web.Response()

    with pytest.raises(ScrapeError, match=r"does not answer within 0.2 s"):
        read(answer)


def test_a_refused_connection_is_told() -> None:
    with pytest.raises(ScrapeError, match=r"http://127\.0\.0\.1:1/monitoring"):
        asyncio.run(Scraper(1).read(POD, "digits"))


def test_a_pod_without_an_address_is_told() -> None:
    with pytest.raises(ScrapeError, match="it has no address"):
        asyncio.run(Scraper(1).read(replace(POD, address=""), "digits"))


def test_what_a_server_writes_into_a_reason_is_cut() -> None:
    assert len(str(ScrapeError("x" * 9_999))) == 200
    assert str(ScrapeError("a\n b\0c \udc80")) == "a b c"
