"""The reference pages are those that `make generate` writes, and say something about everything."""

from pathlib import Path

from slipway_operator.api.conditions import ConditionType, EventReason, Reason
from slipway_operator.api.schema.reference import page, reasons_page

REFERENCE = Path(__file__).parents[5] / "docs" / "reference"


def rows() -> list[list[str]]:
    """The cells of every table row."""
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in (page() + reasons_page()).splitlines()
        if line.startswith("| `")
    ]


def test_the_pages_are_up_to_date() -> None:
    assert (REFERENCE / "model.md").read_text() == page()
    assert (REFERENCE / "reasons.md").read_text() == reasons_page()


def test_each_reason_stands_once_and_only_on_its_page() -> None:
    for kind in (ConditionType, Reason, EventReason):
        section = reasons_page().split(
            {ConditionType: "## Conditions", Reason: "## Reasons", EventReason: "## Events"}[kind]
        )[1]
        rows = [
            line.split("`")[1]
            for line in section.split("\n## ")[0].splitlines()
            if line.startswith("| `")
        ]
        assert rows == [member.value for member in kind]
    assert "`MissingShard`" not in page()


def test_every_field_state_condition_and_reason_has_a_meaning() -> None:
    assert len(rows()) > 100
    assert [cells for cells in rows() if not cells[-1]] == []


def test_objects_within_objects_have_sections_of_their_own() -> None:
    headings = [line for line in page().splitlines() if line.startswith("## ")]
    assert "## spec.serving.tolerations[]" in headings
    assert "## status.versions[]" in headings


def test_defaults_are_told() -> None:
    told = {cells[0]: cells[2] for cells in rows() if len(cells) == 4}
    assert told["`maxSurge`"] == "`25%`"
    assert told["`versions`"] in ("`{latest: 1}`", "")
    assert told["`uri`"] == "required"
    assert told["`completionMarker`"] == ""
