"""The page over HTTP: three files and a stream of events; nothing that writes, and no request to the API server."""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from importlib import resources
from typing import Final

from aiohttp import web

from slipway_operator.status_page.board import Board, TooManyViewersError

_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_FILES: Final[Mapping[str, tuple[str, str]]] = {
    "/ui/": ("index.html", "text/html"),
    "/ui/page.js": ("page.js", "text/javascript"),
    "/ui/page.css": ("page.css", "text/css"),
}
_GATHER_SECONDS: Final = 0.25
"""Changes come in bursts: a viewer is told at most so often."""
_ALIVE_SECONDS: Final = 15.0
"""An event without content is sent so often: proxies end connections that are silent, and the page takes one that is
silent for three times as long for dead."""
_WRITE_SECONDS: Final = 30.0
"""A viewer who reads nothing for so long has gone."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(board: Board, hosts: tuple[str, ...] = ()) -> web.Application:
    """The endpoints.

    Args:
        board: What is shown, and to whom.
        hosts: Names under which the page may be asked for, besides addresses, localhost and names inside the cluster.
    """

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_our_host(request.host, hosts):
            raise web.HTTPMisdirectedRequest(
                text="this host name is not one of the status page: add it to ui.hosts of the chart\n"
            )
        return await handler(request)

    async def headers(_: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(_HEADERS)

    async def events(request: web.Request) -> web.StreamResponse:
        return await _events(request, board)

    async def close(_: web.Application) -> None:
        board.close()

    app = web.Application(middlewares=[guarded])
    app.on_response_prepare.append(headers)
    app.on_shutdown.append(close)
    for path, (name, kind) in _FILES.items():
        app.router.add_get(path, _file(name, kind))
    app.router.add_get("/ui/events", events, allow_head=False)
    for path in ("/", "/ui"):
        app.router.add_get(path, _to_the_page)
    return app


async def serve(app: web.Application, address: str, port: int) -> web.AppRunner:
    """Start serving; the caller cleans the runner up."""
    # A viewer who leaves makes room at once.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, address or None, port).start()
    return runner


def is_our_host(host: str, names: tuple[str, ...]) -> bool:
    """Whether the Host of a request is the page's own.

    A page elsewhere can let its own name resolve to this address (DNS rebinding), and its script could then read what
    is here from within a viewer's browser. It can do that with no address, and with no name inside the cluster.

    >>> [is_our_host(host, ("a.example",)) for host in ("[::1]:8091", "localhost", "A.example:80", "b.example")]
    [True, True, True, False]
    """
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.lower().removesuffix(".")
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        inside = "." not in name or name.endswith((".localhost", ".svc", ".cluster.local"))
        return bool(name) and (inside or name in {known.lower() for known in names})
    return True


def _file(name: str, kind: str) -> Handler:
    body = resources.files(__package__).joinpath("assets", name).read_bytes()

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=kind, charset="utf-8")

    return answer


async def _to_the_page(_: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/ui/")


async def _events(request: web.Request, board: Board) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    try:
        with board.viewer() as viewer:
            await response.prepare(request)
            while not board.closed:
                part = viewer.take() or "event: alive\ndata: {}\n\n"
                async with asyncio.timeout(_WRITE_SECONDS):
                    await response.write(part.encode())
                if viewer.is_told:
                    await viewer.wait(_ALIVE_SECONDS)
                    await asyncio.sleep(_GATHER_SECONDS)
    except TooManyViewersError:
        return web.Response(
            status=503,
            text="too many people look at this page: close one that nobody reads\n",
            headers={"Retry-After": "30"},
        )
    except TimeoutError:
        # Without this the connection would stay open with all that it has not read.
        if request.transport is not None:
            request.transport.abort()
    except ConnectionError:
        pass
    return response
