"""Ed25519 keys and signatures, however they are written; what openssl makes of both is read."""

import base64
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from slipway_sync.exports import PublicKeyError, read_public_keys
from slipway_sync.exports.signature import SignatureError, read_signature, signed

KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(3)]
RAW = [key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw) for key in KEYS]
PEMS = [
    key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for key in KEYS
]
MANIFEST = b"0" * 64 + b"  saved_model.pb\n"
SIGNATURE = KEYS[0].sign(MANIFEST)


def test_one_key_or_several_in_a_file_are_read() -> None:
    assert read_public_keys(PEMS[0]) == (RAW[0],)
    rotation = b"# old\n" + PEMS[0] + b"\n# new\r\n" + PEMS[1].replace(b"\n", b"\r\n") + PEMS[0]
    assert read_public_keys(rotation) == (RAW[0], RAW[1])


RSA = rsa.generate_private_key(65537, 2048).public_key()
EC = ec.generate_private_key(ec.SECP256R1()).public_key()
PRIVATE = KEYS[0].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("pem", "why"),
    [
        (b"", "contains no PEM block"),
        (b"ssh-ed25519 AAAA", "contains no PEM block"),
        (PEMS[0][:-10], "contains no PEM block"),
        (PEMS[0].replace(b"MC", b"!!"), "PEM block 1 is not a public key"),
        (PEMS[0] + RSA.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
         "PEM block 2 is not an Ed25519 key"),
        (EC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
         "PEM block 1 is not an Ed25519 key"),
        (PRIVATE, "contains a private key"),
        (PEMS[0] + PRIVATE, "contains a private key"),
        (PEMS[0] + b" " * (16 << 10), "larger than 16 KiB"),
    ],
)  # fmt: skip
def test_what_is_no_public_key_is_one_error_without_its_content(pem: bytes, why: str) -> None:
    with pytest.raises(PublicKeyError, match=why) as caught:
        read_public_keys(pem)
    for line in pem.splitlines():
        assert len(line) < 10 or line.startswith(b"-----") or line.decode() not in str(caught.value)


FORMS = {
    "raw": SIGNATURE,
    "raw and a newline": SIGNATURE + b"\n",
    "raw and CRLF": SIGNATURE + b"\r\n",
    "hex": SIGNATURE.hex().encode(),
    "hex in capitals": SIGNATURE.hex().upper().encode() + b"\r\n",
    "base64": base64.b64encode(SIGNATURE),
    "base64 in lines": base64.encodebytes(SIGNATURE),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_signature_is_read(form: str) -> None:
    assert read_signature(FORMS[form]) == SIGNATURE


@pytest.mark.parametrize(
    "content", [b"", b"\n", SIGNATURE[:-1], SIGNATURE + b"x", b"0" * 126, b"=" * 88, b"A" * 5000]
)
def test_what_is_no_signature_is_one_error(content: bytes) -> None:
    with pytest.raises(SignatureError):
        read_signature(content)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_one_documented_error_or_64_bytes_that_sign_nothing(
    content: bytes,
) -> None:
    try:
        found = read_signature(content)
    except SignatureError as error:
        assert str(error)  # noqa: PT017 - either outcome is right
    else:
        assert len(found) == 64
        assert not signed(MANIFEST, found, RAW)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_no_keys(content: bytes) -> None:
    for pem in (content, PEMS[0][:40] + content + PEMS[0][40:]):
        try:
            found = read_public_keys(pem)
        except PublicKeyError as error:
            assert str(error)  # noqa: PT017 - either outcome is right
        else:
            assert all(len(key) == 32 for key in found)


def test_one_of_several_keys_is_enough_and_another_one_is_not() -> None:
    assert signed(MANIFEST, SIGNATURE, [RAW[1], RAW[0]])
    assert not signed(MANIFEST, SIGNATURE, [RAW[1], RAW[2]])
    assert not signed(MANIFEST, SIGNATURE, [])


@given(st.integers(0, len(MANIFEST) * 8 - 1), st.integers(0, 64 * 8 - 1))
def test_any_flipped_bit_makes_it_wrong(of_manifest: int, of_signature: int) -> None:
    def flipped(content: bytes, bit: int) -> bytes:
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    assert not signed(flipped(MANIFEST, of_manifest), SIGNATURE, RAW)
    assert not signed(MANIFEST, flipped(SIGNATURE, of_signature), RAW)


def test_what_openssl_signs_is_right(tmp_path: Path) -> None:
    """The very commands of the guide."""
    (tmp_path / "saved_model.pb").write_bytes(b"graph")
    commands = """
        openssl genpkey -algorithm ed25519 -out KEY.pem
        openssl pkey -in KEY.pem -pubout -out publicKey.pem
        find . -type f ! -name 'SHA256SUMS*' ! -name '*.pem' -exec sha256sum {} + > SHA256SUMS
        openssl pkeyutl -sign -rawin -inkey KEY.pem -in SHA256SUMS -out SHA256SUMS.sig
    """
    subprocess.run(["sh", "-ec", commands], cwd=tmp_path, check=True, capture_output=True)
    keys = read_public_keys((tmp_path / "publicKey.pem").read_bytes())
    signature = read_signature((tmp_path / "SHA256SUMS.sig").read_bytes())
    assert signed((tmp_path / "SHA256SUMS").read_bytes(), signature, keys)
