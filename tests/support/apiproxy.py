"""A reverse proxy in front of an API server that sees every write of the process behind it.

It lets a test end that process right after a given write has happened, and count what a second pass
writes.
"""

import asyncio
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import aiohttp
import yaml
from aiohttp import web
from kubernetes import client, config

_WRITES = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Write:
    """A write that the API server has answered."""

    method: str
    path: str
    status: int


def is_ours(write: Write) -> bool:
    """Leases are written for ever; reviews of access are no writes."""
    return "/leases" not in write.path and "reviews" not in write.path


@dataclass
class ApiProxy:
    """Plain HTTP on loopback to an API server, with the identity of a kubeconfig."""

    kubeconfig: str
    directory: Path
    on_write: Callable[[Write], None] = lambda _: None
    writes: list[Write] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def proxied_kubeconfig(self) -> str:
        """A kubeconfig that leads through the proxy."""
        path = self.directory / "proxied.kubeconfig"
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [
                        {"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}
                    ],
                    "users": [{"name": "u", "user": {}}],
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "x",
                }
            )
        )
        return str(path)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        upstream = client.Configuration()
        config.load_kube_config(self.kubeconfig, client_configuration=upstream)
        context = ssl.create_default_context(cafile=upstream.ssl_ca_cert)
        context.load_cert_chain(upstream.cert_file, upstream.key_file)
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

            async def forward(request: web.Request) -> web.StreamResponse:
                return await self._forward(session, upstream.host, request)

            app = web.Application(client_max_size=2**24)
            app.router.add_route("*", "/{tail:.*}", forward)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.port: int = runner.addresses[0][1]
            self._started.set()
            await self._stop.wait()
            await runner.cleanup()

    async def _forward(
        self, session: aiohttp.ClientSession, host: str, request: web.Request
    ) -> web.StreamResponse:
        headers = {k: v for k, v in request.headers.items() if k in ("Content-Type", "Accept")}
        body = await request.read() if request.can_read_body else None
        try:
            async with session.request(
                request.method, host + request.path_qs, data=body, headers=headers
            ) as answer:
                response = web.StreamResponse(status=answer.status)
                response.content_type = answer.content_type
                if request.method in _WRITES:
                    answered = await answer.read()
                    self._note(Write(request.method, request.path, answer.status))
                    await response.prepare(request)
                    await response.write(answered)
                    return response
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                return response
        except (aiohttp.ClientError, ConnectionError) as error:
            return web.Response(status=502, text=str(error))

    def _note(self, write: Write) -> None:
        self.writes.append(write)
        self.on_write(write)


def settled_writes(proxy: ApiProxy) -> list[Write]:
    """Writes so far that count."""
    return [write for write in proxy.writes if is_ours(write)]
