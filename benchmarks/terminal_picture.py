"""A picture of a terminal, from what a command really printed in it.

    python -m terminal_picture record kubectl get models -w > watch.jsonl     # Ctrl-C ends it
    python -m terminal_picture draw < watch.jsonl > watch.svg

The first line of a recording is the command, each other one a line that it printed, with the seconds since the
first of them.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TextIO
from xml.sax.saxutils import escape

_LETTER: Final = 7.8
"""Width of a letter in pixels. Each line is told how wide it is, so that columns stay columns in any font."""
_LINE: Final = 21
_MARGIN: Final = 20
_BAR: Final = 34
_FONT: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
_BACK, _FRAME, _TEXT, _PALE, _PROMPT, _HEADING = (
    "#0d1117", "#30363d", "#e6edf3", "#8b949e", "#3fb950", "#79c0ff",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """What was printed, and the seconds since the first line."""

    at: float
    text: str


@dataclass(frozen=True)
class Recording:
    """A command and what it printed."""

    command: str
    lines: tuple[Line, ...]


def record(
    command: str, lines: Iterable[str], clock: Callable[[], float] = time.monotonic
) -> Iterator[dict[str, Any]]:
    """The entries of a recording, each as soon as its line is there."""
    yield {"command": command}
    began: float | None = None
    for line in lines:
        now = clock()
        began = now if began is None else began
        yield {"at": round(now - began, 1), "line": line.rstrip()}


def read(lines: Iterable[str]) -> Recording:
    """A recording, from its entries as JSON.

    Raises:
        ValueError: It is none, or nothing was printed.
    """
    try:
        first, *rest = map(json.loads, filter(str.strip, lines))
        found = Recording(first["command"], tuple(Line(one["at"], one["line"]) for one in rest))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("this is no recording: make one with `terminal_picture record`") from error
    if not found.lines:
        raise ValueError("the command of the recording has printed nothing: record it for longer")
    return found


def draw(recording: Recording) -> str:
    """The picture as SVG: the command, its lines, and beside each when it was printed."""
    times = ["", *(f"{line.at:.1f} s" for line in recording.lines[1:])]
    widest = max(len(recording.command) + 2, *(len(line.text) for line in recording.lines))
    columns = widest + 3 + max(map(len, times))
    width = round(2 * _MARGIN + columns * _LETTER)
    height = _BAR + (len(recording.lines) + 1) * _LINE + _MARGIN
    right = width - _MARGIN
    parts = list(_frame(width, height))
    parts += _letters(_MARGIN, _baseline(0), "$", _PROMPT)
    parts += _letters(_MARGIN + 2 * _LETTER, _baseline(0), recording.command, _TEXT)
    for number, (line, when) in enumerate(zip(recording.lines, times, strict=True), 1):
        colour = _HEADING if number == 1 else _TEXT
        parts += _letters(_MARGIN, _baseline(number), line.text, colour)
        parts += _letters(right - len(when) * _LETTER, _baseline(number), when, _PALE)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img"',
            f'  font-family="{_FONT}" font-size="13">',
            f"<title>{escape(recording.command)}</title>",
            *parts,
            "</svg>\n",
        ]
    )


def _baseline(number: int) -> float:
    return _BAR + number * _LINE + 15


def _frame(width: int, height: int) -> Iterator[str]:
    yield (
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="9" '
        f'fill="{_BACK}" stroke="{_FRAME}"/>'
    )
    for number, colour in enumerate(("#ff5f57", "#febc2e", "#28c840")):
        yield f'<circle cx="{_MARGIN + number * 18}" cy="17" r="5.5" fill="{colour}"/>'


def _letters(x: float, y: float, text: str, colour: str) -> Iterator[str]:
    """Words, each where its column is: spaces are as wide as letters in any font."""
    start = 0
    for word in text.split(" "):
        if word:
            yield (
                f'<text x="{x + start * _LETTER:.1f}" y="{y:g}" fill="{colour}" '
                f'textLength="{len(word) * _LETTER:.1f}" lengthAdjust="spacingAndGlyphs">{escape(word)}</text>'
            )
        start += len(word) + 1


def _record(command: Sequence[str], out: TextIO) -> None:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdout is not None
        try:
            for entry in record(" ".join(command), process.stdout):
                print(json.dumps(entry, ensure_ascii=False), file=out, flush=True)
        except KeyboardInterrupt:
            process.terminate()


def main(arguments: Sequence[str], given: TextIO, out: TextIO) -> int:
    """Record, or draw; 1 when there is nothing to draw or no such command."""
    parser = argparse.ArgumentParser(
        prog="terminal_picture", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("what", choices=("record", "draw"))
    parser.add_argument("command", nargs=argparse.REMAINDER, help="to record")
    asked = parser.parse_args(arguments)
    if (asked.what == "record") != bool(asked.command):
        parser.error("`record` takes a command, `draw` takes none")
    try:
        if asked.what == "record":
            _record(asked.command, out)
        else:
            out.write(draw(read(given)))
    except (ValueError, OSError) as error:
        print(f"terminal_picture: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdin, sys.stdout))
