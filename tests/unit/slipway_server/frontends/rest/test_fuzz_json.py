"""Hostile JSON and gzip bodies (§8): a declared error or a right answer, within bounds of time and memory."""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import time
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile import MIB, gzip_bomb
from slipway_server.errors import Code, ServingError
from slipway_server.frontends.codec.json_text import excerpt, parse
from slipway_server.frontends.inflate import gunzip
from slipway_server.frontends.rest.json_tensor import (
    PredictBody,
    read_predict,
    signature_name,
)
from slipway_server.servables.dtypes import DType
from slipway_server.servables.signature import Signature, TensorSpec

DECLARED = {Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED}
PATIENCE = 3.0
"""Seconds; ten to a thousand times what these things take on an idle machine."""


def signature(**inputs: DType) -> Signature:
    specs = {alias: TensorSpec(f"{alias}:0", dtype, None) for alias, dtype in inputs.items()}
    return Signature("serving_default", "", specs, {})


ONE = {dtype.name: signature(x=dtype) for dtype in DType}
TWO = signature(a=DType.FLOAT, b=DType.STRING)


def read(body: bytes, wanted: Signature, *, counted: bool = True) -> PredictBody:
    """Read a body as the REST API does; `counted` is whether it looks for what may be among the values."""
    value = parse(body)
    signature_name(value)
    if not counted:
        return read_predict(value, wanted)
    return read_predict(
        value,
        wanted,
        literals=b"true" in body or b"false" in body,
        strings=body.count(b'"') // 2,
    )


def outcome(body: bytes, wanted: Signature, *, counted: bool = True) -> Any:
    """Return tensors or the message of a declared error; anything else is the test's failure."""
    try:
        inputs = read(body, wanted, counted=counted).inputs
    except ServingError as error:
        refused = error
    else:
        assert inputs.keys() == wanted.inputs.keys()
        for alias, array in inputs.items():
            assert array.dtype == wanted.inputs[alias].dtype.numpy
        return {alias: (array.shape, array.tolist()) for alias, array in inputs.items()}
    assert refused.code in DECLARED, refused
    assert len(refused.message) < 2000, refused
    return str(refused)


LITERALS = st.sampled_from(
    [
        *("0", "-0", "1", "1.5", "-1e400", "1e400", "1E+308", "4e-999", "9" * 19, "9" * 20),
        *("9" * 400, "1" * 5000, "NaN", "-Infinity", "Infinity", "true", "false", "null", "-"),
        *(
            '""',
            '"x"',
            '"\\ud800"',
            '"\\u0000"',
            '{"b64":"aGk="}',
            '{"b64":"é"}',
            '{"b64":1}',
            "{}",
        ),
        *("[]", "[[]]", "18446744073709551615", "-9223372036854775808", "-9223372036854775809"),
        *(
            "2147483648",
            "01",
            "1.",
            "[" * 70 + "1" + "]" * 70,
            '{"b64":"aGk=","b64":"aGk="}',
            "\ufeff",
        ),
    ]
)
VALUES = st.recursive(
    LITERALS,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: "[" + ",".join(items) + "]")
        | st.dictionaries(st.sampled_from(["a", "b", "x", "b64"]), inner, max_size=3).map(
            lambda members: (
                "{" + ",".join(f'"{key}":{value}' for key, value in members.items()) + "}"
            )
        )
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(["inputs", "instances", "signature_name", "x", "\\u0069nputs"])
BODIES = st.lists(st.tuples(KEYS, VALUES), max_size=4).map(
    lambda members: ("{" + ",".join(f'"{key}":{value}' for key, value in members) + "}").encode()
)
SIGNATURES = st.sampled_from([*ONE.values(), TWO, signature()])


@given(body=BODIES, wanted=SIGNATURES, cut=st.integers(0, 200), junk=st.binary(max_size=3))
def test_any_body_is_read_or_refused(body: bytes, wanted: Signature, cut: int, junk: bytes) -> None:
    whole = outcome(body, wanted)
    # What is told about the text only spares work.
    assert repr(whole) == repr(outcome(body, wanted, counted=False))
    outcome(body[:cut] + junk + body[cut:], wanted)
    outcome(body[:cut], wanted)


@given(st.binary(max_size=60), SIGNATURES)
def test_any_bytes_are_read_or_refused(body: bytes, wanted: Signature) -> None:
    outcome(body, wanted)


TOO_DEEP = "INVALID_ARGUMENT: JSON Parse error: The document is nested too deeply"


@pytest.mark.parametrize(
    ("body", "dtype", "said"),
    [
        (b"[" * 50_000, DType.FLOAT, TOO_DEEP),
        (b'{"a":' * 50_000, DType.FLOAT, TOO_DEEP),
        (b'{"inputs":' + b"[" * 50_000, DType.FLOAT, TOO_DEEP),
        (
            b'{"inputs":' + b"[" * 65 + b"1" + b"]" * 65 + b"}",
            DType.FLOAT,
            "INVALID_ARGUMENT: JSON Value is nested deeper than 64 levels",
        ),
        (
            b'{"instances":' + b"[" * 65 + b"1" + b"]" * 65 + b"}",
            DType.STRING,
            "INVALID_ARGUMENT: JSON Value is nested deeper than 63 levels",
        ),
        (
            b' {"inputs": [1, -1e400]}',
            DType.FLOAT,
            "INVALID_ARGUMENT: JSON Parse error: Number too big to be stored in double. at offset: 16",
        ),
        (
            b'{"n": NaN, "inputs": ' + b"9" * 100_000 + b"}",
            DType.FLOAT,
            "INVALID_ARGUMENT: JSON Parse error: Number too big to be stored in double. at offset: 21",
        ),
        (
            b'{"n": NaN, "inputs": ' + b"9" * 21 + b"}",
            DType.INT64,
            "INVALID_ARGUMENT: JSON Value: 1e+21 Type: Number is not of expected type: int64",
        ),
        (b'{"inputs": [1e300]}', DType.FLOAT, {"x": ((1,), [math.inf])}),
        (b'{"inputs": 1e300}', DType.FLOAT, {"x": ((), math.inf)}),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_values_beyond_every_type(body: bytes, dtype: DType, said: Any) -> None:
    found = outcome(body, ONE[dtype.name])
    assert found == said


def test_the_deepest_tensor_is_read() -> None:
    body = b'{"inputs":' + b"[" * 64 + b"1" + b"]" * 64 + b"}"
    assert read(body, ONE["FLOAT"]).inputs["x"].shape == (1,) * 64
    assert read(body.replace(b"inputs", b"instances"), ONE["INT8"]).inputs["x"].shape == (1,) * 64


def test_a_long_string_among_many_numbers_takes_no_room_for_each() -> None:
    body = b'{"inputs":[' + b"1," * 100_000 + b'"' + b"x" * 100_000 + b'"]}'
    tracemalloc.start()
    try:
        found = outcome(body, ONE["FLOAT"])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "not of expected type: float" in found
    assert peak < 16 * MIB


def test_numbers_are_not_looked_at_one_by_one_when_they_can_be_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from slipway_server.frontends.codec import json_value

    def looks(*_: Any) -> bool:
        raise AssertionError("the values were searched")

    monkeypatch.setattr(json_value, "_has_only", looks)
    read(b'{"signature_name": "s", "inputs": [1, 2]}', ONE["FLOAT"])
    read(b'{"instances": [{"x": 1}, {"x": [2]}]}'.replace(b"[2]", b"2"), ONE["FLOAT"])
    read(b'{"inputs": {"x": [1, 2]}}', ONE["FLOAT"])
    with pytest.raises(AssertionError, match="searched"):
        read(b'{"inputs": [1, "2"]}', ONE["FLOAT"])


def test_an_excerpt_of_a_large_value_costs_little() -> None:
    value = [list(range(1000))] * 20_000
    tracemalloc.start()
    try:
        used = time.thread_time()
        text = excerpt(value)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (
        text
        == json.dumps(value[0], separators=(",", ":"))[:0]
        + "["
        + str(value[0]).replace(" ", "")[:255]
        + "..."
    )
    assert peak < MIB
    assert time.thread_time() - used < PATIENCE
    assert len(excerpt("é" * 10**6).encode()) == 1 + 254 + 3


# ---- gzip ------------------------------------------------------------------------------------------------------------


MEMBER = gzip.compress(bytes(MIB))
BEYOND = "The request body grows beyond 104857600 bytes when decompressed"


@pytest.mark.parametrize(
    "kind", ["honest", "lying about its size", "of many members", "of empty members"]
)
def test_a_gzip_bomb_is_refused_within_bounds(kind: str) -> None:
    data, said = {
        "honest": (gzip_bomb(1 << 30), BEYOND),
        "lying about its size": (gzip_bomb(1 << 30, announced=0), BEYOND),
        "of many members": (MEMBER * 1024, BEYOND),
        "of empty members": (
            gzip.compress(b"") * 100_000,
            "The gzip request body has more than 10000 members",
        ),
    }[kind]
    tracemalloc.start()
    try:
        used = time.thread_time()
        with pytest.raises(ServingError) as error:
            gunzip(data, 100 * MIB)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.value.message == said
    assert peak < 16 * MIB
    assert time.thread_time() - used < PATIENCE


def test_a_large_body_within_the_limit_is_decompressed() -> None:
    body = np.arange(3 * MIB, dtype=np.uint32).tobytes()
    data = gzip.compress(body[: 6 * MIB], 1) + gzip.compress(body[6 * MIB :], 1)
    assert gunzip(data, len(body)) == body
    with pytest.raises(ServingError, match="grows beyond"):
        gunzip(data, len(body) - 1)


@given(st.lists(st.binary(max_size=40), max_size=3), st.integers(0, 80), st.binary(max_size=2))
def test_gzip_is_read_as_the_standard_library_reads_it(
    parts: list[bytes], cut: int, junk: bytes
) -> None:
    data = b"".join(map(gzip.compress, parts))
    assert gunzip(data, 200) == b"".join(parts)
    damaged = data[:cut] + junk + data[cut + len(junk) :]
    with contextlib.suppress(ServingError):
        assert gunzip(damaged, 200) == gzip.decompress(damaged)


def test_a_long_string_among_rows_that_omit_a_default_takes_no_place_for_each_number() -> None:
    """NumPy would make room for it in the place of every number."""
    wanted = replace(signature(a=DType.FLOAT, b=DType.FLOAT), defaults={"b": np.zeros(1)})
    rows = [{"a": 1}] * 200 + [{"a": "x" * 100_000}]
    body = json.dumps({"instances": rows}).encode()
    tracemalloc.start()
    try:
        with pytest.raises(ServingError):
            read(body, wanted)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * MIB
