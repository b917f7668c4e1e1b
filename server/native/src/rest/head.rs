//! What is wrong with a request's head although it can be parsed (RFC 9112, §3.2 and §6).

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Version};

use super::answer::Reply;
use super::shared::Limits;

/// Looks at heads as they arrive, for what the library does not tell: a length beside Transfer-Encoding, or a second
/// length, which two servers on the way could read differently. It looks at each byte once.
pub struct Scan {
    /// The beginning of the request line.
    first: [u8; TARGET],
    first_size: usize,
    /// Whether the request line is complete.
    headers: bool,
    /// The beginning of the line that arrives, in lower case, and the size of all of it so far.
    start: [u8; CODING.len()],
    size: usize,
    lengths: usize,
    coding: bool,
    seen: Seen,
}

const LENGTH: &[u8] = b"content-length:";
const CODING: &[u8] = b"transfer-encoding:";
/// Of the request line: what an answer's further headers depend on is shorter.
const TARGET: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seen {
    /// No whole head came by that was looked at.
    Nothing,
    Fine,
    /// A length and a coding.
    Both,
    /// More than one length.
    Lengths,
}

impl Scan {
    pub fn new() -> Scan {
        Scan {
            first: [0; TARGET],
            first_size: 0,
            headers: false,
            start: [0; CODING.len()],
            size: 0,
            lengths: 0,
            coding: false,
            seen: Seen::Nothing,
        }
    }

    /// See bytes that came while no request was under way.
    pub fn see(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.seen != Seen::Nothing {
                return;
            }
            if *byte == b'\n' {
                self.end_line();
            } else {
                self.within_line(*byte);
            }
        }
    }

    fn end_line(&mut self) {
        let blank = self.size == 0 || (self.size == 1 && self.start.starts_with(b"\r"));
        self.size = 0;
        match (self.headers, blank) {
            // The library skips empty lines before a request as well.
            (false, true) => self.first_size = 0,
            (false, false) => self.headers = true,
            (true, false) => {}
            (true, true) => {
                self.seen = match (self.lengths, self.coding) {
                    (1.., true) => Seen::Both,
                    (2.., false) => Seen::Lengths,
                    _ => Seen::Fine,
                }
            }
        }
    }

    fn within_line(&mut self, byte: u8) {
        if let Some(place) = self.start.get_mut(self.size) {
            *place = byte.to_ascii_lowercase();
        }
        self.size = self.size.saturating_add(1);
        if self.headers {
            if byte == b':' {
                let name = self.start.get(..self.size);
                self.lengths += usize::from(name == Some(LENGTH));
                self.coding |= name == Some(CODING);
            }
        } else if let Some(place) = self.first.get_mut(self.first_size) {
            *place = byte;
            self.first_size += 1;
        }
    }

    /// The target's beginning, as far as it was seen.
    pub fn target(&self) -> &str {
        let line = self.first.get(..self.first_size).unwrap_or_default();
        let mut parts = line.split(u8::is_ascii_whitespace);
        let target = parts.nth(1).unwrap_or_default();
        std::str::from_utf8(target).unwrap_or_default()
    }

    /// What was seen of the request that begins.
    pub fn take(&mut self) -> Seen {
        std::mem::replace(self, Scan::new()).seen
    }
}

/// The refusal of a head, or `None`.
pub fn fault(version: Version, headers: &HeaderMap) -> Option<Reply> {
    let bad = |sentence: &str| {
        Some(Reply::last(
            400,
            &format!("Malformed HTTP request: {sentence}"),
        ))
    };
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return bad("The request has more than one Host header");
    }
    if host.is_none() && version == Version::HTTP_11 {
        return bad("The request has no Host header, which HTTP/1.1 requires");
    }
    if host.is_some_and(|host| host.as_bytes().iter().any(|byte| b", ".contains(byte))) {
        return bad("The Host header does not name one host");
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next()?;
    if headers.contains_key(CONTENT_LENGTH) {
        return bad(BOTH);
    }
    let chunked = coding.as_bytes().trim_ascii();
    if codings.next().is_some() || !chunked.eq_ignore_ascii_case(b"chunked") {
        return Some(Reply::last(
            501,
            "The only supported Transfer-Encoding is chunked; send compressed bodies with Content-Encoding: gzip",
        ));
    }
    None
}

pub const MAX_HEADERS: usize = 1 << 10;
/// The library's least; a smaller limit of the head is held to this.
const LEAST_HEAD: usize = 8 << 10;

/// Bytes of a head over HTTP/1.
pub fn longest_head(limits: &Limits) -> usize {
    limits.head.max(LEAST_HEAD)
}

/// What to say of a head that the library cannot parse instead of what it writes then, a head that says nothing; `None`
/// where that is no refusal.
pub fn unparsed(written: &[u8], limits: &Limits) -> Option<Reply> {
    let status = written.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    let reply = match status {
        b"431" => {
            let most = longest_head(limits);
            let sentence = format!(
                "The request's headers exceed {most} bytes, or are more than {MAX_HEADERS}"
            );
            Reply::last(431, &sentence)
        }
        b"414" => Reply::last(414, "The request's target is too long"),
        b"400" => Reply::last(
            400,
            "Malformed HTTP request: its request line or a header is not as HTTP/1.1 has it",
        ),
        _ => return None,
    };
    Some(reply)
}

pub const BOTH: &str = "Content-Length and Transfer-Encoding exclude each other";
pub const LENGTHS: &str = "The request has more than one Content-Length header";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beside_a_coding_is_seen_however_the_head_arrives() {
        let head =
            b"POST / HTTP/1.1\r\ntransfer-Encoding: chunked\r\nContent-length: 2\r\n\r\n2\r\n";
        for blank in [&b""[..], b"\r\n", b"\n\r\n\r\n"] {
            let head = [blank, head].concat();
            for cut in 0..head.len() - 3 {
                let mut scan = Scan::new();
                scan.see(&head[..cut]);
                scan.see(&head[cut..]);
                assert_eq!(scan.take(), Seen::Both, "cut at {cut}");
                assert_eq!(scan.take(), Seen::Nothing);
            }
        }
    }

    #[test]
    fn a_head_is_looked_at_to_its_end() {
        let seen = |head: &[u8]| {
            let mut scan = Scan::new();
            for byte in head {
                scan.see(std::slice::from_ref(byte));
            }
            scan.take()
        };
        let long = format!("POST / HTTP/1.1\r\nX: {}\r\n", "x".repeat(200_000));
        let both = "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n";
        assert_eq!(seen(format!("{long}{both}").as_bytes()), Seen::Both);
        let table = [
            (
                "Content-Length: 2\r\ncontent-length:2\r\n\r\n",
                Seen::Lengths,
            ),
            ("Content-Length: 2\n\n", Seen::Fine),
            ("Content-Length: 2\r\n", Seen::Nothing),
            (
                "Transfer-Encoding: chunked\r\n\r\nContent-Length: 2\r\n\r\n",
                Seen::Fine,
            ),
            (
                "X-Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
                Seen::Fine,
            ),
            (
                "X: content-length:\r\nTransfer-Encoding: chunked\r\n\r\n",
                Seen::Fine,
            ),
        ];
        for (headers, expected) in table {
            let head = format!("POST /content-length: HTTP/1.1\r\n{headers}");
            assert_eq!(seen(head.as_bytes()), expected, "{headers}");
        }
    }

    #[test]
    fn the_target_of_a_head_that_cannot_be_parsed_is_known_as_far_as_it_came() {
        for (line, expected) in [
            ("\r\nGET /v1/models/m HTTP/1.1\r\nx", "/v1/models/m"),
            ("GET /v1", "/v1"),
            ("\u{16}\u{3}\u{1}", ""),
            ("", ""),
        ] {
            let mut scan = Scan::new();
            scan.see(line.as_bytes());
            assert_eq!(scan.target(), expected);
        }
    }

    #[test]
    fn only_a_refusal_is_put_in_other_words() {
        let limits = super::super::tests::limits();
        for (written, expected) in [
            ("HTTP/1.1 400 Bad Request\r\n", Some(400)),
            (
                "HTTP/1.0 431 Request Header Fields Too Large\r\n",
                Some(431),
            ),
            ("HTTP/1.1 100 Continue\r\n", None),
            ("HTTP/1.1 4", None),
            ("", None),
        ] {
            let found = unparsed(written.as_bytes(), &limits).map(|reply| reply.status);
            assert_eq!(found, expected, "{written}");
        }
    }
}
