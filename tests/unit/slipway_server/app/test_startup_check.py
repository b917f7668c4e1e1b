"""What is told about base paths and config files before anything is started."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from plugin_packages import write_distribution
from slipway_server.app import startup_check
from slipway_server.app.startup_check import check_configuration, parent_of_version, trouble_with
from slipway_server.errors import ServingError
from slipway_server.settings import command_line
from slipway_server.settings.server import settings

GRAPHS = ("saved_model.pb", "saved_model.pbtxt", "export.meta", "model.tflite")


def check(*arguments: str) -> list[str]:
    """What the check warns of."""
    parsed = command_line.parse(arguments)
    warned: list[str] = []
    check_configuration(
        settings(parsed.values, cpus=2, memory=2**30, given=parsed.given),
        lambda _: None,
        warned.append,
    )
    return warned


def file(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("slash", ["", "/", "/."])
def test_a_version_is_refused_and_its_parent_named(tmp_path: Path, graph: str, slash: str) -> None:
    version = file(tmp_path / "mnist" / "00000001" / graph).parent
    with pytest.raises(ServingError) as caught:
        check(f"--model_base_path={version}{slash}")
    assert caught.value.message == (
        f"--model_base_path={version}{slash} is itself a version; give its parent: "
        f"--model_base_path={tmp_path / 'mnist'}"
    )


def test_a_base_path_may_have_a_number_for_a_name_or_a_graph_beside_its_versions(
    tmp_path: Path,
) -> None:
    file(tmp_path / "7" / "1" / "saved_model.pb")
    assert check(f"--model_base_path={tmp_path / '7'}") == []
    file(tmp_path / "7" / "saved_model.pb")
    assert check(f"--model_base_path={tmp_path / '7'}") == []


def test_an_export_that_has_no_number_is_told_what_it_lacks(tmp_path: Path) -> None:
    file(tmp_path / "mnist" / "saved_model.pb")
    (sentence,) = check(f"--model_base_path={tmp_path / 'mnist'}")
    advice = "is itself an export; move it into a folder named by its version, such as 1"
    assert sentence == f"--model_base_path={tmp_path / 'mnist'} {advice}"


@pytest.mark.parametrize(
    ("make", "trouble"),
    [
        (lambda _: None, "does not exist; the server waits for it"),
        (Path.touch, "is no directory; give the one that holds the versions"),
        (Path.mkdir, "holds no version, which is a folder named by a number"),
        (lambda path: file(path / "v1" / "saved_model.pb"), "holds no version"),
    ],
)
def test_a_base_path_without_a_version_is_told_and_waited_for(
    tmp_path: Path, make: object, trouble: str
) -> None:
    make(tmp_path / "m")  # type: ignore[operator]
    (sentence,) = check(f"--model_base_path={tmp_path / 'm'}")
    assert sentence.startswith(f"--model_base_path={tmp_path / 'm'} {trouble}")


def test_a_path_that_no_file_can_have_is_told() -> None:
    assert trouble_with("/a\0b") == "cannot be read: embedded null byte"
    assert parent_of_version("/a\0b") == ""


def test_a_relative_base_path_is_refused_with_tensorflow_servings_words() -> None:
    with pytest.raises(ServingError) as caught:
        check("--model_base_path=models/m")
    assert caught.value.message == (
        "Expected model default to have an absolute path or URI; got base_path()=models/m"
    )


def test_a_file_system_that_hangs_keeps_nothing_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(_path: str) -> list[str]:
        released.wait(60)
        return []

    monkeypatch.setattr(os, "listdir", hang)
    monkeypatch.setattr(startup_check, "_PATIENCE_SECONDS", 0.01)
    try:
        assert "does not answer" in check("--model_base_path=/slow")[0]
    finally:
        released.set()


def test_one_wrong_model_of_a_config_file_is_told_and_the_others_are_served(tmp_path: Path) -> None:
    version = file(tmp_path / "a" / "1" / "saved_model.pb").parent
    config = file(
        tmp_path / "models.config",
        f"""model_config_list {{
          config {{ name: "a" base_path: "{version}" model_platform: "tensorflow" }}
          config {{ name: "b" base_path: "{tmp_path}/b" model_platform: "tensorflow" }}
          config {{ name: "c" base_path: "{tmp_path}/a" model_platform: "tensorflow" }}
        }}""",
    )
    assert check(f"--model_config_file={config}") == [
        f"base_path {version} of model a is itself a version; give its parent, {tmp_path}/a",
        f"base_path {tmp_path}/b of model b does not exist; the server waits for it",
    ]


@pytest.mark.parametrize("text", ["", "# none yet\n", "model_config_list {}\n"])
def test_a_config_file_without_models_is_told(tmp_path: Path, text: str) -> None:
    config = file(tmp_path / "models.config", text)
    assert check(f"--model_config_file={config}") == [
        f"--model_config_file={config} lists no model; nothing is served until it does"
    ]


def test_a_config_file_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    relative = file(
        tmp_path / "relative",
        'model_config_list { config { name: "m" base_path: "m" model_platform: "tensorflow" } }',
    )
    for path, words in (
        (tmp_path / "none", f"{tmp_path / 'none'}; No such file or directory"),
        (tmp_path, f"{tmp_path}; Is a directory"),
        (relative, "Expected model m to have an absolute path or URI; got base_path()=m"),
    ):
        with pytest.raises(ServingError) as caught:
            check(f"--model_config_file={path}")
        assert caught.value.message == words


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("max_batch_size: 32", "max_batch_size { value: 32 } instead of max_batch_size: 32"),
        ("max_batch_size=32", "max_batch_size { value: 32 } instead of max_batch_size=32"),
        (
            '{"batch_timeout_micros": 10000}',
            'batch_timeout_micros { value: 10000 } instead of "batch_timeout_micros": 10000',
        ),
        (
            'allowed_batch_sizes: 8 thread_pool_name: "b"',
            'thread_pool_name { value: "b" } instead of thread_pool_name: "b"',
        ),
    ],
)
def test_batching_parameters_written_as_plain_values_are_told_the_right_form(
    tmp_path: Path, text: str, right: str
) -> None:
    parameters = file(tmp_path / "parameters", text)
    for flag in (f"--batching_parameters={text}", f"--batching_parameters_file={parameters}"):
        with pytest.raises(ServingError) as caught:
            check(f"--model_base_path={tmp_path}", "--enable_batching", flag)
        assert caught.value.message.endswith(f"; write {right}")


def test_other_faults_of_batching_parameters_get_no_such_advice(tmp_path: Path) -> None:
    for text in ("max_batch_size { value: 32", "no_such: 3", "max_batch_size {{"):
        with pytest.raises(ServingError) as caught:
            check(
                f"--model_base_path={tmp_path}",
                "--enable_batching",
                f"--batching_parameters={text}",
            )
        assert "write" not in caught.value.message


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ["--model_platform=lookup", "--model_base_path=/m"],
            (
                "Model default requests unsupported platform lookup; the plug-ins of "
                "slipway.servables that are installed: named"
            ),
        ),
        (
            ["--model_base_path=s3://bucket/m"],
            (
                "Model default has base_path s3://bucket/m, but this server reads local directories only; download "
                "it with slipway-sync; the plug-ins of slipway.sources that are installed: named"
            ),
        ),
        (
            ["--model_base_path=named://there"],
            (
                "Plug-in named of slipway.sources, from distribution all-kinds 1.0, cannot be imported: "
                "AttributeError: module 'all_kinds' has no attribute 'Source'"
            ),
        ),
        (
            ["--aspired_version_policy=order", "--model_base_path=/m"],
            "--aspired_version_policy=order must be one of availability_preserving, resource_preserving, named",
        ),
        (
            ["--aspired_version_policy=named", "--model_base_path=/m"],
            (
                "Plug-in named of slipway.policies, from distribution all-kinds 1.0, cannot be imported: "
                "AttributeError: module 'all_kinds' has no attribute 'policy'"
            ),
        ),
    ],
)
def test_a_plug_in_that_is_not_there_is_told_and_those_that_are_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], sentence: str
) -> None:
    points = {
        "slipway.servables": {"named": "all_kinds:load"},
        "slipway.sources": {"named": "all_kinds:Source"},
        "slipway.policies": {"named": "all_kinds:policy"},
    }
    write_distribution(tmp_path, "all-kinds", "def load(): ...", points)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ServingError) as caught:
        check("--model_name=default", *flags)
    assert caught.value.message == sentence


def test_nothing_is_said_of_what_a_plug_in_has_to_find_or_to_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {
        "slipway.servables": {"good": "good_kinds:load"},
        "slipway.sources": {"good": "good_kinds:load"},
    }
    write_distribution(tmp_path / "path", "good-kinds", "def load(): ...", points)
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    assert check("--model_base_path=good://there") == []
    # Of a plug-in's versions nobody knows what they hold; only TensorFlow's are exports.
    file(tmp_path / "1" / "saved_model.pb")
    assert check("--model_platform=good", f"--model_base_path={tmp_path}") == []
