"""§9 over both protocols: what runs together, what is refused, with real models.

The model `slow` waits until a test lets it go, one run at a time, and says with how many rows it ran; while it waits,
requests come together in any order a test likes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import savedmodels
from exchanges import Ask, Stubs
from held_runs import HeldRuns
from modelserver import FRONT, ModelServer, eventually, running

CONFIG = """
model_config_list {{
  config {{ name: "double" base_path: "{root}/double" model_platform: "tensorflow" }}
  config {{ name: "slow" base_path: "{root}/slow" model_platform: "tensorflow" }}
  config {{ name: "padded" base_path: "{root}/padded" model_platform: "tensorflow" }}
  config {{ name: "split" base_path: "{root}/split" model_platform: "tensorflow" }}
  config {{ name: "together" base_path: "{root}/together" model_platform: "tensorflow" }}
  config {{ name: "parsed" base_path: "{root}/parsed" model_platform: "tensorflow" }}
  config {{ name: "alone" base_path: "{root}/alone" model_platform: "tensorflow" }}
}}
"""
PER_MODEL = {
    "double": "max_batch_size { value: 64 } max_enqueued_batches { value: 100 }",
    "slow": "max_batch_size { value: 4 } max_enqueued_batches { value: 1 }",
    # Nothing runs before it is full: who comes together does not hang on time.
    "together": (
        "max_batch_size { value: 4 } batch_timeout_micros { value: 600000000 } "
        "max_enqueued_batches { value: 1 }"
    ),
    "parsed": "max_batch_size { value: 2 } batch_timeout_micros { value: 600000000 }",
    "padded": (
        "max_batch_size { value: 8 } allowed_batch_sizes: 6 allowed_batch_sizes: 8 "
        "pad_variable_length_inputs: true"
    ),
    "split": (
        "max_batch_size { value: 9 } enable_large_batch_splitting { value: true } "
        "max_execution_batch_size { value: 4 }"
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    root = tmp_path_factory.mktemp("batched")
    savedmodels.save_double(root / "double" / "1", 1)
    savedmodels.save_double(root / "together" / "1", 1)
    savedmodels.save_parsed(root / "parsed" / "1")
    savedmodels.save_slow(root / "slow" / "1")
    for name in ("padded", "split", "alone"):
        savedmodels.save_slow(root / name / "1")
    for name, text in PER_MODEL.items():
        (root / name / "1" / "batching_params.pbtxt").write_text(text)
    (root / "models.config").write_text(CONFIG.format(root=root))
    (root / "batching.pbtxt").write_text(
        'num_batch_threads { value: 1 } thread_pool_name { value: "bread" } max_batch_size { value: 2 }'
    )
    with running(
        root,
        f"--model_config_file={root}/models.config",
        "--enable_batching",
        f"--batching_parameters_file={root}/batching.pbtxt",
        "--enable_per_model_batching_parameters",
        "--rest_api_timeout_in_ms=20000",
        "--drain_seconds=0",
    ) as started:
        yield started.wait_ready()


@pytest.fixture(scope="module")
def stubs(server: ModelServer) -> Iterator[Stubs]:
    stubs = Stubs(server.target)
    yield stubs
    stubs.channel.close()


class Talk:
    """One question after the other, over gRPC and REST in turn."""

    def __init__(self, server: ModelServer, stubs: Stubs) -> None:
        self.server, self.stubs = server, stubs
        self._pool = ThreadPoolExecutor(16)
        self._held: dict[str, HeldRuns] = {}

    def wide(self, rows: Any, seconds: float, model: str = "slow", *, rest: bool = False) -> Any:
        return self._pool.submit(self._wide, rows, seconds, model, rest=rest)

    def _wide(self, rows: Any, seconds: float, model: str, *, rest: bool) -> Any:
        waits = [seconds] * len(rows)
        if rest:
            body = {"signature_name": "wide", "inputs": {"rows": rows, "seconds": waits}}
            answer = self.server.predict(model, body)
            if answer.status_code == 200:
                outputs = answer.json()["outputs"]
                return outputs["sum"], outputs["size"][0]
            return answer.status_code, answer.json()["error"]
        ask = Ask({"rows": ("float", rows), "seconds": ("float", waits)}, model, signature="wide")
        try:
            reply = self.stubs.prediction.Predict(self.stubs.predict_request(ask, content=False))
        except self.stubs.grpc.RpcError as error:
            return error.code().name, error.details()
        outputs = reply.outputs
        return list(outputs["sum"].float_val), outputs["size"].int_val[0]

    def double(self, values: list[float], *, rest: bool = False, timeout: float = 60) -> Any:
        """Ask the model `together`."""
        if rest:
            return self._pool.submit(
                lambda: self.server.predict("together", {"inputs": values}).json().get("outputs")
            )
        return self._pool.submit(self._ask, Ask({"x": ("float", values)}, "together"), "y", timeout)

    def parse(self, word: str) -> Any:
        """Ask the model `parsed`."""
        ask = Ask({"text": ("string", [word])}, "parsed")
        return self._pool.submit(self._ask, ask, "number", 60)

    def _ask(self, ask: Ask, output: str, timeout: float) -> Any:
        request = self.stubs.predict_request(ask, content=False)
        try:
            reply = self.stubs.prediction.Predict(request, timeout=timeout)
        except self.stubs.grpc.RpcError as error:
            return error.code().name, error.details()
        return list(reply.outputs[output].float_val)

    def runs(self, model: str = "slow") -> float:
        """Batches that have begun and ended, by the metric."""
        return self.metric(
            f'slipway_batch_size_count{{model="{model}",signature="wide",version="1"}}'
        )

    def metric(self, name: str) -> float:
        for line in self.server.get("/monitoring/prometheus/metrics").text.splitlines():
            if line.startswith(name + " "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def held(self, model: str = "slow") -> HeldRuns:
        if model not in self._held:
            self._held[model] = HeldRuns(self.server.log_path.parent / model / "1")
        return self._held[model]

    def one_after_the_other(self, *questions: tuple[Any, str, bool]) -> list[Any]:
        """Ask all while the first one's run goes on; return the answers."""
        _, model, _ = questions[0]
        held = self.held(model)
        run = held.hold()
        answers: list[Any] = []
        for rows, of, rest in questions:
            answers.append(self.wide(rows, 0.0 if answers else run, of, rest=rest))
            if len(answers) == 1:
                held.wait_for(run)
            else:
                self._wait_until_queued(of, answers)
        held.let_go(run)
        return [answer.result(60) for answer in answers]

    def _wait_until_queued(self, model: str, answers: list[Any]) -> None:
        gauge = f'slipway_requests_in_flight{{model="{model}",version="1"}}'

        def queued() -> bool:
            return self.metric(gauge) == sum(not answer.done() for answer in answers)

        eventually("the request has come, or is answered", queued)
        time.sleep(0.06)  # from there to the queue nothing is waited for, and nothing tells


@pytest.fixture(scope="module")
def talk(server: ModelServer, stubs: Stubs) -> Talk:
    return Talk(server, stubs)


def test_requests_of_both_protocols_run_together(talk: Talk) -> None:
    before = talk.runs()
    answers = talk.one_after_the_other(
        ([[1.0]], "slow", False),
        ([[1.0]], "slow", False),
        ([[2.0], [3.0]], "slow", True),
        ([[4.0]], "slow", False),
    )
    assert answers == [([1.0], 1), ([1.0], 4), ([2.0, 3.0], 4), ([4.0], 4)]
    assert talk.runs() == before + 2


def _natively(talk: Talk) -> float:
    return talk.metric('slipway_native_predictions_total{answered_by="native"}')


def _together(talk: Talk) -> tuple[float, float]:
    """Batches of that model, and their rows."""
    labels = '{model="together",signature="serving_default",version="1"}'
    return (
        talk.metric(f"slipway_batch_size_count{labels}"),
        talk.metric(f"slipway_batch_size_sum{labels}"),
    )


def test_the_native_front_and_python_fill_one_batch(talk: Talk) -> None:
    batches, rows = _together(talk)
    before = _natively(talk)
    answers = [
        talk.double([1.0]),
        talk.double([2.0], rest=True),
        talk.double([3.0, 4.0]),
    ]
    assert [answer.result(60) for answer in answers] == [[3.0], [5.0], [7.0, 9.0]]
    assert _together(talk) == (batches + 1, rows + 4)
    if FRONT == "native":
        assert _natively(talk) == before + 2


def test_a_queue_that_is_full_refuses_whoever_comes_last(talk: Talk) -> None:
    text = (
        "The batch scheduling queue to which this task was submitted is full; currently 1 batches enqueued and "
        "max_enqueued_batches is 1"
    )
    three = [talk.double([1.0] * 3), talk.double([1.0] * 3)]
    eventually("one is refused", lambda: any(one.done() for one in three))
    last = talk.double([2.0])
    answers = sorted((answer.result(60) for answer in (*three, last)), key=str)
    assert answers == [("UNAVAILABLE", text), [3.0] * 3, [5.0]]


def test_who_gives_up_in_the_queue_does_not_run(talk: Talk) -> None:
    batches, rows = _together(talk)
    late = talk.double([1.0], timeout=0.5)
    assert late.result(60)[0] == "DEADLINE_EXCEEDED"
    gauge = 'slipway_requests_in_flight{model="together",version="1"}'
    eventually("nothing waits", lambda: talk.metric(gauge) == 0)
    assert talk.double([1.0] * 4).result(60) == [3.0] * 4
    assert _together(talk) == (batches + 1, rows + 4)


def test_a_batch_that_fails_answers_all_its_members_with_one_error(talk: Talk) -> None:
    text = "StringToNumberOp could not correctly convert string: x"
    answers = [talk.parse("1").result for _ in range(2)]
    assert [answer(60) for answer in answers] == [[1.0], [1.0]]
    failing = [talk.parse(word) for word in ("2", "x")]
    (first, message), second = (answer.result(60) for answer in failing)
    assert (first, second) == ("INVALID_ARGUMENT", (first, message))
    assert text in message
    others = [talk.parse("3"), talk.parse("4")]
    assert [answer.result(60) for answer in others] == [[3.0], [4.0]]


def test_a_full_queue_refuses(talk: Talk) -> None:
    text = (
        "The batch scheduling queue to which this task was submitted is full; currently 1 batches enqueued and "
        "max_enqueued_batches is 1"
    )
    answers = talk.one_after_the_other(
        ([[1.0]], "slow", False),
        ([[1.0]] * 3, "slow", False),
        ([[1.0]] * 2, "slow", False),
        ([[1.0]] * 2, "slow", True),
    )
    assert answers[1] == ([1.0] * 3, 3)
    assert answers[2:] == [("UNAVAILABLE", text), (503, text)]


def test_a_task_larger_than_a_batch_is_refused(talk: Talk) -> None:
    text = "Task size 5 is larger than maximum input batch size 4"
    for rest, code in ((False, "INVALID_ARGUMENT"), (True, 400)):
        assert talk.wide([[1.0]] * 5, 0.0, rest=rest).result(60) == (code, text)


def test_another_inner_shape_is_refused_alone(talk: Talk) -> None:
    answers = talk.one_after_the_other(
        ([[1.0]], "slow", False),
        ([[1.0, 2.0]], "slow", False),
        ([[1.0]], "slow", False),
        ([[1.0]], "slow", True),
        ([[1.0, 3.0]], "slow", True),
    )
    assert [answers[0], answers[1], answers[4]] == [([1.0], 1), ([3.0], 2), ([4.0], 2)]
    for (code, message), expected in zip(answers[2:4], ("FAILED_PRECONDITION", 400), strict=True):
        assert code == expected
        assert message == (
            "Tensors with name 'wide_rows:0' from different tasks have different shapes and padding is turned off. "
            "Set pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal "
            "dimensions starting with the first dim."
        )


def test_inner_shapes_are_padded_and_batches_filled_up(talk: Talk) -> None:
    answers = talk.one_after_the_other(
        ([[1.0]], "padded", False),
        ([[1.0, 2.0]], "padded", True),
        ([[5.0]], "padded", False),
    )
    assert answers == [([1.0], 6), ([3.0], 6), ([10.0], 6)]
    labels = '{model="padded",signature="wide",version="1"}'
    assert talk.metric(f"slipway_batch_padding_rows_total{labels}") == 5 + 4


def test_a_large_task_is_split(talk: Talk) -> None:
    rows = [[float(value)] for value in range(9)]
    sums, _ = talk.wide(rows, 0.0, "split", rest=True).result(60)
    assert sums == [float(value) for value in range(9)]
    assert talk.runs("split") == 3


def test_a_version_without_a_file_is_not_batched(talk: Talk) -> None:
    assert talk.wide([[1.0]] * 5, 0.0, "alone").result(60) == ([1.0] * 5, 5)
    assert talk.runs("alone") == 0


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (
            {"rows": [[1.0], [2.0]], "seconds": [0.0]},
            "Batching Run() input tensors must have equal 0th-dimension size",
        ),
        (
            {"rows": [[1.0]], "seconds": 0.0},
            "Batching Run() input tensors must have at least one dimension",
        ),
    ],
)
def test_inputs_without_a_common_0th_dimension(
    talk: Talk, inputs: dict[str, Any], text: str
) -> None:
    body = {"signature_name": "wide", "inputs": inputs}
    answer = talk.server.predict("slow", body)
    assert (answer.status_code, answer.json()) == (400, {"error": text})
    ask = Ask({name: ("float", value) for name, value in inputs.items()}, "slow", signature="wide")
    refused = talk.stubs.refused(
        talk.stubs.prediction.Predict, talk.stubs.predict_request(ask, content=False)
    )
    assert refused == ("INVALID_ARGUMENT", text)


def test_outputs_that_cannot_be_told_apart(talk: Talk) -> None:
    body = {"signature_name": "total", "inputs": [1.0, 2.0]}
    answer = talk.server.predict("slow", body)
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": "Batched output tensor has 0 dimensions"},
    )
    assert talk.server.predict("alone", body).json() == {"outputs": 3.0}


def test_a_deadline_passes_in_the_queue(talk: Talk) -> None:
    run = talk.held().hold()
    held = talk.wide([[1.0]], run)
    talk.held().wait_for(run)
    ask = Ask({"rows": ("float", [[7.0]]), "seconds": ("float", [0.0])}, "slow", signature="wide")
    request = talk.stubs.predict_request(ask, content=False)
    before = talk.runs()
    code, _ = talk.stubs.refused(
        lambda message: talk.stubs.prediction.Predict(message, timeout=0.5), request
    )
    assert code == "DEADLINE_EXCEEDED"
    assert not held.done()
    talk.held().let_go(run)
    assert held.result(60) == ([1.0], 1)
    assert talk.wide([[1.0]], 0.0).result(60) == ([1.0], 1)
    eventually("only two have run", lambda: talk.runs() == before + 2)


def test_thirty_two_threads_get_their_own_sums(talk: Talk) -> None:
    wrong: list[Any] = []

    def client(number: int) -> None:
        for turn in range(10):
            values = [float(1000 * number + 10 * turn + row) for row in range(number % 3 + 1)]
            if number % 2:
                answer = talk.server.predict("double", {"inputs": values}).json().get("outputs")
            else:
                ask = Ask({"x": ("float", values)}, "double")
                reply = talk.stubs.prediction.Predict(
                    talk.stubs.predict_request(ask, content=False)
                )
                answer = list(reply.outputs["y"].float_val)
            if answer != [2 * value + 1 for value in values]:
                wrong.append((values, answer))

    clients = [threading.Thread(target=client, args=(number,)) for number in range(32)]
    for one in clients:
        one.start()
    for one in clients:
        one.join(60)
    assert wrong == []
    labels = '{model="double",signature="serving_default",version="1"}'
    assert talk.metric(f"slipway_batch_request_size_count{labels}") == 320
    assert talk.metric(f"slipway_batch_size_count{labels}") < 320


def test_the_classic_metrics(talk: Talk) -> None:
    classic = ":tensorflow:serving:batching_session:"
    assert talk.metric(classic + "wrapped_run_count") > 0
    assert talk.metric(classic + 'queuing_latency_count{thread_pool_name="bread"}') > 0
    assert talk.metric(classic + 'padding_size_sum{execution_batch_size="6"}') == 9
    assert talk.metric(classic + "input_batch_size_count") >= 320
    assert talk.metric(classic + "processed_batch_size_sum") >= 320


def test_metadata_are_the_models_own(talk: Talk) -> None:
    body = talk.server.get("/v1/models/slow/metadata").json()
    assert "wide" in body["metadata"]["signature_def"]["signature_def"]


@pytest.mark.parametrize(
    ("flag", "text", "message"),
    [
        (
            "batching_parameters",
            "max_batch_size { value: 4 } allowed_batch_sizes: 2",
            "INVALID_ARGUMENT: Last entry in allowed_batch_sizes must match max_batch_size; last entry was 2; ",
        ),
        ("batching_parameters_file", "nonsense", "INVALID_ARGUMENT: Invalid protobuf file: '"),
    ],
)
def test_parameters_that_cannot_be_used_end_the_start(
    tmp_path: Path, flag: str, text: str, message: str
) -> None:
    if flag.endswith("_file"):
        (tmp_path / "batching.pbtxt").write_text(text)
        text = str(tmp_path / "batching.pbtxt")
    with running(
        tmp_path, f"--model_base_path={tmp_path}", "--enable_batching", f"--{flag}={text}"
    ) as server:
        assert server.process.wait(60) == 255
        assert f"Failed to start server. Error: {message}" in server.log_path.read_text()
