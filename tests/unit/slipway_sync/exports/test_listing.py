"""Revisions, and keys that must not become files."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_sync.exports import ObjectInfo, digest, hostile_key, printable, revision

WHEN = datetime(2024, 1, 1, tzinfo=UTC)


def item(path: str = "a", size: int = 1, etag: str = "x") -> ObjectInfo:
    return ObjectInfo(path, size, etag, WHEN)


def test_a_revision_is_64_hex_digits_whatever_the_order_and_the_time() -> None:
    later = replace(item("b"), modified=WHEN.replace(year=2025))
    assert revision((item("a"), item("b"))) == revision((later, item("a")))
    assert len(revision(())) == 64
    assert int(revision((item(),)), 16)


@pytest.mark.parametrize(
    "other", [(item("b"),), (item(size=2),), (item(etag="y"),), (item(), item("b")), ()]
)
def test_a_revision_changes_with_path_size_and_etag(other: tuple[ObjectInfo, ...]) -> None:
    assert revision((item(),)) != revision(other)


def test_what_a_manifest_says_of_the_content_is_no_part_of_the_revision() -> None:
    """Otherwise reading the manifest would make another revision of the same listing."""
    assert revision((replace(item(), sha256="0" * 64),)) == revision((item(),))


def test_listings_that_read_alike_when_joined_differ() -> None:
    assert revision((item("a", 1, "1x"),)) != revision((item("a", 11, "x"),))
    assert digest({"ab": b"c" * 32}) != digest({"a": b"bc" + b"c" * 30})


HOSTILE = {
    "../x": "holds '..'",
    "a/../../x": "holds '..'",
    "a/..": "holds '..'",
    "..": "holds '..'",
    "./a": "holds '.'",
    "a/./b": "holds '.'",
    "/etc/passwd": "is absolute",
    "//a": "is absolute",
    "a//b": "contains an empty segment",
    "a/": "contains an empty segment",
    "": "contains an empty segment",
    "a\\b": "contains a backslash",
    "..\\x": "contains a backslash",
    "a\0b": "contains a NUL",
    "a\nb": "contains a control character",
    "a\x1b[31m": "contains a control character",
    "a\x7f": "contains a control character",
    "a\x85b": "contains a control character",
    "a\u2028b": "contains a control character",
    "a\u202eb": "contains a control character",
    "a\udc80b": "contains a control character",
    "C:/x": "starts with a drive letter",
    "c:x": "starts with a drive letter",
    "a" * 256: "contains a name longer than 255 bytes",
    "ä" * 128: "contains a name longer than 255 bytes",
    "/".join(["a" * 100] * 11): "is longer than 1024 bytes",
}


@pytest.mark.parametrize("path", HOSTILE)
def test_a_hostile_key_is_named_with_what_is_wrong(path: str) -> None:
    assert hostile_key(["saved_model.pb", path]) == (path, HOSTILE[path])


def test_a_file_and_a_directory_of_one_name_clash() -> None:
    assert hostile_key(["a/b/c", "a/b"]) == ("a/b", "is both a file and the directory of a/b/c")
    # '-' sorts before '/', so the two are not neighbours.
    assert hostile_key(["a", "a-b", "a/c"]) is not None


@pytest.mark.parametrize(
    "path", ["saved_model.pb", "assets/ä €.txt", "a..b/c...", "..a", "x" * 255, "ab:c", "assets/C:"]
)
def test_a_harmless_key_is_none(path: str) -> None:
    assert hostile_key([path, "other/file"]) is None


@given(st.text())
def test_what_passes_stays_below_the_directory(path: str) -> None:
    if hostile_key([path]) is None:
        base = Path("/base/directory")
        joined = Path(os.path.normpath(base / path))
        assert joined != base
        assert joined.is_relative_to(base)
        assert str(joined) == f"/base/directory/{path}"


@given(st.text())
def test_what_is_printed_is_one_harmless_line(path: str) -> None:
    shown = printable(path)
    assert shown.isprintable()
    assert len(shown) <= 2100
