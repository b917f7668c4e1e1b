"""Asking a local server over HTTP whether it is well."""

import ssl
import urllib.error
import urllib.request
from pathlib import Path

TIMEOUT_SECONDS = 5.0


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
