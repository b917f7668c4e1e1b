"""§11: the SSLConfig file, and what a change of it does."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from certificates import Authority, Pair, ssl_config
from slipway_server.errors import ServingError, invalid_argument
from slipway_server.frontends.tls import (
    CertificateFile,
    TlsConfig,
    client_roots,
    read_tls_config,
    server_context,
)

AUTHORITY = Authority()
FIRST, SECOND, THIRD = AUTHORITY.issue(), AUTHORITY.issue(), AUTHORITY.issue()


def shown(context: ssl.SSLContext, client: Pair | None = None, tmp: Path | None = None) -> int:
    """The serial number of the certificate that a client sees, over memory instead of a socket."""
    asking = ssl.create_default_context(cadata=AUTHORITY.pem.decode())
    if client is not None and tmp is not None:
        file = tmp / "client.pem"
        file.write_bytes(client.key + client.certificate)
        asking.load_cert_chain(file)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        asking.wrap_bio(to_client, to_server, server_hostname="localhost"),
        context.wrap_bio(to_server, to_client, server_side=True),
    ]
    open_ends = list(ends)
    while open_ends:
        for end in list(open_ends):
            try:
                end.do_handshake()
                open_ends.remove(end)
            except ssl.SSLWantReadError:
                pass
    return int(ends[0].getpeercert()["serialNumber"], 16)  # type: ignore[index, arg-type]


class File:
    def __init__(self, tmp: Path) -> None:
        self.path = tmp / "ssl.pbtxt"
        self.said: list[tuple[str, bool]] = []

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def open(self) -> CertificateFile:
        return CertificateFile(
            str(self.path), lambda sentence, used: self.said.append((sentence, used))
        )


@pytest.fixture
def file(tmp_path: Path) -> File:
    file = File(tmp_path)
    file.write(ssl_config(FIRST))
    return file


def test_a_client_sees_the_certificate(file: File) -> None:
    assert shown(file.open().context()) == FIRST.serial


def test_new_connections_get_what_a_changed_file_says(file: File) -> None:
    certificate = file.open()
    before = certificate.context()
    file.write(ssl_config(SECOND))
    certificate.poll()
    assert shown(certificate.context()) == SECOND.serial
    assert shown(before) == FIRST.serial
    assert file.said == [("a new certificate is used for new connections", True)]


def test_grpc_is_given_a_certificate_once_for_each_change(file: File) -> None:
    certificate = file.open()
    ports = certificate.updates(), certificate.updates()
    assert [changed() for changed in ports] == [None, None]
    file.write(ssl_config(SECOND))
    certificate.poll()
    assert [changed() is not None for changed in ports] == [True, True]
    assert [changed() for changed in ports] == [None, None]


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ("server_key: 1", "Invalid protobuf file: "),
        ("", "must set server_key and server_cert, as PEM text"),
        (
            ssl_config(Pair(FIRST.key, SECOND.certificate, 0)),
            "server_key and server_cert cannot be used: KEY_VALUES_MISMATCH",
        ),
        (
            ssl_config(Pair(b"no key", FIRST.certificate, 0)),
            "server_key and server_cert cannot be used",
        ),
        (ssl_config(SECOND, b"no ca", verify=True), "custom_ca cannot be used"),
        (ssl_config(SECOND, "Zürich".encode(), verify=True), "custom_ca cannot be used"),
    ],
    ids=["no text proto", "empty", "another's key", "no PEM", "no CA", "a CA that is no ASCII"],
)
def test_a_broken_change_keeps_the_old_and_is_said_once(
    tmp_path: Path, broken: str, sentence: str
) -> None:
    file = File(tmp_path)
    verify = "verify: true" in broken
    file.write(ssl_config(FIRST, AUTHORITY.pem, verify=verify))
    certificate = file.open()
    context = certificate.context()
    file.write(broken)
    for _ in range(3):
        certificate.poll()
    assert certificate.context() is context
    assert len(file.said) == 1
    said, used = file.said[0]
    assert not used
    assert said.startswith("the certificate in use is kept: ")
    assert sentence in said
    file.write(ssl_config(SECOND, AUTHORITY.pem, verify=verify))
    certificate.poll()
    assert file.said[1:] == [("a new certificate is used for new connections", True)]


def test_whoever_follows_is_told_first_and_may_refuse(file: File) -> None:
    certificate = file.open()
    told: list[bytes] = []

    def use(config: TlsConfig) -> None:
        assert shown(certificate.context()) == FIRST.serial
        if config.chain == THIRD.certificate:
            raise invalid_argument("not such a key")
        told.append(config.chain)

    certificate.follow(use)
    assert told == [FIRST.certificate]
    file.write(ssl_config(THIRD))
    for _ in range(2):
        certificate.poll()
    assert shown(certificate.context()) == FIRST.serial
    assert file.said == [("the certificate in use is kept: not such a key", False)]
    file.write(ssl_config(SECOND))
    certificate.poll()
    assert told == [FIRST.certificate, SECOND.certificate]
    assert shown(certificate.context()) == SECOND.serial


def test_whatever_goes_wrong_the_next_certificate_is_used(
    file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway_server.frontends.tls._POLL_SECONDS", 0.01)
    certificate = file.open()
    failed, used = threading.Event(), threading.Event()

    def use(config: TlsConfig) -> None:
        if config.chain == SECOND.certificate and not failed.is_set():
            failed.set()
            raise OSError("ca-certificates.crt")
        if config.chain == SECOND.certificate:
            used.set()

    certificate.follow(use)
    certificate.watch()
    file.write(ssl_config(SECOND))
    assert used.wait(60)
    certificate.stop()
    assert ("the certificate in use is kept: OSError: ca-certificates.crt", False) in file.said


def test_authorities_of_the_machine_that_cannot_be_read_are_named(
    file: File, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = SimpleNamespace(cafile=str(tmp_path / "gone.crt"))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: gone)
    file.write(ssl_config(FIRST, verify=True))
    config = read_tls_config(str(file.path))
    with pytest.raises(ServingError, match=r"gone\.crt; No such file or directory"):
        client_roots(config)


def test_a_vanished_file_keeps_the_old(file: File) -> None:
    certificate = file.open()
    file.path.unlink()
    certificate.poll()
    certificate.poll()
    assert shown(certificate.context()) == FIRST.serial
    assert [sentence.endswith("No such file or directory") for sentence, _ in file.said] == [True]


def test_at_start_a_broken_file_is_an_error_that_tells_no_key(file: File) -> None:
    file.write('server_key: "secret" server_cert "x"')
    with pytest.raises(ServingError) as refused:
        file.open()
    assert str(refused.value) == f"INVALID_ARGUMENT: Invalid protobuf file: '{file.path}'"


def test_whether_clients_are_verified_is_settled_at_start(file: File) -> None:
    certificate = file.open()
    file.write(ssl_config(SECOND, AUTHORITY.pem, verify=True))
    certificate.poll()
    assert shown(certificate.context()) == FIRST.serial
    assert "client_verify cannot change while the server runs" in file.said[0][0]


def test_with_client_verify_only_the_authoritys_clients_come_in(file: File, tmp_path: Path) -> None:
    file.write(ssl_config(FIRST, AUTHORITY.pem, verify=True))
    context = server_context(read_tls_config(str(file.path)))
    assert shown(context, AUTHORITY.issue("client"), tmp_path) == FIRST.serial
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shown(context)
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        shown(context, Authority("another").issue("client"), tmp_path)


def test_without_client_verify_a_custom_ca_asks_nobody(file: File) -> None:
    file.write(ssl_config(FIRST, AUTHORITY.pem))
    assert shown(file.open().context()) == FIRST.serial


def test_old_tls_is_refused(file: File) -> None:
    assert file.open().context().minimum_version >= ssl.TLSVersion.TLSv1_2
