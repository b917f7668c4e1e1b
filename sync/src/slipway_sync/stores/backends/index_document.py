"""The index document of a static server: what `URI/index.json` says. Pure.

    {"formatVersion": 1,
     "versions": [{"directory": "3",
                   "files": [{"path": "saved_model.pb", "size": 1234, "sha256": "…64 hex digits…"}]}]}

Whoever can write to the server chooses its bytes: they are bounded before they are parsed, every value that counts is
checked, and the first that is wrong is named by its place. Fields that are not known here are ignored.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from slipway_sync.exports import Listing, ObjectInfo, hostile_key, printable

NAME: Final = "index.json"
FORMAT_VERSION: Final = 1
MAX_BYTES: Final = 32 << 20
"""Of a document; it holds MAX_FILES files of ordinary names."""
MAX_FILES: Final = 200_000
"""Of all versions together."""
_MAX_OBJECTS: Final = 500_000
_MAX_VALUES: Final = 2_000_000
"""Few bytes of JSON become many bytes of objects: brackets and commas are counted before that."""
_MAX_SIZE: Final = 1 << 50
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_UNKNOWN_TIME: Final = datetime.fromtimestamp(0, UTC)


class IndexDocumentError(Exception):
    """The document is wrong; str() says where and how, without its subject."""


@dataclass(frozen=True, slots=True)
class Index:
    """What a static server holds.

    Attributes:
        versions: The listing of each version's directory, by its name. ETags are SHA-256 in hex.
        files: How many files all versions have together.
    """

    versions: Mapping[str, Listing]
    files: int


def parse_index(document: bytes) -> Index:
    """Read an index document.

    Paths of files are not judged here: the proof rejects the one version that holds a hostile one.

    Raises:
        IndexDocumentError: Some value is wrong.
    """
    if len(document) > MAX_BYTES:
        raise IndexDocumentError(f"it is longer than {MAX_BYTES >> 20} MiB")
    if document.count(b"{") + document.count(b"[") > _MAX_OBJECTS:
        raise IndexDocumentError(f"it holds more than {_MAX_OBJECTS} objects and arrays")
    if document.count(b",") > _MAX_VALUES:
        raise IndexDocumentError(f"it holds more than {_MAX_VALUES} values")
    top = _object(_decoded(document), "it")
    found = top.get("formatVersion")
    if type(found) is not int:
        raise IndexDocumentError("formatVersion is missing or not an integer: write 1")
    if found != FORMAT_VERSION:
        raise IndexDocumentError(
            f"formatVersion is {printable(str(found))}; this release reads {FORMAT_VERSION}"
        )
    versions: dict[str, Listing] = {}
    places: dict[str, str] = {}
    files = 0
    for place, entry in _items(top, "versions", ""):
        version = _object(entry, place)
        directory = _directory(version, place)
        if directory in versions:
            raise IndexDocumentError(
                f"{place}.directory repeats {places[directory]}.directory ({printable(directory)})"
            )
        listing = tuple(_files(version, place))
        files += len(listing)
        if files > MAX_FILES:
            raise IndexDocumentError(f"{place}.files: it lists more than {MAX_FILES} files")
        versions[directory] = listing
        places[directory] = place
    return Index(versions, files)


def render_index(versions: Mapping[str, Sequence[ObjectInfo]]) -> bytes:
    """Write the document for some directories; the same input gives the same bytes.

    Args:
        versions: Listings with `sha256`, by directory.
    """
    document = {
        "formatVersion": FORMAT_VERSION,
        "versions": [
            {
                "directory": directory,
                "files": [
                    {"path": item.path, "size": item.size, "sha256": item.sha256}
                    for item in versions[directory]
                ],
            }
            for directory in sorted(versions)
        ],
    }
    return f"{json.dumps(document, indent=1, ensure_ascii=False)}\n".encode()


def _decoded(document: bytes) -> Any:
    try:
        text = document.decode("utf-8-sig")
        return json.loads(
            text, object_pairs_hook=_unambiguous, parse_constant=_refused, parse_float=_float
        )
    except UnicodeDecodeError as error:
        raise IndexDocumentError(f"it is not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise IndexDocumentError(
            f"it is not JSON at line {error.lineno}, column {error.colno}"
        ) from error
    except RecursionError as error:
        raise IndexDocumentError("it is nested too deeply") from error
    except ValueError as error:  # A number of thousands of digits.
        raise IndexDocumentError("it contains a number that is too long") from error


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise IndexDocumentError(f"an object in it names {printable(twice)} twice")
    return found


def _refused(name: str) -> Any:
    raise IndexDocumentError(f"it holds {name}, which is not JSON")


def _float(_: str) -> None:
    """No field that counts is one, so none is worth memory."""


def _object(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise IndexDocumentError(f"{place} is not an object")
    return value


def _items(holder: dict[str, Any], name: str, place: str) -> Iterator[tuple[str, Any]]:
    """Yield the entries of an array with their places."""
    path = f"{place}.{name}" if place else name
    found = holder.get(name)
    if not isinstance(found, list):
        raise IndexDocumentError(f"{path} is missing or not an array")
    for number, value in enumerate(found):
        yield f"{path}[{number}]", value


def _directory(version: dict[str, Any], place: str) -> str:
    directory = version.get("directory")
    if not isinstance(directory, str) or not directory:
        raise IndexDocumentError(
            f'{place}.directory is missing or not a string: write, for example, "3"'
        )
    if "/" in directory:
        raise IndexDocumentError(f"{place}.directory {printable(directory)} contains a /")
    if (wrong := hostile_key([directory])) is not None:
        raise IndexDocumentError(f"{place}.directory {printable(directory)} {wrong[1]}")
    return directory


def _files(version: dict[str, Any], place: str) -> list[ObjectInfo]:
    known: dict[str, str] = {}
    found = []
    for where, entry in _items(version, "files", place):
        item = _file(_object(entry, where), where)
        if item.path in known:
            raise IndexDocumentError(
                f"{where}.path repeats {known[item.path]}.path ({printable(item.path)})"
            )
        known[item.path] = where
        found.append(item)
    return sorted(found, key=lambda item: item.path)


def _file(entry: dict[str, Any], place: str) -> ObjectInfo:
    path, size, sha256 = entry.get("path"), entry.get("size"), entry.get("sha256")
    if not isinstance(path, str) or not path:
        raise IndexDocumentError(f"{place}.path is missing or not a string")
    if type(size) is not int or not 0 <= size <= _MAX_SIZE:
        raise IndexDocumentError(f"{place}.size is missing or not a number of bytes")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise IndexDocumentError(f"{place}.sha256 is missing or not 64 hex digits")
    digits = sha256.lower()
    return ObjectInfo(path, size, digits, _UNKNOWN_TIME, digits)
