"""Every kind of export over both protocols (§12): one server that prefers TensorFlow Lite files, and warms up (§10)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lite_models
import odd_exports
import session_bundles
import warmups
from exchanges import HTTP, Ask, Hear, Stubs, rest_path
from modelserver import ModelServer, eventually, running
from server_exchanges.examples import AskExamples, HearResults
from server_exchanges.models import EXAMPLES, PREDICT

MODELS = (
    *("bundle", "words bundle", "text", "plain", "sparse", "keras"),
    *("lite", "lite plain", "examples"),
)
FLAGS = (
    "--prefer_tflite_model",
    "--num_tflite_pools=2",
    "--file_system_poll_wait_seconds=0",
    "--drain_seconds=0",
    "--isolated_first_load=false",
    "--strict_types=false",
)


def _export(root: Path) -> None:
    for version, variables in enumerate(session_bundles.Format, start=1):
        session_bundles.save_half_plus_two(root / "bundle", version, variables)
    session_bundles.save_words_bundle(root / "words bundle", root / "words")
    odd_exports.save_table(root / "text" / "1", root / "words", as_text=True, main_op=True)
    odd_exports.save_plain(root / "plain" / "1")
    odd_exports.save_sparse(root / "sparse" / "1")
    odd_exports.save_keras(root / "keras" / "1")
    odd_exports.save_examples(root / "examples" / "1")
    for name in ("lite", "lite plain"):
        (root / name / "1").mkdir(parents=True)
    lite_models.save_signatures(root / "lite" / "1")
    (root / "lite plain" / "1" / "model.tflite").write_bytes(lite_models.plain())
    warmups.write_records(root / "lite" / "1", [warmups.predict(values=[1.0])])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    root = tmp_path_factory.mktemp("kinds of models")
    _export(root)
    config = root / "models.config"
    config.write_text(
        "model_config_list {\n"
        + "".join(
            f'config {{ name: "{name}" base_path: "{root}/{name}" model_platform: "tensorflow" '
            "model_version_policy { all {} } }\n"
            for name in MODELS
        )
        + "}"
    )
    with running(root, f"--model_config_file={config}", *FLAGS) as started:

        def settled() -> bool:
            models = started.get("/readyz").json()["models"]
            return all(models.get(name) for name in MODELS) and len(started.states("bundle")) == 4

        eventually("every model serves", settled)
        yield started


@pytest.fixture(scope="module")
def stubs(server: ModelServer) -> Iterator[Stubs]:
    stubs = Stubs(server.target)
    yield stubs
    stubs.channel.close()


@pytest.mark.parametrize(("ask", "hear"), [pytest.param(*row[1:], id=row[0]) for row in PREDICT])
def test_predict_over_rest(server: ModelServer, ask: Ask, hear: Hear) -> None:
    body: dict[str, Any] = {"inputs": {alias: value for alias, (_, value) in ask.inputs.items()}}
    if ask.signature:
        body["signature_name"] = ask.signature
    answer = server.http.post(rest_path(ask, ":predict"), json=body)
    if hear.code != "OK":
        assert answer.status_code == {**HTTP, "INTERNAL": 500}[hear.code]
        assert answer.json()["error"].startswith(hear.rest or hear.message)
        return
    outputs = hear.outputs if len(hear.outputs) > 1 else next(iter(hear.outputs.values()))
    assert answer.json() == {"outputs": outputs}


@pytest.mark.parametrize(("ask", "hear"), [pytest.param(*row[1:], id=row[0]) for row in PREDICT])
def test_predict_over_grpc(stubs: Stubs, ask: Ask, hear: Hear) -> None:
    request = stubs.predict_request(ask, content=True)
    if hear.code != "OK":
        code, message = stubs.refused(stubs.prediction.Predict, request)
        assert code == hear.code
        assert message.startswith(hear.message)
        return
    reply = stubs.prediction.Predict(request)
    got = {alias: stubs.tf.make_ndarray(tensor) for alias, tensor in reply.outputs.items()}
    assert {alias: _text(value.tolist()) for alias, value in got.items()} == hear.outputs


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(one) for one in value]
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize(("ask", "hear"), [pytest.param(*row[1:], id=row[0]) for row in EXAMPLES])
def test_examples_over_rest(server: ModelServer, ask: AskExamples, hear: HearResults) -> None:
    body = {"examples": ask.examples, "signature_name": ask.signature or "serving_default"}
    answer = server.http.post(rest_path(ask, f":{ask.method}"), json=body)
    assert answer.json() == {"results": hear.results}


@pytest.mark.parametrize(("ask", "hear"), [pytest.param(*row[1:], id=row[0]) for row in EXAMPLES])
def test_examples_over_grpc(stubs: Stubs, ask: AskExamples, hear: HearResults) -> None:
    from tensorflow_serving.apis import classification_pb2, regression_pb2

    if ask.method == "classify":
        request = classification_pb2.ClassificationRequest()
        method = stubs.prediction.Classify
    else:
        request = regression_pb2.RegressionRequest()
        method = stubs.prediction.Regress
    stubs.fill_spec(request.model_spec, ask)
    stubs.fill_input(request.input, ask.examples, None)
    result = method(request).result
    if ask.method == "regress":
        assert [one.value for one in result.regressions] == hear.results
    else:
        rows = [[[one.label, one.score] for one in row.classes] for row in result.classifications]
        assert rows == hear.results


@pytest.mark.parametrize("content", [False, True], ids=["typed fields", "tensor_content"])
def test_an_input_with_a_default_may_be_left_out(stubs: Stubs, *, content: bool) -> None:
    ask = Ask({"x": ("float", [[1.0, 2.0]])}, "plain")
    reply = stubs.prediction.Predict(stubs.predict_request(ask, content=content))
    assert stubs.tf.make_ndarray(reply.outputs["y"]).tolist() == [[3.5, 6.5]]


def test_a_signature_without_inputs(stubs: Stubs) -> None:
    ask = Ask({}, "plain", signature="no_inputs")
    reply = stubs.prediction.Predict(stubs.predict_request(ask, content=False))
    assert stubs.tf.make_ndarray(reply.outputs["scale"]).tolist() == 3.0


def test_regression_of_a_bundle_over_multi_inference(stubs: Stubs) -> None:
    from tensorflow_serving.apis import inference_pb2

    request = inference_pb2.MultiInferenceRequest()
    task = request.tasks.add(method_name="tensorflow/serving/regress")
    task.model_spec.name = "bundle"
    stubs.fill_input(request.input, [{"x": 4.0}], None)
    reply = stubs.prediction.MultiInference(request)
    assert [one.value for one in reply.results[0].regression_result.regressions] == [4.0]


def test_tasks_of_a_tensorflow_2_export_are_answered_together(stubs: Stubs) -> None:
    from tensorflow_serving.apis import inference_pb2

    request = inference_pb2.MultiInferenceRequest()
    for signature, method in (("regress", "regress"), ("", "classify")):
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name = "examples"
        task.model_spec.signature_name = signature
    stubs.fill_input(request.input, [{"x": 0.25}, {"x": 1.0}], None)
    first, second = stubs.prediction.MultiInference(request).results
    assert [one.value for one in first.regression_result.regressions] == [0.5, 2.0]
    scores = [
        [one.score for one in row.classes] for row in second.classification_result.classifications
    ]
    assert scores == [[0.25, 0.75], [1.0, 0.0]]


PLAIN = [
    ("no default", {"instances": [{"x": [1, 2], "bias": 1}]}, {"predictions": [[4.0, 7.0]]}),
    ("rows of objects", {"instances": [{"x": [1, 2]}, {"x": [0, 0]}]}, [[3.5, 6.5], [0.5, 0.5]]),
    ("rows of values", {"instances": [[1, 2], [0, 0]]}, [[3.5, 6.5], [0.5, 0.5]]),
    ("a column by name", {"inputs": {"x": [[1, 2]]}}, {"outputs": [[3.5, 6.5]]}),
    ("a column", {"inputs": [[1, 2]]}, {"outputs": [[3.5, 6.5]]}),
    ("no inputs, column", {"signature_name": "no_inputs", "inputs": {}}, {"outputs": 3.0}),
    ("no inputs, no key", {"signature_name": "no_inputs"}, {"outputs": 3.0}),
    (
        "low bits",
        {"signature_name": "narrow", "inputs": [300, -1]},
        {"outputs": [44, -1]},
    ),
    (
        "a ragged output, column",
        {"signature_name": "tokens", "inputs": [2, 0, 1]},
        {"outputs": {"y/0": [0, 1, 0], "y/1": [0, 2, 2, 3]}},
    ),
]


@pytest.mark.parametrize(("body", "expected"), [pytest.param(*row[1:], id=row[0]) for row in PLAIN])
def test_defaults_missing_inputs_and_lenient_types_over_rest(
    server: ModelServer, body: Any, expected: Any
) -> None:
    answer = server.predict("plain", body)
    wanted = expected if isinstance(expected, dict) else {"predictions": expected}
    assert answer.json() == wanted


REFUSED = [
    (
        "a default is for all rows",
        {"instances": [{"x": [1, 2]}, {"x": [0, 0], "bias": 1}]},
        (
            "Failed to process element: 1 of 'instances' list. "
            'JSON object: {"x":[0,0],"bias":1} keys must be equal to: x'
        ),
    ),
    (
        "a required input is missing",
        {"instances": [{"bias": 1}]},
        (
            "Failed to process element: 0 of 'instances' list. JSON object: {\"bias\":1} "
            "keys must be equal to: bias,x"
        ),
    ),
    (
        "a ragged output of one instance, as long as its row splits",
        {"signature_name": "tokens", "instances": [2]},
        (
            "Tensor name: y/0 has inconsistent batch size: 2 expecting: 1. In the row format ('instances') every "
            "output needs one row for each instance; the column format ('inputs') returns outputs of any shape"
        ),
    ),
    (
        "a ragged output, rows",
        {"signature_name": "tokens", "instances": [2, 0, 1]},
        (
            "Tensor name: y/1 has inconsistent batch size: 4 expecting: 3. In the row format ('instances') every "
            "output needs one row for each instance; the column format ('inputs') returns outputs of any shape"
        ),
    ),
    (
        "rows that a graph mixes",
        {"signature_name": "one_row", "instances": [[1, 2], [3, 4]]},
        (
            'The model takes 1 row in a request with signature "one_row", but 2 were sent, and it returned 1 of output '
            '"y" for them: send 1 row in each request'
        ),
    ),
]


@pytest.mark.parametrize(("body", "said"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
def test_rows_that_are_refused(server: ModelServer, body: Any, said: str) -> None:
    answer = server.predict("plain", body)
    assert (answer.status_code, answer.json()["error"]) == (400, said)


def test_values_in_the_field_of_another_type_are_zeros_where_types_are_not_strict(
    stubs: Stubs,
) -> None:
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "plain"
    request.model_spec.signature_name = "narrow"
    request.inputs["x"].CopyFrom(stubs.tf.make_tensor_proto([0, 0], stubs.tf.int8))
    request.inputs["x"].ClearField("tensor_content")
    request.inputs["x"].float_val.extend([1.0, 2.0])
    reply = stubs.prediction.Predict(request).outputs["y"]
    assert stubs.tf.make_ndarray(reply).tolist() == [0, 0]


METADATA = [
    ("bundle", "x", "DT_FLOAT", ["-1", "1"]),
    ("words bundle", "word", "DT_STRING", ["-1", "1"]),
    ("lite", "x", "DT_FLOAT", ["-1"]),
    ("lite plain", "x", "DT_FLOAT", ["-1"]),
]


@pytest.mark.parametrize(("model", "alias", "dtype", "shape"), METADATA)
def test_metadata(server: ModelServer, model: str, alias: str, dtype: str, shape: Any) -> None:
    answer = server.get(f"/v1/models/{model.replace(' ', '%20')}/metadata").json()
    definition = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert definition["method_name"] == "tensorflow/serving/predict"
    info = definition["inputs"][alias]
    assert info["dtype"] == dtype
    assert [dim["size"] for dim in info["tensor_shape"]["dim"]] == shape


def test_a_lite_file_was_warmed_up(server: ModelServer) -> None:
    page = server.get("/monitoring/prometheus/metrics").text
    assert 'slipway_model_warmup_records_total{model="lite"} 1.0' in page
