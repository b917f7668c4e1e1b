"""The committed hostile inputs and mutations of them, for what needs no TensorFlow (`python -m fuzz`)."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.__main__ import corpus, inputs, target
from fuzz.light import LIGHT
from fuzz.mutation import mutated
from fuzz.oracle import FindingError, guarded, judge
from slipway_server.errors import Code, ServingError
from slipway_server.storage.versions import version_number


@pytest.mark.parametrize("name", LIGHT)
def test_the_corpus_does_no_harm(name: str) -> None:
    run = target(name)
    for data in inputs(name, mutations=40):
        run(data)


@pytest.mark.parametrize("name", LIGHT)
@given(data=st.data())
def test_anything_does_no_harm(name: str, data: st.DataObject) -> None:
    run = guarded(LIGHT[name])
    run(data.draw(st.binary(max_size=200)))
    seed = data.draw(st.integers(0, 2**32))
    found = corpus(name)
    run(mutated(found[seed % len(found)], found, Random(seed)))  # noqa: S311 - hypothesis chose the seed


def test_mutations_are_the_same_every_time() -> None:
    first = list(inputs("http", mutations=5))
    assert first == list(inputs("http", mutations=5))
    assert first != list(inputs("http", mutations=5, seed=1))
    assert len(set(first)) > len(corpus("http")) * 4


def test_the_oracle_lets_declared_errors_pass_and_nothing_else() -> None:
    def failing(error: Exception) -> None:
        def act(_: bytes) -> NoReturn:
            raise error

        guarded(act)(b"")

    failing(ServingError(Code.INVALID_ARGUMENT, "JSON Parse error: Invalid value. at offset: 1"))
    failing(ServingError(Code.INTERNAL, "The request is not a PredictRequest message"))
    for code, message in (
        (Code.INTERNAL, "something broke"),
        (Code.INVALID_ARGUMENT, "ValueError: cannot reshape"),
    ):
        with pytest.raises(FindingError):
            failing(ServingError(code, message))
    with pytest.raises(KeyError):
        failing(KeyError("x"))
    judge(Code.NOT_FOUND, "Error: nothing here")


def test_a_very_long_number_is_no_version() -> None:
    assert version_number("0" * 254 + "7") == 7
    assert version_number("0" * 255 + "7") is None
    assert version_number("9" * 5000) is None


def test_arguments_that_are_no_text_are_printed_all_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "slipway_server", b"--\xff=\xe9", "--port=0"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        env={
            "PYTHONPATH": ":".join(sys.path),
            "LC_ALL": "C.UTF-8",
            "PYTHONIOENCODING": "utf-8:strict",
        },
    )
    assert done.returncode == 255
    assert b"Traceback" not in done.stderr
    assert rb"unknown argument: --\udcff=\udce9" in done.stdout
    assert io.BytesIO(done.stdout).readlines()[-1].startswith(b"Failed to start server. Error: ")
