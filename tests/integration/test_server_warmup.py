"""Warm-up (§10): what a version's recorded requests do before it serves, in this process and in a server."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import warmups
from exchanges import Ask, Stubs
from loaders import servable_loader
from modelserver import eventually, running


@dataclass
class Observed:
    """Takes note of warm-ups."""

    seen: list[tuple[str, str, int, str]] = field(default_factory=list)

    def warmed_up(
        self, model: str, path: str, records: int, seconds: float, error: Exception | None
    ) -> None:
        assert seconds >= 0
        self.seen.append((model, path, records, str(error) if error else "OK"))


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("counting") / "1"
    warmups.save_counting(directory)
    return directory


@pytest.fixture
def directory(counting: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(counting, tmp_path / "1"))


def loader(observer: Any = None, **rule: Any) -> Any:
    from slipway_server.loading.warmup import WarmUpLoader, WarmUpRule

    return WarmUpLoader(servable_loader(), WarmUpRule(**rule), observer)


def count(model: Any) -> int:
    return int(model.run(model.signatures["count"], {}, ("count",))[0])


RECORDS: list[tuple[str, Any, int]] = [
    ("predict", warmups.predict, 1),
    ("classify", lambda: warmups.examples("classify"), 1),
    ("regress", lambda: warmups.examples("regress"), 1),
    ("regress with a context", lambda: warmups.examples("regress", context=True), 1),
    ("multi-inference", warmups.multi_inference, 1),
    ("a record of nothing", bytes, 0),
]


@pytest.mark.parametrize(("record", "runs"), [pytest.param(*row[1:], id=row[0]) for row in RECORDS])
def test_each_kind_of_record_is_run(directory: Path, record: Any, runs: int) -> None:
    warmups.write_records(directory, [record()])
    observed = Observed()
    assert count(loader(observed).load("m", 1, str(directory))) == runs
    assert observed.seen == [("m", str(directory), 1, "OK")]


def test_every_record_is_run_as_often_as_asked(directory: Path) -> None:
    warmups.write_records(directory, [warmups.predict(), warmups.examples("classify")])
    assert count(loader(iterations=3).load("m", 1, str(directory))) == 6


def test_no_file_is_no_failure(directory: Path) -> None:
    observed = Observed()
    assert count(loader(observed).load("m", 1, str(directory))) == 0
    assert not observed.seen


REFUSED: list[tuple[str, Any, str, str]] = [
    (
        "a request that fails",
        lambda: warmups.predict(values=[["a"]], kind="string"),
        "INVALID_ARGUMENT",
        "string",
    ),
    (
        "an unknown signature",
        lambda: warmups.predict("nobody"),
        "FAILED_PRECONDITION",
        'Serving signature key "nobody" not found.',
    ),
    (
        "a session run",
        lambda: warmups.unsupported("session_run_log"),
        "UNIMPLEMENTED",
        "Unsupported log_type for warmup: 5",
    ),
    (
        "a streamed predict",
        lambda: warmups.unsupported("predict_streamed_log"),
        "UNIMPLEMENTED",
        "Unsupported log_type for warmup: 7",
    ),
    (
        "no message",
        lambda: b"not a message",
        "INVALID_ARGUMENT",
        "Failed to parse warmup record: not a message from ",
    ),
    (
        "no examples",
        lambda: warmups.unsupported("regress_log"),
        "INVALID_ARGUMENT",
        "",
    ),
]


@pytest.mark.parametrize(
    ("record", "code", "message"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED]
)
def test_a_record_that_fails_fails_the_load(
    directory: Path, record: Any, code: str, message: str
) -> None:
    from slipway_server.errors import ServingError

    warmups.write_records(directory, [warmups.predict(), record()])
    observed = Observed()
    with pytest.raises(ServingError) as error:
        loader(observed).load("m", 1, str(directory))
    assert error.value.code.name == code
    assert message in error.value.message
    assert observed.seen == [("m", str(directory), 1, str(error.value))]


def test_a_file_of_something_else(directory: Path) -> None:
    from slipway_server.errors import Code, ServingError

    path = warmups.write_records(directory, [warmups.predict()])
    whole = path.read_bytes()
    for content in (b"{}" * 40, whole[:-1], whole[:-6] + b"\0" + whole[-5:]):
        path.write_bytes(content)
        with pytest.raises(ServingError) as error:
            loader().load("m", 1, str(directory))
        assert error.value.code is Code.DATA_LOSS
        assert error.value.message.endswith(
            ". Please verify your warmup data is in TFRecord format."
        )


@pytest.mark.parametrize(("records", "refused"), [(1000, False), (1001, True)])
def test_a_thousand_records_are_enough(directory: Path, *, records: int, refused: bool) -> None:
    from slipway_server.errors import ServingError

    path = warmups.write_records(directory, [b""] * records)
    if not refused:
        loader().load("m", 1, str(directory))
        return
    with pytest.raises(ServingError) as error:
        loader().load("m", 1, str(directory))
    assert error.value.message == (f"Number of warmup records exceeds the maximum (1000) at {path}")


def test_a_failed_warm_up_releases_what_was_loaded(directory: Path) -> None:
    from slipway_server.errors import ServingError

    warmups.write_records(directory, [warmups.predict("nobody")])
    warming = loader()
    released: list[Any] = []
    unload = warming._loader.unload
    warming._loader.unload = lambda content: (released.append(content), unload(content))
    with pytest.raises(ServingError):
        warming.load("m", 1, str(directory))
    assert len(released) == 1


def test_a_server_warms_up_before_it_serves(directory: Path, counting: Path) -> None:
    base = directory.parent
    warmups.write_records(directory, [warmups.predict(), warmups.multi_inference()])
    warmups.write_records(Path(shutil.copytree(counting, base / "2")), [warmups.predict("nobody")])
    config = base / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{base}" model_platform: "tensorflow" '
        "model_version_policy { all {} } } }"
    )
    flags = (
        f"--model_config_file={config}",
        "--num_request_iterations_for_warmup=2",
        "--isolated_first_load=false",
        "--drain_seconds=0",
    )
    with running(base, *flags) as server:

        def settled() -> bool:
            return server.states("m") == {1: "AVAILABLE", 2: "END"}

        eventually("version 1 serves and version 2 has failed", settled)
        status = server.get("/v1/models/m/versions/2").json()["model_version_status"][0]
        assert status["status"] == {
            "error_code": "FAILED_PRECONDITION",
            "error_message": 'Serving signature key "nobody" not found.',
        }
        stubs = Stubs(server.target)
        request = stubs.predict_request(Ask({}, "m", signature="count"), content=False)
        reply = stubs.prediction.Predict(request)
        stubs.channel.close()
        assert reply.outputs["count"].int_val == [4]
        page = server.get("/monitoring/prometheus/metrics").text
        assert f':model_warmup_records_read{{model_path="{directory}",status="OK"}} 2.0' in page
        assert 'slipway_model_warmup_seconds_count{model="m",outcome="FAILED_PRECONDITION"}' in page
        assert "deprecated" not in server.log_path.read_text()
