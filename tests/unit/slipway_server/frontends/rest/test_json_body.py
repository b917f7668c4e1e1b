"""§8: what a body costs is known before it is parsed, and all of them together stay within one bound."""

from __future__ import annotations

import gc
import gzip
import random
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_server.errors import Code, ServingError
from slipway_server.frontends.codec.json_text import loads
from slipway_server.frontends.http.messages import HttpRequest
from slipway_server.frontends.rest import json_body
from slipway_server.frontends.rest.json_body import BodyLimits, JsonBodies, count_values

PACKED = {b"content-encoding": b"gzip"}
TIMEOUT = 20.0
N = 20_000


def request(body: bytes, *, packed: bool = False) -> HttpRequest:
    return HttpRequest(
        "POST", body=gzip.compress(body) if packed else body, headers=PACKED if packed else {}
    )


def repeated(piece: bytes, count: int = N) -> bytes:
    return b"[" + piece * count + b"0]"


FLOATS = random.Random(0)  # noqa: S311 - any numbers will do
COSTLY: dict[str, Callable[[], bytes]] = {
    "empty lists": lambda: repeated(b"[],"),
    "empty objects": lambda: repeated(b"{},"),
    "lists of one": lambda: repeated(b"[0],"),
    "objects of one": lambda: repeated(b'{"":0},'),
    "objects in objects": lambda: repeated(b'{"":{}},'),
    "objects of different names": lambda: (
        b"[" + b",".join(b'{"%d":0}' % number for number in range(N)) + b"]"
    ),
    "one object of many names": lambda: (
        b"{" + b",".join(b'"%d":0' % number for number in range(N)) + b"}"
    ),
    "floats": lambda: b"[" + b",".join(b"%.3f" % FLOATS.random() for _ in range(N)) + b"]",
    "integers": lambda: b"[" + b",".join(b"%d" % (1 << 40 | n) for n in range(N)) + b"]",
    "short strings": lambda: b"[" + b",".join(b'"%x"' % (n + 4096) for n in range(N)) + b"]",
    "empty strings": lambda: repeated(b'"",'),
    "wide strings": lambda: repeated('"\U0001f600",'.encode()),
    "lists in lists": lambda: repeated(b"[[[[]]]],"),
}


@pytest.mark.parametrize("name", COSTLY)
def test_nothing_costs_more_than_is_reckoned(name: str) -> None:
    """The estimates of a value and of a byte, against what the parser really takes."""
    text = COSTLY[name]()
    orjson.loads(text)  # its cache of names
    tracemalloc.start()
    try:
        value = orjson.loads(text)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert value
    assert taken > len(text) // 3, "something was measured"
    assert taken <= len(text) + count_values(text) * json_body._VALUE_BYTES
    assert taken <= len(text) * json_body._TEXT_BYTES


def test_the_garbage_collector_does_not_run_in_a_large_text_and_is_as_before_after_it() -> None:
    text = repeated(b"[],", 400_000)
    runs: list[str] = []

    def seen(phase: str, _info: object) -> None:
        runs.append(phase)

    gc.callbacks.append(seen)
    try:
        value = loads(text)
        during = len(runs)
        orjson.loads(text)
        assert len(runs) > 10 * (during + 1), "it would have run hundreds of times"
        assert gc.isenabled()
        with pytest.raises(orjson.JSONDecodeError):
            loads(text[:-1])
        assert gc.isenabled()
        gc.disable()
        assert loads(text) == value
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.callbacks.remove(seen)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=30,
)


def values_in(value: Any) -> int:
    match value:
        case list():
            return 1 + sum(map(values_in, value))
        case dict():
            return 1 + len(value) + sum(map(values_in, value.values()))
        case _:
            return 1


@given(JSON)
def test_never_fewer_values_are_counted_than_there_are(value: Any) -> None:
    assert count_values(orjson.dumps(value)) >= values_in(value)


@pytest.mark.parametrize("size", [10, 5_000, 300_000])
def test_short_and_long_texts_are_counted_alike(size: int) -> None:
    text = (b'[{"a":1},[2]],' * (size // 14 + 1))[:size]
    assert count_values(text) == 1 + sum(text.count(one) for one in (b",", b":", b"[", b"{"))


@pytest.mark.parametrize("packed", [False, True])
def test_more_values_than_the_limit_are_refused_before_any_is_built(packed: bool) -> None:  # noqa: FBT001
    bodies = JsonBodies(BodyLimits(values=100_000))
    body = request(repeated(b"[],", 1_000_000), packed=packed)
    tracemalloc.start()
    try:
        with pytest.raises(ServingError) as error:
            bodies.open(body, None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error.value.code is Code.INVALID_ARGUMENT
    assert error.value.message == (
        "The request body has more than 100000 JSON values, and --rest_api_max_json_values allows no more"
    )
    assert peak < 3_000_000, "not even the text was kept"
    assert bodies._room.used == 0


@pytest.mark.parametrize("packed", [False, True])
def test_a_body_within_the_limit_is_opened_and_gives_back_its_room(packed: bool) -> None:  # noqa: FBT001
    bodies = JsonBodies(BodyLimits(values=400_000))
    text = repeated(b"1,", 300_000)
    with bodies.open(request(text, packed=packed), None) as opened:
        assert opened.text == text
        assert opened.inflated is packed
        assert bodies._room.used >= len(text)
        opened.close()
        assert opened.text == b""
        assert bodies._room.used == 0
    assert bodies._room.used == 0


def test_what_stands_behind_the_json_is_not_counted() -> None:
    bodies = JsonBodies(BodyLimits(values=100_000))
    json, binary = repeated(b"1,", 1000), b"," * 2_000_000
    for packed in (False, True):
        with bodies.open(request(json + binary, packed=packed), None, len(json)) as opened:
            assert opened.text == json + binary
        with pytest.raises(ServingError, match="more than 100000 JSON values"):
            bodies.open(request(json + binary, packed=packed), None, 1_000_000)
    assert bodies._room.used == 0


def test_a_body_that_is_refused_otherwise_gives_back_its_room() -> None:
    bodies = JsonBodies(BodyLimits(depth=3))
    with pytest.raises(ServingError, match="nested too deeply"):
        bodies.open(request(b"[[[[" + b"1," * 20_000 + b"1]]]]"), None)
    broken = request(repeated(b"1,", 1_000_000), packed=True)
    broken.body = broken.body[:-20]
    with pytest.raises(ServingError, match="truncated"):
        bodies.open(broken, None)
    assert bodies._room.used == 0


def test_bodies_wait_until_there_is_room_for_them() -> None:
    bodies = JsonBodies(BodyLimits(decompressed=1 << 20, values=100_000))
    body = request(repeated(b"1,", 90_000))
    entered = threading.Event()
    with bodies.open(body, None):
        small = bodies.open(request(b"[1]"), 0.0)
        assert small.text == b"[1]", "a small one waits for nobody"
        with pytest.raises(ServingError) as error:
            bodies.open(body, 0.0)
        assert error.value.code is Code.DEADLINE_EXCEEDED

        def another() -> None:
            with bodies.open(body, None):
                entered.set()

        waiting = threading.Thread(target=another, daemon=True)
        waiting.start()
        assert not entered.wait(0.05)
    assert entered.wait(TIMEOUT)
    waiting.join(TIMEOUT)
    assert bodies._room.used == 0


@pytest.mark.parametrize("packed", [False, True])
def test_one_wide_character_makes_a_long_string_four_times_as_large(packed: bool) -> None:  # noqa: FBT001
    text = b'["' + b"a" * (1 << 20) + '\U0001f600"]'.encode()
    orjson.loads(text)
    tracemalloc.start()
    try:
        value = orjson.loads(text)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert value
    bodies = JsonBodies(BodyLimits(values=100))
    with bodies.open(request(text, packed=packed), None):
        assert bodies._room.used >= taken > 3 << 20


def test_a_wide_character_far_ahead_of_the_end_of_a_gzip_body_counts() -> None:
    text = '["\U0001f600'.encode() + b"a" * (1 << 20) + b'"]'
    bodies = JsonBodies(BodyLimits(values=100))
    with bodies.open(request(text, packed=True), None):
        # The text itself, and the parser's string of four bytes a character.
        assert bodies._room.used >= 5 << 20


@pytest.mark.parametrize("packed", [False, True])
def test_one_value_more_than_the_limit_is_one_too_many(packed: bool) -> None:  # noqa: FBT001
    limit = 100_000
    bodies = JsonBodies(BodyLimits(values=limit))
    most = b"[" + b"1," * (limit - 2) + b"1]"
    assert count_values(most) == limit
    bodies.open(request(most, packed=packed), None).close()
    with pytest.raises(ServingError, match="more than 100000 JSON values"):
        bodies.open(request(most.replace(b"[", b"[1,", 1), packed=packed), None)
