"""The channel arguments that the limits become."""

from __future__ import annotations

import pytest

from slipway_server.frontends.rpc.transport.limits import RpcLimits, channel_options

KIB, MIB = 1 << 10, 1 << 20


@pytest.mark.parametrize(
    ("arriving", "inflight", "unread"),
    [
        (128 * MIB, 1024, 128 * KIB),
        (1 << 40, 1024, 256 * KIB),
        (MIB, 1024, 64 * KIB),
        (128 * MIB, 1, 256 * KIB),
    ],
)
def test_clients_send_little_of_what_nobody_has_asked_for(
    arriving: int, inflight: int, unread: int
) -> None:
    limits = RpcLimits(threads=1, inflight=inflight, arriving=arriving)
    options = dict(channel_options(limits, {}))
    # With its measure of the network, gRPC makes the window as large as what a fast client sends: 20 MB.
    assert options["grpc.http2.bdp_probe"] == 0
    assert options["grpc.http2.lookahead_bytes"] == unread


def test_what_is_given_on_the_command_line_wins() -> None:
    options = dict(channel_options(RpcLimits(threads=1), {"grpc.http2.bdp_probe": 1}))
    assert options["grpc.http2.bdp_probe"] == 1
