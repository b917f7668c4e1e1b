//! One call: from its headers to its trailers.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use super::answer::{ask, framed, one, overloaded, unary};
use super::connection::{Client, Unsent};
use super::health;
use super::message::Messages;
use super::status::{
    DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, Status, UNAVAILABLE, UNIMPLEMENTED, timeout,
};
use crate::front::{CallInfo, Front, Inflight, Lane};

/// Services whose methods come once TensorFlow is there.
const PREFIXES: [&str; 4] = [
    "/tensorflow.serving.PredictionService/",
    "/tensorflow.serving.ModelService/",
    "/inference.GRPCInferenceService/",
    "/grpc.reflection.",
];
/// A call's only answer; larger ones, and those of streams, are sent as the client takes them.
const SMALL_ANSWER: usize = 16 << 10;
/// Of a client's own headers, in bytes: names and values.
const MAX_METADATA: usize = 8 << 10;

/// One call of a connection.
pub struct Call {
    pub front: Arc<Front>,
    pub client: Arc<Client>,
    pub unsent: Arc<Unsent>,
    pub respond: SendResponse<Bytes>,
}

/// An answer, or the call has been given up by the client.
enum Outcome {
    Answered(Result<Bytes, Status>),
    Gone,
}

impl Call {
    pub async fn answer(mut self, request: Request<RecvStream>) {
        let arrived = Instant::now();
        let (head, body) = request.into_parts();
        if let Some(code) = refused_by_http(&head.method, &head.headers) {
            let mut response = Response::new(());
            *response.status_mut() = code;
            let _ = self.respond.send_response(response, true);
            return;
        }
        let path = head.uri.path();
        let deadline = timeout(&head.headers).and_then(|time| arrived.checked_add(time));
        let most = match path {
            health::CHECK | health::WATCH => self.front.limits.message.min(health::MAX_REQUEST),
            _ => self.front.limits.message,
        };
        let messages = Messages::new(body, Arc::clone(&self.front.rooms), most);
        match path {
            health::CHECK => self.check_health(messages, deadline).await,
            health::WATCH => {
                let result = self.watch_health(messages).await;
                self.end_stream(result);
            }
            _ => self.method(path, &head.headers, messages, deadline).await,
        }
    }

    async fn check_health(mut self, mut messages: Messages, deadline: Option<Instant>) {
        let front = Arc::clone(&self.front);
        let work = async move {
            let message = one(&mut messages, health::CHECK).await?;
            if message.compressed {
                return Err(compressed());
            }
            front.health.check(&message.data).map(Bytes::from)
        };
        let outcome = self.outcome(deadline, work).await;
        self.end(outcome).await;
    }

    async fn method(
        mut self,
        path: &str,
        headers: &HeaderMap,
        messages: Messages,
        deadline: Option<Instant>,
    ) {
        let front = Arc::clone(&self.front);
        let methods = front.methods();
        if !methods.early.iter().any(|early| early == path) {
            front.requests.fetch_add(1, Relaxed);
        }
        let Some(lane) = methods.lanes.get(path).copied() else {
            let starting =
                !methods.complete && PREFIXES.iter().any(|start| path.starts_with(start));
            let status = if starting {
                let text = "the server is starting: its models are not loaded yet";
                Status::new(UNAVAILABLE, text)
            } else {
                Status::new(UNIMPLEMENTED, "Method not found!")
            };
            return self.refuse(&status);
        };
        let metadata = match metadata(headers) {
            Ok(metadata) => metadata,
            Err(status) => return self.refuse(&status),
        };
        let info = CallInfo {
            path: Arc::from(path),
            peer: Arc::clone(&self.client.peer),
            certificate: self.client.certificate.clone(),
            metadata,
            deadline,
        };
        if lane == Lane::Stream {
            let result = self.stream(info, messages).await;
            return self.end_stream(result);
        }
        let work = unary(front, lane, info, messages);
        let outcome = self.outcome(deadline, work).await;
        self.end(outcome).await;
    }

    /// Wait for an answer, for the deadline, or for the client to give up, whichever comes first.
    async fn outcome(
        &mut self,
        deadline: Option<Instant>,
        work: impl Future<Output = Result<Bytes, Status>>,
    ) -> Outcome {
        let respond = &mut self.respond;
        let gone = poll_fn(|context| respond.poll_reset(context));
        let late = async {
            match deadline {
                None => std::future::pending().await,
                Some(end) => tokio::time::sleep_until(end.into()).await,
            }
        };
        tokio::select! {
            biased;
            result = work => Outcome::Answered(result),
            _ = gone => Outcome::Gone,
            () = late => {
                let status = Status::new(DEADLINE_EXCEEDED, "Deadline Exceeded");
                Outcome::Answered(Err(status))
            }
        }
    }

    async fn end(mut self, outcome: Outcome) {
        match outcome {
            Outcome::Gone => {}
            Outcome::Answered(Err(status)) => self.refuse(&status),
            Outcome::Answered(Ok(message)) => {
                // A client that has gone is nobody's concern.
                let _ = self.send(message).await;
            }
        }
    }

    async fn send(&mut self, message: Bytes) -> Result<(), h2::Error> {
        let mut stream = self.respond.send_response(head(), false)?;
        if message.len() <= SMALL_ANSWER {
            stream.send_data(message, false)?;
        } else {
            send_as_taken(&mut stream, message, &self.unsent).await?;
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        stream.send_trailers(trailers)
    }

    fn refuse(&mut self, status: &Status) {
        let mut response = head();
        status.put(response.headers_mut());
        let _ = self.respond.send_response(response, true);
    }

    async fn stream(&mut self, info: CallInfo, mut messages: Messages) -> Result<(), Status> {
        let front = Arc::clone(&self.front);
        let mut stream: Option<SendStream<Bytes>> = None;
        let result = loop {
            let message = match messages.next().await {
                Ok(None) => break Ok(()),
                Ok(Some(message)) => message,
                Err(status) => break Err(status),
            };
            let Some(place) = Inflight::begin(&front, Lane::Stream) else {
                break Err(overloaded(&front));
            };
            let replies = match ask(&front, Lane::Stream, &info, Arc::new(message), place).await {
                Ok(replies) => replies,
                Err(status) => break Err(status),
            };
            let open = match stream.take() {
                Some(open) => Ok(open),
                None => self.respond.send_response(head(), false),
            };
            let Ok(mut open) = open else { return Ok(()) };
            for reply in replies {
                if send_as_taken(&mut open, framed(&reply), &self.unsent)
                    .await
                    .is_err()
                {
                    return Ok(());
                }
            }
            stream = Some(open);
        };
        match stream {
            // Without any message there is nothing but a status.
            None => Err(result.err().unwrap_or_else(|| Status::new(0, ""))),
            Some(mut open) => {
                let status = result.err().unwrap_or_else(|| Status::new(0, ""));
                let mut trailers = HeaderMap::new();
                status.put(&mut trailers);
                let _ = open.send_trailers(trailers);
                Ok(())
            }
        }
    }

    async fn watch_health(&mut self, mut messages: Messages) -> Result<(), Status> {
        let message = one(&mut messages, health::WATCH).await?;
        if message.compressed {
            return Err(compressed());
        }
        let service = health::service(&message.data)?;
        // They would keep their room for as long as the watch goes on.
        drop((message, messages));
        let mut changes = self.front.health.changes();
        let Ok(mut stream) = self.respond.send_response(head(), false) else {
            return Ok(());
        };
        let mut told = None;
        loop {
            changes.mark_unchanged();
            let now = self.front.health.of(&service);
            if told != Some(now) {
                told = Some(now);
                let reply = Bytes::from(health::reply(now));
                if send_as_taken(&mut stream, reply, &self.unsent)
                    .await
                    .is_err()
                {
                    return Ok(());
                }
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return Ok(()) },
                _ = poll_fn(|context| stream.poll_reset(context)) => return Ok(()),
            }
        }
    }

    /// End a stream whose response has not begun.
    fn end_stream(&mut self, result: Result<(), Status>) {
        if let Err(status) = result {
            self.refuse(&status);
        }
    }
}

/// Send a message of any number of a stream, or a large one, no faster than the client takes it.
async fn send_as_taken(
    stream: &mut SendStream<Bytes>,
    mut message: Bytes,
    unsent: &Arc<Unsent>,
) -> Result<(), h2::Error> {
    let _counted = unsent.count(message.len());
    while !message.is_empty() {
        stream.reserve_capacity(message.len());
        // `poll_capacity` waits for more than there was when it was last asked, also where there is enough.
        let mut room = stream.capacity();
        if room == 0 {
            room = match poll_fn(|context| stream.poll_capacity(context)).await {
                Some(room) => room?,
                None => return Err(Reason::CANCEL.into()),
            };
        }
        let size = room.min(message.len());
        stream.send_data(message.split_to(size), false)?;
    }
    Ok(())
}

fn head() -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert(
        "grpc-accept-encoding",
        HeaderValue::from_static("identity, deflate, gzip"),
    );
    response
}

/// What is no gRPC call at all is answered in HTTP's words.
fn refused_by_http(method: &Method, headers: &HeaderMap) -> Option<StatusCode> {
    if method != Method::POST {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    let kind = headers
        .get("content-type")
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    (!kind.starts_with(b"application/grpc")).then_some(StatusCode::UNSUPPORTED_MEDIA_TYPE)
}

fn compressed() -> Status {
    Status::new(
        UNIMPLEMENTED,
        "Compressed messages are not supported by this method",
    )
}

/// The client's own headers: all of them, or the call is refused. Who calls is judged by them.
fn metadata(headers: &HeaderMap) -> Result<Arc<[(String, String)]>, Status> {
    let mut own = Vec::new();
    let mut size = 0;
    for (name, value) in headers {
        let name = name.as_str();
        if name.starts_with("grpc-") || matches!(name, "content-type" | "te" | "user-agent") {
            continue;
        }
        size += name.len() + value.len();
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        own.push((name.to_owned(), text));
    }
    if size > MAX_METADATA {
        let text = format!("received metadata size exceeds hard limit ({size} vs. {MAX_METADATA})");
        return Err(Status::new(RESOURCE_EXHAUSTED, text));
    }
    Ok(own.into())
}
