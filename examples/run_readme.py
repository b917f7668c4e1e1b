"""Run an example's README from top to bottom, as one script in one shell, and compare what it prints.

    python -m run_readme examples/keras_rest/README.md

Every block that is marked `sh` is run; one that is marked `text` after it is what the reader should see. There `...`
stands for anything, and a number with a decimal point for any other one: error rates and times differ between machines.
Blocks of other kinds are for reading.
"""

import argparse
import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_WILD = re.compile(r"\.\.\.|\d+\.\d+(?:e-?\d+)?")


class Step(NamedTuple):
    """Commands of a page, and what they print according to it; nothing when the page does not say."""

    commands: str
    shown: str


def steps(page: str) -> list[Step]:
    """Return the steps of a page, in order."""
    found: list[Step] = []
    before = ""
    for kind, text in _BLOCK.findall(page):
        if kind == "sh":
            found.append(Step(text, ""))
        elif kind == "text" and before == "sh":
            found[-1] = Step(found[-1].commands, text)
        before = kind
    return found


def heading(step: Step) -> str:
    """Return what the script prints before a step: its commands, as at a prompt."""
    lines, prompt = "", "$"
    for line in filter(None, step.commands.splitlines()):
        lines += f"{prompt} {line}\n"
        prompt = ">" if line.endswith("\\") else "$"
    return lines


def script(of: list[Step]) -> str:
    """Return one shell script that runs the steps and shows each before it runs."""
    parts = ["set -euo pipefail"]
    for step in of:
        parts += [f"printf '\\n%s\\n' {shlex.quote(heading(step).rstrip())}", step.commands]
    return "\n".join(parts)


def differences(of: list[Step], output: str) -> list[str]:
    """Return a sentence for each step that printed something else than the page shows."""
    sentences = []
    for number, step in enumerate(of):
        _, _, rest = output.partition(heading(step))
        said = rest.partition(heading(of[number + 1]))[0] if number + 1 < len(of) else rest
        if not re.fullmatch(_pattern(step.shown) if step.shown else ".*", said.strip(), re.DOTALL):
            sentences.append(
                f"The page shows\n{step.shown}\nfor\n{step.commands}\nbut this was printed:\n{said.strip()}\n"
            )
        output = rest
    return sentences


def _pattern(shown: str) -> str:
    r"""Return the regular expression of what a page shows.

    >>> _pattern("... 9.1%")
    '.*?\\ \\d+\\.\\d+(?:e-?\\d+)?%'
    """
    text, parts, end = shown.strip(), [], 0
    for wild in _WILD.finditer(text):
        any_of = ".*?" if wild.group() == "..." else r"\d+\.\d+(?:e-?\d+)?"
        parts += [re.escape(text[end : wild.start()]), any_of]
        end = wild.end()
    return "".join([*parts, re.escape(text[end:])])


def main() -> None:
    """Run the page, showing everything; exit code 1 when it fails or prints something else."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    page = steps(parser.parse_args().page.read_text(encoding="utf-8"))
    with subprocess.Popen(
        ["bash", "-c", script(page)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        output = ""
        try:
            for line in process.stdout or ():
                output += line
                sys.stdout.write(line)
                sys.stdout.flush()
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
            code = process.wait()
    wrong = differences(page, output)
    print("\n".join(wrong), file=sys.stderr, end="")
    raise SystemExit(code or int(bool(wrong)))


if __name__ == "__main__":
    main()
