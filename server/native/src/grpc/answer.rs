//! What answers a call's message: this process's own hot path, or Python.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::message::{Message, Messages};
use super::status::{INTERNAL, Status, UNAVAILABLE, UNIMPLEMENTED};
use crate::arrivals::receive;
use crate::batching::{Decided, Failure};
use crate::front::{CallInfo, Front, Inflight, Lane};
use crate::hot::{Rule, Times, Verdict, predict};
use crate::sampling::Drawn;

const PREDICT: &str = "/tensorflow.serving.PredictionService/Predict";
/// Larger messages are read on a thread of their own: reading them takes long, whatever the run takes.
const QUICK_BYTES: usize = 32 << 10;

/// Receive the one message of a call, and answer it here or in Python.
pub(super) async fn unary(
    front: Arc<Front>,
    lane: Lane,
    info: CallInfo,
    mut messages: Messages,
) -> Result<Bytes, Status> {
    let Some(place) = Inflight::begin(&front, lane) else {
        return Err(overloaded(&front));
    };
    let message = one(&mut messages, &info.path);
    let (message, place) = receive(&front, place, message).await?;
    let (message, held) = (Arc::new(message), Arc::new(place));
    let (mut decided, mut chance) = (None, None);
    if &*info.path == PREDICT && !message.compressed && front.hot.load(Relaxed) {
        let times = Times {
            arrived: Instant::now(),
            deadline: info.deadline,
        };
        let rule = Rule {
            as_content: front.as_content,
            chance: front.chances.next(),
            only_quick: true,
        };
        chance = Some(rule.chance);
        let inline = (message.data.len() <= QUICK_BYTES)
            .then(|| front.begin_inline())
            .flatten();
        let quick = match inline {
            Some(_inline) => {
                let keep = || keeping(&message, &held);
                predict(&front.models, &message.data, rule, times, &keep)
            }
            None => Verdict::Slow,
        };
        let mut verdict = match quick {
            Verdict::Slow => {
                let held = (Arc::clone(&message), Arc::clone(&held));
                run_apart(&front, held, rule, times).await?
            }
            other => other,
        };
        if let Verdict::Queued(queued) = verdict {
            verdict = queued.answer().await;
        }
        match verdict {
            Verdict::Answer(reply) => {
                front.answered.fetch_add(1, Relaxed);
                return Ok(Bytes::from(reply));
            }
            Verdict::Failed(failure) => decided = Some(failure),
            _ => {}
        }
        front.declined.fetch_add(1, Relaxed);
    }
    let mut replies = ask_about(&front, lane, &info, message, held, (decided, chance)).await?;
    match (replies.pop(), replies.is_empty()) {
        (Some(reply), true) => Ok(framed(&reply)),
        _ => Err(Status::new(INTERNAL, "The method returned no message")),
    }
}

fn keeping(message: &Arc<Message>, place: &Arc<Inflight>) -> Box<dyn Send + Sync> {
    Box::new((Arc::clone(message), Arc::clone(place)))
}

/// Predict on a thread that may take its time. What is `held` counts until then, also when the client gives up.
async fn run_apart(
    front: &Arc<Front>,
    held: (Arc<Message>, Arc<Inflight>),
    rule: Rule,
    times: Times,
) -> Result<Verdict, Status> {
    let (answer, answered) = oneshot::channel();
    let job = Arc::clone(front);
    let taken = front.lanes.runs.submit(move || {
        // Nobody waits for the answer to a call that was given up.
        if !answer.is_closed() {
            let rule = Rule {
                only_quick: false,
                ..rule
            };
            let keep = || keeping(&held.0, &held.1);
            let _ = answer.send(predict(&job.models, &held.0.data, rule, times, &keep));
        }
    });
    if !taken {
        return Err(no_thread());
    }
    answered
        .await
        .map_err(|_| Status::new(INTERNAL, "The request could not be answered"))
}

/// Ask Python. What is `held` counts until it has answered, also when the client does not wait for it.
pub(super) async fn ask(
    front: &Arc<Front>,
    lane: Lane,
    info: &CallInfo,
    message: Arc<Message>,
    held: impl Send + 'static,
) -> Result<Vec<Bytes>, Status> {
    ask_about(front, lane, info, message, held, (None, None)).await
}

/// As `ask`, of a request that was tried here: the failure of its run, if it is known already, and its number.
async fn ask_about(
    front: &Arc<Front>,
    lane: Lane,
    info: &CallInfo,
    message: Arc<Message>,
    held: impl Send + 'static,
    (failure, chance): (Option<Failure>, Option<f64>),
) -> Result<Vec<Bytes>, Status> {
    let (answer, answered) = oneshot::channel();
    let (job, info) = (Arc::clone(front), info.clone());
    let taken = front.lanes.of(lane).submit(move || {
        let _held = held;
        if !answer.is_closed() {
            let _decided = (Decided::here(failure), Drawn::here(chance));
            let reply = (job.handler)(&info, &message.data);
            drop(message);
            let _ = answer.send(reply);
        }
    });
    if !taken {
        return Err(no_thread());
    }
    answered
        .await
        .map_err(|_| Status::new(INTERNAL, "The request could not be answered"))?
}

pub(super) async fn one(messages: &mut Messages, path: &str) -> Result<Message, Status> {
    messages.next().await?.ok_or_else(|| {
        Status::new(
            UNIMPLEMENTED,
            format!("\"{path}\" requires exactly one request message."),
        )
    })
}

pub(super) fn framed(message: &Bytes) -> Bytes {
    let mut out = Vec::with_capacity(message.len() + 5);
    out.push(0);
    out.extend_from_slice(
        &u32::try_from(message.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    out.extend_from_slice(message);
    Bytes::from(out)
}

fn no_thread() -> Status {
    Status::new(
        UNAVAILABLE,
        "The server is overloaded: it cannot start a thread for the request",
    )
}

pub(super) fn overloaded(front: &Front) -> Status {
    let limit = front.limits.inflight;
    Status::new(
        UNAVAILABLE,
        format!(
            "The server is overloaded: {limit} requests are in flight, and --max_inflight_requests allows no more"
        ),
    )
}
