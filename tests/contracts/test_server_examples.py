"""Classify and Regress over both protocols, MultiInference over gRPC (§7, §8.3)."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from exchanges import HTTP, Stubs, rest_path
from modelserver import ModelServer
from server_exchanges.examples import CLASSIFY, EXAMPLES, REGRESS, AskExamples, HearResults

ROWS = [pytest.param(*row[1:], id=row[0]) for row in EXAMPLES]


def _json(example: dict[str, Any]) -> dict[str, Any]:
    def value(one: Any) -> Any:
        if isinstance(one, list):
            return [value(item) for item in one]
        return {"b64": base64.b64encode(one).decode()} if isinstance(one, bytes) else one

    return {name: value(one) for name, one in example.items()}


def in_json(value: Any) -> Any:
    """Floats as their nine digits read."""
    if isinstance(value, list):
        return [in_json(item) for item in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


@pytest.mark.parametrize(("ask", "hear"), ROWS)
def test_over_rest(server: ModelServer, ask: AskExamples, hear: HearResults) -> None:
    body: dict[str, Any] = {"examples": [_json(example) for example in ask.examples]}
    if ask.signature:
        body["signature_name"] = ask.signature
    if ask.context is not None:
        body["context"] = _json(ask.context)
    answer = server.http.post(rest_path(ask, f":{ask.method}"), json=body)
    assert answer.headers["content-type"] == "application/json"
    if hear.code == "OK":
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"results": in_json(hear.results)}
    else:
        assert answer.status_code == HTTP[hear.code]
        assert answer.json()["error"].startswith(hear.message)


@pytest.mark.parametrize(("ask", "hear"), ROWS)
def test_over_grpc(stubs: Stubs, ask: AskExamples, hear: HearResults) -> None:
    from tensorflow_serving.apis import classification_pb2, regression_pb2

    if ask.method == "classify":
        method, request = stubs.prediction.Classify, classification_pb2.ClassificationRequest()
    else:
        method, request = stubs.prediction.Regress, regression_pb2.RegressionRequest()
    stubs.fill_spec(request.model_spec, ask)
    stubs.fill_input(request.input, ask.examples, ask.context)
    if hear.code != "OK":
        code, message = stubs.refused(method, request)
        assert code == hear.code
        assert message.startswith(hear.message)
        return
    reply = method(request)
    assert _results(reply.result) == hear.results
    assert reply.model_spec.name == "examples"
    assert reply.model_spec.version.value == 1
    assert reply.model_spec.signature_name == (ask.signature or "serving_default")
    assert not reply.model_spec.version_label


def _results(result: Any) -> list[Any]:
    if result.DESCRIPTOR.name == "RegressionResult":
        return [one.value for one in result.regressions]
    return [[[one.label, one.score] for one in row.classes] for row in result.classifications]


@pytest.mark.parametrize("method", ["Classify", "Regress"])
@pytest.mark.parametrize("form", ["nothing", "example_list", "example_list_with_context"])
def test_no_examples(stubs: Stubs, method: str, form: str) -> None:
    from tensorflow_serving.apis import classification_pb2

    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "examples"
    request.model_spec.signature_name = {"Classify": "words", "Regress": "double"}[method]
    if form != "nothing":
        getattr(request.input, form).SetInParent()
    call = getattr(stubs.prediction, method)
    if method == "Regress":
        from tensorflow_serving.apis import regression_pb2

        request = regression_pb2.RegressionRequest.FromString(request.SerializeToString())
    assert stubs.refused(call, request) == ("INVALID_ARGUMENT", "Input is empty.")


@pytest.mark.parametrize("method", ["Classify", "Regress", "Predict"])
def test_no_model_spec(stubs: Stubs, method: str) -> None:
    call = stubs.channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
    assert stubs.refused(call, b"") == ("INVALID_ARGUMENT", "Missing ModelSpec")
    assert stubs.refused(call, b"\x0a\x00") == (
        "INVALID_ARGUMENT",
        "ModelSpec has no name specified.",
    )
    assert stubs.refused(call, b"\x0a\xff")[0] == "INTERNAL"


def _multi(stubs: Stubs, *tasks: tuple[str, str], model: str = "examples") -> Any:
    from tensorflow_serving.apis import inference_pb2

    request = inference_pb2.MultiInferenceRequest()
    for signature, method in tasks:
        request.tasks.add(method_name=method)
        request.tasks[-1].model_spec.name = model
        request.tasks[-1].model_spec.signature_name = signature
    stubs.fill_input(request.input, [{"x": 1.0, "n": 2}, {"x": 3.0, "word": "w"}], {"n": 5})
    return request


SCORES = [[["", 1.0], ["", 2.0]], [["", 3.0], ["", 5.0]]]
USUAL = [[["small", 1.0], ["large", 2.0]], [["small", 3.0], ["large", 5.0]]]


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ([("double", REGRESS)], [[2.0, 6.0]]),
        ([("", CLASSIFY)], [USUAL]),
        ([("", CLASSIFY), ("double", REGRESS)], [USUAL, [2.0, 6.0]]),
        (
            [("column", REGRESS), ("scores", CLASSIFY), ("words", CLASSIFY)],
            [[2.0, 6.0], SCORES, [[["", 0.0]], [["w", 0.0]]]],
        ),
    ],
    ids=["one regression", "one classification", "two tasks", "three tasks"],
)
def test_multi_inference(stubs: Stubs, tasks: list[tuple[str, str]], expected: list[Any]) -> None:
    reply = stubs.prediction.MultiInference(_multi(stubs, *tasks))
    assert len(reply.results) == len(tasks)
    for one, (signature, method), values in zip(reply.results, tasks, expected, strict=True):
        kind = one.WhichOneof("result")
        assert kind == ("regression_result" if method == REGRESS else "classification_result")
        assert _results(getattr(one, kind)) == values
        assert one.model_spec.name == "examples"
        assert one.model_spec.version.value == 1
        assert one.model_spec.signature_name == (signature or "serving_default")


def test_each_input_tensor_of_multi_inference_gets_the_same_examples(stubs: Stubs) -> None:
    request = _multi(stubs, ("double", REGRESS), ("from others", REGRESS), ("scores", CLASSIFY))
    double, lengths, scores = stubs.prediction.MultiInference(request).results
    context = request.input.example_list_with_context.context.ByteSize()
    sent = request.input.example_list_with_context.examples
    assert _results(double.regression_result) == [2.0, 6.0]
    assert _results(lengths.regression_result) == [context + one.ByteSize() for one in sent]
    assert _results(scores.classification_result) == SCORES


@pytest.mark.parametrize(
    ("tasks", "code", "message"),
    [
        ([], "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (
            [("double", REGRESS), ("double", REGRESS)],
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: double",
        ),
        (
            [("", CLASSIFY), ("serving_default", CLASSIFY)],
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: serving_default",
        ),
        (
            [("s", CLASSIFY)],
            "INVALID_ARGUMENT",
            "Requested signature not found in model graph: s",
        ),
        (
            [("parsed", "tensorflow/serving/predict")],
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
        ([("", "")], "UNIMPLEMENTED", "Unsupported signature method_name: "),
        ([("two outputs", REGRESS)], "INVALID_ARGUMENT", "Expected one output Tensor."),
        (
            [("three outputs", CLASSIFY)],
            "INVALID_ARGUMENT",
            "Expected one or two output Tensors, found 3",
        ),
        (
            [("double", REGRESS), ("longer", REGRESS)],
            "INVALID_ARGUMENT",
            "Input batch size did not match output batch size: 2 vs. 4",
        ),
    ],
)
def test_multi_inference_that_is_refused(
    stubs: Stubs, tasks: list[tuple[str, str]], code: str, message: str
) -> None:
    assert stubs.refused(stubs.prediction.MultiInference, _multi(stubs, *tasks)) == (code, message)


def test_multi_inference_asks_one_model(stubs: Stubs) -> None:
    request = _multi(stubs, ("double", REGRESS), ("column", REGRESS))
    request.tasks[1].model_spec.name = "double"
    assert stubs.refused(stubs.prediction.MultiInference, request) == (
        "INVALID_ARGUMENT",
        "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
    )
    request.tasks[1].model_spec.name = ""
    assert stubs.refused(stubs.prediction.MultiInference, request) == (
        "INVALID_ARGUMENT",
        "Found ModelSpec with an empty model name.",
    )
    request.tasks[0].model_spec.name = "m"
    assert stubs.refused(stubs.prediction.MultiInference, request) == (
        "NOT_FOUND",
        "Servable not found for request: Latest(m)",
    )


def test_multi_inference_without_examples(stubs: Stubs) -> None:
    request = _multi(stubs, ("double", REGRESS), ("column", REGRESS))
    request.ClearField("input")
    assert stubs.refused(stubs.prediction.MultiInference, request) == (
        "INVALID_ARGUMENT",
        "Input is empty.",
    )


def test_bytes_that_are_no_example(stubs: Stubs) -> None:
    call = stubs.channel.unary_unary("/tensorflow.serving.PredictionService/Classify")
    # model_spec { name: "examples" } input { example_list { examples: <two bytes that are no message> } }
    request = b"\x0a\x0a\x0a\x08examples" + b"\x12\x06\x0a\x04\x0a\x02\xff\xff"
    code, message = stubs.refused(call, request)
    assert code == "INVALID_ARGUMENT"
    assert "example" in message.lower()


def test_predict_runs_a_signature_over_examples(stubs: Stubs) -> None:
    from exchanges import Ask

    example = stubs.example({"x": 1.0, "n": 4, "word": "w"}).SerializeToString()
    ask = Ask({"examples": ("string", [example])}, model="examples", signature="parsed")
    outputs = stubs.prediction.Predict(stubs.predict_request(ask, content=False)).outputs
    assert {name: stubs.tf.make_ndarray(value).tolist() for name, value in outputs.items()} == {
        "double": [2.0],
        "n": [4],
        "word": [b"w"],
    }
