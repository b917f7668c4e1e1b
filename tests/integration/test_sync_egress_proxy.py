"""No request of a store's client reaches an address that it may not: with real clients and real servers."""

import asyncio
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from certificates import Authority, server_context
from cluster.s3 import S3Server
from local_stores import NETWORK, local_options
from slipway_sync.exports import ExitCode, revision
from slipway_sync.stores import SourceError, Store, StoreOptions, open_store
from slipway_sync.stores.addresses import Address, AddressPolicy
from slipway_sync.stores.backends.index_document import parse_index
from slipway_sync.stores.egress import proxy
from slipway_sync.stores.egress.proxy import EgressProxy
from small_exports import contents, tree
from static_server import StaticServer, indexed
from world import BUCKET, Bucket

LINK_LOCAL = "169.254.169.254"


class Server(ThreadingHTTPServer):
    """Answers everything with a redirect, and writes down what it was asked."""

    def __init__(self, location: str) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.asked.append((self.path, dict(self.headers.items())))
                self.send_response(307)
                self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving(location: str) -> Iterator[Server]:
    with Server(location) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def tls(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return server_context(authority.issue(), tmp_path_factory.mktemp("tls"))


def store_at(endpoint: str, *allowed: str) -> Store:
    addresses = AddressPolicy.allowing(allowed)
    return open_store("s3://models/m", StoreOptions(endpoint=endpoint, addresses=addresses))


def refusal(store: Store) -> str:
    with pytest.raises(SourceError) as caught:
        asyncio.run(store.children())
    assert caught.value.reason == "InvalidSource", str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        LINK_LOCAL,
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "2852039166",
        "0xa9fea9fe",
        "0xa9.0xfe.0xa9.0xfe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "0.0.0.0",  # noqa: S104 (refused)
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_endpoint_at_a_forbidden_address_is_refused_in_every_spelling(
    scheme: str, host: str
) -> None:
    said = refusal(store_at(f"{scheme}://{host}"))
    assert "which is not allowed as a source" in said
    assert "sources.allowedNetworks" in said


LOOPBACK = (
    "127.0.0.1",
    "localhost",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "[::127.0.0.1]",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0x7f.1",
    "127.1",
    "127.255.255.254",
)


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_this_machines_own_servers_are_no_sources_in_any_spelling(scheme: str, host: str) -> None:
    with serving("/") as server:
        said = refusal(store_at(f"{scheme}://{host}:{server.server_port}"))
        assert "is a loopback address, which is not allowed as a source" in said
        said = refusal(open_store(f"{scheme}://{host}:{server.server_port}/m", StoreOptions()))
        assert "is a loopback address, which is not allowed as a source" in said
        assert server.asked == []


def test_the_agent_refuses_loopback_unless_its_command_line_allows_it(tmp_path: Path) -> None:
    files = contents()
    index = indexed({f"1/{name}": data for name, data in files.items()})
    planned = revision(parse_index(index["m/index.json"]).versions["1"])
    with StaticServer(index) as server:

        def agent(*more: str) -> tuple[int, str]:
            done = subprocess.run(
                [
                    sys.executable, "-m", "slipway_sync.agent", "fetch", f"--source={server.url}/m",
                    "--directory=1", "--version=1", f"--revision={planned}",
                    f"--destination={tmp_path / 'volume'}", *more,
                ],
                capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
            return done.returncode, json.loads(done.stdout.splitlines()[-1])["message"]

        code, said = agent()
        assert code == ExitCode.USAGE
        assert "127.0.0.1 is a loopback address, which is not allowed as a source" in said
        assert "--allow-network" in said
        assert server.asked == []
        code, said = agent("--allow-network=127.0.0.1/32")
        assert code == ExitCode.SYNCED, said
    assert tree(tmp_path / "volume" / "1") == files


@pytest.mark.parametrize("target", [LINK_LOCAL, "never.invalid", "127.0.0.2"])
def test_a_redirect_to_another_host_is_not_followed(target: str) -> None:
    with serving(f"http://{target}/latest/meta-data/") as server:
        assert "redirects to another host" in refusal(store_at(server.url, NETWORK))
        assert len(server.asked) == 1


ONLY_THE_SERVER = AddressPolicy.allowing(["127.0.0.1/32"])
SPELLINGS = (
    LINK_LOCAL,
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "2852039166",
    "0251.0376.0251.0376",
    "0xa9.254.43518",
    "[::1]",
    "[64:ff9b::7f00:2]",
    "[::ffff:127.0.0.2]",
    "0177.2",
)


@pytest.mark.parametrize("host", SPELLINGS)
@pytest.mark.parametrize("what", ["index.json", "1/saved_model.pb"])
def test_a_static_server_that_redirects_elsewhere_is_refused(
    authority: Authority, tls: ssl.SSLContext, host: str, what: str
) -> None:
    """Over TLS, where redirects to other hosts are followed, each is judged."""
    files = indexed({"1/saved_model.pb": b"data"})
    with StaticServer(files, tls=tls) as server:
        server.redirects = {f"m/{what}": f"https://{host}/latest/meta-data/"}
        options = StoreOptions(ca_bundle=authority.pem, addresses=ONLY_THE_SERVER)
        said = said_by(open_store(f"{server.url}/m", options))
    assert "which is not allowed as a source" in said
    assert said.startswith(f"{server.url}/m/{what}: ")


@pytest.mark.parametrize("host", [*SPELLINGS, "127.0.0.2"])
@pytest.mark.parametrize("what", ["index.json", "1/saved_model.pb"])
def test_a_static_server_without_tls_leads_to_no_other_host(host: str, what: str) -> None:
    files = indexed({"1/saved_model.pb": b"data"})
    with StaticServer(files) as server:
        server.redirects = {f"m/{what}": f"http://{host}/latest/meta-data/"}
        said = said_by(open_store(f"{server.url}/m", local_options()))
    assert "it redirects to another host, which is not followed" in said


@pytest.mark.parametrize(
    ("address", "kind"), [(LINK_LOCAL, "a link-local address"), ("127.0.0.2", "a loopback address")]
)
def test_a_redirect_to_a_name_that_rebinds_is_refused(
    authority: Authority,
    tls: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    kind: str,
) -> None:
    answers = iter([ip_address("127.0.0.1")])

    def resolve(host: str, _port: int) -> Sequence[Address]:
        if host == "127.0.0.1":
            return [ip_address(host)]
        return [next(answers, ip_address(address))]

    ours = EgressProxy(resolve)
    monkeypatch.setattr("slipway_sync.stores.egress.clients.shared", lambda: ours)
    with StaticServer(indexed({"1/a": b""}), tls=tls) as server:
        server.redirects = {"m/index.json": f"https://localhost:{server.port}/new/index.json"}
        server.files |= indexed({"2/a": b""}, base="new")

        def opened() -> Store:
            options = StoreOptions(ca_bundle=authority.pem, addresses=ONLY_THE_SERVER)
            return open_store(f"{server.url}/m", options)

        assert asyncio.run(opened().children()) == ("2",), "a good redirect is followed"
        assert f"localhost ({address}) is {kind}" in said_by(opened())
    ours.close()


def test_what_a_redirect_leads_to_gets_no_credentials(
    authority: Authority, tls: ssl.SSLContext
) -> None:
    files = indexed({"1/a": b""})
    with StaticServer(files, tls=tls) as server, StaticServer(files, tls=tls) as other:
        server.redirects = {"m/index.json": f"{other.url}/m/index.json"}
        credentials = {"HTTP_USERNAME": "ada", "HTTP_PASSWORD": "pa55"}
        options = local_options(ca_bundle=authority.pem, credentials=credentials)
        assert asyncio.run(open_store(f"{server.url}/m", options).children()) == ("1",)
        assert "authorization" in server.asked[0].headers
        assert [asked.headers.get("authorization") for asked in other.asked] == [None]


def said_by(store: Store) -> str:
    """Reads all that there is, up to the refusal."""

    async def read() -> None:
        for directory in await store.children():
            for item in await store.listing(directory):
                await store.read(directory, item.path)

    with pytest.raises(SourceError) as caught:
        asyncio.run(read())
    assert caught.value.reason == "InvalidSource", str(caught.value)
    return str(caught.value)


def test_the_servers_never_see_the_pass() -> None:
    with serving("/again") as server:
        with pytest.raises(SourceError):
            asyncio.run(store_at(server.url, NETWORK).children())
        assert len(server.asked) > 1, "a second request on the same connection"
        for _, headers in server.asked:
            assert "proxy-authorization" not in {name.lower() for name in headers}


def test_a_name_that_changes_its_mind_is_judged_at_every_connection(
    s3: S3Server, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.upload("rebinding/m/1", {"x": b"data"})
    answers = iter([[ip_address("127.0.0.1")]])

    def resolve(host: str, _port: int) -> Sequence[Address]:
        assert host == "rebinding.example"
        return next(answers, [ip_address(LINK_LOCAL)])

    ours = EgressProxy(resolve)
    monkeypatch.setattr("slipway_sync.stores.egress.clients.shared", lambda: ours)
    port = s3.endpoint.rpartition(":")[2]

    def opened() -> Store:
        credentials = {
            "AWS_ACCESS_KEY_ID": s3.access_key,
            "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        }
        options = local_options(
            endpoint=f"http://rebinding.example:{port}", credentials=credentials
        )
        return open_store(f"s3://{BUCKET}/rebinding/m", options)

    assert asyncio.run(opened().children()) == ("1",)
    assert f"rebinding.example ({LINK_LOCAL}) is a link-local address" in refusal(opened())
    ours.close()


def test_an_allowed_network_is_reached() -> None:
    with pytest.raises(SourceError) as caught:
        asyncio.run(store_at("http://0.0.0.0:1", "0.0.0.0/32").children())
    assert caught.value.reason == "Unavailable"
    assert "refuses connections" in str(caught.value)


def test_without_the_pass_nobody_gets_through() -> None:
    with serving("/") as server:
        egress = proxy.shared().issue_token(AddressPolicy())
        port = int(egress.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as stranger:
            stranger.sendall(f"GET {server.url}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert stranger.recv(100).startswith(b"HTTP/1.1 407")
        assert server.asked == []
