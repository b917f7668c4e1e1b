"""The environment variables of TensorFlow Serving's container."""

from __future__ import annotations

import pytest

from slipway_server.settings import command_line
from slipway_server.settings.environment import with_environment

NONE = ("default", "", 0)


@pytest.mark.parametrize(
    ("arguments", "environment", "found"),
    [
        ([], {}, NONE),
        ([], {"MODEL_NAME": "mnist"}, ("mnist", "/models/mnist", 8501)),
        ([], {"MODEL_BASE_PATH": "/srv"}, ("model", "/srv/model", 8501)),
        ([], {"MODEL_BASE_PATH": "/srv/", "MODEL_NAME": "m"}, ("m", "/srv/m", 8501)),
        ([], {"MODEL_BASE_PATH": "", "MODEL_NAME": ""}, NONE),
        (["--model_name=x"], {"MODEL_NAME": "m"}, ("x", "/models/m", 8501)),
        (["--rest_api_port=0"], {"MODEL_NAME": "m"}, ("m", "/models/m", 0)),
        (["--model_base_path=/b"], {"MODEL_NAME": "m"}, ("m", "/b", 0)),
        (
            ["--model_name=x", "--model_base_path=/b", "--rest_api_port=9"],
            {"MODEL_NAME": "m", "MODEL_BASE_PATH": "/srv"},
            ("x", "/b", 9),
        ),
        (["--model_config_file=/c"], {"MODEL_NAME": "m", "MODEL_BASE_PATH": "/srv"}, NONE),
    ],
)
def test_flags_win_over_the_containers_variables(
    arguments: list[str], environment: dict[str, str], found: tuple[str, str, int]
) -> None:
    values = with_environment(command_line.parse(arguments), environment).values
    assert (values["model_name"], values["model_base_path"], values["rest_api_port"]) == found
