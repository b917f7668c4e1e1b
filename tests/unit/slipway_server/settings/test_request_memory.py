"""How large requests may be, by the memory that there is."""

from __future__ import annotations

import pytest

from slipway_server.settings import command_line
from slipway_server.settings.request_memory import (
    BodyMemory,
    RequestMemory,
    body_memory,
    request_memory,
)
from slipway_server.settings.server import settings

MIB, GIB = 1 << 20, 1 << 30
MOST = 2**31 - 1


@pytest.mark.parametrize(
    ("memory", "asked", "message"),
    [
        (0, None, 64 * MIB),
        (128 * MIB, None, 64 * MIB),
        (GIB, None, 64 * MIB),
        (2 * GIB, None, 64 * MIB),
        (4 * GIB, None, 128 * MIB),
        (16 * GIB, None, 512 * MIB),
        (64 * GIB, None, MOST),
        (1 << 50, None, MOST),
        (64 * GIB, 1 * MIB, 1 * MIB),
        (64 * GIB, 64 * MIB, 64 * MIB),
        (GIB, 512 * MIB, 512 * MIB),
        (GIB, 0, MOST),
    ],
)
def test_the_largest_request(memory: int, asked: int | None, message: int) -> None:
    assert request_memory(memory, asked).message == message


def test_without_a_word_about_memory_it_is_as_with_2_gib() -> None:
    expected = RequestMemory(64 * MIB, 128 * MIB, 256 * MIB, 256 * MIB, 384 * MIB)
    assert request_memory(0) == request_memory(2 * GIB) == expected


@pytest.mark.parametrize("memory", [GIB // 4, GIB, 3 * GIB, 8 * GIB, 64 * GIB, 1 << 45])
@pytest.mark.parametrize("asked", [None, 0, 64 * MIB])
def test_all_requests_together_leave_half_of_the_memory(memory: int, asked: int | None) -> None:
    limits = request_memory(memory, asked)
    together = limits.arriving + limits.held + limits.decompressed + limits.parsing
    assert together <= memory // 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], 256 * MIB), (["--grpc_max_message_bytes=67108864"], 64 * MIB)],
)
def test_the_flag_wins_also_with_the_smallest_default(arguments: list[str], message: int) -> None:
    parsed = command_line.parse(["--model_base_path=/m", *arguments])
    chosen = settings(parsed.values, cpus=2, memory=8 * GIB, given=parsed.given)
    assert chosen.rpc_memory.message == message


@pytest.mark.parametrize(
    ("memory", "limits"),
    [
        (0, BodyMemory(256 * MIB, 256 * MIB, 64 * MIB, 4 << 20)),
        (64 * MIB, BodyMemory(16 * MIB, 16 * MIB, 16 * MIB, 128 << 10)),
        (GIB, BodyMemory(128 * MIB, 128 * MIB, 32 * MIB, 2 << 20)),
        (4 * GIB, BodyMemory(512 * MIB, 512 * MIB, 100 * MIB, 8 << 20)),
        (1 << 45, BodyMemory(512 * MIB, 512 * MIB, 100 * MIB, 8 << 20)),
    ],
)
def test_the_limits_of_bodies(memory: int, limits: BodyMemory) -> None:
    assert body_memory(memory) == limits


@pytest.mark.parametrize("memory", [GIB, 2 * GIB, 3 * GIB, 4 * GIB, 64 * GIB])
def test_requests_of_both_protocols_leave_an_eighth_of_the_memory(memory: int) -> None:
    rpc, rest = request_memory(memory), body_memory(memory)
    bodies = rest.bodies + rest.decompressed + 96 * rest.values
    assert rpc.arriving + rpc.held + rpc.decompressed + rpc.parsing + bodies <= memory * 7 // 8


def test_the_flags_of_bodies_win_one_by_one() -> None:
    arguments = ["--model_base_path=/m", "--rest_api_max_json_values=8388608"]
    parsed = command_line.parse(arguments)
    chosen = settings(parsed.values, cpus=2, memory=GIB, given=parsed.given)
    assert chosen.rest_max_values == 8 << 20, "also with the largest default"
    assert (chosen.rest_max_body, chosen.rest_max_bodies) == (128 * MIB, 128 * MIB)
    assert chosen.rest_max_decompressed == 32 * MIB
