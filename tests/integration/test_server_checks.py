"""Checks: requests of an export whose answers are known, which a version must pass before it serves."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import warmups
from loaders import servable_loader
from modelserver import eventually, running


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("counting") / "1"
    warmups.save_counting(directory)
    return directory


@pytest.fixture
def directory(counting: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(counting, tmp_path / "1"))


def load(directory: Path, **options: Any) -> Any:
    from slipway_server.loading.checks import CheckLoader

    return CheckLoader(servable_loader(), **options).load("m", 1, str(directory))


def as_json(message: Any) -> Any:
    from google.protobuf import json_format

    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def request(record: bytes) -> Any:
    from tensorflow_serving.apis import prediction_log_pb2

    return as_json(prediction_log_pb2.PredictionLog.FromString(record))


def value(values: Any, kind: str = "float32") -> Any:
    import tensorflow as tf

    return as_json(tf.make_tensor_proto(values, kind))


def check(record: bytes, output: str, expected: Any, name: str = "first", **rule: Any) -> Any:
    return {
        "name": name,
        "request": request(record),
        "outputs": {output: {"value": expected, **rule}},
    }


def write(directory: Path, *checks: Any) -> Path:
    path = directory / "assets.extra" / "slipway_checks"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in checks))
    return path


def sum_is(expected: float, **rule: float) -> Any:
    """Return a check of 2 × 1."""
    return check(warmups.predict(), "y", value([[expected]]), **rule)


GOOD: list[tuple[str, Callable[[], Any]]] = [
    ("predict", lambda: sum_is(2.0)),
    ("within its tolerance", lambda: sum_is(2.1, relative=0.1)),
    (
        "no number",
        lambda: check(warmups.predict(values=[[float("nan")]]), "y", value([[float("nan")]])),
    ),
    ("scores", lambda: check(warmups.examples("classify"), "scores", value([[6.0]]))),
    (
        "strings",
        lambda: check(warmups.examples("classify"), "classes", value([[b"6.000000"]], "string")),
    ),
    ("values", lambda: check(warmups.examples("regress"), "values", value([6.0]))),
    ("several at once", lambda: check(warmups.multi_inference(), "regress/values", value([6.0]))),
]


@pytest.mark.parametrize("made", [pytest.param(row[1], id=row[0]) for row in GOOD])
def test_a_version_that_answers_as_recorded_is_served(
    directory: Path, made: Callable[[], Any]
) -> None:
    write(directory, made())
    model = load(directory)
    # The model counts its runs: the check did run.
    assert int(model.run(model.signatures["count"], {}, ("count",))[0]) == 1


WRONG: list[tuple[str, Callable[[], Any], str]] = [
    ("another value", lambda: sum_is(3.0), 'output "y" is 2.0 instead of 3.0 at [0, 0] (1 of 1'),
    ("beyond the tolerance", lambda: sum_is(3.0, absolute=0.5), "and 0.5 is tolerated"),
    (
        "a number for none",
        lambda: check(warmups.predict(), "y", value([[float("nan")]]), absolute=9.0),
        "is 2.0 instead of nan",
    ),
    (
        "another string",
        lambda: check(warmups.examples("classify"), "classes", value([[b"7"]], "string")),
        """output "classes" is b'6""",
    ),
    (
        "no such output",
        lambda: check(warmups.predict(), "z", value([[1.0]])),
        'output "z" is not there (there are y)',
    ),
    (
        "a request that fails",
        lambda: check(warmups.predict("nobody"), "y", value([[1.0]])),
        'Serving signature key "nobody" not found.',
    ),
]


@pytest.mark.parametrize(("made", "words"), [pytest.param(*row[1:], id=row[0]) for row in WRONG])
def test_one_that_answers_otherwise_is_not(
    directory: Path, made: Callable[[], Any], words: str
) -> None:
    from slipway_server.errors import Code, ServingError

    write(directory, check(warmups.predict(), "y", value([[2.0]]), name="before"), made())
    with pytest.raises(ServingError) as error:
        load(directory)
    assert error.value.code is Code.FAILED_PRECONDITION
    assert error.value.message.startswith('Check "first" of version 1 of model m failed: ')
    assert words in error.value.message
    assert "--checks=false" in error.value.message


def replaced(**fields: Any) -> bytes:
    return json.dumps({**sum_is(2.0), **fields}).encode()


def output(**fields: Any) -> bytes:
    return replaced(outputs={"y": {"value": value([[2.0]]), **fields}})


BROKEN: list[tuple[str, Callable[[], bytes], str]] = [
    ("empty", bytes, "has no checks"),
    ("no JSON", lambda: b"\xff\xfe{", "line 1: it is no JSON"),
    ("a list", lambda: b"[1]", "line 1: it must be a JSON object"),
    ("deep", lambda: b"[" * 100_000, "line 1: it is no JSON"),
    ("deep inside", lambda: replaced(request=json.loads('{"a":' * 200 + "1" + "}" * 200)), "is no"),
    ("a later key", lambda: replaced(weight=2), 'has "weight", which this release does not know'),
    ("no request", lambda: replaced(request={}), '"request" is an empty PredictionLog'),
    ("a request of another kind", lambda: replaced(request={"x": 1}), '"request" is no Predict'),
    ("nothing expected", lambda: replaced(outputs={}), '"outputs" must be an object'),
    ("no name", lambda: replaced(name=""), '"name" must be a string of 1 to 100'),
    ("a name twice", lambda: replaced() + b"\n" + replaced(), 'line 2: "first" is the name'),
    ("a tolerance below 0", lambda: output(absolute=-1), "must be numbers from 0 on, not -1"),
    ("a true tolerance", lambda: output(relative=True), "must be numbers from 0 on, not True"),
    ("a text", lambda: output(relative="1%"), "must be numbers from 0 on, not 1%"),
    (
        "huge",
        lambda: output(
            value={"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "99999999999"}]}}
        ),
        "has 99999999999 values, more than 16777216",
    ),
    (
        "too few bytes",
        lambda: output(
            value={
                "dtype": "DT_FLOAT",
                "tensor_shape": {"dim": [{"size": "2"}]},
                "tensor_content": "AAAA",
            }
        ),
        'the value of output "y" is no tensor',
    ),
]


@pytest.mark.parametrize(("made", "words"), [pytest.param(*row[1:], id=row[0]) for row in BROKEN])
def test_a_broken_file_is_named(directory: Path, made: Callable[[], bytes], words: str) -> None:
    from slipway_server.errors import Code, ServingError

    path = write(directory)
    path.write_bytes(made())
    with pytest.raises(ServingError) as error:
        load(directory)
    assert error.value.code is Code.INVALID_ARGUMENT
    assert str(path) in error.value.message
    assert words in error.value.message


def test_a_file_that_never_ends_is_not_read(directory: Path) -> None:
    from slipway_server.errors import ServingError

    path = write(directory)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ServingError, match="is no regular file"):
        load(directory)
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(ServingError, match="is a link to nothing"):
        load(directory)


def test_checks_have_bounds(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from slipway_server.errors import Code, ServingError
    from slipway_server.loading import checks

    several = [check(warmups.predict(), "y", value([[2.0]]), name=str(n)) for n in range(3)]
    path = write(directory, *several)
    ticks = iter(range(0, 1000, 10))
    with pytest.raises(ServingError, match=r"are not over after 15 s \(1 have passed\)") as error:
        load(directory, seconds=15.0, clock=lambda: float(next(ticks)))
    assert error.value.code is Code.FAILED_PRECONDITION
    monkeypatch.setattr(checks, "MAX_CHECKS", 2)
    with pytest.raises(ServingError, match="has more than 2 checks"):
        load(directory)
    monkeypatch.setattr(checks, "MAX_BYTES", path.stat().st_size - 1)
    with pytest.raises(ServingError, match="leave out some checks"):
        load(directory)


def test_what_fails_its_checks_is_released(directory: Path) -> None:
    from slipway_server.errors import ServingError
    from slipway_server.loading.checks import CheckLoader

    write(directory, sum_is(3.0))
    loader = CheckLoader(servable_loader())
    released: list[Any] = []
    unload = loader._loader.unload
    loader._loader.unload = lambda content: (released.append(content), unload(content))
    with pytest.raises(ServingError):
        loader.load("m", 1, str(directory))
    assert len(released) == 1


def test_checks_can_be_left_out(directory: Path) -> None:
    from slipway_server.errors import ServingError
    from slipway_server.loading.chain import make_loader
    from slipway_server.settings.command_line import parse
    from slipway_server.settings.server import settings

    write(directory, sum_is(3.0))
    flags = [f"--model_base_path={directory.parent}"]
    with pytest.raises(ServingError, match=r"instead of 3\.0"):
        make_loader(settings(parse(flags).values, cpus=2)).load("m", 1, str(directory))
    unchecked = make_loader(settings(parse([*flags, "--checks=false"]).values, cpus=2))
    unchecked.unload(unchecked.load("m", 1, str(directory)))


def test_a_server_does_not_serve_what_answers_otherwise(directory: Path, counting: Path) -> None:
    base = directory.parent
    write(directory, sum_is(2.0))
    write(Path(shutil.copytree(counting, base / "2")), sum_is(3.0))
    flags = ("--model_name=m", f"--model_base_path={base}", "--drain_seconds=0")
    with running(base, *flags) as server:
        eventually("the newest version has failed", lambda: server.states("m").get(2) == "END")
        status = server.get("/v1/models/m/versions/2").json()["model_version_status"][0]["status"]
        assert status["error_code"] == "FAILED_PRECONDITION"
        assert 'Check "first" of version 2 of model m failed: output "y"' in status["error_message"]
