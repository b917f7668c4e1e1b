"""The page over HTTP: what is answered, to whom, and with which headers."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, AppRunner, Request

from slipway_operator.status_page.application import application, is_our_host, serve
from slipway_operator.status_page.board import MAX_MODELS, MAX_VIEWERS, Board

Client = TestClient[Request, Application]
PATHS = ("/ui/", "/ui/page.js", "/ui/page.css", "/ui/events")


def asked(story: Callable[[Client, Board], Awaitable[Any]], *hosts: str) -> Any:
    async def body() -> Any:
        board = Board(lambda: 0.0)
        async with TestClient(TestServer(application(board, hosts))) as client:
            return await story(client, board)

    return asyncio.run(body())


def test_every_answer_has_the_policy_and_none_may_be_kept_or_framed() -> None:
    async def story(client: Client, _: Board) -> None:
        for path in (*PATHS, "/nothing", "/"):
            async with client.get(path, allow_redirects=False) as answer:
                policy = answer.headers["Content-Security-Policy"]
                assert policy.startswith("default-src 'none'; script-src 'self'; ")
                assert "frame-ancestors 'none'" in policy
                assert "unsafe" not in policy
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Cache-Control"] == "no-store"
                assert not [name for name in answer.headers if name.startswith("Access-Control")]

    asked(story)


def test_there_is_no_verb_that_writes() -> None:
    async def story(client: Client, _: Board) -> None:
        for path in PATHS:
            for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
                async with client.request(method, path) as answer:
                    assert answer.status == 405

    asked(story)


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost:8091", True), ("127.0.0.1:8091", True), ("[::1]:8091", True), ("10.0.0.7", True),
        ("slipway-operator-ui", True), ("slipway-operator-ui.slipway-system.svc:8091", True),
        ("slipway-operator-ui.slipway-system.svc.cluster.local.", True),
        ("models.example.com", True), ("MODELS.example.com:443", True),
        ("evil.example.com", False), ("localhost.example.com", False), ("a.svc.example.com", False),
        ("127.0.0.1.example.com", False), ("", False), (":8091", False),
        ("models.example.com.evil.com", False),
    ],
)  # fmt: skip
def test_only_its_own_host_names_are_answered(host: str, *, ours: bool) -> None:
    assert is_our_host(host, ("models.example.com",)) is ours


def test_a_name_that_an_attacker_lets_point_here_reads_nothing() -> None:
    async def story(client: Client, board: Board) -> tuple[int, str]:
        board.changed("ADDED", {"metadata": {"namespace": "n", "name": "a", "uid": "1"}})
        async with client.get("/ui/events", headers={"Host": "evil.example.com"}) as answer:
            return answer.status, await answer.text()

    status, text = asked(story)
    assert status == 421
    assert text == "this host name is not one of the status page: add it to ui.hosts of the chart\n"


def test_one_viewer_too_many_is_told_so_and_one_who_leaves_makes_room() -> None:
    async def story() -> None:
        board = Board(lambda: 0.0)
        runner: AppRunner = await serve(application(board), "127.0.0.1", 0)
        port = runner.addresses[0][1]
        opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

        async def ask() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            opened.append((reader, writer))
            writer.write(b"GET /ui/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            async with asyncio.timeout(60):
                return await reader.readline()

        assert [await ask() for _ in range(MAX_VIEWERS)] == [b"HTTP/1.1 200 OK\r\n"] * MAX_VIEWERS
        assert await ask() == b"HTTP/1.1 503 Service Unavailable\r\n"
        opened[0][1].close()
        async with asyncio.timeout(60):
            while await ask() != b"HTTP/1.1 200 OK\r\n":
                pass
        # Ends the streams that are open, and does not wait for their viewers.
        async with asyncio.timeout(60):
            await runner.cleanup()
            assert (await opened[1][0].read()).endswith(b"0\r\n\r\n")
        for _, writer in opened:
            writer.close()

    asyncio.run(story())


def test_a_viewer_who_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway_operator.status_page.application._WRITE_SECONDS", 0.1)

    async def story() -> None:
        board = Board(lambda: 0.0)
        message = "x" * 1000
        for number in range(MAX_MODELS):
            metadata = {"namespace": "n", "name": f"m{number}", "uid": "1"}
            versions = [{"version": n, "message": message, "replicas": 1} for n in range(20)]
            status = {"message": message, "versions": versions}
            board.changed("ADDED", {"metadata": metadata, "status": status})
        runner: AppRunner = await serve(application(board), "127.0.0.1", 0)
        assert runner.server is not None
        _, writer = await asyncio.open_connection(*runner.addresses[0][:2], limit=1)
        writer.write(b"GET /ui/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(60):
            while not runner.server.connections:  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(0)
            while runner.server.connections:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.01)
        writer.close()
        await runner.cleanup()

    asyncio.run(story())


def test_the_page_asks_for_nothing_from_elsewhere_and_makes_no_markup_of_text() -> None:
    assets = resources.files("slipway_operator.status_page") / "assets"
    texts = {
        name: (assets / name).read_text("utf-8") for name in ("index.html", "page.js", "page.css")
    }
    assert [
        name for name, text in texts.items() if re.search(r"https?:|url\(|@import|//cdn", text)
    ] == []
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|DOMParser|srcdoc"
    assert re.findall(sinks, texts["page.js"]) == []
    assert re.findall(r"<script>|<style|style=|\son\w+=", texts["index.html"]) == []
