//! A request's body: received within its limits, its time and the budget of all.

use std::io::ErrorKind;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until};

use super::answer::Reply;
use super::budget::{Arriving, Budget, Counted, Next};

/// Bodies up to so many bytes are neither counted nor held up: bounded by the number of connections. Over HTTP/2 each
/// byte counts, as one connection can send many.
const SMALL: usize = 64 << 10;
/// A body is kept in blocks of at most so many bytes; in one piece it would be copied again and again.
const BLOCK: usize = 1 << 20;
const LEAST_BLOCK: usize = 4 << 10;

/// A request for Python.
pub struct Asked {
    pub method: Method,
    /// Path and query as sent.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Vec<Bytes>,
    pub peer: Arc<str>,
    pub deadline: Option<Instant>,
}

/// Why there is no body.
pub enum Failed {
    Refused(Reply),
    /// The client has gone in the middle of it.
    Gone,
}

/// How a body may arrive.
pub struct Bounds {
    /// Bytes, as sent.
    pub most: usize,
    pub until: Instant,
    /// Over HTTP/2.
    pub two: bool,
}

pub async fn receive(
    body: &mut Incoming,
    budget: &Arc<Budget>,
    bounds: Bounds,
) -> Result<(Vec<Bytes>, Option<Counted>), Failed> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bounds.most {
        return Err(too_large(announced, bounds.most));
    }
    let small = if bounds.two { 0 } else { SMALL };
    let mut pieces = Pieces::default();
    let mut arriving: Option<Arriving> = None;
    let mut until = bounds.until;
    loop {
        if let Some(one) = &arriving {
            match one.next() {
                Next::Read => {}
                Next::GiveWay => return Err(gives_way()),
                Next::Wait => {
                    // The time that it is held is not the client's.
                    let began = Instant::now();
                    one.changed.notified().await;
                    until += began.elapsed();
                    continue;
                }
            }
        }
        let frame = tokio::select! {
            // What is there counts, however late it is looked at.
            biased;
            frame = next(body) => frame,
            () = changed(arriving.as_ref()) => continue,
            () = sleep_until(until) => {
                return Err(late());
            }
        };
        let Some(data) = frame? else { break };
        if Instant::now() > until {
            return Err(late());
        }
        let before = pieces.size;
        pieces.add(data, announced);
        if pieces.size > bounds.most {
            return Err(too_large(pieces.size, bounds.most));
        }
        if pieces.size > small {
            let counted = if before > small { before } else { 0 };
            arriving
                .get_or_insert_with(|| budget.begin())
                .add(pieces.size - counted);
        }
    }
    Ok((pieces.whole(), arriving.map(Arriving::complete)))
}

/// The next bytes; `None` at the end.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Failed> {
    loop {
        let mut pinned = std::pin::Pin::new(&mut *body);
        let frame = std::future::poll_fn(|context| pinned.as_mut().poll_frame(context)).await;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(broken(&error)),
            // Trailers say nothing that anybody here wants to hear.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

async fn changed(arriving: Option<&Arriving>) {
    match arriving {
        Some(one) => one.changed.notified().await,
        None => std::future::pending().await,
    }
}

fn broken(error: &hyper::Error) -> Failed {
    let cause =
        std::error::Error::source(error).and_then(|one| one.downcast_ref::<std::io::Error>());
    let cut = cause.is_some_and(|one| one.kind() == ErrorKind::UnexpectedEof);
    if cut || error.is_incomplete_message() || error.is_canceled() {
        return Failed::Gone;
    }
    let sentence = "Malformed HTTP request: its body cannot be read: a chunk, or the trailers, are not as they must be";
    Failed::Refused(Reply::last(400, sentence))
}

fn too_large(size: usize, most: usize) -> Failed {
    let sentence =
        format!("The request body of {size} bytes or more exceeds the limit of {most} bytes");
    Failed::Refused(Reply::last(413, &sentence))
}

fn late() -> Failed {
    Failed::Refused(Reply::last(408, "Timed out receiving the request"))
}

fn gives_way() -> Failed {
    let sentence = "Timed out receiving the request body, and others need its place";
    Failed::Refused(Reply::last(408, sentence))
}

/// What has come. A body sent in chunks of two bytes takes no more than its size.
#[derive(Default)]
struct Pieces {
    size: usize,
    full: Vec<Bytes>,
    block: BytesMut,
}

impl Pieces {
    fn add(&mut self, data: Bytes, announced: usize) {
        self.size += data.len();
        if self.size == data.len() && data.len() == announced {
            // Usually all of it comes at once, and is not copied.
            self.full.push(data);
            return;
        }
        let mut rest = &data[..];
        while !rest.is_empty() {
            if self.block.len() == self.block.capacity() {
                let full = std::mem::take(&mut self.block);
                if !full.is_empty() {
                    self.full.push(full.freeze());
                }
                let wanted = announced.saturating_sub(self.size - rest.len());
                let wanted = wanted.max(self.size).clamp(LEAST_BLOCK, BLOCK);
                self.block = BytesMut::with_capacity(wanted);
            }
            let size = rest.len().min(self.block.capacity() - self.block.len());
            let (now, later) = rest.split_at(size);
            self.block.extend_from_slice(now);
            rest = later;
        }
    }

    fn whole(mut self) -> Vec<Bytes> {
        if !self.block.is_empty() {
            self.full.push(self.block.freeze());
        }
        self.full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_become_the_whole() {
        let text: Vec<u8> = (0..3_000_000u32).map(|number| number as u8).collect();
        for size in [1009, 65_536, 2_000_000, 3_000_000] {
            for announced in [0, text.len()] {
                let mut pieces = Pieces::default();
                for piece in text.chunks(size) {
                    pieces.add(Bytes::copy_from_slice(piece), announced);
                }
                assert_eq!(pieces.whole().concat(), text, "{size} {announced}");
            }
        }
    }
}
