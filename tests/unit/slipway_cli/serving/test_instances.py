"""Rows of requests and answers."""

import re
from typing import Any

import pytest

from slipway_cli.errors import CliError, UsageError
from slipway_cli.serving.instances import Question, columns, named, printable, question, rows
from slipway_cli.serving.signature import Signature, TensorSpec

X = TensorSpec(1, (-1,))
ONE = Signature("Predict", {"x": X}, {"y": X})
TWO = Signature("Predict", {"image": TensorSpec(7, (-1,)), "k": X}, {"y": X})


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("[1, 2]", Question([1, 2])),
        ('{"instances": [1]}', Question([1])),
        ('{"signature_name": "s", "inputs": {"x": [1]}}', Question(None, {"x": [1]})),
        ('{"x": 1}\n\n{"x": 2}\n', Question([{"x": 1}, {"x": 2}])),
        ("[1]\n[2]", Question([[1], [2]])),
        ("3", Question([3])),
        ('{"image": "a", "k": 1}', Question([{"image": "a", "k": 1}])),
    ],
)
def test_the_forms_of_instances(text: str, means: Question) -> None:
    assert question(text, "f") == means


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "f is not JSON"),
        ("[]", "f has no instance"),
        ("[1", "f is not JSON"),
        ("1\n[", "f, line 2 is not JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_instance(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        question(text, "f")


def test_rows_become_columns() -> None:
    assert columns([1, {"x": 2}], ONE) == {"x": [1, 2]}
    assert columns([{"b64": "eA=="}], ONE) == {"x": [{"b64": "eA=="}]}
    assert columns([{"k": 1, "image": "a"}, {"image": "b", "k": 2}], TWO) == {
        "k": [1, 2],
        "image": ["a", "b"],
    }
    assert named([1], ONE) == {"x": [1]}


@pytest.mark.parametrize(
    ("given", "signature", "says"),
    [
        ([1], TWO, "the signature has the inputs image, k"),
        ([{"imgae": 1}], TWO, "no input 'imgae': did you mean 'image'?"),
        ([{"k": 1}, {"image": "a"}], TWO, "is an input of some instances only"),
    ],
)
def test_rows_that_do_not_fit(given: list[Any], signature: Signature, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        columns(given, signature)


def test_answers_become_rows() -> None:
    assert rows({"y": [1, 2]}, 2) == [1, 2]
    assert rows({"y": [1], "z": [2]}, 1) == [{"y": 1, "z": 2}]
    for value in (3, [1, 2, 3]):
        with pytest.raises(CliError, match="ask with"):
            rows({"y": value}, 2)


def test_bytes_are_text_where_they_can_be() -> None:
    assert printable(["ä".encode(), b"\xff"], "y") == ["ä", {"b64": "/w=="}]
    assert printable(b"a", "y_bytes") == {"b64": "YQ=="}
