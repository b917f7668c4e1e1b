"""Bodies as they come over the wire: JSON that is none, NaN, gzip, limits; examples (§8, §8.3, §14)."""

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
        "The gzip request body is truncated",
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
    (
        "a body of nothing but space",
        post(b" \n\t "),
        400,
        "JSON Parse error: The document is empty",
    ),
    (
        "an object without an end",
        post(b'{"instances": [1.0]'),
        400,
        "JSON Parse error: Missing a comma or } after an object member. at offset: 19",
    ),
    (
        "an array without a comma",
        post(b'{"instances": [1.0 2.0]}'),
        400,
        "JSON Parse error: Missing a comma or ] after an array element. at offset: 19",
    ),
    (
        "a member without a colon",
        post(b'{"instances" [1.0]}'),
        400,
        "JSON Parse error: Missing a colon after a name of object member. at offset: 13",
    ),
    (
        "a member without a name",
        post(b"{1: 2}"),
        400,
        "JSON Parse error: Missing a name for object member. at offset: 1",
    ),
    (
        "a string without an end",
        post(b'{"inst'),
        400,
        "JSON Parse error: Missing a closing quotation mark in string. at offset: ",
    ),
    (
        "an escape that is none",
        post(b'{"a": "\\x"}'),
        400,
        "JSON Parse error: Invalid escape character in string. at offset: ",
    ),
    (
        "a hexadecimal escape that is none",
        post(b'{"a": "\\u12g4"}'),
        400,
        "JSON Parse error: Incorrect hex digit after \\u escape in string. at offset: ",
    ),
    (
        "bytes that are no UTF-8",
        post(b'{"a": "\xff"}'),
        400,
        "JSON Parse error: Invalid encoding in string. at offset: 7",
    ),
    (
        "half of a surrogate pair",
        post(b'{"signature_name": "string", "inputs": "\\ud800"}', "/v1/models/kinds:predict"),
        400,
        "JSON Parse error: The surrogate pair in string is invalid.",
    ),
    (
        "a number that no double can hold",
        post(b'{"instances": [1e999]}'),
        400,
        "JSON Parse error: Number too big to be stored in double. at offset: ",
    ),
    (
        "the body is read before the model is looked for",
        post(b"[", "/v1/models/m:predict"),
        400,
        "JSON Parse error: ",
    ),
    ("null", post(b"null"), 400, "JSON Value: null Is not object"),
    ("a string", post(b'"a"'), 400, 'JSON Value: "a" Is not object'),
    (
        "a large list",
        post(list(range(1000))),
        400,
        "JSON Value: [0,1,2,3,4,5,6,7,8,9,10,11,12,13",
    ),
    (
        "gzip by another name",
        post(gzip.compress(b'{"instances": [1.0]}'), Content_Encoding="X-GZIP"),
        200,
        {"predictions": [4.0]},
    ),
    (
        "several gzip members",
        post(gzip.compress(b'{"inst') + gzip.compress(b'ances": [1.0]}'), Content_Encoding="gzip"),
        200,
        {"predictions": [4.0]},
    ),
    (
        "a byte order mark",
        post(b'\xef\xbb\xbf{"instances": [1.0]}'),
        200,
        {"predictions": [4.0]},
    ),
    # Classify and Regress, §8.3.
    (
        "examples that are missing",
        post({}, "/v1/models/examples:classify"),
        400,
        "When method is classify, key 'examples' is expected and was not found",
    ),
    (
        "examples that are missing, regress",
        post({}, "/v1/models/examples:regress"),
        400,
        "When method is classify, key 'examples' is expected and was not found",
    ),
    (
        "examples that are no list",
        post({"examples": {}}, "/v1/models/examples:classify"),
        400,
        "Expecting 'examples' value to be an list/array",
    ),
    (
        "no examples",
        post({"examples": []}, "/v1/models/examples:regress"),
        400,
        "'examples' value is an empty array",
    ),
    (
        "an example that is no object",
        post({"examples": [[1]]}, "/v1/models/examples:classify"),
        400,
        "Example must be JSON object but got JSON Array",
    ),
    (
        "mixed types in a feature",
        post({"examples": [{"x": [1, 2.5]}]}, "/v1/models/examples:classify"),
        400,
        "Unexpected element type in feature: x expecting type: int64",
    ),
    (
        "null in a feature",
        post({"examples": [{"x": None}]}, "/v1/models/examples:classify"),
        400,
        "Feature: x has element with unexpected JSON type: Null",
    ),
    (
        "lists in a feature",
        post({"examples": [{"x": [[1.0]]}]}, "/v1/models/examples:classify"),
        400,
        "Feature: x has element with unexpected JSON type: Array",
    ),
    (
        "an integer beyond int64 in a feature",
        post({"examples": [{"n": 2**63}]}, "/v1/models/examples:classify"),
        400,
        "Feature: n has uint64_t element. Only int64_t is supported.",
    ),
    (
        "true is an integer in a feature",
        post(
            {"signature_name": "scores", "examples": [{"n": True}]}, "/v1/models/examples:classify"
        ),
        200,
        {"results": [[["", 0.0], ["", 1.0]]]},
    ),
    (
        "NaN in a feature",
        post(
            b'{"signature_name": "double", "examples": [{"x": NaN}]}', "/v1/models/examples:regress"
        ),
        200,
        {"results": ["NaN"]},
    ),
    (
        "examples that are no JSON",
        post(b"{", "/v1/models/examples:regress"),
        400,
        "JSON Parse error: Missing a name for object member. at offset: 1",
    ),
]
