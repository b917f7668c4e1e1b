"""Asking a local server whether it is well, and waiting until it is."""

import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from cluster.errors import ClusterError

TIMEOUT_SECONDS = 5.0
POLL_SECONDS = 0.05


def until(check: Callable[[], bool], *, within: float, what: str = "it") -> None:
    """Waits until the check holds, asking every 50 ms.

    Raises:
        ClusterError: it did not within so many seconds; names `what` was waited for.
    """
    deadline = time.monotonic() + within
    while not check():
        if time.monotonic() > deadline:
            raise ClusterError(f"waited {within:.0f} s in vain for {what}")
        time.sleep(POLL_SECONDS)


def listens(path: Path) -> bool:
    """Whether something takes connections on a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(TIMEOUT_SECONDS)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def accepts(address: str, port: int) -> bool:
    """Whether something takes connections there."""
    try:
        socket.create_connection((address, port), timeout=TIMEOUT_SECONDS).close()
    except OSError:
        return False
    return True


def answers(url: str, *, authority: Path | None = None) -> bool:
    """Whether a GET is answered with 200.

    Args:
        url: http or https, on this machine; proxies are not asked.
        authority: PEM file of who must have signed an https server's certificate. Without one it is
            not looked at, for the health ports of the controllers make their own.
    """
    context = None
    if url.startswith("https:"):
        context = ssl.create_default_context(cafile=authority)
        if authority is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(url, timeout=TIMEOUT_SECONDS) as response:
            return bool(response.status == 200)
    except OSError:
        return False
