"""The picture of a rollout, from a recording of a real control plane."""

import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from rollout_picture import draw, main, read, record

ROOT = Path(__file__).parents[3]
RECORDED = ROOT / "benchmarks" / "results" / "canary.jsonl"
SVG = "{http://www.w3.org/2000/svg}"


def shapes(picture: str) -> list[tuple[str, list[tuple[float, ...]]]]:
    """Fill and rectangles (x, y, until, height) of each area, in the order in which they are drawn."""
    root = ET.fromstring(picture)  # noqa: S314 (our own)
    rectangle = re.compile(r"M([\d.]+) ([\d.]+)H([\d.]+)v([\d.]+)H[\d.]+z")
    return [
        (path.get("fill", ""), [tuple(map(float, r)) for r in rectangle.findall(path.get("d", ""))])
        for path in root.iter(f"{SVG}path")
        if path.get("fill")
    ]


def row(version: int, weight: int, pods: int, ready: int) -> dict[str, int]:
    return {"version": version, "weight": weight, "replicas": pods, "readyReplicas": ready}


def recording(*moments: tuple[float, list[dict[str, int]]]) -> list[str]:
    return [json.dumps({"at": at, "phase": "", "versions": rows}) for at, rows in moments]


def test_the_guides_picture_is_drawn_from_the_recording() -> None:
    with RECORDED.open() as lines:
        assert draw(read(lines)) == (ROOT / "docs" / "guide" / "canary.svg").read_text()


def test_the_recording_shows_every_step_that_the_guide_tells_of() -> None:
    with RECORDED.open() as lines:
        moments = read(lines)
    weights = [m.weights for m in moments]
    assert {1: 80, 2: 20} in weights
    assert {1: 50, 2: 50} in weights
    assert {2: 80, 3: 20} in weights
    assert weights[-1] == {2: 100}
    assert all(sum(m.ready.values()) >= 4 for m in moments), "the old version keeps all of its pods"


def test_a_share_is_drawn_from_when_it_was_shown_until_the_next_one_was() -> None:
    drawn = shapes(
        draw(
            read(
                recording(
                    (10, [row(1, 100, 2, 2)]),
                    (20, [row(1, 50, 2, 2), row(2, 50, 2, 1)]),
                    (30, [row(2, 100, 2, 2)]),
                )
            )
        )
    )
    requests = drawn[:2]
    assert requests[0][1] == [(56, 40, 376, 110), (376, 95, 696, 55)]
    assert requests[1][1] == [(376, 40, 696, 55)]
    assert len({fill for fill, _ in requests}) == 2
    [pods] = [rectangles for fill, rectangles in drawn[2:4] if fill == requests[1][0]]
    [ready] = [rectangles for fill, rectangles in drawn[4:6] if fill == requests[1][0]]
    assert (pods[0][3], ready[0][3]) == (55, 27.5), "one of its two pods is not ready"


@pytest.mark.parametrize(
    "lines", [[], recording((0, []), (5, [])), recording((0, [row(1, 100, 1, 1)]))]
)
def test_a_recording_of_nothing_is_refused(
    lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = io.StringIO()
    assert main(["draw"], io.StringIO("\n".join(lines)), out) == 1
    assert out.getvalue() == ""
    assert capsys.readouterr().err == (
        "rollout_picture: the recording shows no pods over any time: record from before the rollout until after it\n"
    )


def test_the_lines_of_a_watch_become_a_recording() -> None:
    times = iter([7.0, 8.25])
    status = {"phase": "Canary 10% 1/2", "versions": [{"version": 4, "weight": 20, "state": "x"}]}
    told = list(record(["", "{}\n", f"{json.dumps(status)}\n"], lambda: next(times)))
    assert told == [
        {"at": 0.0, "phase": "", "versions": []},
        {"at": 1.25, "phase": "Canary 10% 1/2", "versions": [row(4, 20, 0, 0)]},
    ]
