"""The way through a proxy: a real one, in front of real servers; nothing goes past it."""

import asyncio
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from certificates import Authority, server_context
from cluster.s3 import S3Server
from local_stores import ALLOW, local_options
from proxies import ADDRESS, BEHIND, HttpProxy
from slipway_sync.exports import ExitCode, revision
from slipway_sync.stores import AddressPolicy, Patience, SourceError, Store, open_store
from slipway_sync.stores.egress.proxy import EgressProxy
from small_exports import contents, tree, write
from static_server import StaticServer, indexed
from world import BUCKET, Bucket, eventually

ONLY_THE_PROXY = AddressPolicy.allowing([f"{ADDRESS}/32"])
QUICK = Patience(retries=0, pause=0.001)
NAME, WORD = "ada", "the-password-itself"
EXPORT = indexed({f"1/{name}": data for name, data in contents().items()})


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpProxy]:
    with HttpProxy.start(tmp_path_factory.mktemp("proxy")) as it:
        yield it


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpProxy]:
    with HttpProxy.start(tmp_path_factory.mktemp("locked"), f"{NAME}:{WORD}") as it:
        yield it


@pytest.fixture
def server() -> Iterator[StaticServer]:
    with StaticServer(dict(EXPORT)) as it:
        yield it


def opened(uri: str, proxy: HttpProxy | str, **options: Any) -> Store:
    url = proxy if isinstance(proxy, str) else proxy.url
    return open_store(uri, local_options(proxy=url, patience=QUICK, **options))


def error_of(store: Store) -> SourceError:
    with pytest.raises(SourceError) as caught:
        asyncio.run(store.children())
    assert WORD not in str(caught.value)
    return caught.value


def test_a_name_that_is_not_known_here_is_the_proxys_to_know(
    proxy: HttpProxy, server: StaticServer
) -> None:
    before = len(proxy.asked())
    store = opened(f"http://{BEHIND}:{server.port}/m", proxy)
    assert asyncio.run(store.children()) == ("1",)
    listing = asyncio.run(store.listing("1"))
    for item in listing:
        asyncio.run(store.read("1", item.path))
    wanted = {f"GET {BEHIND}:{server.port}/m/1/{item.path}" for item in listing}
    wanted.add(f"GET {BEHIND}:{server.port}/m/index.json")
    eventually("the proxy has told of each", lambda: wanted <= set(proxy.asked()[before:]))
    assert {path for path in server.paths() if "://" in path} == set(), "the server is no proxy"


def test_every_request_of_an_s3_client_goes_through(
    proxy: HttpProxy, s3: S3Server, bucket: Bucket
) -> None:
    bucket.upload("proxied/m/1", contents())
    keys = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
    port = s3.layout.port
    # Only the proxy knows the name, so whatever came by another way would not come at all.
    store = opened(
        f"s3://{BUCKET}/proxied/m", proxy, endpoint=f"http://{BEHIND}:{port}", credentials=keys
    )
    assert asyncio.run(store.children()) == ("1",)
    for item in asyncio.run(store.listing("1")):
        assert len(asyncio.run(store.read("1", item.path))) == item.size


def test_tls_runs_through_a_tunnel_and_the_proxy_sees_no_path(
    proxy: HttpProxy, tmp_path: Path
) -> None:
    authority = Authority()
    with StaticServer(dict(EXPORT), tls=context(authority, tmp_path, BEHIND)) as server:
        before = len(proxy.asked())
        store = opened(f"https://{BEHIND}:{server.port}/m", proxy, ca_bundle=authority.pem)
        assert asyncio.run(store.children()) == ("1",)
        assert len(asyncio.run(store.read("1", "saved_model.pb"))) > 0
        del store
        wanted = f"CONNECT {BEHIND}:{server.port}"
        eventually("the proxy has told of it", lambda: wanted in proxy.asked()[before:])
        assert {line for line in proxy.asked()[before:] if "/m/" in line} == set()


def context(authority: Authority, tmp_path: Path, *names: str) -> ssl.SSLContext:
    return server_context(authority.issue(names=names), tmp_path)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "[::ffff:a9fe:a9fe]",
        "2852039166",
        "0251.0376.0251.0376",
        "0xa9.254.43518",
        "169.254.169.254.",
        "metadata.google.internal",
        "[::1]",
        "[64:ff9b::7f00:2]",
        "127.0.0.2.",
        "ip6-loopback",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_may_not_be_reached_may_not_be_reached_through_a_proxy(
    proxy: HttpProxy, scheme: str, host: str
) -> None:
    said = error_of(opened(f"{scheme}://{host}/m", proxy, addresses=ONLY_THE_PROXY))
    assert said.reason == "InvalidSource"
    assert "which is not allowed as a source" in str(said)
    assert "sources.allowedNetworks" in str(said)
    named = host.strip("[].")
    assert not [line for line in proxy.asked() if named in line]


def test_a_redirect_through_a_proxy_is_judged(proxy: HttpProxy, tmp_path: Path) -> None:
    authority = Authority()
    with StaticServer(tls=context(authority, tmp_path, BEHIND)) as server:
        server.redirects = {"m/index.json": "https://169.254.169.254/latest/meta-data/"}
        store = opened(f"https://{BEHIND}:{server.port}/m", proxy, ca_bundle=authority.pem)
        said = error_of(store)
    assert "169.254.169.254 is a link-local address" in str(said)
    assert not [line for line in proxy.asked() if "169.254.169.254:443" in line]


@pytest.mark.parametrize(
    "address", ["169.254.1.1:3128", "[fe80::1]:3128", "2852039166", "[::1]:3128"]
)
def test_a_proxys_own_address_is_judged(address: str) -> None:
    said = error_of(opened(f"http://{BEHIND}/m", f"http://{address}"))
    assert said.reason == "InvalidSource"
    assert "the proxy" in str(said)
    assert "which is not allowed as a source" in str(said)


@pytest.mark.parametrize(
    "exceptions",
    [
        (ADDRESS,),
        ("127.0.0.0/8",),
        ("10.0.0.0/8, 127.0.0.0/8", "::1"),
        ("*",),
    ],
)
def test_exceptions_are_reached_straight(
    proxy: HttpProxy, server: StaticServer, exceptions: tuple[str, ...]
) -> None:
    before = proxy.asked()
    store = opened(f"{server.url}/m", proxy, no_proxy=exceptions)
    assert asyncio.run(store.children()) == ("1",)
    assert proxy.asked() == before
    assert server.paths() == ["/m/index.json"], "a server is asked for a path"


def test_an_excepted_suffix_is_looked_up_here(proxy: HttpProxy, server: StaticServer) -> None:
    store = opened(f"http://{BEHIND}:{server.port}/m", proxy, no_proxy=(".behind.example",))
    assert "its name cannot be resolved by DNS" in str(error_of(store))
    assert server.asked == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_credentials_gets_them_and_says_so_without(
    locked: HttpProxy, tmp_path: Path, scheme: str
) -> None:
    authority = Authority()
    tls = context(authority, tmp_path, BEHIND) if scheme == "https" else None
    with StaticServer(dict(EXPORT), tls=tls) as server:
        uri = f"{scheme}://{BEHIND}:{server.port}/m"
        right = {"PROXY_USERNAME": NAME, "PROXY_PASSWORD": WORD}
        store = opened(uri, locked, credentials=right, ca_bundle=authority.pem)
        assert asyncio.run(store.children()) == ("1",)
        assert not [asked for asked in server.asked if "proxy-authorization" in asked.headers]
        for wrong in ({}, right | {"PROXY_PASSWORD": "guessed"}):
            said = error_of(opened(uri, locked, credentials=wrong, ca_bundle=authority.pem))
            assert said.reason == "AccessDenied"
            assert "the proxy requires credentials: put PROXY_USERNAME" in str(said)
            assert "guessed" not in str(said)


def test_a_proxy_that_is_not_there_is_named(server: StaticServer) -> None:
    with socket.socket() as taken:
        taken.bind((ADDRESS, 0))
        gone = f"http://{ADDRESS}:{taken.getsockname()[1]}"
        said = error_of(opened(f"{server.url}/m", gone))
    assert said.reason == "Unavailable"
    assert "the proxy refuses connections" in str(said)
    said = error_of(opened(f"{server.url}/m", "http://no-such-proxy.invalid:3128"))
    assert "the proxy's name cannot be resolved by DNS" in str(said)
    assert server.asked == []


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Whoever connects is told this, whatever is asked."""
    with socket.create_server((ADDRESS, 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(65536)
                    client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://{ADDRESS}:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(
    ("answer", "reason", "said"),
    [
        (b"HTTP/1.1 403 No\r\n\r\n", "AccessDenied", "the proxy denies access (403)"),
        (b"HTTP/1.1 502 Bad\r\n\r\n", "Unavailable", "the proxy cannot reach it (502)"),
        (
            b"SSH-2.0-OpenSSH_9\r\n\r\n",
            "Unavailable",
            "the proxy does not answer like an HTTP proxy",
        ),
        (b"HTTP/1.1 200 OK\r\n", "Unavailable", "the proxy does not answer like an HTTP proxy"),
        (b"HTTP/1.1 x\r\n\r\n", "Unavailable", "the proxy does not answer like an HTTP proxy"),
        (b"", "Unavailable", "the proxy does not answer like an HTTP proxy"),
    ],
)
def test_what_a_proxy_answers_is_said(answer: bytes, reason: str, said: str) -> None:
    with answering(answer) as url:
        error = error_of(opened(f"https://{BEHIND}/m", url))
    assert (error.reason, said in str(error)) == (reason, True), str(error)


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("https://proxy:3128", "the proxy is not an http://HOST"),
        ("proxy:3128", "the proxy is not an http://HOST"),
        (
            "http://ada:pa55@proxy:3128",
            "put those into the Secret as PROXY_USERNAME and PROXY_PASSWORD",
        ),
        ("http://proxy:3128/path", "the proxy is not an http://HOST"),
        ("http://proxy:0", "the proxy is not an http://HOST"),
        ("http://proxy:x", "the proxy is not an http://HOST"),
    ],
)
def test_a_proxy_that_cannot_be_is_refused(proxy: str, said: str) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        opened("http://h/m", proxy)
    assert "pa55" not in str(caught.value)


def test_a_name_that_rebinds_is_judged_each_time(
    proxy: HttpProxy, server: StaticServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"rebinding.behind.example": iter([ADDRESS]), ADDRESS: iter(lambda: ADDRESS, "")}

    def resolve(host: str, _port: int) -> list[Any]:
        return [ip_address(next(answers[host], "169.254.169.254"))]

    ours = EgressProxy(resolve)
    monkeypatch.setattr("slipway_sync.stores.egress.clients.shared", lambda: ours)
    uri = f"http://rebinding.behind.example:{server.port}/m"
    assert asyncio.run(opened(uri, proxy).children()) == ("1",)
    assert "(169.254.169.254) is a link-local address" in str(error_of(opened(uri, proxy)))
    ours.close()


def test_the_agent_brings_s3_objects_through(
    proxy: HttpProxy, s3: S3Server, bucket: Bucket, tmp_path: Path
) -> None:
    bucket.upload("agent/m/1", contents())
    keys = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
    direct = local_options(endpoint=s3.endpoint, credentials=keys)
    listing = asyncio.run(open_store(f"s3://{BUCKET}/agent/m", direct).listing("1"))
    write(tmp_path / "keys", {name: value.encode() for name, value in keys.items()})
    done = subprocess.run(
        [
            sys.executable, "-m", "slipway_sync.agent", "fetch", f"--source=s3://{BUCKET}/agent/m",
            f"--endpoint=http://{BEHIND}:{s3.layout.port}", "--directory=1", "--version=1",
            f"--revision={revision(listing)}", f"--destination={tmp_path / 'volume'}",
            f"--proxy={proxy.url}", f"--credentials={tmp_path / 'keys'}", ALLOW,
        ],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == ExitCode.SYNCED, done.stdout + done.stderr
    assert tree(tmp_path / "volume" / "1") == contents()


def test_the_agent_goes_through_with_credentials_from_files(
    locked: HttpProxy, server: StaticServer, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "PROXY_USERNAME").write_text(NAME)
    (keys / "PROXY_PASSWORD").write_text(WORD + "\n")
    direct = open_store(f"{server.url}/m", local_options())
    planned = revision(asyncio.run(direct.listing("1")))
    before = len(locked.asked())
    done = subprocess.run(
        [
            sys.executable, "-m", "slipway_sync.agent", "fetch",
            f"--source=http://{BEHIND}:{server.port}/m", "--directory=1", "--version=1",
            f"--revision={planned}", f"--destination={tmp_path / 'volume'}",
            f"--proxy={locked.url}", "--no-proxy=.svc", "--no-proxy=10.0.0.0/8",
            f"--credentials={keys}", ALLOW,
        ],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == ExitCode.SYNCED, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["event"] == "synced"
    assert tree(tmp_path / "volume" / "1") == contents()
    asked = len(contents()) + 1
    eventually("the proxy has told of it", lambda: len(locked.asked()) - before >= asked)
