"""Send requests without pause, of every kind that real clients send, and count what becomes of them.

Long-lived gRPC channels, keep-alive HTTP connections, and a new gRPC channel or HTTP connection for each request.
No request is ever repeated: one that fails is counted as failed.
"""

import http.client
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

import grpc
import httpx
import numpy as np
from tensorflow_serving.apis import predict_pb2

from digits.classify import TIMEOUT_SECONDS, request_for

_METHOD = "/tensorflow.serving.PredictionService/Predict"
_KEPT_ERRORS = 20


@dataclass
class Served:
    """Answers of one version.

    Attributes:
        first: Of the monotonic clock, in seconds.
        last: Likewise.
    """

    count: int = 0
    first: float = 0.0
    last: float = 0.0


@dataclass
class Tally:
    """What became of the requests; safe to share between threads.

    Attributes:
        begun: Of the monotonic clock, in seconds.
    """

    begun: float = field(default_factory=time.monotonic)
    sent: int = 0
    failed: int = 0
    errors: list[str] = field(default_factory=list)
    versions: dict[int, Served] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def answered(self, version: int | None) -> None:
        """A good answer; over REST the version is not known."""
        now = time.monotonic()
        with self._lock:
            self.sent += 1
            if version is not None:
                served = self.versions.setdefault(version, Served(first=now))
                served.count += 1
                served.last = now

    def missed(self, error: str) -> None:
        """A request that failed."""
        with self._lock:
            self.sent += 1
            self.failed += 1
            if len(self.errors) < _KEPT_ERRORS:
                self.errors.append(f"after {time.monotonic() - self.begun:.2f} s: {error}")


class Load:
    """Runs until it is left: `with Load(...) as load: …`, then read `load.tally`."""

    def __init__(
        self,
        grpc_target: str,
        rest_url: str,
        model: str,
        *,
        channels: int = 3,
        keep_alive: int = 3,
        connecting: int = 1,
        connecting_grpc: int = 0,
        per_second: float = 40.0,
    ) -> None:
        """`per_second` is the most that each of the channels and connections sends."""
        self.tally = Tally()
        self._stop = threading.Event()
        self._interval = 1.0 / per_second
        self._grpc_target = grpc_target
        self._rest_url = rest_url
        self._path = f"/v1/models/{model}:predict"
        image = np.linspace(0.0, 1.0, 64, dtype=np.float32).reshape(1, 64)
        self._request = request_for(image, model).SerializeToString()
        self._body = json.dumps({"instances": image.tolist()}).encode()
        kinds: list[Callable[[], None]] = [self._channel] * channels
        kinds += [self._keep_alive] * keep_alive + [self._connecting] * connecting
        kinds += [self._connecting_grpc] * connecting_grpc
        self._threads = [threading.Thread(target=kind, daemon=True) for kind in kinds]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(TIMEOUT_SECONDS + 5)

    def _paced(self, send: Callable[[], int | None]) -> None:
        """Send again and again, each request only after the answer to the one before."""
        while not self._stop.wait(self._interval):
            try:
                self.tally.answered(send())
            except Exception as error:  # noqa: BLE001 (whatever it is, the request has failed)
                self.tally.missed(f"{type(error).__name__}: {error}"[:500])

    def _open(self) -> grpc.Channel:
        # Its own connection: channels of one process share them otherwise.
        options = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.insecure_channel(self._grpc_target, options=options)

    def _ask(self, channel: grpc.Channel) -> int:
        call: Callable[..., predict_pb2.PredictResponse] = channel.unary_unary(
            _METHOD, response_deserializer=predict_pb2.PredictResponse.FromString
        )
        return int(call(self._request, timeout=TIMEOUT_SECONDS).model_spec.version.value)

    def _channel(self) -> None:
        with self._open() as channel:
            self._paced(lambda: self._ask(channel))

    def _connecting_grpc(self) -> None:
        def send() -> int:
            with self._open() as channel:
                return self._ask(channel)

        self._paced(send)

    def _keep_alive(self) -> None:
        with httpx.Client(base_url=self._rest_url, timeout=TIMEOUT_SECONDS) as client:

            def send() -> None:
                client.post(self._path, content=self._body).raise_for_status().json()

            self._paced(send)

    def _connecting(self) -> None:
        address = urlsplit(self._rest_url)

        def send() -> None:
            connection = http.client.HTTPConnection(
                address.hostname or "", address.port, timeout=TIMEOUT_SECONDS
            )
            try:
                connection.request("POST", self._path, self._body)
                answer = connection.getresponse()
                if answer.status != http.HTTPStatus.OK:
                    raise ConnectionError(f"HTTP {answer.status}: {answer.read()[:300]!r}")
                json.loads(answer.read())
            finally:
                connection.close()

        self._paced(send)
