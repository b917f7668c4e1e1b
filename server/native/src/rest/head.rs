//! What is wrong with a request's head although it can be parsed (RFC 9112, §3.2 and §6).

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Version};

use super::answer::Reply;

/// Looks at heads as they arrive, for what the library does not tell: a length beside Transfer-Encoding, which two
/// servers on the way could read differently.
pub struct Scan {
    most: usize,
    head: Vec<u8>,
    seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seen {
    /// No whole head came by that was looked at.
    Nothing,
    Fine,
    Both,
}

impl Scan {
    pub fn new(most: usize) -> Scan {
        Scan {
            most,
            head: Vec::new(),
            seen: Seen::Nothing,
        }
    }

    /// See bytes that came while no request was under way.
    pub fn see(&mut self, bytes: &[u8]) {
        if self.seen != Seen::Nothing {
            return;
        }
        if self.head.is_empty()
            && let Some(seen) = judge(bytes)
        {
            self.seen = seen;
        } else if self.head.len() + bytes.len() <= 2 * self.most {
            self.head.extend_from_slice(bytes);
            if let Some(seen) = judge(&self.head) {
                self.seen = seen;
            }
        }
    }

    /// What was seen of the request that begins.
    pub fn take(&mut self) -> Seen {
        self.head = Vec::new();
        std::mem::replace(&mut self.seen, Seen::Nothing)
    }
}

fn judge(bytes: &[u8]) -> Option<Seen> {
    let (mut length, mut coding) = (false, false);
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.next()?;
    for line in lines {
        if !line.ends_with(b"\n") {
            return None;
        }
        if matches!(line, b"\n" | b"\r\n") {
            return Some(if length && coding {
                Seen::Both
            } else {
                Seen::Fine
            });
        }
        let is = |name: &str| {
            line.get(..name.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
        };
        length |= is("content-length:");
        coding |= is("transfer-encoding:");
    }
    None
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

pub const BOTH: &str = "Content-Length and Transfer-Encoding exclude each other";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beside_a_coding_is_seen_however_the_head_arrives() {
        let head =
            b"POST / HTTP/1.1\r\ntransfer-Encoding: chunked\r\nContent-length: 2\r\n\r\n2\r\n";
        for cut in 0..head.len() - 3 {
            let mut scan = Scan::new(1 << 10);
            scan.see(&head[..cut]);
            scan.see(&head[cut..]);
            assert_eq!(scan.take(), Seen::Both, "cut at {cut}");
            assert_eq!(scan.take(), Seen::Nothing);
        }
        let mut scan = Scan::new(1 << 10);
        scan.see(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nContent-Length: 2\r\n\r\n");
        assert_eq!(scan.take(), Seen::Fine);
    }
}
