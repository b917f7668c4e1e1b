"""The environment variables of TensorFlow Serving's container, as the flags that they stand for. Pure."""

import posixpath
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from slipway_server.settings.command_line import Parsed
from slipway_server.settings.flag import Value

MODEL_NAME: Final = "MODEL_NAME"
MODEL_BASE_PATH: Final = "MODEL_BASE_PATH"

_DEFAULT_NAME: Final = "model"
_DEFAULT_BASE_PATH: Final = "/models"
_REST_PORT: Final = 8501


def with_environment(parsed: Parsed, environment: Mapping[str, str]) -> Parsed:
    """Return a command line with what the environment says about the model; flags and a config file win.

    The container of TensorFlow Serving runs the server with `--rest_api_port=8501 --model_name=$MODEL_NAME
    --model_base_path=$MODEL_BASE_PATH/$MODEL_NAME` and then the user's own flags. Either variable alone has the other
    one's default there: `model`, below `/models`.
    """
    name = environment.get(MODEL_NAME, "")
    folder = environment.get(MODEL_BASE_PATH, "")
    if "model_config_file" in parsed.given or not (name or folder):
        return parsed
    name = name or _DEFAULT_NAME
    said: dict[str, Value] = {
        "model_name": name,
        "model_base_path": posixpath.join(folder or _DEFAULT_BASE_PATH, name),
        "rest_api_port": _REST_PORT,
    }
    if "model_base_path" in parsed.given:
        del said["rest_api_port"]
    missing = {flag: value for flag, value in said.items() if flag not in parsed.given}
    return replace(parsed, values={**parsed.values, **missing})
