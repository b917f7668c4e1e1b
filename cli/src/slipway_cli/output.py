"""What commands print: aligned columns, JSON, and sizes. Pure but for the two that write."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

_WIDE = 60
_CONTROL = dict.fromkeys((*range(32), *range(127, 160)), "�")


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"


def write(text: str) -> None:
    """Print lines of the result to stdout."""
    sys.stdout.write(f"{text}\n")


def note(sentence: str) -> None:
    """Print a line for the person at the terminal to stderr."""
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


def resolved(chosen: Format | None) -> Format:
    """Return the format that was asked for; else a table on a terminal, and JSON in a pipe."""
    return chosen or (Format.TABLE if sys.stdout.isatty() else Format.JSON)


def as_json(value: Any, *, indent: int = 2) -> str:
    """Return JSON, with lists of plain values in one line; 0 for all of it in one line.

    >>> print(as_json({"predictions": [[1, 2], [3, 4]]}))
    {
      "predictions": [
        [1, 2],
        [3, 4]
      ]
    }
    """
    text = "".join(_pieces(value, indent, 0)) if indent else _line(value)
    return text.encode("utf-8", "replace").decode()


def _pieces(value: Any, indent: int, depth: int) -> Iterator[str]:
    if not isinstance(value, dict | list) or not value or _flat(value):
        yield _line(value)
        return
    start, end = "\n" + " " * (indent * (depth + 1)), "\n" + " " * (indent * depth)
    yield "{" if isinstance(value, dict) else "["
    items = value.items() if isinstance(value, dict) else ((None, item) for item in value)
    for at, (key, item) in enumerate(items):
        yield f"{',' if at else ''}{start}"
        if key is not None:
            yield f"{json.dumps(key, ensure_ascii=False)}: "
        yield from _pieces(item, indent, depth + 1)
    yield end + ("}" if isinstance(value, dict) else "]")


def _flat(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(item, dict | list) for item in value)


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def plain(text: str) -> str:
    """Return foreign text in one line, without characters that a terminal would obey."""
    return " ".join(text.split()).translate(_CONTROL)


def columns(header: Sequence[str], rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """Return rows under each other, in columns as wide as their widest cell, as kubectl prints them.

    >>> print(columns(["NAME", "AGE"], [["digits", "8d"]]))
    NAME     AGE
    digits   8d
    """
    cells = [[plain(cell) for cell in row] for row in ([header, *rows] if header else rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]))] if cells else []
    lines = (
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in cells
    )
    return "\n".join(f"{indent}{line}".rstrip() for line in lines)


def predictions_table(predictions: Sequence[Any]) -> str:
    """Return answers, one row each, a column for each output."""
    names = sorted({name for one in predictions if _named(one) for name in one})
    if names and all(_named(one) for one in predictions):
        header = ["#", *names]
        rows = [
            [str(at), *(short(one[name]) if name in one else "" for name in names)]
            for at, one in enumerate(predictions, 1)
        ]
    else:
        header = ["#", "prediction"]
        rows = [[str(at), short(one)] for at, one in enumerate(predictions, 1)]
    return columns([name.upper() if name == "#" else name for name in header], rows)


def outputs_table(outputs: Any) -> str:
    """Return whole tensors, one row each."""
    found: Mapping[str, Any] = outputs if _named(outputs) else {"output": outputs}
    return columns(["output", "value"], [[name, short(value)] for name, value in found.items()])


def short(value: Any) -> str:
    """Return a value in one line that fits; a long list shows its beginning and says how long it is."""
    text = value if isinstance(value, str) else as_json(value, indent=0)
    if len(text) <= _WIDE:
        return text
    if isinstance(value, list):
        return f"{text[: _WIDE - 20]}… {len(value)} values]"
    return f"{text[: _WIDE - 1]}…"


def _named(value: Any) -> bool:
    return isinstance(value, dict) and set(value) != {"b64"}
