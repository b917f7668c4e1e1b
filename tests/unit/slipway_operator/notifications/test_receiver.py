"""The endpoint of notifications: who is let in, who polls, and how often."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request, Response

import virtualtime
from slipway_operator.notifications.messages import MAX_BYTES
from slipway_operator.notifications.receiver import PATH, ReceiverDeps, application, token_in
from slipway_operator.reconcile.loop import Loop
from slipway_operator.reconcile.reconciler import Polled
from slipway_operator.reconcile.scheduler import Key

TOKEN = "a-token-of-some-length"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
BODY = json.dumps({"uri": "s3://models/digits/2/x"})
Client = TestClient[Request, Application]


class Replica:
    """One replica's endpoint."""

    def __init__(self, *, leads: bool = True, leader: str = "", token: str = TOKEN) -> None:
        self.told: list[str] = []
        self.leader = leader
        deps = ReceiverDeps(lambda: token, lambda: leads, lambda: self.leader, self._notify)
        self.app = application(deps)

    def _notify(self, uris: Iterable[str]) -> int:
        self.told += uris
        return 1


def asked(replica: Replica, story: Callable[[Client], Awaitable[Any]]) -> Any:
    async def body() -> Any:
        async with TestClient(TestServer(replica.app)) as client:
            return await story(client)

    return asyncio.run(body())


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        (BEARER, "", 202),
        ({}, f"?token={TOKEN}", 202),
        ({"Authorization": "Bearer wrong"}, f"?token={TOKEN}", 202),
        ({}, "", 401),
        ({"Authorization": "Bearer wrong"}, "?token=", 401),
        ({"Authorization": f"Basic {TOKEN}"}, "", 401),
        ({"Authorization": "Bearer ü"}, "", 401),
    ],
)
def test_only_who_shows_the_token_is_let_in(
    headers: dict[str, str], query: str, status: int
) -> None:
    replica = Replica()

    async def story(client: Client) -> int:
        async with client.post(f"{PATH}{query}", data=BODY, headers=headers) as answer:
            assert TOKEN not in await answer.text()
            return answer.status

    assert asked(replica, story) == status
    assert replica.told == (["s3://models/digits/2/x"] if status == 202 else [])


def test_a_header_that_is_no_text_is_refused_like_any_other() -> None:
    replica = Replica()

    async def story(client: Client) -> bytes:
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n".encode()
            + b"Authorization: Bearer \xff\xfe\r\n\r\n"
        )
        status = await reader.readline()
        writer.close()
        return status

    assert b" 401 " in asked(replica, story)


def test_without_a_token_nobody_is_let_in(tmp_path: Path) -> None:
    assert token_in(tmp_path / "none")() == ""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert token_in(tmp_path / "token")() == TOKEN

    async def story(client: Client) -> int:
        async with client.post(
            f"{PATH}?token=", data=BODY, headers={"Authorization": "Bearer "}
        ) as a:
            return a.status

    assert asked(Replica(token=""), story) == 401


def test_bodies_are_bounded_and_answered_with_a_sentence() -> None:
    async def story(client: Client) -> list[tuple[int, str]]:
        found = []
        for body in (b"x" * (MAX_BYTES + 1), b"[" * 1000, b"{}"):
            async with client.post(PATH, data=BytesIO(body), headers=BEARER) as answer:
                found.append((answer.status, (await answer.json())["error"]))
        async with client.get(PATH, headers=BEARER) as answer:
            found.append((answer.status, ""))
        return found

    large, deep, unknown, got = asked(Replica(), story)
    assert large == (413, "the body is larger than 1048576 bytes")
    assert deep == (400, "the body is nested more than 32 deep")
    assert unknown[0] == 400
    assert got[0] == 405


def test_event_grid_is_answered_in_both_of_its_ways() -> None:
    validation = [
        {
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "data": {"validationCode": "512d38b6"},
        }
    ]

    async def story(client: Client) -> tuple[Any, str]:
        async with client.post(PATH, json=validation, headers=BEARER) as answer:
            told = await answer.json()
        origin = {"WebHook-Request-Origin": "eventgrid.azure.net"}
        async with client.options(f"{PATH}?token={TOKEN}", headers=origin) as answer:
            return told, answer.headers["WebHook-Allowed-Origin"]

    # A replica that does not lead answers just so: nothing is polled for it.
    replica = Replica(leads=False)
    assert asked(replica, story) == ({"validationResponse": "512d38b6"}, "eventgrid.azure.net")


def test_a_follower_passes_on_once_and_says_when_nobody_leads() -> None:
    leader, lost = Replica(), Replica(leads=False, leader="http://127.0.0.1:1")

    async def body() -> tuple[list[int], str]:
        async with TestServer(leader.app) as at, TestServer(lost.app) as nowhere:
            # It would pass it on to the one that leads now, were it allowed to.
            lost.leader = str(at.make_url("")).rstrip("/")
            statuses = []
            for address in (at, nowhere):
                follower = Replica(leads=False, leader=str(address.make_url("")).rstrip("/"))
                async with (
                    TestClient(TestServer(follower.app)) as client,
                    client.post(f"{PATH}?token={TOKEN}", data=BODY) as answer,
                ):
                    statuses.append(answer.status)
                    retry = answer.headers.get("Retry-After", "")
            return statuses, retry

    assert asyncio.run(body()) == ([202, 503], "5")
    assert leader.told == ["s3://models/digits/2/x"]


def forwarded(*, typed: bool = True) -> tuple[str, dict[str, str], bytes]:
    """Path, headers and body of what a follower sends to the leader, as someone between them sees it."""
    seen: list[tuple[str, dict[str, str], bytes]] = []

    async def leader(request: Request) -> Response:
        seen.append((str(request.rel_url), dict(request.headers), await request.read()))
        return Response(status=202, text="{}", content_type="application/json")

    async def body() -> int:
        app = Application()
        app.router.add_post(PATH, leader)
        async with TestServer(app) as at:
            follower = Replica(leads=False, leader=str(at.make_url("")).rstrip("/"))
            async with (
                TestClient(TestServer(follower.app)) as client,
                client.post(
                    f"{PATH}?token={TOKEN}",
                    data=BODY,
                    headers=BEARER,
                    skip_auto_headers=() if typed else ("Content-Type",),
                ) as answer,
            ):
                return answer.status

    assert asyncio.run(body()) == 202
    [sent] = seen
    return sent


def test_the_token_does_not_travel_between_replicas() -> None:
    assert TOKEN not in str(forwarded())


@pytest.mark.parametrize("typed", [True, False], ids=["typed", "untyped"])
@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda headers, body: (headers, body), 202),
        (lambda headers, body: (headers, body.replace(b"digits", b"others")), 401),
        (lambda headers, body: (headers | {"Content-Type": "text/plain"}, body), 401),
        (lambda headers, body: (headers | {"X-Slipway-Signature": ""}, body), 401),
        (lambda headers, body: (headers | {"X-Slipway-Signature": "0.0"}, body), 401),
        (lambda headers, body: (headers | {"X-Slipway-Signature": "ü"}, body), 401),
    ],
    ids=["as sent", "another body", "another type", "none", "a wrong one", "no text"],
)
def test_what_a_replica_forwards_is_signed(change: Any, status: int, *, typed: bool) -> None:
    path, headers, body = forwarded(typed=typed)
    headers, body = change({k: v for k, v in headers.items() if k != "Content-Length"}, body)
    leader = Replica()

    async def story(client: Client) -> int:
        async with client.post(path, data=body, headers=headers) as answer:
            return answer.status

    assert asked(leader, story) == status
    assert leader.told == (["s3://models/digits/2/x"] if status == 202 else [])
    assert asked(Replica(token=""), story) == 401
    assert asked(Replica(token="another"), story) == 401


def test_a_follower_without_a_leader_asks_to_try_again() -> None:
    async def story(client: Client) -> tuple[int, str]:
        async with client.post(PATH, data=BODY, headers=BEARER) as answer:
            return answer.status, answer.headers["Retry-After"]

    assert asked(Replica(leads=False), story) == (503, "5")
    assert asked(Replica(leads=False, leader="http://127.0.0.1:1"), story) == (503, "5")


KEY = Key("ml", "digits", "u-1")


class Work:
    """A reconciler and the sources in one: polls take a second, and come again in an hour."""

    def __init__(self) -> None:
        self.polls: list[float] = []

    async def poll(self, _: Key) -> Polled:
        self.polls.append(round(asyncio.get_running_loop().time(), 1))
        await asyncio.sleep(1)  # virtual seconds
        return Polled(news=False, again=timedelta(hours=1), retains=False)

    async def reconcile(self, _: Key) -> None:
        return None

    def asks_for_samples(self, _: Key) -> bool:
        return False

    def polled(self, _: Key) -> bool:
        return True

    def owners_of(self, uris: Iterable[str]) -> set[Key]:
        return {KEY} if any("digits" in uri for uri in uris) else set()


class NoApi:
    """Lists the one Model."""

    async def list(self, _: object, __: str) -> list[dict[str, Any]]:
        return [
            {
                "metadata": {
                    "namespace": "ml",
                    "name": "digits",
                    "uid": "u-1",
                    "resourceVersion": "1",
                }
            }
        ]


def test_a_burst_of_ten_thousand_is_a_poll_now_and_one_when_it_is_over() -> None:
    work = Work()

    async def body() -> None:
        loop = Loop(cast("Any", NoApi()), cast("Any", work), cast("Any", work), ())
        loop.model_changed(KEY, 1)
        task = asyncio.create_task(loop.run())
        await asyncio.sleep(100)  # virtual seconds
        for _ in range(10_000):
            assert loop.notified(["s3://models/digits/2/x"]) == 1
            await asyncio.sleep(0.0002)  # virtual: two seconds in all
        assert loop.notified(["s3://models/other/2/x"]) == 0
        await asyncio.sleep(20)  # virtual seconds
        loop.notified(["s3://models/digits/3/x"])
        await asyncio.sleep(20)  # virtual seconds
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    virtualtime.run(body())
    assert work.polls == [0.0, 100.3, 105.3, 122.3]
