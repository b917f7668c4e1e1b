"""Pages of Markdown, as tests read them: sections, tables, words in backticks."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

ROOT = Path(__file__).resolve().parents[2]


def prose(text: str) -> str:
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def quoted(text: str) -> list[str]:
    """The words in backticks."""
    return re.findall(r"`([^`\s]+)`", text)


@dataclass(frozen=True)
class Section:
    """What stands under a heading; `root` is the folder in backticks there, or the repository."""

    heading: str
    text: str

    @property
    def root(self) -> Path:
        return ROOT / next(iter(quoted(self.heading)), "")

    def path(self, word: str) -> Path:
        """The file that a word names: `/` at its start means the repository."""
        return ROOT / word[1:] if word.startswith("/") else self.root / word

    def tables(self, *header: str) -> Iterator[list[str]]:
        """The rows of all tables of the section that have this header, as lists of cells."""
        inside = False
        for line in self.text.splitlines():
            if not line.startswith("|"):
                inside = False
                continue
            cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
            if inside and not set(line) <= set("|- "):
                yield cells
            inside = inside or tuple(cells[-len(header) :]) == header


def sections(page: Path) -> list[Section]:
    """The parts of a page, cut at every heading."""
    parts = re.split(r"^#+ (.*)$", prose(page.read_text()), flags=re.MULTILINE)[1:]
    return [Section(*pair) for pair in zip(parts[::2], parts[1::2], strict=True)]


def definitions(file: Path) -> set[str]:
    """Functions, classes, their members (`Class.member`) and constants that a module defines."""
    return set(_defined(ast.parse(file.read_text()).body, ""))


def _defined(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from _defined(node.body, f"{prefix}{node.name}.")
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        yield from (prefix + target.id for target in targets if isinstance(target, ast.Name))


@dataclass(frozen=True)
class Claim:
    """That one of some files defines a name."""

    files: tuple[Path, ...]
    name: str

    @property
    def holds(self) -> bool:
        return any(
            self.name in (definitions(file) if file.suffix == ".py" else file.read_text())
            for file in self.files
            if file.exists()
        )

    @override
    def __str__(self) -> str:
        return f"{self.name} in {' or '.join(str(file.relative_to(ROOT)) for file in self.files)}"


def claims(page: Path) -> list[Claim]:
    """What the page's tables with the columns `File` and `In it` say."""
    return [
        Claim(tuple(section.path(word) for word in quoted(file)), word)
        for section in sections(page)
        for *_, file, content in section.tables("File", "In it")
        for word in quoted(content)
    ]
