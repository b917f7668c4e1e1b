"""Limits of the gRPC port, and the channel arguments that enforce them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_INT32_MAX: Final = 2**31 - 1
_PING_INTERVAL_MS: Final = 10_000
_KEEPALIVE_MS: Final = 60_000
_KEEPALIVE_TIMEOUT_MS: Final = 20_000
_LEAST_UNREAD: Final = 64 << 10
_MOST_UNREAD: Final = 256 << 10
"""Bytes of a message that a client may send before it is asked for. More would make no message faster: it is asked for
at once, unless the server is busy."""

Options = list[tuple[str, int | str]]


@dataclass(frozen=True, slots=True)
class RpcLimits:
    """Bounds of the gRPC port. Times are in seconds.

    Attributes:
        threads: requests worked on at a time.
        inflight: requests worked on or waiting; further ones are refused at once.
        message: bytes of a request, as sent and decompressed.
        held: bytes of all requests that wait or are worked on, as sent; while there are more, further ones stay unread.
        arriving: bytes of all requests that are not complete yet; one may be larger.
        decompressed: bytes of all decompressed requests; one may be larger.
        streams: calls at a time on one connection; a client's gRPC library holds further ones back.
        connections: open at a time; 0 means any number.
        age: after which a connection is asked to reconnect; what it carries finishes.
        age_grace: for that. It ends calls that never end, such as those of a client that does not finish sending.
    """

    threads: int
    inflight: int = 1024
    message: int = 64 << 20
    held: int = 256 << 20
    arriving: int = 128 << 20
    decompressed: int = 256 << 20
    streams: int = 1000
    connections: int = 0
    age: float = 10.0
    age_grace: float = 600.0


def channel_options(limits: RpcLimits, more: Mapping[str, int | str]) -> Options:
    """Return the arguments of the server; `more` come last and win."""
    options: dict[str, int | str] = {
        "grpc.max_receive_message_length": limits.message,
        # gRPC would decompress whatever comes before it looks at the limit (`compression`).
        "grpc.per_message_decompression": 0,
        "grpc.max_send_message_length": _INT32_MAX,
        # gRPC would measure the network, and let clients send 20 MB of each message that nobody has asked for.
        "grpc.http2.bdp_probe": 0,
        "grpc.http2.lookahead_bytes": min(
            max(limits.arriving // limits.inflight, _LEAST_UNREAD), _MOST_UNREAD
        ),
        # Two servers on one port would share its connections without anybody noticing.
        "grpc.so_reuseport": 0,
        "grpc.max_concurrent_streams": limits.streams,
        "grpc.max_connection_age_ms": round(limits.age * 1000),
        "grpc.max_connection_age_grace_ms": round(limits.age_grace * 1000),
        # Clients may send keepalive pings every ten seconds, also between calls; more frequent ones end the connection.
        "grpc.http2.min_recv_ping_interval_without_data_ms": _PING_INTERVAL_MS,
        "grpc.keepalive_permit_without_calls": 1,
        # The server pings, too: so the streams of a client whose machine is gone are freed.
        "grpc.keepalive_time_ms": _KEEPALIVE_MS,
        "grpc.keepalive_timeout_ms": _KEEPALIVE_TIMEOUT_MS,
    }
    if limits.connections:
        options["grpc.max_allowed_incoming_connections"] = limits.connections
    return list((options | dict(more)).items())
