"""`slipway-server record-checks`: what it writes is what the server then compares with."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import odd_exports
import session_bundles
import warmups

TIMEOUT = 120
GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "server-models.md"
CHECKS = Path("assets.extra") / "slipway_checks"


def save_weighted(directory: Path, weight: float) -> None:
    """Save `y = weight x`, with a text, a number and a flag about it, and outputs that are random."""

    def build(tf: Any) -> dict[str, Any]:
        w = tf.get_variable("w", initializer=weight, use_resource=True)
        x = tf.placeholder(tf.float32, [None], name="x")
        y = x * w
        noise = tf.random_uniform(tf.shape(x), dtype=tf.float64)
        outputs = {
            "y": y,
            "low": tf.cast(y, tf.bfloat16),
            "rounded": tf.cast(tf.round(y), tf.int64),
            "text": tf.as_string(y),
            "positive": y > 0.0,
        }
        serialized = tf.placeholder(tf.string, [None], name="tf_example")
        features = tf.parse_example(serialized, {"x": tf.FixedLenFeature([1], tf.float32)})
        score = features["x"] * w
        info = tf.saved_model.build_tensor_info
        examples = {"inputs": info(serialized)}
        define = tf.saved_model.build_signature_def
        return {
            "serving_default": odd_exports.signature(tf, {"x": x}, outputs),
            "random": odd_exports.signature(
                tf, {"x": x}, {"noise": noise, "drawn": tf.as_string(noise), "y": y}
            ),
            "classify": define(examples, {"scores": info(score)}, "tensorflow/serving/classify"),
            "regress": define(examples, {"outputs": info(score)}, "tensorflow/serving/regress"),
        }

    odd_exports.save_tf1(directory, build)


def save_bundle(directory: Path, weight: float) -> None:
    def build(tf: Any) -> dict[str, Any]:
        w = tf.get_variable("w", initializer=weight, use_resource=False)
        x = tf.placeholder(tf.float32, [None], name="x")
        tf.multiply(w, x, name="y")
        return {}

    named = {
        "inputs": session_bundles.generic(x="x:0"),
        "outputs": session_bundles.generic(y="y:0"),
    }
    base = directory.parent / f"bundle-{weight}"
    session_bundles.export_bundle(
        base, 1, build, named=named, variables=session_bundles.Format.V2
    ).rename(directory)


def save_lite(directory: Path, weight: float) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])  # type: ignore[untyped-decorator]
    def call(x: Any) -> Any:
        return weight * x

    converter = tf.lite.TFLiteConverter.from_concrete_functions([call.get_concrete_function()])
    directory.mkdir()
    (directory / "model.tflite").write_bytes(converter.convert())


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports by name, with the weights 2 and 3."""
    root = tmp_path_factory.mktemp("exports")
    for weight in (2, 3):
        save_weighted(root / f"saved-{weight}", float(weight))
        save_bundle(root / f"bundle-{weight}", float(weight))
        save_lite(root / f"lite-{weight}", float(weight))
    return root


@pytest.fixture
def export(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved / "saved-2", tmp_path / "sum" / "3"))


def record(*arguments: str) -> str:
    """Run the command in this process, and return what it says."""
    from slipway_server.recording.command import record_checks
    from slipway_server.recording.options import read_options
    from slipway_server.settings.command_line import parse
    from slipway_server.settings.server import settings

    options = read_options(arguments)
    flags = [*options.server, f"--model_base_path={options.export}", "--checks=false"]
    return record_checks(options, settings(parse(flags).values, cpus=2))


def load(directory: Path, *flags: str) -> None:
    """Load a version as the server does, with its checks."""
    from slipway_server.loading.chain import make_loader
    from slipway_server.settings.command_line import parse
    from slipway_server.settings.server import settings

    values = parse([*flags, f"--model_base_path={directory.parent}"]).values
    loader = make_loader(settings(values, cpus=2))
    loader.unload(loader.load("m", 1, str(directory)))


def requests(export: Path, *bodies: Any) -> str:
    """Write requests beside an export, and return the option that names them."""
    file = export.parent / "requests.jsonl"
    lines = (body if isinstance(body, str) else json.dumps(body) for body in bodies)
    file.write_text("".join(line + "\n" for line in lines))
    return f"--requests={file}"


def written(export: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (export / CHECKS).read_text().splitlines()]


ROWS = {"instances": [1.5, -2.0]}
FORMATS: list[tuple[str, tuple[str, ...]]] = [
    ("saved", ()),
    ("bundle", ()),
    ("lite", ("--prefer_tflite_model",)),
]


@pytest.mark.parametrize(("name", "flags"), [pytest.param(*row, id=row[0]) for row in FORMATS])
def test_what_was_recorded_passes_and_another_weight_does_not(
    saved: Path, tmp_path: Path, name: str, flags: tuple[str, ...]
) -> None:
    from slipway_server.errors import ServingError

    export = Path(shutil.copytree(saved / f"{name}-2", tmp_path / "sum" / "3"))
    said = record(str(export), requests(export, ROWS, "", {"inputs": [0.25]}), *flags)
    assert said.startswith(f"Wrote 2 checks to {export / CHECKS} (")
    assert [one["name"] for one in written(export)] == ["line 1", "line 3"]
    load(export, *flags)
    other = Path(shutil.copytree(saved / f"{name}-3", tmp_path / "sum" / "4"))
    shutil.copytree(export / CHECKS.parent, other / CHECKS.parent, dirs_exist_ok=True)
    with pytest.raises(
        ServingError, match=r'Check "line 1" of version 1 of model m failed: output'
    ):
        load(other, *flags)


def test_each_type_has_its_tolerance(export: Path) -> None:
    record(str(export), requests(export, ROWS))
    rules = {
        alias: (one.get("absolute", 0), one.get("relative", 0))
        for alias, one in written(export)[0]["outputs"].items()
    }
    assert rules == {
        "y": (1e-5, 1e-3), "low": (1e-2, 2e-2), "rounded": (0, 0), "text": (0, 0), "positive": (0, 0),
    }  # fmt: skip
    options = ["--tolerance=0.5", "--relative_tolerance=0.1", "--force"]
    options += ["--relative_tolerance=low=0", "--tolerance=rounded=1"]
    record(str(export), requests(export, ROWS), *options, "--without-output=text")
    rules = {
        alias: (one.get("absolute", 0), one.get("relative", 0))
        for alias, one in written(export)[0]["outputs"].items()
    }
    assert rules == {"y": (0.5, 0.1), "low": (0.5, 0), "rounded": (1, 0), "positive": (0, 0)}


def test_examples_go_to_the_method_of_their_signature(export: Path) -> None:
    examples = [{"x": 1.5}, {"x": 2.0}]
    bodies = [{"signature_name": one, "examples": examples} for one in ("classify", "regress")]
    record(str(export), requests(export, *bodies))
    assert [list(one["outputs"]) for one in written(export)] == [["scores"], ["values"]]
    load(export)


def test_the_exports_own_warm_up_requests_are_the_default(export: Path) -> None:
    records = [warmups.predict(values=[1.0]), warmups.examples("regress", context=True)]
    warmups.write_records(export, records)
    record(str(export))
    assert [one["name"] for one in written(export)] == ["record 1", "record 2"]
    load(export)


def test_what_a_logged_request_was_answered_then_is_not_written(export: Path) -> None:
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog.FromString(warmups.predict(values=[1.0]))
    log.predict_log.response.outputs["y"].string_val.append(b"long ago")
    log.log_metadata.saved_model_tags.append("serve")
    warmups.write_records(export, [log.SerializeToString()])
    record(str(export))
    (check,) = written(export)
    assert check["request"].keys() == {"predict_log"}
    assert check["request"]["predict_log"].keys() == {"request"}


def test_what_is_random_is_refused_by_name(export: Path) -> None:
    from slipway_server.recording.errors import RefusedError

    asked = requests(export, {"signature_name": "random", "instances": [1.0]})
    with pytest.raises(RefusedError) as refused:
        record(str(export), asked)
    message = refused.value.message
    assert "the second time line 1 was run, output " in message
    assert '"noise"' in message
    assert '"drawn"' in message
    assert '"y"' not in message
    assert "--without_output=" in message
    assert not (export / CHECKS.parent).exists(), "nothing was written"
    record(str(export), asked, "--without_output=drawn", "--tolerance=noise=1")
    load(export)


def test_what_a_later_request_changes_is_refused(tmp_path: Path) -> None:
    from slipway_server.recording.errors import RefusedError

    export = tmp_path / "1"
    warmups.save_counting(export)
    asked = requests(export, {"signature_name": "count", "inputs": {}}, {"instances": [[1.0]]})
    with pytest.raises(RefusedError, match=r'line 1 was run, output "count" is 1 instead of 0'):
        record(str(export), asked)


WRONG: list[tuple[str, Callable[[Path], list[str]], str]] = [
    ("no directory", lambda export: [f"{export}x"], "3x does not exist"),
    ("a model", lambda export: [str(export.parent)], "is a model: name one of its versions, such as"),
    ("no requests", lambda export: [str(export)], "has no warm-up requests (assets.extra/tf_serving_"),
    ("no such file", lambda export: [str(export), "--requests=/nowhere"], "/nowhere does not exist"),
    ("a directory", lambda export: [str(export), "--requests=/"], "/ cannot be read: Is a directory"),
    ("an empty file", lambda export: [str(export), requests(export)], "no requests in the file"),
    ("no JSON", lambda export: [str(export), requests(export, ROWS, "{")], "Line 2 of "),
    ("a list", lambda export: [str(export), requests(export, [1])], "is no request: JSON Value"),
    ("deep", lambda export: [str(export), requests(export, "[" * 90_000)], "Line 1 of "),
    (
        "no such signature",
        lambda export: [str(export), requests(export, {"signature_name": "nobody", **ROWS})],
        'there is no signature "nobody" (there are classify, random,',
    ),
    (
        "examples for Predict",
        lambda export: [str(export), requests(export, {"examples": [{"x": 1.0}]})],
        'use "instances" or "inputs"',
    ),
    (
        "no such output",
        lambda export: [str(export), requests(export, ROWS), "--tolerance=z=1"],
        'No request has an output "z": there are low, positive, rounded, text, y',
    ),
    (
        "a tolerance for a text",
        lambda export: [str(export), requests(export, ROWS), "--tolerance=text=1"],
        'Output "text" is of type string, and cannot have a tolerance',
    ),
    (
        "nothing left",
        lambda export: [
            str(export), requests(export, {"signature_name": "regress", "examples": [{"x": 1.0}]}),
            "--without_output=values",
        ],
        "All outputs of line 1 are left out (values)",
    ),
    (
        "no manifest",
        lambda export: [str(export), requests(export, ROWS), "--update_sha256sums"],
        "--update_sha256sums needs a file",
    ),
    (
        "no folder",
        lambda export: [str(export), requests(export, ROWS), "--out=/nowhere/checks"],
        "/nowhere is no directory",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("made", "words"), [pytest.param(*row[1:], id=row[0]) for row in WRONG])
def test_a_mistake_is_one_sentence_and_nothing_is_written(
    export: Path, made: Callable[[Path], list[str]], words: str
) -> None:
    from slipway_server.errors import ServingError

    with pytest.raises(ServingError) as error:
        record(*made(export))
    assert words in error.value.message
    assert "\n" not in error.value.message
    assert not (export / CHECKS.parent).exists()


def test_requests_and_answers_have_bounds(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from slipway_server.errors import ServingError
    from slipway_server.recording import recorder

    asked = requests(export, *[ROWS] * 3)
    monkeypatch.setattr(recorder, "MAX_CHECKS", 2)
    with pytest.raises(ServingError, match="There are more than 2 requests"):
        record(str(export), asked)
    monkeypatch.setattr(recorder, "MAX_CHECKS", 3)
    monkeypatch.setattr(recorder, "MAX_BYTES", 1000)
    with pytest.raises(ServingError, match="The answers up to line 2 need more than"):
        record(str(export), asked)
    assert not (export / CHECKS.parent).exists()


def test_a_file_that_is_there_stays_unless_forced_and_no_half_of_one_is_seen(
    export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slipway_server.errors import Code, ServingError

    asked = requests(export, ROWS)
    (export / CHECKS).parent.mkdir()
    (export / CHECKS).write_text("by hand")
    (export / CHECKS).chmod(0o640)
    with pytest.raises(ServingError, match="--force replaces it") as error:
        record(str(export), asked)
    assert error.value.code is Code.ALREADY_EXISTS

    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(ServingError, match="cannot be written: No space left on device"):
            record(str(export), asked, "--force")
    assert (export / CHECKS).read_text() == "by hand"
    assert [path.name for path in (export / CHECKS).parent.iterdir()] == ["slipway_checks"]
    record(str(export), asked, "--force")
    assert len(written(export)) == 1
    assert (export / CHECKS).stat().st_mode & 0o777 == 0o640


def test_the_guide_shows_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = GUIDE.read_text(encoding="utf-8")
    shown = page[page.index("$ cat requests.jsonl\n") :].splitlines()
    shown = shown[: shown.index("```")]
    (at,) = (
        n for n, line in enumerate(shown) if line.startswith("$ slipway-server record-checks ")
    )

    def build(tf: Any) -> dict[str, Any]:
        x = tf.placeholder(tf.float32, [None, 4], name="x")
        y = tf.reduce_sum(x, axis=1, keepdims=True)
        return {"serving_default": odd_exports.signature(tf, {"keras_tensor": x}, {"output_0": y})}

    odd_exports.save_tf1(tmp_path / "models" / "sum" / "1", build)
    monkeypatch.chdir(tmp_path)
    Path("requests.jsonl").write_text("".join(line + "\n" for line in shown[1:at]))
    said = record(*shown[at].removeprefix("$ slipway-server record-checks ").split())
    assert said.splitlines() == shown[at + 1 :]
    load(tmp_path / "models" / "sum" / "1")


def verified(export: Path) -> Any:
    """Judge an export as `slipway verify --checksums` does, with the checks of the sync agent."""
    from slipway_cli.exports.location import Location
    from slipway_cli.exports.verification import verify
    from slipway_sync.exports import Requirements
    from slipway_sync.stores import MountedStore

    location = Location(MountedStore(export.parent, ""), export.name, str(export), 3)
    return asyncio.run(
        verify(location, Requirements(), content=True, report=lambda _done, _total: None)
    )


def test_a_manifest_covers_the_checks(export: Path) -> None:
    files = [path for path in sorted(export.rglob("*")) if path.is_file()]
    manifest = export / "SHA256SUMS"
    manifest.write_text(
        "".join(
            f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(export)}\n"
            for path in files
        )
    )
    before = manifest.read_text()
    said = record(str(export), requests(export, ROWS))
    assert f"{manifest} lacks the digest of these checks: make it anew" in said
    assert manifest.read_text() == before
    (export / "SHA256SUMS.sig").write_bytes(bytes(64))
    said = record(str(export), requests(export, ROWS), "--force", "--update_sha256sums")
    assert said.endswith(f"Updated {manifest}: sign it again (SHA256SUMS.sig)\n")
    assert manifest.read_text().startswith(before)
    found = verified(export)
    assert found.complete, found.message
    record(str(export), requests(export, ROWS), "--force", "--tolerance=0.5")
    assert verified(export).object == CHECKS.as_posix()
    record(str(export), requests(export, ROWS), "--force", "--update_sha256sums")
    assert verified(export).complete
    assert manifest.read_text().count(CHECKS.as_posix()) == 1


def test_the_program_writes_them_and_says_what_is_wrong(export: Path) -> None:
    def program(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "slipway_server", "record-checks", *arguments],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    asked = requests(export, {"signature_name": "random", "instances": [1.0]})
    done = program(str(export), asked)
    assert (done.returncode, done.stdout) == (65, "")
    assert "Traceback" not in done.stderr
    assert "trial run" not in done.stderr, "warnings are the server's"
    sentence = done.stderr.splitlines()[-1]  # TensorFlow may have said something before
    assert "record-checks: The export does not always answer alike: the second time" in sentence
    done = program(str(export), asked, "--without_output=noise", "--without_output=drawn")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Wrote 1 check to {export / CHECKS} (")
    load(export)
