"""A lookup table as a servable: `table.json` of a version's directory, one JSON object of text by text."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from slipway_server.plugins.api import Array, Code, PluginError, Signature, Tensor


class Table:
    """One version's table.

    Attributes:
        signatures: one, of a row for each key.
    """

    signatures = {  # noqa: RUF012 - never changed
        "serving_default": Signature(
            inputs={"key": Tensor("string", (-1,))},
            outputs={"value": Tensor("string", (-1,)), "found": Tensor("bool", (-1,))},
        )
    }

    def __init__(self, entries: Mapping[bytes, bytes]) -> None:
        self._entries = entries

    def run(
        self, _signature: str, inputs: Mapping[str, Array], _deadline: float | None
    ) -> Mapping[str, Array]:
        """Look up every key; a key that is not there has no value and is not found."""
        keys = inputs["key"]
        if keys.ndim != 1:
            raise PluginError(f"key must be a list of keys; it has {keys.ndim} dimensions")
        values = [self._entries.get(key) for key in keys]
        return {
            "value": np.array([value or b"" for value in values], object),
            "found": np.array([value is not None for value in values], np.bool_),
        }

    def close(self) -> None:
        """Drop the table."""
        self._entries = {}


def load(_model: str, _version: int, directory: Path) -> Table:
    """Read a version's table."""
    path = directory / "table.json"
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise PluginError(f"{path} is missing", Code.NOT_FOUND) from None
    except ValueError as error:
        raise PluginError(f"{path} is no JSON: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise PluginError(f"{path} must be one JSON object whose values are text")
    return Table({key.encode(): value.encode() for key, value in found.items()})
