"""§2: what a ModelServerConfig says, and what is refused of it; §0: base paths of other storages."""

from __future__ import annotations

from typing import Any

import pytest

from slipway_server.errors import ServingError
from slipway_server.storage.versions import All, Latest, Specific, VersionPolicy


def _message(text: str) -> Any:
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())


def _configs(text: str, *, listed: bool = False) -> Any:
    from slipway_server.control.model_config import model_configs

    return model_configs(_message(text), listed=listed)


def _one(body: str) -> Any:
    text = f'config {{ name: "m" base_path: "/m" {body} }}'
    [config] = _configs(f"model_config_list {{ {text} }}")
    return config


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", Latest(0)),
        ("model_version_policy { }", Latest(0)),
        ("model_version_policy { latest { } }", Latest(0)),
        ("model_version_policy { latest { num_versions: 3 } }", Latest(3)),
        ("model_version_policy { all { } }", All()),
        (
            "model_version_policy { specific { versions: 42 versions: 43 } }",
            Specific(frozenset({42, 43})),
        ),
        ("model_version_policy { specific { } }", Specific(frozenset())),
    ],
)
def test_version_policies(text: str, policy: VersionPolicy) -> None:
    assert _one(f'model_platform: "tensorflow" {text}').policy == policy


def test_a_model_with_everything() -> None:
    config = _one(
        """
        model_platform: "tensorflow"
        version_labels { key: "stable" value: 42 } version_labels { key: "old" value: 42 }
        logging_config {
          sampling_config { sampling_rate: 0.1 }
          log_collector_config { type: "tfrecord" filename_prefix: "/logs/m" }
        }
        """
    )
    assert (config.name, config.base_path, config.platform) == ("m", "/m", "tensorflow")
    assert config.labels == {"stable": 42, "old": 42}
    assert _one("model_type: TENSORFLOW").platform == "tensorflow"


def test_no_config_is_another_thing_than_an_empty_list() -> None:
    assert _configs("") is None
    assert _configs("", listed=True) is None
    assert _configs("model_config_list {}") == ()


@pytest.mark.parametrize(
    ("listed", "refusal"),
    [
        (
            True,
            (
                "FAILED_PRECONDITION: Cannot transition to requested config. It is only legal to transition from one "
                "ModelConfigList to another."
            ),
        ),
        (
            False,
            "INVALID_ARGUMENT: custom_model_config is not supported; list the models in model_config_list",
        ),
    ],
)
def test_custom_configs(listed: bool, refusal: str) -> None:  # noqa: FBT001
    with pytest.raises(ServingError) as error:
        _configs('custom_model_config { type_url: "x" }', listed=listed)
    assert str(error.value) == refusal


@pytest.mark.parametrize(
    ("path", "found"),
    [("/a/b", "/a/b"), ("file:///a/b", "/a/b"), ("s3://a/b", None), ("a/b", None), ("", None)],
)
def test_base_paths(path: str, found: str | None) -> None:
    from slipway_server.control.model_config import usable_base_path

    if found is not None:
        assert usable_base_path("m", path) == found
        return
    with pytest.raises(ServingError) as error:
        usable_base_path("m", path)
    assert error.value.code.name == "INVALID_ARGUMENT"


def test_a_model_type_of_a_number_that_nobody_knows() -> None:
    message = _message('model_config_list { config { name: "m" base_path: "/m" } }')
    message.model_config_list.config[0].model_type = 77
    from slipway_server.control.model_config import model_configs
    from slipway_server.control.platforms import PLATFORMS, check_supported

    with pytest.raises(ServingError) as error:
        check_supported(model_configs(message) or (), PLATFORMS)
    assert error.value.message == "Model m requests unsupported platform 77"
