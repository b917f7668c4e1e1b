"""The picture of a terminal, from a recording of what a command really printed."""

import io
import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from terminal_picture import draw, main, read, record

ROOT = Path(__file__).parents[3]
RECORDED = ROOT / "benchmarks" / "results" / "models_watch.jsonl"
SVG = "{http://www.w3.org/2000/svg}"


def words(picture: str) -> list[tuple[str, float, float]]:
    """Each word with where it begins, in pixels."""
    root = ET.fromstring(picture)  # noqa: S314 (our own)
    return [
        (text.text or "", float(text.get("x", "")), float(text.get("y", "")))
        for text in root.iter(f"{SVG}text")
    ]


def recording(*lines: str, command: str = "kubectl get models -w") -> list[str]:
    told = record(command, lines, iter(range(100)).__next__)
    return [json.dumps(entry) for entry in told]


def test_the_picture_of_the_readme_is_drawn_from_the_recording() -> None:
    with RECORDED.open() as lines:
        assert draw(read(lines)) == (ROOT / "docs" / "assets" / "models-watch.svg").read_text()


def test_the_recording_shows_a_whole_transition_without_a_gap() -> None:
    with RECORDED.open() as lines:
        heading, *rows = (line.text for line in read(lines).lines)
    assert heading.split() == ["NAME", "READY", "SERVING", "TARGET", "PHASE", "REPLICAS", "AGE"]
    assert {row.split()[1] for row in rows} == {"True"}
    cells = [re.split(r"\s{2,}", row) for row in rows]
    assert (cells[0][2:5], cells[-1][2:5]) == (["1", "1", "Available"], ["2", "2", "Available"])
    assert any(re.fullmatch(r"1 \d+%, 2 \d+%", cell[2]) for cell in cells)


def test_every_word_stands_under_those_of_its_column() -> None:
    found = words(draw(read(recording("NAME     READY", "digits   True"))))
    at = {text: (x, y) for text, x, y in found}
    assert at["NAME"][0] == at["digits"][0] == at["$"][0]
    assert at["READY"][0] == at["True"][0] > at["NAME"][0]
    assert at["READY"][1] < at["True"][1]
    assert at["1.0"][1] == at["True"][1]
    assert "0.0" not in at, "the first line has no time"


def test_nothing_of_a_wide_line_lies_outside_or_on_its_time() -> None:
    picture = draw(read(recording("x", "y" * 300)))
    width = float(re.findall(r'viewBox="0 0 (\d+) ', picture)[0])
    root = ET.fromstring(picture)  # noqa: S314 (our own)
    ends = {
        text.text: (float(text.get("x", "")), float(text.get("textLength", "")))
        for text in root.iter(f"{SVG}text")
    }
    start, length = ends["y" * 300]
    assert start + length < ends["1.0"][0] < width


def test_what_looks_like_markup_is_text() -> None:
    found = words(draw(read(recording("<b>&amp;</b>", command="kubectl <x>"))))
    assert {"<b>&amp;</b>", "<x>"} <= {text for text, _, _ in found}


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "this is no recording"),
        (["nothing"], "this is no recording"),
        (["[1]"], "this is no recording"),
        (['{"at": 0, "line": "x"}'], "this is no recording"),
        (['{"command": "x"}', '{"line": "x"}'], "this is no recording"),
        (['{"command": "x"}'], "has printed nothing"),
    ],
)
def test_what_is_no_recording_is_refused_in_a_sentence(
    lines: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = io.StringIO()
    assert main(["draw"], io.StringIO("\n".join(lines)), out) == 1
    assert out.getvalue() == ""
    told = capsys.readouterr().err
    assert told.startswith("terminal_picture: ")
    assert says in told
    assert told.count("\n") == 1


def test_what_a_command_prints_is_recorded_and_can_be_drawn() -> None:
    out = io.StringIO()
    assert (
        main(["record", sys.executable, "-c", "print('one'); print('two')"], io.StringIO(), out)
        == 0
    )
    found = read(out.getvalue().splitlines())
    assert found.command.startswith(sys.executable)
    assert [line.text for line in found.lines] == ["one", "two"]


def test_a_command_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "no-such-command"], io.StringIO(), io.StringIO()) == 1
    assert "no-such-command" in capsys.readouterr().err
