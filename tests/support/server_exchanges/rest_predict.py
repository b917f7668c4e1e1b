"""Predict in JSON: formats, types and outputs (§8.1, §8.2)."""

from __future__ import annotations

from server_exchanges.http import COLUMNS, EXAMPLES, KINDS, Row, element, kind, post

REST_PREDICT: list[Row] = [
    # The row format.
    ("rows of values", post({"instances": [1.0, 2]}), 200, {"predictions": [4.0, 6.0]}),
    (
        "rows of objects for one input",
        post({"instances": [{"x": 1.0}, {"x": 2}]}),
        200,
        {"predictions": [4.0, 6.0]},
    ),
    (
        "rows of several inputs, binary strings",
        post({"instances": [{"image": {"b64": "aGk="}, "k": 1}, {"image": "yo", "k": 2}]}, COLUMNS),
        200,
        {
            "predictions": [
                {"next": 2, "raw_bytes": {"b64": "aGk="}, "text": "1"},
                {"next": 3, "raw_bytes": {"b64": "eW8="}, "text": "2"},
            ]
        },
    ),
    (
        "a b64 object counts as a value",
        post({"instances": [{"b64": "dHdv"}]}, "/v1/models/words:predict"),
        200,
        {"predictions": [2]},
    ),
    (
        "unpadded base64",
        post({"instances": [{"b64": "dHdvIQ"}]}, "/v1/models/words:predict"),
        200,
        {"predictions": [-1]},
    ),
    (
        "unknown keys are ignored",
        post({"instances": [1.0], "extra": {"a": 1}}),
        200,
        {"predictions": [4.0]},
    ),
    (
        "rows of matrices",
        post({"signature_name": "float", "instances": [[[1, 2]], [[3, 4]]]}, KINDS),
        200,
        {"predictions": [[[1, 2]], [[3, 4]]]},
    ),
    (
        "instances is no list",
        post({"instances": 5}),
        400,
        "Expecting 'instances' to be an list/array",
    ),
    ("no instances", post({"instances": []}), 400, "No values in 'instances' array"),
    (
        "a plain list for several inputs",
        post({"instances": [1, 2]}, COLUMNS),
        400,
        (
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        ),
    ),
    (
        "a plain list for several inputs, an object in it",
        post({"instances": [1, {"image": "a", "k": 1}]}, COLUMNS),
        400,
        (
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        ),
    ),
    (
        "an object with the wrong keys",
        post({"instances": [{"image": "a"}]}, COLUMNS),
        400,
        "Failed to process element: 0 of 'instances' list.",
    ),
    (
        "a value of the wrong type",
        post({"instances": [1.0, "a"]}),
        400,
        element(1, 'JSON Value: "a" Type: String is not of expected type: float'),
    ),
    (
        "true is no number",
        post({"instances": [1.0, True]}),
        400,
        element(1, "JSON Value: true Type: True is not of expected type: float"),
    ),
    (
        "null is no number",
        post({"instances": [None]}),
        400,
        element(0, "JSON Value: null Type: Null is not of expected type: float"),
    ),
    (
        "the wrong type under a key",
        post({"instances": [{"image": "a", "k": "b"}]}, COLUMNS),
        400,
        element(0, 'JSON Value: "b" Type: String is not of expected type: int64', "k"),
    ),
    (
        "rows of different sizes",
        post({"signature_name": "float", "instances": [[1, 2], [1, 2, 3]]}, KINDS),
        400,
        element(1, "Expecting tensor size: 2 but got: 3"),
    ),
    (
        "rows of different shapes",
        post({"signature_name": "float", "instances": [[[1], [2]], [[1, 2]]]}, KINDS),
        400,
        element(1, "Expecting shape [2,1] but got: [1,2]"),
    ),
    (
        "bad base64",
        post({"instances": [{"b64": "?"}]}, "/v1/models/words:predict"),
        400,
        element(0, "Unable to base64 decode"),
    ),
    (
        "a list among objects",
        post({"instances": [{"x": 1.0}, 2.0]}),
        400,
        "Expecting object but got list at item 1 of input list",
    ),
    (
        "an object among values",
        post({"instances": [2.0, {"x": 1.0}]}),
        400,
        "Expecting value/list but got object at item 1 of input list",
    ),
    # The column format.
    ("column for one input", post({"inputs": [1.0]}), 200, {"outputs": [4.0]}),
    ("column by name for one input", post({"inputs": {"x": [1.0]}}), 200, {"outputs": [4.0]}),
    ("extra names are ignored", post({"inputs": {"x": [1.0], "z": 4}}), 200, {"outputs": [4.0]}),
    (
        "a plain value for several inputs",
        post({"inputs": [1]}, COLUMNS),
        400,
        (
            "inputs is a plain value/list, but expecting an object as multiple input tensors "
            "required as per tensorinfo_map"
        ),
    ),
    (
        "other objects are no binary",
        kind("string", [{"b65": "x"}]),
        400,
        'JSON Value: {"b65":"x"} not formatted correctly for base64 data',
    ),
    (
        "ragged lists",
        kind("float", [[1, 2], [3]]),
        400,
        "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
    ),
    (
        "a list too deep",
        kind("float", [1, [2]]),
        400,
        "Encountered list at unexpected level: 1 expected < 1",
    ),
    (
        "a list not deep enough",
        kind("float", [[1], 2]),
        400,
        "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
    ),
    (
        "a fraction for an integer",
        kind("int32", [1.5]),
        400,
        "JSON Value: 1.5 Type: Number is not of expected type: int32",
    ),
    (
        "an integer beyond int32",
        kind("int32", [2**31]),
        400,
        "JSON Value: 2147483648 Type: Number is not of expected type: int32",
    ),
    (
        "an integer beyond int64",
        kind("int64", [2**63]),
        400,
        "JSON Value: 9223372036854775808 Type: Number is not of expected type: int64",
    ),
    (
        "a negative for uint32",
        kind("uint32", [-1]),
        400,
        "JSON Value: -1 Type: Number is not of expected type: uint32",
    ),
    (
        "an integer beyond int8",
        kind("int8", [300]),
        400,
        'JSON Value: 300 Type: Number is not of expected type: int8: input "x" takes -128 to 127',
    ),
    (
        "an integer beyond int8, rows of values",
        post({"signature_name": "int8", "instances": [1, 300]}, KINDS),
        400,
        element(
            1,
            'JSON Value: 300 Type: Number is not of expected type: int8: input "x" takes -128 to 127',
        ),
    ),
    (
        "an integer beyond int8, rows of objects",
        post({"signature_name": "int8", "instances": [{"x": -129}]}, KINDS),
        400,
        element(
            0,
            'JSON Value: -129 Type: Number is not of expected type: int8: input "x" takes -128 to 127',
            "x",
        ),
    ),
    (
        "a number for a bool",
        kind("bool", [1]),
        400,
        "JSON Value: 1 Type: Number is not of expected type: bool",
    ),
    (
        "a number for a string",
        kind("string", [1]),
        400,
        "JSON Value: 1 Type: Number is not of expected type: string",
    ),
    (
        "a type JSON cannot hold",
        kind("complex64", [1.0]),
        501,
        "Conversion of JSON Value: 1.0 to type: complex64",
    ),
    (
        "and inside instances",
        post({"signature_name": "complex64", "instances": [1.0]}, KINDS),
        400,
        (
            "Failed to process element: 0 of 'instances' list. "
            "Error: UNIMPLEMENTED: Conversion of JSON Value: 1.0 to type: complex64"
        ),
    ),
    # Outputs.
    (
        "row outputs without rows",
        post({"signature_name": "scalar", "inputs": 1.0}),
        200,
        {"outputs": {"nothing": [], "y": 4.0}},
    ),
    (
        "more predictions than instances",
        post({"signature_name": "doubled", "instances": [1, 2]}, COLUMNS),
        400,
        (
            "Tensor name: b has inconsistent batch size: 4 expecting: 2. In the row format ('instances') every output "
            "needs one row for each instance"
        ),
    ),
    (
        "the same as a column",
        post({"signature_name": "doubled", "inputs": [1, 2]}, COLUMNS),
        200,
        {"outputs": [1.0, 2.0, 1.0, 2.0]},
    ),
    (
        "all of the predictions of one instance",
        post({"signature_name": "doubled", "instances": [1]}, COLUMNS),
        200,
        {"predictions": [1.0, 1.0]},
    ),
    (
        "outputs of different batch sizes",
        post({"signature_name": "uneven", "instances": [{"a": 1, "b": 2}]}, COLUMNS),
        400,
        "Tensor name: b has inconsistent batch size: 2 expecting: 1",
    ),
    (
        "an output that JSON cannot hold",
        post({"signature_name": "strange", "instances": [1]}, COLUMNS),
        400,
        "Failed to write JSON value for tensor type: complex64",
    ),
    # Further edges of both formats.
    (
        "an object with another key",
        post({"instances": [{"z": 1}]}),
        400,
        element(0, "JSON object: does not have named input: z", "z"),
    ),
    (
        "an object with one key too many",
        post({"instances": [{"image": "a", "k": 1}, {"image": "a", "k": 1, "z": 1}]}, COLUMNS),
        400,
        element(1, "JSON object: does not have named input: z", "z"),
    ),
    (
        "an object with one key too few",
        post({"instances": [{"image": "a", "k": 1}, {"image": "a"}]}, COLUMNS),
        400,
        (
            "Failed to process element: 1 of 'instances' list. "
            'JSON object: {"image":"a"} keys must be equal to: image,k'
        ),
    ),
    (
        "a wrong value in a row before an unknown key",
        post({"instances": [{"image": "a", "k": "b"}, {"z": 1}]}, COLUMNS),
        400,
        element(0, 'JSON Value: "b" Type: String is not of expected type: int64', "k"),
    ),
    (
        "the first of two wrong keys in an object",
        post({"instances": [{"k": 1.5, "z": 1, "image": 2}]}, COLUMNS),
        400,
        element(0, "JSON Value: 1.5 Type: Number is not of expected type: int64", "k"),
    ),
    (
        "several wrong values: the row counts, not the input",
        post({"instances": [{"image": "a", "k": "b"}, {"image": 1, "k": 1}]}, COLUMNS),
        400,
        element(0, 'JSON Value: "b" Type: String is not of expected type: int64', "k"),
    ),
    (
        "a wrong value in a row of another shape",
        post({"signature_name": "float", "instances": [[1, 2], ["a", 2, 3]]}, KINDS),
        400,
        element(1, 'JSON Value: "a" Type: String is not of expected type: float'),
    ),
    (
        "rows of lists of strings",
        post({"signature_name": "string", "instances": [["a", {"b64": "YQ=="}], ["", "é"]]}, KINDS),
        200,
        {"predictions": [["a", "a"], ["", "é"]]},
    ),
    (
        "rows of lists of booleans",
        post({"signature_name": "bool", "instances": [[True], [False]]}, KINDS),
        200,
        {"predictions": [[True], [False]]},
    ),
    (
        "rows that are empty",
        post({"signature_name": "float", "instances": [[], []]}, KINDS),
        200,
        {"predictions": [[], []]},
    ),
    (
        "a row deeper than the first",
        post({"signature_name": "float", "instances": [1, [2]]}, KINDS),
        400,
        element(1, "Expecting shape [] but got: [1]"),
    ),
    (
        "a ragged row",
        post({"signature_name": "float", "instances": [[[1, 2], [3]]]}, KINDS),
        400,
        element(0, "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
    ),
    (
        "the wrong type in a later row",
        post({"signature_name": "int64", "instances": [[1], [2.5]]}, KINDS),
        400,
        element(1, "JSON Value: 2.5 Type: Number is not of expected type: int64"),
    ),
    (
        "bytes for a number",
        post({"instances": [{"b64": "AAAA"}]}),
        400,
        element(0, 'JSON Value: {"b64":"AAAA"} Type: Object is not of expected type: float'),
    ),
    ("a scalar", kind("float", 2.5), 200, {"outputs": 2.5}),
    ("an empty list", kind("float", []), 200, {"outputs": []}),
    ("lists of empty lists", kind("double", [[], []]), 200, {"outputs": [[], []]}),
    ("an integer for a float", kind("float", 2), 200, {"outputs": 2.0}),
    ("a scalar string", kind("string", "a"), 200, {"outputs": "a"}),
    ("a scalar of bytes", kind("string", {"b64": "YWI="}), 200, {"outputs": "ab"}),
    ("an empty string of bytes", kind("string", [{"b64": ""}]), 200, {"outputs": [""]}),
    ("base64 over several lines", kind("string", {"b64": "YW\nI="}), 200, {"outputs": "ab"}),
    ("URL-safe base64", kind("string", {"b64": "_-8="}), 400, "Unable to base64 decode"),
    (
        "b64 that is no string",
        kind("string", [{"b64": 1}]),
        400,
        'JSON Value: {"b64":1} not formatted correctly for base64 data',
    ),
    (
        "b64 among other keys",
        kind("string", [{"b64": "YQ==", "a": 1}]),
        400,
        'JSON Value: {"b64":"YQ==","a":1} not formatted correctly for base64 data',
    ),
    (
        "a string of bytes that are no UTF-8",
        kind("string", {"b64": "/w=="}),
        200,
        {"outputs": "\ufffd"},
    ),
    (
        "an escaped string",
        kind("string", 'a"\\\n\u0001\u2028'),
        200,
        {"outputs": 'a"\\\n\u0001\u2028'},
    ),
    (
        "null for a string",
        kind("string", [None]),
        400,
        "JSON Value: null Type: Null is not of expected type: string",
    ),
    (
        "false for a string",
        kind("string", [False]),
        400,
        "JSON Value: false Type: False is not of expected type: string",
    ),
    (
        "a string for a bool",
        kind("bool", ["true"]),
        400,
        'JSON Value: "true" Type: String is not of expected type: bool',
    ),
    (
        "a list too shallow for later values",
        kind("float", [[[1]], [2]]),
        400,
        "JSON Value: 2 found at incorrect level: 3 in the JSON DOM. Expected at level: 3",
    ),
    (
        "integers at the limits of 64 bits",
        kind("int64", [2**63 - 1, -(2**63)]),
        200,
        {"outputs": [2**63 - 1, -(2**63)]},
    ),
    (
        "unsigned integers at their limit",
        kind("uint64", [2**64 - 1]),
        200,
        {"outputs": [2**64 - 1]},
    ),
    (
        "an integer beyond uint64",
        kind("uint64", [2**64]),
        400,
        "JSON Value: 1.8446744073709552e+19 Type: Number is not of expected type: uint64",
    ),
    (
        "a negative for uint64",
        kind("uint64", [-1]),
        400,
        "JSON Value: -1 Type: Number is not of expected type: uint64",
    ),
    (
        "an integer beyond uint32",
        kind("uint32", [2**32]),
        400,
        "JSON Value: 4294967296 Type: Number is not of expected type: uint32",
    ),
    (
        "an integer beyond uint8",
        kind("uint8", [255, -1]),
        400,
        'JSON Value: -1 Type: Number is not of expected type: uint8: input "x" takes 0 to 255',
    ),
    (
        "an integer beyond int16",
        kind("int16", [2**15]),
        400,
        'JSON Value: 32768 Type: Number is not of expected type: int16: input "x" takes -32768 to 32767',
    ),
    (
        "an integer beyond uint16",
        kind("uint16", {"x": [2**16]}),
        400,
        'JSON Value: 65536 Type: Number is not of expected type: uint16: input "x" takes 0 to 65535',
    ),
    (
        "an integer beyond int8 and int32",
        kind("int8", [2**31]),
        400,
        "JSON Value: 2147483648 Type: Number is not of expected type: int8",
    ),
    ("half", kind("half", [1.5, -65504, 0.1]), 200, {"outputs": [1.5, -65504.0, 0.0999756]}),
    ("bfloat16", kind("bfloat16", [[1.5, 1e38]]), 200, {"outputs": [[1.5, 9.96921e37]]}),
    ("uint16", kind("uint16", [0, 65535]), 200, {"outputs": [0, 65535]}),
    (
        "rows of halves",
        post({"signature_name": "half", "instances": [[1, 2.5], [3, 4]]}, KINDS),
        200,
        {"predictions": [[1.0, 2.5], [3.0, 4.0]]},
    ),
    (
        "a string for a half",
        kind("half", ["a"]),
        400,
        'JSON Value: "a" Type: String is not of expected type: half',
    ),
    (
        "NaN and Infinity for a bfloat16",
        post(b'{"signature_name": "bfloat16", "inputs": [NaN, -Infinity, 1.0]}', KINDS),
        200,
        {"outputs": ["NaN", "-Infinity", 1.0]},
    ),
    (
        "a whole float for an integer",
        kind("int32", [1.0]),
        400,
        "JSON Value: 1.0 Type: Number is not of expected type: int32",
    ),
    ("a double too large for a float", kind("float", [1e300]), 200, {"outputs": ["Infinity"]}),
    (
        "NaN for an integer",
        post(b'{"signature_name": "int32", "inputs": [NaN]}', KINDS),
        400,
        "JSON Value: NaN Type: Number is not of expected type: int32",
    ),
    (
        "excerpts are short",
        kind("float", ["x" * 1000]),
        400,
        'JSON Value: "' + "x" * 255 + "... Type: String is not of expected type: float",
    ),
    (
        "rows of a model whose output has none",
        post({"signature_name": "total", "instances": [{"b64": ""}]}, EXAMPLES),
        400,
        "Tensor name: total has no shape information ",
    ),
    (
        "a number for all rows, as a column",
        post({"signature_name": "total", "inputs": [{"b64": ""}]}, EXAMPLES),
        200,
        {"outputs": 0.0},
    ),
    (
        "a signature without outputs",
        post({"signature_name": "none", "inputs": [{"b64": ""}]}, EXAMPLES),
        400,
        "Cannot convert empty tensor map to JSON",
    ),
    (
        "a value for a signature without inputs",
        post({"signature_name": "constant", "inputs": []}, EXAMPLES),
        400,
        "Failed to get input map for signature: constant",
    ),
    (
        "a signature that is there by an empty name",
        post({"signature_name": "", "instances": [1.0]}),
        200,
        {"predictions": [4.0]},
    ),
    (
        "no such signature, rows",
        post({"signature_name": "s", "instances": [1.0]}),
        400,
        'Serving signature name: "s" not found in signature def',
    ),
    (
        "a model that is not there",
        post({"instances": [1.0]}, "/v1/models/m:predict"),
        404,
        "Servable not found for request: Latest(m)",
    ),
]
