"""The page of the chart's values is that of values.yaml and its schema, and says something about each."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from reference_pages.chart_values import HEAD, page

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "slipway"
PAGE = ROOT / "docs" / "reference" / "chart-values.md"


def rows(values: str, properties: dict[str, Any], **definitions: Any) -> list[str]:
    schema = {"properties": properties, "$defs": definitions}
    return page(values, json.dumps(schema)).removeprefix(HEAD).splitlines()


def test_the_page_is_up_to_date() -> None:
    values, schema = ((CHART / name).read_text() for name in ("values.yaml", "values.schema.json"))
    assert PAGE.read_text() == page(values, schema)


def test_every_value_is_on_the_page() -> None:
    def paths(value: Any, at: str) -> list[str]:
        if not isinstance(value, dict) or not value:
            return [at]
        return [at, *(path for key in value for path in paths(value[key], f"{at}.{key}"))]

    known = yaml.safe_load((CHART / "values.yaml").read_text())
    every = {path for key in known for path in paths(known[key], key)}
    told = {line.split("`")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")}
    maps = {
        path
        for path in every
        if path.rpartition(".")[0] in {"resources.requests", "resources.limits"}
    }
    assert every - told - maps == {"monitoring.dashboards.labels.grafana_dashboard"}
    assert told <= every


def test_a_comment_belongs_to_the_value_right_below_it() -> None:
    text = "# Of the file.\n\n# First\n# line.\na: 1\nb: x # not this\n"
    found = rows(
        text,
        {
            "a": {"type": "integer", "minimum": 1, "maximum": 5},
            "b": {"$ref": "#/$defs/word", "description": "Beside."},
        },
        word={"type": "string", "description": "Of the definition."},
    )
    assert found == [
        "| `a` | integer, 1 to 5 | `1` | First line. |",
        "| `b` | string | `x` | Beside. |",
    ]


def test_what_could_end_a_cell_or_begin_a_tag_does_not() -> None:
    assert rows("# a|b <i>\na: {}\n", {"a": {"type": "object"}}) == [
        "| `a` | object | `{}` | a\\|b &lt;i> |"
    ]


def test_a_value_without_a_word_or_a_type_is_refused() -> None:
    with pytest.raises(ValueError, match=r"nothing says what a.b means: write a comment above it"):
        rows("# A.\na:\n  b: 1\n", {"a": {"properties": {"b": {"type": "integer"}}}})
    with pytest.raises(ValueError, match=r"values.schema.json has no a: add it there"):
        rows("# A.\na: 1\n", {})
