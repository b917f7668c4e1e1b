"""The reference page is the one that `make generate` writes, and says something about everything."""

from pathlib import Path

from slipway_operator.api.schema.reference import page

PAGE = Path(__file__).parents[5] / "docs" / "reference" / "model.md"


def rows() -> list[list[str]]:
    """The cells of every table row."""
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in page().splitlines()
        if line.startswith("| `")
    ]


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page()


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
