"""A real browser without a screen: Debian's Chromium, spoken to by its DevTools protocol."""

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import websocket

from cluster import debian
from modelserver import eventually

_PACKAGE: Final = "chromium-headless-shell"
_LIBRARIES: Final = (
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu/pulseaudio",
    "usr/lib/aarch64-linux-gnu",
)


class Page:
    """One open page."""

    def __init__(self, connection: websocket.WebSocket) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self.said: list[str] = []
        """What the browser has said of the page: refusals of its security policy, errors of scripts."""

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._connection.recv())
            if answer.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.said.append(json.dumps(answer["params"], ensure_ascii=False))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, url: str) -> None:
        self.command("Page.navigate", url=url)

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page, which its security policy does not keep from being asked."""
        got = self.command("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in got, got
        return got["result"].get("value")

    def wait(self, what: str, expression: str) -> Any:
        return eventually(what, lambda: self.ask(expression))

    def look(
        self, file: Path, *, width: int, height: int, dark: bool = False, scale: float = 1
    ) -> None:
        """Write a picture of the page."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=False,
        )  # fmt: skip
        self.command("Emulation.setScrollbarsHidden", hidden=True)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])
        time.sleep(0.6)  # transitions of the page's colours and bars
        file.write_bytes(base64.b64decode(self.command("Page.captureScreenshot")["data"]))


@contextmanager
def browsing(directory: Path) -> Iterator[Page]:
    """Start a browser with an empty page and a profile of its own."""
    files = debian.unpacked(_PACKAGE, with_needs=True)
    program = files / "usr/lib/chromium/chromium-headless-shell"
    profile = directory / "profile"
    log = directory / "chromium.log"
    command = [
        str(program),
        "--no-sandbox",  # root, in a container
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-proxy-server",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        "about:blank",
    ]
    # Its own file of fonts: a bare system has neither fonts nor a configuration of them.
    fonts = directory / "fonts.conf"
    folders = "".join(f"<dir>{at}</dir>" for at in ("/usr/share/fonts", files / "usr/share/fonts"))
    fonts.write_text(f"<fontconfig>{folders}<cachedir>{directory}/fonts</cachedir></fontconfig>")
    libraries = ":".join(str(files / path) for path in _LIBRARIES)
    with log.open("wb") as said:
        process = subprocess.Popen(
            command,
            stdout=said,
            stderr=said,
            env={
                **os.environ,
                "LD_LIBRARY_PATH": libraries,
                "FONTCONFIG_FILE": str(fonts),
                "HOME": str(directory),
            },
        )
    try:
        told = eventually(
            "the browser listens",
            lambda: re.search(r"listening on ws://([0-9.:]+)/", log.read_text("utf-8", "replace")),
        )
        targets = httpx.get(f"http://{told[1]}/json", trust_env=False, timeout=30).json()
        [url] = [one["webSocketDebuggerUrl"] for one in targets if one["type"] == "page"]
        connection = websocket.create_connection(url, timeout=90, suppress_origin=True)
        page = Page(connection)
        for domain in ("Page", "Runtime", "Log"):
            page.command(f"{domain}.enable")
        yield page
        connection.close()
    finally:
        process.kill()
        process.wait(30)
        shutil.rmtree(profile, ignore_errors=True)
