//! What goes back: a reply, its headers, and the body as it is sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use super::state::{Busy, Sending};

const JSON: &str = "application/json";
pub const TEXT: &str = "text/plain; charset=utf-8";
/// Of a body over HTTP/2, at a time: what the client does not take stays here, where it is seen.
const PIECE: usize = 64 << 10;

/// An answer, whoever made it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub status: u16,
    pub content_type: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// End the connection after it.
    pub close: bool,
}

impl Reply {
    pub fn text(status: u16, text: &'static str) -> Reply {
        Reply {
            status,
            content_type: TEXT.to_owned(),
            headers: Vec::new(),
            body: Bytes::from_static(text.as_bytes()),
            close: false,
        }
    }

    /// An error in TensorFlow Serving's form; the sentence needs no escapes.
    pub fn failure(status: u16, sentence: &str) -> Reply {
        Reply {
            status,
            content_type: JSON.to_owned(),
            headers: Vec::new(),
            body: Bytes::from(format!("{{\"error\":\"{sentence}\"}}")),
            close: false,
        }
    }

    /// The same, and the connection ends with it.
    pub fn last(status: u16, sentence: &str) -> Reply {
        Reply {
            close: true,
            ..Reply::failure(status, sentence)
        }
    }

    /// The same, after which the connection ends if it must.
    pub fn ending(self, close: bool) -> Reply {
        Reply {
            close: self.close || close,
            ..self
        }
    }

    pub fn overloaded(limit: usize) -> Reply {
        let mut reply = Reply::failure(
            503,
            &format!(
                "The server is overloaded: {limit} requests are in flight, and --max_inflight_requests allows no more"
            ),
        );
        let name = RETRY_AFTER.as_str().to_owned();
        reply.headers.push((name, "1".to_owned()));
        reply
    }

    /// The bytes of an answer to what is no request that HTTP's library would let pass.
    pub fn raw(&self) -> Vec<u8> {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        let mut bytes = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n",
            status.as_u16(),
            status.canonical_reason().unwrap_or(""),
            self.content_type,
            self.body.len()
        )
        .into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// How a reply goes out.
pub struct Manner {
    /// Over HTTP/1: ask the client to connect anew.
    pub close: bool,
    pub head_only: bool,
    pub two: bool,
}

pub fn response(reply: Reply, manner: &Manner, busy: Arc<Busy>) -> Response<Sent> {
    let length = reply.body.len();
    let data = if manner.head_only {
        Bytes::new()
    } else {
        reply.body
    };
    let piece = if manner.two { PIECE } else { usize::MAX };
    let sending = Sending::begin(busy);
    let mut response = Response::new(Sent {
        data,
        piece,
        sending,
    });
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&reply.content_type) {
        headers.insert(CONTENT_TYPE, value);
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    for (name, value) in reply.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
            headers.append(name, value);
        }
    }
    if manner.close && !manner.two {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The body of an answer. Until it has been taken, its connection is busy.
pub struct Sent {
    data: Bytes,
    piece: usize,
    sending: Sending,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        this.sending.progresses();
        if this.data.is_empty() {
            return Poll::Ready(None);
        }
        let size = this.data.len().min(this.piece);
        Poll::Ready(Some(Ok(Frame::data(this.data.split_to(size)))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.len() as u64)
    }
}
