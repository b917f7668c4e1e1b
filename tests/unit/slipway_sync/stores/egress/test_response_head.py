import pytest

from slipway_sync.stores.egress.response_head import read_location, read_response_head


def read(*lines: bytes, method: bytes = b"GET") -> bytes:
    return read_response_head(lines, method).written()


@pytest.mark.parametrize(
    "lines",
    [
        (b"HTTP/2 200 OK",),
        (b"200 OK",),
        (b"HTTP/1.1 200 OK", b"Content-Length: 5", b"Content-Length: 6"),
        (b"HTTP/1.1 200 OK", b"Content-Length: 5, 5"),
        (b"HTTP/1.1 200 OK", b"Content-Length: +5"),
        (b"HTTP/1.1 200 OK", b"Content-Length: 9999999999999999999"),
        (b"HTTP/1.1 200 OK", b"Content-Length : 5"),
        (b"HTTP/1.1 200 OK", b"A: b", b" folded"),
        (b"HTTP/1.1 200 OK", b"A: b\rContent-Length: 5"),
        (b"HTTP/1.1 200 OK", b"Transfer-Encoding: gzip, chunked"),
        (b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        (b"HTTP/1.0 200 OK", b"Transfer-Encoding: chunked"),
    ],
)
def test_what_two_readers_could_take_for_two_things_is_refused(lines: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="no "):
        read(*lines)


def test_the_head_is_written_from_what_was_understood() -> None:
    written = read(
        b"HTTP/1.1 200 Fine", b"Connection: close", b"Content-Length:  5", b"ETag: a", b"Trailer: x"
    )
    assert written == (
        b"HTTP/1.1 200 -\r\netag: a\r\ncontent-length: 5\r\nconnection: close\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("lines", "framing"),
    [
        ((b"HTTP/1.1 200 -", b"Content-Length: 5", b"Transfer-Encoding: chunked"), b"chunked"),
        ((b"HTTP/1.1 200 -",), b"chunked"),
        ((b"HTTP/1.0 200 -", b"Content-Length: 5"), b"content-length: 5\r\nconnection: close"),
    ],
)
def test_a_body_has_one_framing(lines: tuple[bytes, ...], framing: bytes) -> None:
    written = read(*lines)
    assert framing in written
    assert (b"content-length" in written) != (b"chunked" in written)


def test_an_answer_without_a_body_keeps_the_length_of_what_it_describes() -> None:
    assert b"content-length: 99999999999\r\n" in read(
        b"HTTP/1.1 200 OK", b"Content-Length: 99999999999", method=b"HEAD"
    )
    assert b"content-length" not in read(b"HTTP/1.1 304 -", b"Content-Length: 99999999999")


@pytest.mark.parametrize(
    ("text", "authority", "target"),
    [
        ("/b?c", "host:9000", "/b?c"),
        ("b", "host:9000", "/b"),
        ("https://Other.example", "other.example", "/"),
        ("//other:1/ä b", "other:1", "/%C3%A4%20b"),
        ("https://[::1]:444/#f", "[::1]:444", "/"),
        ("https://h\\@evil/", "", ""),
        ("https://user@host/", "", ""),
        ("ftp://host/", "", ""),
        ("https://host:x/", "", ""),
    ],
)
def test_a_redirect_has_one_reading(text: str, authority: str, target: str) -> None:
    if not authority:
        with pytest.raises(ValueError, match="no plain URL"):
            read_location("https://host:9000/a", text)
        return
    place = read_location("https://host:9000/a", text)
    assert (place.authority, place.target) == (authority, target)
