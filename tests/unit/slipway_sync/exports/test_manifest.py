"""SHA256SUMS: what sha256sum writes is read, and nothing that could be meant otherwise."""

import hashlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_sync.exports import ManifestError, altered, read_manifest
from slipway_sync.exports.manifest import MANIFEST_LIMIT

ZERO, ONE = "0" * 64, "1" * 64


def entries(text: str) -> dict[str, str]:
    return dict(read_manifest(text.encode()).sha256)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{ZERO}  a\n", {"a": ZERO}),
        (f"{ZERO}  a", {"a": ZERO}),
        (f"{ZERO} *a\n", {"a": ZERO}),
        (f"{ZERO}  a\r\n{ONE}  b\r\n", {"a": ZERO, "b": ONE}),
        (f"{ZERO}  ./assets/a\n", {"assets/a": ZERO}),
        (f"{'AB' * 32}  a\n", {"a": "ab" * 32}),
        (f"# made by hand\n\n{ZERO}  a\n", {"a": ZERO}),
        (f"SHA256 (a (1).txt) = {ZERO}\n", {"a (1).txt": ZERO}),
        (f"{ZERO}  name with  spaces\n", {"name with  spaces": ZERO}),
        (f"{ZERO}   leading\n", {" leading": ZERO}),
        (f"{ZERO}  größe\n", {"größe": ZERO}),
        (f"{ZERO}  a\n{ONE}  SHA256SUMS\n{ONE}  ./SHA256SUMS.sig\n", {"a": ZERO}),
    ],
)
def test_every_form_is_read(text: str, expected: dict[str, str]) -> None:
    assert entries(text) == expected


def test_what_sha256sum_writes_is_read(tmp_path: Path) -> None:
    files = {"saved_model.pb": b"graph", "assets/a b.txt": b"", "variables/ä": b"x"}
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    expected = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    for options in ([], ["--binary"], ["--tag"]):
        ran = subprocess.run(
            ["sha256sum", *options, *files], cwd=tmp_path, capture_output=True, check=True
        )
        assert read_manifest(ran.stdout).sha256 == expected, options


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "lists no files"),
        ("# nothing\n", "lists no files"),
        ("hello\n", "line 1 is not 64 hex digits"),
        (f"{ZERO}  a\n{ZERO} b\n", "line 2 is not 64 hex digits"),
        (f"{ZERO[:-1]}  a\n", "line 1 is not 64 hex digits"),
        (f"{ZERO}0  a\n", "line 1 is not 64 hex digits"),
        (f"{ZERO}  \n", "line 1 is not 64 hex digits"),
        (f"{hashlib.md5(b'').hexdigest()}  a\n", "line 1 is not 64 hex digits"),  # noqa: S324
        (f"{ZERO}  a\n{ONE}  a\n", "lines 1 and 2 both name a: remove one"),
        (f"{ZERO}  a\n{ZERO}  ./a\n", "lines 1 and 2 both name a: remove one"),
        (f"{ZERO}  ../a\n", r"line 1 names \.\./a, which holds '\.\.'"),
        (f"{ZERO}  /etc/passwd\n", "line 1 names /etc/passwd, which is absolute"),
        (f"{ZERO}  .\n", r"line 1 names \., which holds '\.'"),
        (f"{ZERO}  ././a\n", r"line 1 names \./\./a, which holds '\.'"),
        (f"{ZERO}  a/\n", "line 1 names a/, which contains an empty segment"),
        (f"{ZERO}  a\0b\n", r"line 1 names 'a\\x00b', which contains a NUL"),
        (f"{ZERO}  C:/a\n", "which starts with a drive letter"),
        (f"{ZERO}  a\u202eb\n", "which contains a control character"),
        (f"{ZERO}  {'n' * 300}\n", "which contains a name longer than 255 bytes"),
        (f"\\{ZERO}  a\\nb\n", r"line 1 names 'a\\nb', which contains a control character"),
        (f"\\{ZERO}  a\\\\b\n", r"which contains a backslash"),
        (f"\\{ZERO}  a\\xb\n", r"line 1 contains a \\ that does not escape anything"),
        (f"\\{ZERO}  a\\\n", r"line 1 contains a \\ that does not escape anything"),
        (f"{ZERO}  a\n{ZERO}  a/b\n", "line 1 names a, which is both a file and the directory"),
    ],
)
def test_what_could_be_meant_otherwise_is_refused_by_line_and_name(text: str, why: str) -> None:
    with pytest.raises(ManifestError, match=why) as caught:
        entries(text)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_bytes_that_are_no_text_and_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ManifestError, match="line 2 is not UTF-8 text"):
        read_manifest(f"{ZERO}  a\n".encode() + f"{ZERO}  ".encode() + b"\xff\n")
    with pytest.raises(ManifestError, match="larger than 16 MiB"):
        read_manifest(b"#" * (MANIFEST_LIMIT + 1))


NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp", "Cf"))).filter(bool)


@given(st.dictionaries(st.binary(max_size=4), st.binary(max_size=40), max_size=5), st.binary())
def test_arbitrary_bytes_are_one_documented_error_or_a_manifest(
    lines: dict[bytes, bytes], rest: bytes
) -> None:
    content = b"".join(key + ZERO.encode() + b"  " + value + b"\n" for key, value in lines.items())
    for given_content in (content, rest, content + rest):
        try:
            found = read_manifest(given_content)
        except ManifestError as error:
            assert str(error).isprintable()  # noqa: PT017 - either outcome is right
        else:
            assert all(len(bytes.fromhex(value)) == 32 for value in found.sha256.values())


@given(st.dictionaries(NAMES, st.binary(min_size=32, max_size=32), min_size=1), st.booleans())
def test_what_is_written_is_read_or_refused_never_something_else(
    files: dict[str, bytes],
    crlf: bool,  # noqa: FBT001
) -> None:
    end = "\r\n" if crlf else "\n"
    lines = []
    for name, digest in files.items():
        mark = "\\" if "\\" in name else ""
        lines.append(f"{mark}{digest.hex()}  {name.replace(chr(92), chr(92) * 2)}{end}")
    try:
        found = read_manifest("".join(lines).encode())
    except ManifestError:
        return
    ours = {"SHA256SUMS", "SHA256SUMS.sig"}
    assert found.sha256 == {
        name.removeprefix("./"): digest.hex()
        for name, digest in files.items()
        if name.removeprefix("./") not in ours
    }


def test_a_file_that_is_another_one_is_named() -> None:
    manifest = read_manifest(f"{ZERO}  a\n{hashlib.sha256(b'b').hexdigest()}  b\n".encode())
    right = {"b": hashlib.sha256(b"b").digest(), "c": b"any"}
    assert altered(manifest, right) is None
    finding = altered(manifest, right | {"a": bytes(31) + b"x"})
    assert finding is not None
    assert (finding.reason, finding.object) == ("WrongDigest", "a")
    assert finding.message == (
        "a has the SHA-256 000000000000…, but SHA256SUMS lists 000000000000…: upload it again"
    )
