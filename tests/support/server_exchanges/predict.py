"""Predict, where both protocols can say it (§7, §8)."""

from __future__ import annotations

from typing import Any

from exchanges import Ask, Hear


def f(*values: Any) -> dict[str, tuple[str, Any]]:
    return {"x": ("float", list(values))}


BOTH: list[tuple[str, Ask, Hear]] = [
    ("newest version", Ask(f(1.0, 2.5)), Hear({"y": [4.0, 7.0]})),
    ("a version by number", Ask(f(1.0), version=1), Hear({"y": [3.0]})),
    ("a version by label", Ask(f(1.0), label="stable"), Hear({"y": [3.0]})),
    ("an empty vector", Ask({"x": ("float", [])}), Hear({"y": []})),
    ("a named signature", Ask(f(1.0), signature="serving_default"), Hear({"y": [4.0]})),
    ("a scalar", Ask({"x": ("float", 1.5)}, signature="scalar"), Hear({"y": 5.0, "nothing": []})),
    (
        "a lookup table",
        Ask({"word": ("string", ["two", "x"])}, model="words"),
        Hear({"id": [2, -1]}),
    ),
    ("a TF1 export", Ask(f(2.0), model="old"), Hear({"y": [6.0]})),
    (
        "a TF1 table from an asset",
        Ask({"word": ("string", ["b", "c"])}, model="old", signature="find"),
        Hear({"id": [1, -1]}),
    ),
    ("a graph without variables", Ask(f(2.0), model="constant"), Hear({"y": [3.0]})),
    (
        "several inputs and outputs",
        Ask({"image": ("string", ["a", "b"]), "k": ("int64", [1, 2])}, model="columns"),
        Hear({"raw_bytes": [b"a", b"b"], "text": ["1", "2"], "next": [2, 3]}),
    ),
    (
        "double",
        Ask({"x": ("double", [[0.1], [1e300]])}, "kinds", signature="double"),
        Hear({"y": [[0.1], [1e300]]}),
    ),
    ("float", Ask({"x": ("float", [[[0.5]]])}, "kinds", signature="float"), Hear({"y": [[[0.5]]]})),
    (
        "int8",
        Ask({"x": ("int8", [-128, 127])}, "kinds", signature="int8"),
        Hear({"y": [-128, 127]}),
    ),
    (
        "int16",
        Ask({"x": ("int16", [-32768, 5])}, "kinds", signature="int16"),
        Hear({"y": [-32768, 5]}),
    ),
    (
        "int32",
        Ask({"x": ("int32", [-(2**31), 7])}, "kinds", signature="int32"),
        Hear({"y": [-(2**31), 7]}),
    ),
    (
        "int64",
        Ask({"x": ("int64", [-(2**63), 2**63 - 1])}, "kinds", signature="int64"),
        Hear({"y": [-(2**63), 2**63 - 1]}),
    ),
    ("uint8", Ask({"x": ("uint8", [0, 255])}, "kinds", signature="uint8"), Hear({"y": [0, 255]})),
    (
        "uint32",
        Ask({"x": ("uint32", [0, 2**32 - 1])}, "kinds", signature="uint32"),
        Hear({"y": [0, 2**32 - 1]}),
    ),
    (
        "uint64",
        Ask({"x": ("uint64", [0, 2**64 - 1])}, "kinds", signature="uint64"),
        Hear({"y": [0, 2**64 - 1]}),
    ),
    (
        "bool",
        Ask({"x": ("bool", [[True, False]])}, "kinds", signature="bool"),
        Hear({"y": [[True, False]]}),
    ),
    (
        "string",
        Ask({"x": ("string", [["é", ""], ["b", "c"]])}, "kinds", signature="string"),
        Hear({"y": [["é", ""], ["b", "c"]]}),
    ),
    (
        "no such model",
        Ask(f(1.0), model="m"),
        Hear(code="NOT_FOUND", message="Servable not found for request: Latest(m)"),
    ),
    (
        "no such version",
        Ask(f(1.0), version=9),
        Hear(code="NOT_FOUND", message="Servable not found for request: Specific(double, 9)"),
    ),
    (
        "no such label",
        Ask(f(1.0), label="x"),
        Hear(code="INVALID_ARGUMENT", message="Unrecognized servable version label: x"),
    ),
    (
        "a label whose version is not loaded",
        Ask(f(1.0), label="later"),
        Hear(code="NOT_FOUND", message="Servable not found for request: Specific(double, 77)"),
    ),
    (
        "a model that could not be loaded",
        Ask(f(1.0), model="half uploaded"),
        Hear(code="NOT_FOUND", message="Servable not found for request: Latest(half uploaded)"),
    ),
    (
        "no such signature",
        Ask(f(1.0), signature="s"),
        Hear(
            code="FAILED_PRECONDITION",
            message='Serving signature key "s" not found.',
            rest='Serving signature name: "s" not found in signature def',
        ),
    ),
    (
        "an operation that refuses its input",
        Ask(f(-1.0), signature="checked"),
        Hear(code="INVALID_ARGUMENT", message="x must be positive"),
    ),
    (
        "an input that is missing",
        Ask({"k": ("int64", [1])}, model="columns"),
        Hear(
            code="INVALID_ARGUMENT",
            message="input size does not match signature: 1!=2 len({k}) != len({image,k}). Sent extra: {}. "
            "Missing but required: {image}.",
            rest="Missing named input: image in 'inputs' object.",
        ),
    ),
]
