"""A picture of a rollout as it really went: which version had which share of requests, and which pods.

    kubectl get model digits --watch -o jsonpath='{.status}{"\\n"}' | python -m rollout_picture record > canary.jsonl
    python -m rollout_picture draw < canary.jsonl > canary.svg

A recording has a line for each status that the watch has shown, with the seconds since the first one.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TextIO
from xml.sax.saxutils import escape

_COLOURS: Final = ("#8a8f98", "#0072b2", "#e69f00", "#009e73", "#cc79a7")
"""Told apart also by those who cannot tell red from green; versions take turns."""
_LEFT, _WIDTH, _RIGHT = 56, 640, 24
_TOP, _HEIGHT, _GAP = 40, 110, 44
_TEXT: Final = 'font-family="sans-serif" font-size="12"'
_LETTER: Final = 6.2
"""Width of a letter in pixels, about."""
_FEWEST_TICKS: Final = 5
_FIELDS: Final = ("weight", "readyReplicas", "replicas")
"""Of a row of status.versions."""


@dataclass(frozen=True)
class Moment:
    """What was shown from then on: percents of requests, ready pods and all pods by version."""

    at: float
    phase: str
    weights: dict[int, int]
    ready: dict[int, int]
    pods: dict[int, int]


def record(
    lines: Iterable[str], clock: Callable[[], float] = time.monotonic
) -> Iterator[dict[str, Any]]:
    """The lines of a recording, from those of the watch; a status that is not there yet is left out."""
    began: float | None = None
    for line in lines:
        if not line.strip():
            continue
        status = json.loads(line)
        now = clock()
        began = now if began is None else began
        rows = [
            {name: row.get(name, 0) for name in ("version", "weight", "replicas", "readyReplicas")}
            for row in status.get("versions") or ()
        ]
        yield {"at": round(now - began, 2), "phase": status.get("phase", ""), "versions": rows}


def read(lines: Iterable[str]) -> list[Moment]:
    """A recording."""
    found = []
    for entry in map(json.loads, filter(str.strip, lines)):
        rows = entry["versions"]
        by = [{row["version"]: row[name] for row in rows if row[name]} for name in _FIELDS]
        found.append(Moment(entry["at"], entry["phase"], *by))
    return found


def draw(moments: Sequence[Moment]) -> str:
    """The picture as SVG: shares of requests above, pods below, both stacked by version.

    Raises:
        ValueError: There is nothing to draw.
    """
    versions = sorted({v for m in moments for by in (m.weights, m.pods) for v in by})
    if not versions or moments[-1].at <= moments[0].at:
        raise ValueError(
            "the recording shows no pods over any time: record from before the rollout until after it"
        )
    most = max(sum(m.pods.values()) for m in moments) or 1
    second = _TOP + _HEIGHT + _GAP
    parts = [
        *_axes(moments, _TOP, "requests", [(0, "0"), (0.5, "50%"), (1, "100%")]),
        *_stack(moments, versions, [m.weights for m in moments], 100, _TOP, 1.0),
        *_axes(moments, second, "pods", [(0, "0"), (1, str(most))]),
        *_stack(moments, versions, [m.pods for m in moments], most, second, 0.35),
        *_stack(moments, versions, [m.ready for m in moments], most, second, 1.0),
        *_legend(versions),
        *_ticks(moments, second + _HEIGHT),
    ]
    width, height = _LEFT + _WIDTH + _RIGHT, second + _HEIGHT + 40
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {_TEXT} role="img">',
            "<title>Shares of requests and pods of each version over time</title>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _x(moments: Sequence[Moment], at: float) -> float:
    first, last = moments[0].at, moments[-1].at
    return _LEFT + _WIDTH * (at - first) / (last - first)


def _stack(
    moments: Sequence[Moment],
    versions: Sequence[int],
    values: Sequence[dict[int, int]],
    whole: int,
    top: float,
    opacity: float,
) -> Iterator[str]:
    """An area for each version, on top of those before it; a value holds until the next moment."""
    ends = [*(m.at for m in moments[1:]), moments[-1].at]
    for index, version in enumerate(versions):
        rects = []
        for moment, end, by in zip(moments, ends, values, strict=True):
            below = sum(by.get(v, 0) for v in versions[:index])
            if (value := by.get(version, 0)) and end > moment.at:
                x, until = _x(moments, moment.at), _x(moments, end)
                y = top + _HEIGHT * (1 - (below + value) / whole)
                height = _HEIGHT * value / whole
                rects.append(f"M{x:.1f} {y:.1f}H{until:.1f}v{height:.1f}H{x:.1f}z")
        if rects:
            colour = _COLOURS[index % len(_COLOURS)]
            yield f'<path d="{"".join(rects)}" fill="{colour}" fill-opacity="{opacity:g}"/>'


def _axes(
    moments: Sequence[Moment], top: float, name: str, marks: Sequence[tuple[float, str]]
) -> Iterator[str]:
    right = _x(moments, moments[-1].at)
    yield f'<text x="{_LEFT}" y="{top - 8}" fill="#444">{name}</text>'
    for share, text in marks:
        y = top + _HEIGHT * (1 - share)
        yield f'<path d="M{_LEFT} {y:.1f}H{right:.1f}" stroke="#ddd"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#444">{text}</text>'


def _ticks(moments: Sequence[Moment], bottom: float) -> Iterator[str]:
    """Seconds since the first moment."""
    span = moments[-1].at - moments[0].at
    step = max(
        s
        for s in (0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 3600)
        if s == 0.1 or span / s >= _FEWEST_TICKS
    )
    for number in range(int(span / step) + 1):
        x = _x(moments, moments[0].at + number * step)
        yield f'<path d="M{x:.1f} {bottom}v5" stroke="#888"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" fill="#444">{number * step:g} s</text>'


def _legend(versions: Sequence[int]) -> Iterator[str]:
    x = _LEFT + 90.0
    for index, version in enumerate(versions):
        text = escape(f"version {version}")
        colour = _COLOURS[index % len(_COLOURS)]
        yield f'<rect x="{x:.0f}" y="{_TOP - 19}" width="11" height="11" fill="{colour}"/>'
        yield f'<text x="{x + 16:.0f}" y="{_TOP - 9}" fill="#444">{text}</text>'
        x += 40 + _LETTER * len(text)
    yield f'<text x="{x:.0f}" y="{_TOP - 9}" fill="#444">(pale: not ready)</text>'


def main(arguments: Sequence[str], given: TextIO, out: TextIO) -> int:
    """Record, or draw; 1 when there is nothing to draw."""
    parser = argparse.ArgumentParser(prog="rollout_picture", description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("record", "draw"))
    if parser.parse_args(arguments).what == "record":
        for entry in record(given):
            print(json.dumps(entry, separators=(",", ":")), file=out, flush=True)
        return 0
    try:
        out.write(draw(read(given)))
    except ValueError as error:
        print(f"rollout_picture: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdin, sys.stdout))
