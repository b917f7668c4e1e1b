"""Bodies as they come over the wire: JSON that is none, NaN, gzip, limits (§8)."""

from __future__ import annotations

import gzip

from server_exchanges.http import COLUMNS, KINDS, Row, post

REST_BODIES: list[Row] = [
    # The body.
    (
        "both keys",
        post({"inputs": [1.0], "instances": [1.0]}),
        400,
        "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist",
    ),
    (
        "neither key",
        post({"signature_name": "serving_default"}),
        400,
        "Missing 'inputs' or 'instances' key",
    ),
    ("no object", post([1]), 400, "JSON Value: [1] Is not object"),
    (
        "a signature name that is no string",
        post({"signature_name": 1, "instances": [1]}),
        400,
        (
            'JSON Value: {"signature_name":1,"instances":[1]} not formatted correctly. '
            "'signature_name' key must be a string value."
        ),
    ),
    ("an empty body", post(b""), 400, "JSON Parse error: The document is empty"),
    (
        "a body that is no JSON",
        post(b'{"instances": [1.0, x]}'),
        400,
        "JSON Parse error: Invalid value. at offset: 20",
    ),
    (
        "bytes after the first value",
        post(b'{"instances": [1.0]} trailing'),
        200,
        {"predictions": [4.0]},
    ),
    (
        "NaN and Infinity",
        post(b'{"instances": [NaN, Infinity, -Infinity]}'),
        200,
        {"predictions": ["NaN", "Infinity", "-Infinity"]},
    ),
    (
        "infinite answers",
        post({"signature_name": "infinite", "instances": [1, -1]}, COLUMNS),
        200,
        {"predictions": ["Infinity", "-Infinity"]},
    ),
    (
        "50000 open brackets",
        post(b"[" * 50000),
        400,
        "JSON Parse error: The document is nested too deeply",
    ),
    (
        "300 levels",
        post(
            b'{"signature_name": "float", "inputs": ' + b"[" * 300 + b"1" + b"]" * 300 + b"}", KINDS
        ),
        400,
        "JSON Value is nested deeper than 64 levels",
    ),
    (
        "a gzip body",
        post(gzip.compress(b'{"instances": [1.0]}'), Content_Encoding="gzip"),
        200,
        {"predictions": [4.0]},
    ),
    (
        "a gzip body that is none",
        post(b'{"instances": [1.0]}', Content_Encoding="gzip"),
        400,
        "Error decompressing the gzip request body",
    ),
    (
        "a gzip body cut short",
        post(gzip.compress(b'{"instances": [1.0]}')[:-9], Content_Encoding="gzip"),
        400,
        "The gzip request body is cut short",
    ),
    (
        "a gzip bomb",
        post(gzip.compress(b" " * 10_000_000), Content_Encoding="gzip"),
        400,
        "The request body grows beyond 500000 bytes when decompressed",
    ),
    (
        "a body beyond the limit",
        post(b" " * 400_001),
        413,
        "The request body of 400001 bytes or more exceeds the limit of 400000 bytes",
    ),
]
