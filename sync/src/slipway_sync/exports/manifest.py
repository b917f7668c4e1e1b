"""SHA256SUMS beside an export: the digests that its author wrote down, as `sha256sum` writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from slipway_sync.exports.listing import hostile_key, printable

MANIFEST = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.sig"
MANIFEST_LIMIT = 16 << 20
"""Largest manifest in bytes: some 150 000 files."""

_HEX = r"([0-9A-Fa-f]{64})"
# Coreutils' default form, with its mark for text or binary mode, and its --tag form.
_PLAIN = re.compile(rf"(\\?){_HEX} [ *](.+)", re.DOTALL)
_TAGGED = re.compile(rf"(\\?)SHA256 \((.+)\) = {_HEX}", re.DOTALL)
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_ESCAPED = {"\\": "\\", "n": "\n", "r": "\r"}


class ManifestError(ValueError):
    """The manifest is unreadable; the message names the line, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A readable manifest.

    Attributes:
        sha256: 64 lower-case hex digits of each file it names, by the path relative to the
            version's directory. The manifest and its signature are never among them: no file can
            hold its own digest, and the signature comes after the manifest.
    """

    sha256: Mapping[str, str]


def read_manifest(content: bytes) -> Manifest:
    r"""Read what `sha256sum FILES > SHA256SUMS` wrote.

    Text and binary marks, escaped names, the `--tag` form, a leading `./`, comments (`#`), empty
    lines and CRLF are read, as `sha256sum --check` reads them.

    Raises:
        ManifestError: A line is none of these, or its name must not become a file.

    >>> read_manifest(b"0" * 64 + b"  ./saved_model.pb\n").sha256["saved_model.pb"][:8]
    '00000000'
    """
    if len(content) > MANIFEST_LIMIT:
        raise ManifestError(f"it is larger than {MANIFEST_LIMIT >> 20} MiB")
    found: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, line in _lines(content):
        name, sha256 = _entry(line, number)
        path = name.removeprefix("./")
        wrong = hostile_key([path])
        if wrong is not None:
            raise ManifestError(f"line {number} names {printable(name)}, which {wrong[1]}")
        if path in {MANIFEST, SIGNATURE}:
            continue
        if path in found:
            raise ManifestError(
                f"lines {lines[path]} and {number} both name {printable(path)}: remove one"
            )
        found[path], lines[path] = sha256, number
    if not found:
        raise ManifestError("it lists no files")
    clash = hostile_key(found)
    if clash is not None:
        raise ManifestError(f"line {lines[clash[0]]} names {printable(clash[0])}, which {clash[1]}")
    return Manifest(found)


def _lines(content: bytes) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line that says something."""
    position = 0
    number = 0
    while position < len(content):
        number += 1
        end = content.find(b"\n", position)
        end = len(content) if end < 0 else end
        raw = content[position:end].removesuffix(b"\r")
        position = end + 1
        if not raw or raw.startswith(b"#"):
            continue
        try:
            yield number, raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ManifestError(f"line {number} is not UTF-8 text") from error


def _entry(line: str, number: int) -> tuple[str, str]:
    """Return the name and the digest of a line."""
    if match := _PLAIN.fullmatch(line):
        escaped, sha256, name = match.groups()
    elif match := _TAGGED.fullmatch(line):
        escaped, name, sha256 = match.groups()
    else:
        raise ManifestError(
            f"line {number} is not 64 hex digits, two spaces and a name, as sha256sum writes it"
        )
    return _unescaped(name, number) if escaped else name, sha256.lower()


def _unescaped(name: str, number: int) -> str:
    def plain(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPED:
            raise ManifestError(f"line {number} contains a \\ that does not escape anything")
        return _ESCAPED[match[1]]

    return _ESCAPE.sub(plain, name)
