"""`/livez`, `/readyz` and `/metrics` of the operator."""

import asyncio
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


def application(alive: Callable[[], bool], ready: Callable[[], bool]) -> web.Application:
    """The endpoints.

    Args:
        alive: Whether the watches still deliver; called in the event loop itself, so that a stuck
            loop does not answer at all.
        ready: Whether the watches have started.
    """

    def probe(check: Callable[[], bool]) -> Callable[[web.Request], "asyncio.Future[web.Response]"]:
        async def answer(_: web.Request) -> web.Response:
            good = check()
            return web.Response(text="ok\n" if good else "not ok\n", status=200 if good else 503)

        return answer  # type: ignore[return-value]

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/livez", probe(alive))
    app.router.add_get("/readyz", probe(ready))
    app.router.add_get("/metrics", metrics)
    return app


async def serve(app: web.Application, port: int) -> web.AppRunner:
    """Start serving; the caller cleans the runner up."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner
