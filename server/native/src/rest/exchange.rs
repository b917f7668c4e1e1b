//! One request and its answer.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use http::header::HOST;
use http::request::Parts;
use http::{Method, Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::answer::{Manner, Reply, Sent, response};
use super::body::{Asked, Bounds, Failed, receive};
use super::budget::Counted;
use super::head::{BOTH, LENGTHS, Seen, fault};
use super::pages;
use super::shared::Rest;
use super::state::{Conn, Kind};

const REQUEST_ID: &str = "x-request-id";
const MAX_REQUEST_ID: usize = 128;

/// The client has gone: the connection ends without an answer.
#[derive(Debug)]
pub struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the client has gone")
    }
}

impl std::error::Error for Gone {}

pub async fn exchange(
    rest: Arc<Rest>,
    conn: Arc<Conn>,
    request: Request<Incoming>,
) -> Result<Response<Sent>, Gone> {
    let busy = conn.begin();
    let (head, body) = request.into_parts();
    let two = head.version == Version::HTTP_2;
    let seen = if two {
        Seen::Fine
    } else {
        conn.scan
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    };
    // The absolute form of a target names the server as well; which one was meant is the same to us.
    let target = head
        .uri
        .path_and_query()
        .map_or("", |target| target.as_str())
        .to_owned();
    let head_only = head.method == Method::HEAD;
    let request_id = request_id(&head);
    let chunked = head.headers.contains_key(http::header::TRANSFER_ENCODING);
    let (mut reply, python) = answer(&rest, &conn, head, body, &target, seen).await?;
    let further = rest.further(&target).iter().cloned();
    reply.headers.extend(further);
    if !python && let Some(id) = request_id {
        reply.headers.push((REQUEST_ID.to_owned(), id));
    }
    // A head that nobody has looked at may have had a length beside its chunks: nothing may follow it.
    let unsure = chunked && seen == Seen::Nothing;
    let close = reply.close || rest.drains() || conn.kind == Kind::Reserve || unsure;
    let manner = Manner {
        close,
        head_only,
        two,
    };
    Ok(response(reply, &manner, busy))
}

/// The answer, and whether Python gave it.
async fn answer(
    rest: &Arc<Rest>,
    conn: &Arc<Conn>,
    head: Parts,
    mut body: Incoming,
    target: &str,
    seen: Seen,
) -> Result<(Reply, bool), Gone> {
    let ours = |reply: Reply| Ok((reply, false));
    let refused = match seen {
        Seen::Both => Some(BOTH),
        Seen::Lengths => Some(LENGTHS),
        Seen::Fine | Seen::Nothing => None,
    };
    if let Some(sentence) = refused {
        let sentence = format!("Malformed HTTP request: {sentence}");
        return ours(Reply::last(400, &sentence));
    }
    if !target.is_ascii() {
        let sentence =
            "Malformed HTTP request: its target has characters that must be percent-encoded";
        return ours(Reply::last(400, sentence));
    }
    if let Some(refusal) = fault(head.version, &head.headers) {
        return ours(refusal);
    }
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let page = rest.pages.has(path);
    conn.note(page);
    if !page {
        rest.requests.fetch_add(1, Relaxed);
    }
    // A body that nobody reads would be taken for the next request's head by who looks at heads.
    let close = !body.is_end_stream();
    if page && matches!(head.method, Method::GET | Method::HEAD) {
        let reply = pages::answer(rest, path, target).await;
        return ours(reply.ending(close));
    }
    match conn.kind {
        Kind::Everything => {}
        Kind::Pages => return ours(Reply::text(404, "Not Found\n").ending(close)),
        Kind::Reserve => return ours(full()),
    }
    let two = head.version == Version::HTTP_2;
    // Over HTTP/2 requests overlap, and bytes may have come for something else.
    let began = if two {
        Instant::now()
    } else {
        conn.request_began()
    };
    let bounds = Bounds {
        most: rest.limits.body,
        until: began + rest.limits.times.request,
        two,
    };
    let (body, counted) = match receive(&mut body, &rest.budget, bounds).await {
        Ok(received) => received,
        Err(Failed::Refused(reply)) => return ours(reply),
        Err(Failed::Gone) => return Err(Gone),
    };
    if !rest.serving.load(Relaxed) {
        return ours(Reply::failure(
            503,
            "the server is starting: its models are not loaded yet",
        ));
    }
    let asked = Asked {
        method: head.method,
        target: target.to_owned(),
        headers: with_host(head.headers, head.uri.authority()),
        body,
        peer: Arc::clone(&conn.peer),
        deadline: rest.deadline(),
    };
    Ok(ask(rest, asked, counted).await)
}

/// Ask Python. What the body counts for is counted until it has answered, also when its client is told of a timeout.
async fn ask(rest: &Arc<Rest>, asked: Asked, counted: Option<Counted>) -> (Reply, bool) {
    let lane = if asked.method == Method::POST {
        &rest.places.inference
    } else {
        &rest.places.status
    };
    let Some(place) = lane.begin() else {
        return (Reply::overloaded(lane.limit), false);
    };
    let (answer, answered) = oneshot::channel();
    let job = Arc::clone(rest);
    let taken = lane.pool.submit(move || {
        let _held = (place, counted);
        if !answer.is_closed() {
            let _ = answer.send((job.handler)(asked));
        }
    });
    if !taken {
        let sentence = "The server is overloaded: it cannot start a thread for the request";
        return (Reply::failure(503, sentence), false);
    }
    match rest.late(answered).await {
        Ok(Ok(reply)) => (reply, true),
        Ok(Err(_)) => (
            Reply::failure(500, "The request could not be answered"),
            false,
        ),
        Err(late) => (late, false),
    }
}

/// Over HTTP/2 the host is no header.
fn with_host(
    mut headers: http::HeaderMap,
    authority: Option<&http::uri::Authority>,
) -> http::HeaderMap {
    if !headers.contains_key(HOST)
        && let Some(authority) = authority
        && let Ok(value) = http::HeaderValue::from_str(authority.as_str())
    {
        headers.insert(HOST, value);
    }
    headers
}

/// What a client gets back to recognise its answer, unless it is no short printable text.
fn request_id(head: &Parts) -> Option<String> {
    let id = head
        .headers
        .get_all(REQUEST_ID)
        .iter()
        .next_back()?
        .to_str()
        .ok()?;
    (id.len() <= MAX_REQUEST_ID).then(|| id.to_owned())
}

/// The answer beyond the limit of connections.
pub fn full() -> Reply {
    Reply::last(503, "The server has reached its connection limit")
}
