"""The real process behind TLS and on a UNIX socket, from start to SIGTERM (§1, §11)."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from certificates import Authority, ssl_config
from modelserver import ModelServer, eventually, free_port, running
from savedmodels import save_double

WAIT = 60.0


@dataclass
class Secured:
    server: ModelServer
    authority: Authority
    config: Path
    health: str
    socket: Path

    def client(self) -> httpx.Client:
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        return httpx.Client(
            base_url=f"https://localhost:{self.server.rest_port}", verify=context, trust_env=False
        )

    def channel(self, target: str = "") -> grpc.Channel:
        credentials = grpc.ssl_channel_credentials(self.authority.pem)
        options = [("grpc.default_authority", "localhost")] if target else []
        return grpc.secure_channel(
            target or f"localhost:{self.server.port}", credentials, options=options
        )

    def renew(self) -> int:
        pair = self.authority.issue()
        self.config.write_text(ssl_config(pair, self.authority.pem))
        return pair.serial

    def shown(self) -> int:
        with self.client() as http, http.stream("GET", "/livez") as answer:
            stream = answer.extensions["network_stream"]
            certificate = stream.get_extra_info("ssl_object").getpeercert()
            return int(certificate["serialNumber"], 16)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    save_double(root / "m" / "1", 1)
    return root / "m"


@pytest.fixture(scope="module", params=["python", "native"])
def secured(
    base: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secured]:
    root = tmp_path_factory.mktemp("secured")
    config, path, health = root / "ssl.pbtxt", root / "s", free_port()
    authority = Authority()
    config.write_text(ssl_config(authority.issue(), authority.pem))
    with running(
        root,
        f"--model_base_path={base}",
        "--model_name=m",
        f"--front={request.param}",
        f"--ssl_config_file={config}",
        f"--grpc_socket_path={path}",
        "--grpc_socket_mode=0660",
        f"--health_port={health}",
        "--drain_seconds=1",
        "--use_alts_credentials=false",
    ) as server:
        started = Secured(server, authority, config, f"http://127.0.0.1:{health}", path)

        def ready() -> bool:
            return httpx.get(f"{started.health}/readyz", trust_env=False).status_code == 200

        eventually("the server is ready", ready, WAIT)
        yield started


def test_both_ports_answer_over_tls(secured: Secured) -> None:
    with secured.client() as http:
        answer = http.post("/v1/models/m:predict", json={"instances": [1.0]})
        assert answer.json() == {"predictions": [3.0]}
    with secured.channel() as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "m", "ModelService", "PredictionService"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=WAIT)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING, name


def test_the_unix_socket_answers_and_has_its_permissions(secured: Secured) -> None:
    assert secured.socket.stat().st_mode & 0o777 == 0o660
    with secured.channel(f"unix:{secured.socket}") as channel:
        request = health_pb2.HealthCheckRequest(service="m")
        answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=WAIT)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_probes_need_no_certificate_on_the_health_port(secured: Secured) -> None:
    assert httpx.get(f"{secured.health}/livez", trust_env=False).text == "ok\n"
    metrics = httpx.get(f"{secured.health}/monitoring/prometheus/metrics", trust_env=False)
    assert ":tensorflow:serving:request_count" in metrics.text


def test_a_new_certificate_is_used_and_a_broken_one_is_not(secured: Secured) -> None:
    renewed = secured.renew()
    eventually("the new certificate is shown", lambda: secured.shown() == renewed, WAIT)
    secured.config.write_text("server_key: 'x'")

    def complaints() -> list[str]:
        lines = [one for one in secured.server.log if one["level"] == "error"]
        return [one["event"] for one in lines]

    eventually("the broken file is mentioned", complaints, WAIT)
    assert secured.shown() == renewed
    assert [one.partition(":")[0] for one in complaints()] == ["the certificate in use is kept"]


def test_sigterm_drains_tls_clients_without_a_failure(secured: Secured) -> None:
    """Last, because it ends the server: T9's order holds over TLS as well."""
    codes: list[int | str] = []
    stop = threading.Event()

    def ask() -> None:
        with secured.client() as http:
            while not stop.is_set():
                try:
                    answer = http.post("/v1/models/m:predict", json={"instances": [1.0]})
                except httpx.TransportError as error:
                    codes.append(repr(error))
                    return
                codes.append(answer.status_code)
                if answer.headers.get("Connection") == "close":
                    return  # as a client does whose Service leads elsewhere now

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    eventually("requests are answered", lambda: len(codes) > 20, WAIT)
    with contextlib.ExitStack() as stack:
        stack.callback(stop.set)
        assert secured.server.terminate() == 0
    for thread in threads:
        thread.join(WAIT)
    assert set(codes) == {200}
    assert not secured.socket.exists()


def test_sigterm_under_overload_answers_or_refuses_everybody(base: Path, tmp_path: Path) -> None:
    """T9: more clients than the server takes, over both APIs; each hears 200 or 503 until it is sent elsewhere."""
    flags = (
        *("--model_name=m", f"--model_base_path={base}", "--isolated_first_load=false"),
        *("--drain_seconds=1", "--rest_api_num_threads=1", "--max_inflight_requests=2"),
    )
    heard: list[int | str] = []
    stop = threading.Event()

    def ask(url: str, path: str, body: object) -> None:
        with httpx.Client(base_url=url, trust_env=False) as http:
            while not stop.is_set():
                try:
                    answer = http.post(path, json=body)
                except httpx.TransportError as error:
                    heard.append(repr(error))
                    return
                heard.append(answer.status_code)
                if answer.headers.get("Connection") == "close":
                    return

    x = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1.0]}
    asks = (
        ("/v1/models/m:predict", {"instances": [1.0]}),
        ("/v2/models/m/infer", {"inputs": [x]}),
    )
    with running(tmp_path, *flags) as server:
        server.wait_ready()
        threads = [
            threading.Thread(target=ask, args=(server.url, *asks[number % 2]))
            for number in range(16)
        ]
        for thread in threads:
            thread.start()
        try:
            eventually("there is overload", lambda: 503 in heard and 200 in heard, WAIT)
            assert server.get("/readyz").status_code == 200
            assert server.terminate() == 0
        finally:
            stop.set()
        for thread in threads:
            thread.join(WAIT)
    assert set(heard) == {200, 503}
