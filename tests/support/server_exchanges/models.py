"""Predict, Classify and Regress with every kind of export (§12), where both protocols can say it."""

from __future__ import annotations

from exchanges import Ask, Hear
from server_exchanges.examples import AskExamples, HearResults

_SPARSE = {
    "sp/indices": ("int64", [[0, 1], [1, 3]]),
    "sp/values": ("float", [1.0, 2.0]),
    "sp/dense_shape": ("int64", [2, 4]),
}
_X = {"x": ("float", [[1.0, 2.0]])}

PREDICT: list[tuple[str, Ask, Hear]] = [
    *(
        (
            f"SessionBundle, variables in {form}",
            Ask({"x": ("float", [[2.0], [4.0]])}, "bundle", version),
            Hear({"y": [[3.0], [4.0]]}),
        )
        for version, form in enumerate(("one file", "shards", "V2", "V2 shards"), start=1)
    ),
    (
        "SessionBundle, the generic signatures under the name that TensorFlow Serving 1.15 gave them",
        Ask({"x": ("float", [[2.0]])}, "bundle", signature="serving_default_from_named"),
        Hear({"y": [[3.0]]}),
    ),
    (
        "SessionBundle with an init op and an asset",
        Ask({"word": ("string", [["bee"], ["cow"]])}, "words bundle"),
        Hear({"id": [[1], [-1]]}),
    ),
    (
        "SessionBundle, a signature it does not have",
        Ask({"word": ("string", [["bee"]])}, "words bundle", signature="stray"),
        Hear(
            code="FAILED_PRECONDITION",
            message='Serving signature key "stray" not found.',
            rest='Serving signature name: "stray" not found in signature def',
        ),
    ),
    (
        "SavedModel as text, with ref and partitioned variables, a table and a main op",
        Ask({"word": ("string", ["b", "z"])}, "text"),
        Hear({"id": [2, 0], "total": 8.0}),
    ),
    ("a default for an input", Ask({**_X, "bias": ("float", 0.0)}, "plain"), Hear({"y": [[3, 6]]})),
    (
        "tensor infos without type and shape",
        Ask({**_X, "bias": ("float", 1.0)}, "plain", signature="thin"),
        Hear({"y": [[4, 7]]}),
    ),
    (
        "a signature whose tensor is not in the graph",
        Ask(_X, "plain", signature="broken"),
        Hear(code="INVALID_ARGUMENT", message="Tensor nowhere:0"),
    ),
    (
        "a sparse input in its three parts",
        Ask(_SPARSE, "sparse"),
        Hear({"dense": [[0, 2, 0, 0], [0, 0, 0, 4]]}),
    ),
    (
        "a sparse output in its three parts",
        Ask(_SPARSE, "sparse", signature="to_sparse"),
        Hear(
            {
                "sp/indices": [[0, 1], [1, 3]],
                "sp/values": [2.0, 4.0],
                "sp/dense_shape": [2, 4],
            }
        ),
    ),
    (
        "Keras 3",
        Ask({"words": ("string", [["b"], ["q"]])}, "keras"),
        Hear({"output_0": [[2.0], [0.0]]}),
    ),
    (
        "TensorFlow Lite",
        Ask({"x": ("float", [2.0, 4.0])}, "lite"),
        Hear({"y": [3.0, 4.0]}),
    ),
    (
        "TensorFlow Lite, strings",
        Ask({"word": ("string", ["a", "é"])}, "lite", signature="column"),
        Hear({"column": [["a"], ["é"]], "size": [2]}),
    ),
    (
        "TensorFlow Lite, several rows for a file that was made for one",
        Ask(
            {"a": ("float", [[1, 2, 3], [0, 0, 1]]), "b": ("float", [[0, 0, 0], [1, 1, 1]])},
            "lite",
            signature="fixed",
        ),
        Hear({"sum": [[6.0, 6.0], [4.0, 4.0]]}),
    ),
    (
        "TensorFlow Lite, several rows for an output that has none",
        Ask({"x": ("float", [[1, 2, 3], [4, 5, 6]])}, "lite", signature="flat"),
        Hear(
            code="INVALID_ARGUMENT",
            message='The model takes 1 row in a request with signature "flat", but 2 were sent, and it returned output '
            '"y" with the shape [3] for a single one',
        ),
    ),
    (
        "a graph for one row that mixes several",
        Ask({"x": ("float", [[1, 2], [3, 4]])}, "plain", signature="one_row"),
        Hear(
            code="INVALID_ARGUMENT",
            message='The model takes 1 row in a request with signature "one_row", but 2 were sent, and it returned 1 '
            'of output "y" for them: send 1 row in each request',
        ),
    ),
    (
        "a graph for one row that gets one",
        Ask({"x": ("float", [[1, 2]])}, "plain", signature="one_row"),
        Hear({"y": [[[1.0], [2.0]]]}),
    ),
    (
        "TensorFlow Lite, a shape that does not fit",
        Ask({"a": ("float", [[1.0]]), "b": ("float", [[1.0]])}, "lite", signature="fixed"),
        Hear(code="INTERNAL", message="Failed to run interpreter: "),
    ),
    (
        "TensorFlow Lite without signatures",
        Ask({"x": ("float", [2.0])}, "lite plain"),
        Hear({"Identity": [3.0]}),
    ),
]

EXAMPLES: list[tuple[str, AskExamples, HearResults]] = [
    (
        "SessionBundle: what regresses is not what predicts",
        AskExamples("regress", [{"x": 4.0}, {"x": 0.0}], model="bundle"),
        HearResults([4.0, 2.0]),
    ),
    (
        "SessionBundle: the default signature classifies",
        AskExamples("classify", [{"word": "bee"}, {"word": "cow"}], model="words bundle"),
        HearResults([[["bee", 1.0]], [["cow", -1.0]]]),
    ),
    (
        "SessionBundle: a named signature with scores only",
        AskExamples("classify", [{"word": "bee"}], "scores_only", model="words bundle"),
        HearResults([[["", 1.0]]]),
    ),
]
