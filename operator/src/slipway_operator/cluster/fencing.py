"""Connections that carry nothing once this process may no longer write.

A check before a request is not enough: a process may be frozen after it, for longer than the Lease lasts, and
finish the request when it thaws. So the socket itself asks, right before each system call that sends.
"""

import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Final

import aiohttp
from kubernetes.aio import client as kube
from typing_extensions import override

from slipway_operator.cluster.client import NotLeadingError

Fence = Callable[[], None]
"""Raises NotLeadingError when nothing may be written."""

_CONNECTIONS: Final = 100


class _FencedSocket(socket.socket):
    """A socket of an event loop, which sends with `send` and `sendmsg` alone."""

    fence: Fence

    @override
    def send(self, data: Any, flags: int = 0, /) -> int:
        self._check()
        return super().send(data, flags)

    @override
    def sendmsg(self, buffers: Iterable[Any], /, *rest: Any) -> int:
        self._check()
        return super().sendmsg(buffers, *rest)

    def _check(self) -> None:
        try:
            self.fence()
        except NotLeadingError as error:
            # The event loop ends a connection at an OSError, and tells who waits for it.
            raise ConnectionAbortedError(str(error)) from error


async def fenced_api(configuration: kube.Configuration, fence: Fence) -> kube.ApiClient:
    """Return a client of the API server all of whose connections are fenced; for writes alone."""

    def open_socket(address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, *_ = address
        opened = _FencedSocket(family, kind, protocol)
        opened.fence = fence
        return opened

    api = kube.ApiClient(configuration)
    unfenced = api.rest_client.pool_manager
    connector = aiohttp.TCPConnector(
        limit=_CONNECTIONS, ssl=_context(configuration), socket_factory=open_socket
    )
    api.rest_client.pool_manager = aiohttp.ClientSession(connector=connector, trust_env=True)
    await unfenced.close()
    return api


def _context(configuration: kube.Configuration) -> ssl.SSLContext:
    """Trust what the library's own connections trust: a write must not fail where a read succeeds."""
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.disable_strict_ssl_verification:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
