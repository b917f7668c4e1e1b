"""The index document of a static server: what is read from it, and what is refused, where."""

import json
import time
from typing import Any

import pytest

from slipway_sync.stores.backends import index_document
from slipway_sync.stores.backends.index_document import (
    IndexDocumentError,
    parse_index,
    render_index,
)

SHA = "ab" * 32


def document(**version: Any) -> dict[str, Any]:
    entry = {"directory": "3", "files": [{"path": "saved_model.pb", "size": 7, "sha256": SHA}]}
    return {"formatVersion": 1, "versions": [entry | version]}


def file(**fields: Any) -> dict[str, Any]:
    return document(files=[{"path": "a", "size": 1, "sha256": SHA} | fields])


def parsed(value: Any) -> index_document.Index:
    return parse_index(json.dumps(value).encode())


def test_a_document_lists_versions_and_files() -> None:
    found = parsed(document())
    (item,) = found.versions["3"]
    assert (item.path, item.size, item.etag, item.sha256) == ("saved_model.pb", 7, SHA, SHA)
    assert found.files == 1


def test_files_are_sorted_and_digits_are_lower_case() -> None:
    entries = [{"path": path, "size": 0, "sha256": SHA.upper()} for path in ("b", "a/c", "a")]
    found = parsed(document(files=entries)).versions["3"]
    assert [item.path for item in found] == ["a", "a/c", "b"]
    assert {item.sha256 for item in found} == {SHA}


def test_unknown_fields_say_nothing() -> None:
    value = file(mode="0644", extra=[1.5, None, {"x": {}}]) | {"generator": {"name": "x"}}
    value["versions"][0]["note"] = "hello"
    assert parsed(value) == parsed(file())


def test_what_is_written_is_read_again() -> None:
    entries = [{"path": path, "size": 5, "sha256": SHA} for path in ("ü/x y", "z")]
    versions = parsed(document(files=entries)).versions
    written = render_index(versions)
    assert parse_index(written).versions == versions
    assert render_index(parse_index(written).versions) == written


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "it is not an object"),
        ({}, "formatVersion is missing or not an integer: write 1"),
        ({"formatVersion": True, "versions": []}, "formatVersion is missing or not an integer"),
        ({"formatVersion": 2, "versions": []}, "formatVersion is 2; this release reads 1"),
        ({"formatVersion": 1}, "versions is missing or not an array"),
        ({"formatVersion": 1, "versions": {}}, "versions is missing or not an array"),
        ({"formatVersion": 1, "versions": [7]}, "versions[0] is not an object"),
        (document(directory=3), "versions[0].directory is missing or not a string"),
        (document(directory=""), "versions[0].directory is missing or not a string"),
        (document(directory="1/2"), "versions[0].directory 1/2 contains a /"),
        (document(directory=".."), "versions[0].directory .. holds '..'"),
        (
            document(directory="\u0007"),
            "versions[0].directory '\\x07' contains a control character",
        ),
        (
            document(directory="\ud800"),
            "versions[0].directory '\\ud800' contains a control character",
        ),
        (document(files=None), "versions[0].files is missing or not an array"),
        (document(files=["a"]), "versions[0].files[0] is not an object"),
        (file(path=None), "versions[0].files[0].path is missing or not a string"),
        (file(path=""), "versions[0].files[0].path is missing or not a string"),
        (file(size="7"), "versions[0].files[0].size is missing or not a number of bytes"),
        (file(size=True), "versions[0].files[0].size is missing or not a number of bytes"),
        (file(size=1.0), "versions[0].files[0].size is missing or not a number of bytes"),
        (file(size=-1), "versions[0].files[0].size is missing or not a number of bytes"),
        (file(size=1 << 60), "versions[0].files[0].size is missing or not a number of bytes"),
        (file(sha256=SHA[1:]), "versions[0].files[0].sha256 is missing or not 64 hex digits"),
        (file(sha256=SHA[1:] + "g"), "versions[0].files[0].sha256 is missing or not 64 hex digits"),
        (file(sha256=None), "versions[0].files[0].sha256 is missing or not 64 hex digits"),
    ],
)
def test_a_wrong_value_is_named_by_its_place(value: Any, said: str) -> None:
    with pytest.raises(IndexDocumentError) as caught:
        parsed(value)
    assert said in str(caught.value)


def test_what_comes_twice_is_named_with_both_places() -> None:
    twice = document()
    twice["versions"].append(twice["versions"][0])
    with pytest.raises(IndexDocumentError) as caught:
        parsed(twice)
    assert str(caught.value) == "versions[1].directory repeats versions[0].directory (3)"
    twice = document(files=[{"path": "a", "size": 1, "sha256": SHA}] * 2)
    with pytest.raises(IndexDocumentError) as caught:
        parsed(twice)
    assert str(caught.value) == "versions[0].files[1].path repeats versions[0].files[0].path (a)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "it is not JSON at line 1, column 1"),
        (b"<html><a href='1/'>", "it is not JSON at line 1, column 1"),
        (b'{"formatVersion": 1,\n "versions": [', "it is not JSON at line 2, column 15"),
        (b"\xff", "it is not UTF-8 at byte 0"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"formatVersion": 1' + b"0" * 5000 + b"}", "it contains a number that is too long"),
        (b'{"formatVersion": NaN}', "it holds NaN, which is not JSON"),
        (b'{"formatVersion": 1, "formatVersion": 2}', "an object in it names formatVersion twice"),
    ],
)
def test_what_is_no_document_is_refused_in_one_sentence(text: bytes, said: str) -> None:
    with pytest.raises(IndexDocumentError) as caught:
        parse_index(text)
    assert str(caught.value) == said


def test_a_document_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(IndexDocumentError, match="longer than 32 MiB"):
        parse_index(b" " * (index_document.MAX_BYTES + 1))
    with pytest.raises(IndexDocumentError, match="more than 500000 objects and arrays"):
        parse_index(b"[" + b"[]," * 500_000 + b"0]")
    with pytest.raises(IndexDocumentError, match="more than 2000000 values"):
        parse_index(b"[" + b"0," * 2_000_001 + b"0]")
    monkeypatch.setattr(index_document, "MAX_FILES", 2)
    entries = [{"path": str(n), "size": 0, "sha256": SHA} for n in range(3)]
    with pytest.raises(IndexDocumentError, match=r"versions\[0\].files: it lists more than 2"):
        parsed(document(files=entries))


def test_many_names_with_one_twice_take_no_long_time() -> None:
    names = ",".join(f'"{n}":0' for n in range(200_000))
    started = time.monotonic()
    with pytest.raises(IndexDocumentError, match="names 7 twice"):
        parse_index(f'{{{names},"7":0}}'.encode())
    assert time.monotonic() - started < 10
