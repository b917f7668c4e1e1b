from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

_Reply: TypeAlias = list[bytes] | tuple[int, str]
_Handler: TypeAlias = Callable[
    [str, bytes, str, list[tuple[str, str]], float | None, bytes | None], _Reply
]
_Signature: TypeAlias = tuple[str, list[tuple[str, str, int, bool]], list[tuple[str, str]], int]
_Counts: TypeAlias = tuple[list[int], list[int], float, list[int], float]

def bind_tensorflow(path: str) -> None: ...

class NativeVersion:
    @property
    def users(self) -> int: ...
    @property
    def signatures(self) -> list[str]: ...
    def close(self, timeout: float | None = None) -> bool: ...

_BatchingRules: TypeAlias = tuple[int, float, int, list[int], bool, bool, int]
_Histogram: TypeAlias = tuple[list[int], float]
_BatchCounts: TypeAlias = tuple[int, int, list[_Histogram], list[tuple[int, _Histogram]]]

class NativeBatching:
    def __init__(
        self,
        threads: int,
        *,
        sizes: Sequence[float],
        seconds: Sequence[float],
        microseconds: Sequence[float],
    ) -> None: ...
    def version(
        self,
        model: str,
        number: int,
        session: int,
        graph: int,
        on_caller: bool,
        owner: object,
        rules: _BatchingRules,
    ) -> NativeBatches: ...
    def counts(self) -> list[tuple[tuple[str, int, str], _BatchCounts]]: ...

class NativeBatches:
    def describe(
        self,
        key: str,
        inputs: Sequence[tuple[str, int, list[int] | None]],
        outputs: Sequence[str],
        signature: str,
    ) -> bool: ...
    def run(
        self, key: str, outputs: Sequence[int], tensors: Sequence[int], left: float | None
    ) -> list[int | tuple[list[int], list[bytes]]] | tuple[int, str] | None: ...
    def drain(self) -> None: ...

class NativeFront:
    def __init__(
        self,
        handler: _Handler,
        early: Sequence[str],
        *,
        threads: int,
        inflight: int,
        message: int,
        held: int,
        streams: int,
        connections: int,
        age: float,
        age_grace: float,
        workers: int,
        tensor_content: bool,
        seconds: Sequence[float],
        classic_microseconds: Sequence[float],
    ) -> None: ...
    def bind_tcp(self, port: int) -> None: ...
    def bind_unix(self, path: str) -> None: ...
    def set_tls(self, key: bytes, chain: bytes, roots: bytes | None, system: bool) -> None: ...
    def start(self) -> None: ...
    def serve(
        self,
        methods: Sequence[str],
        status: Sequence[str],
        reload: Sequence[str],
        streams: Sequence[str],
    ) -> None: ...
    def set_health(self, services: Sequence[str], serving: bool) -> None: ...
    def enter_shutdown(self) -> None: ...
    @property
    def waiting(self) -> int: ...
    @property
    def requests(self) -> int: ...
    def stop(self, grace: float) -> None: ...
    def set_hot(self, hot: bool) -> None: ...
    def version(
        self,
        model: str,
        number: int,
        session: int,
        graph: int,
        on_caller: bool,
        signatures: Sequence[_Signature],
        owner: object,
        batches: NativeBatches | None = None,
    ) -> NativeVersion: ...
    def add(self, version: NativeVersion) -> None: ...
    def remove(self, version: NativeVersion) -> None: ...
    def set_labels(self, labels: Mapping[str, Mapping[str, int]]) -> None: ...
    def sample(self, rates: Mapping[str, float]) -> None: ...
    def chance(self) -> float | None: ...
    def predictions(self) -> tuple[int, int]: ...
    def counts(self) -> list[tuple[tuple[str, int, str], _Counts]]: ...

_HttpReply: TypeAlias = tuple[int, str, list[tuple[str, str]], bytes, bool]
_HttpHandler: TypeAlias = Callable[
    [str, bytes, list[tuple[bytes, bytes]], bytes, str, float | None], _HttpReply
]

class NativeRest:
    def __init__(
        self,
        answer: _HttpHandler,
        page: Callable[[str], _HttpReply],
        *,
        fixed: Sequence[tuple[str, _HttpReply]],
        last: Sequence[tuple[str, _HttpReply]],
        slow: Sequence[str],
        awaited: Sequence[str],
        further: Sequence[tuple[str, list[tuple[str, str]]]],
        threads: int,
        inflight: int,
        timeout: float,
        body: int,
        bodies: int,
        head: int,
        connections: int,
        head_seconds: float,
        request_seconds: float,
        idle_seconds: float,
        workers: int,
    ) -> None: ...
    def bind(self, port: int, pages_only: bool) -> int: ...
    def start(self) -> None: ...
    def serve(self) -> None: ...
    def set_ready(self, ready: bool) -> None: ...
    def set_page(self, path: str, of: _HttpReply) -> None: ...
    def drain(self) -> None: ...
    def close_idle(self, seconds: float) -> None: ...
    @property
    def inflight(self) -> int: ...
    @property
    def requests(self) -> int: ...
    @property
    def connections(self) -> int: ...
    def pages_only(self) -> list[str]: ...
    def stop(self, grace: float) -> None: ...
