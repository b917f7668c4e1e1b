"""gRPC messages that are sent by half take no more memory together than is announced (§8).

The port alone, without TensorFlow, as a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial

import grpc
import pytest

from half_sent import HalfSent
from hostile import MIB, PeakMemory
from modelserver import eventually, free_port

METHOD = "/a/Length"
MESSAGE, ARRIVING = 16 * MIB, 32 * MIB
STEP = 16 * MIB
SLACK = 120 * MIB
"""What gRPC and Python take besides, and what of freed memory the C library keeps; all messages would be 480 MiB."""

PORT = f"""
import sys
from slipway_server.frontends.rpc.transport.limits import RpcLimits
from slipway_server.frontends.rpc.transport.server import Address, RpcServer

limits = RpcLimits(threads=2, message={MESSAGE}, arriving={ARRIVING}, held={ARRIVING}, age_grace=600.0)
ports = RpcServer([Address("127.0.0.1:" + sys.argv[1])], limits)
ports.serve({{
    "{METHOD}": lambda request, _context: b"%d" % len(request),
}})
ports.start()
print("open", flush=True)
for _ in sys.stdin:
    print("counting" if ports._watch._counter.counts else "not yet", flush=True)
"""


@dataclass(frozen=True)
class Port:
    number: int
    process: subprocess.Popen[str]

    def counting(self) -> bool:
        """Whether the server counts what is arriving from now on."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        return self.process.stdout.readline() == "counting\n"


@pytest.fixture
def port() -> Iterator[Port]:
    number = free_port()
    command = [sys.executable, "-c", PORT, str(number)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        try:
            yield Port(number, process)
        finally:
            process.kill()


def unfinished(connections: list[HalfSent]) -> int:
    """How many bytes there are of calls that the server has not ended."""
    for one in connections:
        one.pump(0)
    return sum(
        size for one in connections for stream, size in one.sent.items() if stream not in one.ended
    )


def sent_by_all(connections: list[HalfSent], most: int) -> bool:
    """Go on sending; whether each message that the server still takes has come so far."""
    for one in connections:
        one.pump(most)
    return all(
        size >= most or stream in one.ended
        for one in connections
        for stream, size in one.sent.items()
    )


@pytest.mark.parametrize(("connections", "calls"), [(1, 40), (40, 1), (5, 8)])
def test_half_sent_messages_stay_within_the_limit_for_all_of_them(
    port: Port, connections: int, calls: int
) -> None:
    with ExitStack() as stack, PeakMemory(port.process.pid) as memory:
        clients = [
            stack.enter_context(closing(HalfSent(port.number, METHOD, calls, MESSAGE)))
            for _ in range(connections)
        ]
        each = STEP // len(clients) // calls
        for most in range(each, MESSAGE * 3 // 4, each):
            eventually("as much is sent", partial(sent_by_all, clients, most))
            if most == each:
                eventually("the server has looked", port.counting)
            eventually("there is not too much", lambda: unfinished(clients) <= ARRIVING + 2 * STEP)
        assert any(client.ended for client in clients)
    assert memory.growth <= ARRIVING + 3 * STEP + SLACK
    with grpc.insecure_channel(f"127.0.0.1:{port.number}") as channel:
        answer = channel.unary_unary(METHOD)(bytes(MESSAGE), timeout=60)
    assert answer == b"%d" % MESSAGE


def test_one_slow_message_of_the_largest_size_arrives(port: Port) -> None:
    with closing(HalfSent(port.number, METHOD, 1, MESSAGE)) as slow:

        def all_but_the_last() -> bool:
            slow.pump(MESSAGE)
            return bool(slow.ended) or sum(slow.sent.values()) == MESSAGE - 1

        eventually("it is there", all_but_the_last)
        assert not slow.ended
