"""`slipway` against a real server: predictions over both protocols, signatures, batches that are killed."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelserver import ModelServer, eventually, running
from savedmodels import save_columns, save_double, save_kinds

ROOT = Path(__file__).parents[2]
TIMEOUT = 90
EXPORTS = {"double/1": 1, "double/2": 2}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for path, version in EXPORTS.items():
        save_double(root / path, version)
    save_columns(root / "columns" / "1")
    save_kinds(root / "kinds" / "1")
    return root


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    directory = tmp_path_factory.mktemp("server")
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{models / name}" model_platform: "tensorflow" '
        f"model_version_policy {{ all {{}} }} {labels} }}\n"
        for name, labels in (
            ("double", 'version_labels { key: "stable" value: 1 }'),
            ("columns", ""),
            ("kinds", ""),
        )
    )
    config = directory / "models.config"
    config.write_text(f"model_config_list {{ {entries} }}")
    with running(
        directory, f"--model_config_file={config}", "--allow_version_labels_for_unavailable_models"
    ) as started:
        yield started.wait_ready()


@pytest.fixture(params=["rest", "grpc"])
def url(request: pytest.FixtureRequest, server: ModelServer) -> str:
    return server.url if request.param == "rest" else f"grpc://{server.target}"


def slipway(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "slipway_cli", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def output(*arguments: str, stdin: str = "") -> Any:
    """What a command prints as JSON."""
    done = slipway(*arguments, "-o", "json", stdin=stdin)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_highest_version_answers_and_any_other_that_is_asked_for(url: str) -> None:
    asked = ["predict", "double", "-j", "[1.0, 2.5]", "-s", url]
    assert output(*asked) == {"predictions": [4.0, 7.0]}
    assert output(*asked, "--version", "1") == {"predictions": [3.0, 6.0]}
    assert output(*asked, "--label", "stable") == {"predictions": [3.0, 6.0]}


def test_instances_come_from_a_file_from_stdin_and_one_a_line(url: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text('{"instances": [1.0, 2.5]}')
    want = {"predictions": [4.0, 7.0]}
    assert output("predict", "double", "-j", str(file), "-s", url) == want
    assert output("predict", "double", "-j", "-", "-s", url, stdin="1.0\n2.5\n") == want


def test_images_and_texts_are_sent_as_they_are(url: str, tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    image.write_bytes(b"\x89PNG\xff\x00")
    asked = ["predict", "kinds", "--signature", "string", "-s", url]
    (text,) = output(*asked, "--text", "für alle")["predictions"]
    assert text == "für alle"
    done = slipway(*asked, "--image", str(image), "-o", "json")
    assert done.returncode == 0, done.stderr
    if url.startswith("grpc"):
        (found,) = json.loads(done.stdout)["predictions"]
        assert base64.b64decode(found["b64"]) == image.read_bytes()


def test_columns_and_rows_with_several_inputs(url: str) -> None:
    rows = [{"image": {"b64": "/w=="}, "k": 4}, {"image": "x", "k": 5}]
    (first, second) = output("predict", "columns", "-j", json.dumps(rows), "-s", url)["predictions"]
    assert first == {"raw_bytes": {"b64": "/w=="}, "text": "4", "next": 5}
    assert second["next"] == 6
    inputs = {"inputs": {"image": ["a"], "k": [1]}}
    found = output("predict", "columns", "-j", json.dumps(inputs), "-s", url)["outputs"]
    assert found["next"] == [2]


def test_every_element_type_comes_back_as_it_went(server: ModelServer) -> None:
    values = {
        "float": [1.5, -2.0], "double": [0.1], "half": [0.5, 65504.0], "bfloat16": [1.0, -0.0078125],
        "int8": [-128, 127], "uint8": [255], "int16": [-32768], "uint16": [65535], "int32": [-(2**31)],
        "int64": [2**63 - 1], "uint32": [2**32 - 1], "uint64": [2**64 - 1], "bool": [True, False],
        "string": ["ä", ""],
    }  # fmt: skip
    for kind, value in values.items():
        asked = ["predict", "kinds", "--signature", kind, "-s", f"grpc://{server.target}"]
        assert output(*asked, "-j", json.dumps(value))["predictions"] == value, kind
        nested = {"inputs": [[value, value]]}
        assert output(*asked, "-j", json.dumps(nested))["outputs"] == [[value, value]], kind


def test_a_table_has_a_column_for_each_output(url: str) -> None:
    rows = '[{"image": "x", "k": 5}]'
    done = slipway("predict", "columns", "-j", rows, "-s", url, "-o", "table")
    assert done.stdout.splitlines() == [
        "#   next   raw_bytes         text",
        '1   6      {"b64": "eA=="}   5',
    ]


def test_what_the_server_refuses_is_one_sentence(url: str, server: ModelServer) -> None:
    asked = ["-j", "[1.0]", "-s", url]
    for arguments, says in (
        (["doubel"], "doubel"),
        (["double", "--version", "9"], "double"),
        (["double", "--label", "canary"], "canary"),
        (["double", "--signature", "serving_defualt"], "serving_defualt"),
        (["columns"], "input"),
    ):
        done = slipway("predict", *arguments, *asked)
        assert done.returncode in {1, 2}, done.stderr
        assert done.stdout == ""
        assert says in done.stderr
        assert done.stderr.startswith("slipway: ")
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr
    # Each port with the other one's protocol.
    wrong = server.target if url.startswith("http") else server.url.replace("http", "grpc")
    done = slipway("predict", "double", "-j", "[1.0]", "-s", wrong)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr


def test_signatures_of_an_export_are_those_that_its_server_tells(url: str, models: Path) -> None:
    served = output("signatures", f"{url}/v1/models/columns")
    exported = output("signatures", str(models / "columns"))
    (of_server,), (of_export,) = served["graphs"], exported["graphs"]
    assert of_server["signatures"] == of_export["signatures"]
    assert served["version"] == exported["version"] == 1
    image = of_export["signatures"]["serving_default"]["inputs"]["image"]
    assert (image["dtype"], image["shape"]) == ("string", [-1])
    text = slipway("signatures", f"{url}/v1/models/columns/versions/1", "-o", "table").stdout
    assert "inputs    image       string [?]" in text


def test_an_export_is_verified_down_to_its_bytes(models: Path, tmp_path: Path) -> None:
    found = output("verify", str(models / "double"), "--checksums")
    assert (found["verdict"], found["version"]) == ("Complete", 2)
    assert found["digest"].startswith("sha256:")
    export = models / "double" / "1"
    for name, spoil, reason in (
        ("missing", lambda shard: shard.unlink(), "MissingShard"),
        ("short", lambda shard: shard.write_bytes(b""), "ShardTooShort"),
        (
            "damaged",
            lambda shard: shard.write_bytes(b"\xff" * shard.stat().st_size),
            "CorruptShard",
        ),
    ):
        copy = tmp_path / name / "1"
        for source in export.rglob("*"):
            if source.is_file():
                target = copy / source.relative_to(export)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read_bytes())
        (shard,) = copy.glob("variables/variables.data-*")
        spoil(shard)
        done = slipway("verify", str(copy), "--checksums", "-o", "json")
        assert done.returncode == 1
        assert json.loads(done.stdout)["reason"] == reason
        assert str(copy) in done.stderr


def transcripts(page: Path) -> list[tuple[str, str]]:
    """The commands that a page shows, with what it says they print."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```\n(\$ .*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return [(command, "\n".join(lines)) for command, lines in found]


def test_the_guide_shows_what_is_printed(server: ModelServer, models: Path, tmp_path: Path) -> None:
    """Page from top to bottom, in one directory; ports are the server's."""
    shutil.copytree(models, tmp_path / "models")
    ports = {"localhost:8501": f"127.0.0.1:{server.rest_port}", "localhost:8500": server.target}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    page = transcripts(ROOT / "docs/guide/command-line.md")
    # The plugin's own is compared with what its renderer makes of such a Model.
    shown = [(command, printed) for command, printed in page if not command.startswith("kubectl")]
    assert len(shown) > 8
    for command, printed in shown:
        real, wanted = command, printed
        for written, actual in ports.items():
            real, wanted = real.replace(written, actual), wanted.replace(written, actual)
        done = subprocess.run(
            ["bash", "-c", f"{real} 2>&1"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
            env={**os.environ, "PATH": path, "SLIPWAY_SERVER": server.url},
        )
        assert done.stdout.rstrip("\n") == wanted, command


def numbered(path: Path) -> list[int]:
    return [json.loads(line)["row"] for line in path.read_text().splitlines()]


def test_a_batch_that_is_killed_again_and_again_has_one_answer_for_each_row(
    url: str, tmp_path: Path
) -> None:
    rows = 20_000
    wrong = {7, 14_001}
    lines = ["oops" if row in wrong else f"{row}.0" for row in range(1, rows + 1)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    answers, state = tmp_path / "answers.jsonl", tmp_path / "answers.jsonl.state"
    command = [sys.executable, "-m", "slipway_cli", "batch", "double", str(tmp_path / "rows.jsonl")]
    command += ["--to", str(answers), "-s", url, "--version", "1"]
    reached = 0
    ends = []
    for end in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL, signal.SIGTERM):
        slowly = [*command, "--rows-per-request", "8"]
        process = subprocess.Popen(slowly, stderr=subprocess.PIPE, text=True)
        partial = tmp_path / "answers.jsonl.partial"

        def further(partial: Path = partial, since: int = reached) -> bool:
            size = partial.stat().st_size if partial.exists() else 0
            return size > since + 20_000 or process.poll() is not None  # noqa: B023

        eventually("the batch goes on", further)
        process.send_signal(end)
        _, said = process.communicate(timeout=TIMEOUT)
        assert "Traceback" not in said
        ends.append(process.returncode)
        reached = partial.stat().st_size if partial.exists() else 0
        if not state.exists():
            break  # It was done before the signal came.
    usual = [-signal.SIGKILL, 130, -signal.SIGKILL, -signal.SIGTERM]
    assert -signal.SIGKILL in ends
    assert ends[:-1] == usual[: len(ends) - 1]
    if state.exists():
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert done.returncode == 4, done.stderr
    assert numbered(answers) == [row for row in range(1, rows + 1) if row not in wrong]
    assert numbered(tmp_path / "answers.errors.jsonl") == sorted(wrong)
    for line in answers.read_text().splitlines():
        found = json.loads(line)
        assert found["prediction"] == 2.0 * found["row"] + 1
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["answers.errors.jsonl", "answers.jsonl", "rows.jsonl"]
    again = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (again.returncode, "is there already" in again.stderr) == (2, True)


def test_a_batch_goes_on_with_the_version_that_it_began_with(url: str, tmp_path: Path) -> None:
    """Its first rows were asked of version 1; version 2 is the one that answers now."""
    (tmp_path / "rows.csv").write_text("x\n1\n2\n")
    asked = ["batch", "double", str(tmp_path / "rows.csv"), "--to", str(tmp_path / "a.jsonl")]
    asked += ["-s", url]
    dead = slipway(*asked, "--version", "9")
    assert dead.returncode == 1
    label = slipway(*asked, "--label", "stable", "--with-instances")
    assert label.returncode == 0, label.stderr
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()] == [
        {
            "row": row,
            "source": f"{tmp_path}/rows.csv, line {row + 1}",
            "instance": {"x": float(row)},
            "prediction": 2.0 * row + 1,
        }
        for row in (1, 2)
    ]
    newest = slipway(*asked, "--overwrite")
    assert newest.returncode == 0, newest.stderr
    assert json.loads((tmp_path / "a.jsonl").read_text().splitlines()[0])["prediction"] == 4.0
