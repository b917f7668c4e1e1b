"""Rows of requests and answers: lists of instances to columns of inputs, and columns of outputs to rows. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway_cli.errors import CliError, UsageError
from slipway_cli.serving.signature import Signature, suggestion
from slipway_cli.serving.tensors import is_binary


@dataclass(frozen=True, slots=True)
class Question:
    """What a request asks.

    Attributes:
        instances: Rows; None where `inputs` has whole tensors.
        inputs: A value for each input, or the value of the only one; None where there are rows.
    """

    instances: Sequence[Any] | None
    inputs: Any = None


def question(text: str, where: str) -> Question:
    """Read what `--json-instances` names.

    It is a list of instances, a request body with `instances` or `inputs`, or one instance a line.

    Raises:
        UsageError: It is not JSON, or holds no instance.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise UsageError(f"{where} is nested too deeply") from error
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) > 1:
            return Question(_lines(text, where))
        raise UsageError(f"{where} is not JSON: {error}") from error
    if isinstance(value, dict) and isinstance(value.get("instances"), list):
        value = value["instances"]
    elif isinstance(value, dict) and set(value) - {"signature_name"} == {"inputs"}:
        return Question(None, value["inputs"])
    instances = value if isinstance(value, list) else [value]
    if not instances:
        raise UsageError(f"{where} has no instance: write a list with at least one")
    return Question(instances)


def _lines(text: str, where: str) -> list[Any]:
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            found.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{where}, line {number} is not JSON: {error}") from error
    return found


def columns(rows: Sequence[Any], signature: Signature) -> dict[str, Any]:
    """Return the values of each input, one a row.

    Raises:
        UsageError: A row lacks an input, or has one that the signature does not know.
    """
    names = list(signature.inputs)
    found: dict[str, list[Any]] = {}
    for number, row in enumerate(rows):
        if isinstance(row, dict) and not is_binary(row):
            values: Mapping[str, Any] = row
        elif len(names) == 1:
            values = {names[0]: row}
        else:
            raise UsageError(
                f"instance {number + 1} is one value, and the signature has the inputs "
                f"{', '.join(names)}: write an object with a value for each"
            )
        for name in values:
            if name not in signature.inputs:
                raise UsageError(
                    f"instance {number + 1}: the signature has no input {name!r}"
                    f"{suggestion(name, names)}"
                )
        if number and set(values) != set(found):
            odd = min(set(values) ^ set(found))
            raise UsageError(f"instance {number + 1}: {odd!r} is an input of some instances only")
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    return dict(found)


def named(inputs: Any, signature: Signature) -> dict[str, Any]:
    """Return whole tensors by the names of their inputs.

    Raises:
        UsageError: They are not the signature's.
    """
    names = list(signature.inputs)
    if not isinstance(inputs, dict) or is_binary(inputs):
        if len(names) == 1:
            return {names[0]: inputs}
        raise UsageError(f"inputs: write an object with a value for each of {', '.join(names)}")
    for name in inputs:
        if name not in signature.inputs:
            raise UsageError(f"the signature has no input {name!r}{suggestion(name, names)}")
    return inputs


def rows(outputs: Mapping[str, Any], count: int) -> list[Any]:
    """Return the answer of each row: the only output's value, or an object of all of them.

    Raises:
        CliError: An output has another number of rows than the request.
    """
    for name, value in outputs.items():
        if not isinstance(value, list) or len(value) != count:
            found = len(value) if isinstance(value, list) else "no"
            raise CliError(
                f"output {name!r} has {found} rows for {count} instances: ask with "
                '{"inputs": …} in --json-instances, which takes tensors of any shape'
            )
    if len(outputs) == 1:
        (values,) = outputs.values()
        return list(values)
    return [{name: values[row] for name, values in outputs.items()} for row in range(count)]


def printable(value: Any, name: str) -> Any:
    """Return a value with its bytes as JSON has them: text, or `{"b64": …}` for what is none.

    As in TensorFlow Serving's REST API, an output whose name ends in `_bytes` is always base64.
    """
    if isinstance(value, list):
        return [printable(item, name) for item in value]
    if not isinstance(value, bytes):
        return value
    if not name.endswith("_bytes"):
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(value).decode()}
