//! Pages about the server itself. They are answered whatever Python does: from what it last said, where need be.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::answer::Reply;
use super::shared::{Lane, Phase, Rest};

/// For Python to say how things stand now; then what it last said is the answer.
const FRESH: Duration = Duration::from_millis(50);
const FRESH_THREADS: usize = 2;
/// Questions to Python at a time; nobody waits behind them.
const MAX_FRESH: usize = 16;
const MAX_HELD: usize = 16;
const MAX_HOLD: f64 = 5.0;

pub type Ask = Box<dyn Fn(&str) -> Reply + Send + Sync>;

pub struct Pages {
    /// Always the same.
    fixed: HashMap<String, Reply>,
    /// What Python last said; it is asked anew with each request.
    last: HashMap<String, Mutex<Reply>>,
    /// Take their time.
    slow: HashSet<String>,
    /// A client may wait with them until the server is ready.
    awaited: HashSet<String>,
    ask: Ask,
    fresh: Lane,
    held: AtomicUsize,
    ready: watch::Sender<bool>,
}

impl Pages {
    pub fn new(
        ask: Ask,
        fixed: HashMap<String, Reply>,
        last: HashMap<String, Reply>,
        slow: Vec<String>,
        awaited: Vec<String>,
    ) -> Pages {
        Pages {
            fixed,
            last: last
                .into_iter()
                .map(|(path, reply)| (path, Mutex::new(reply)))
                .collect(),
            slow: slow.into_iter().collect(),
            awaited: awaited.into_iter().collect(),
            ask,
            fresh: Lane::new("rest-fresh", FRESH_THREADS, MAX_FRESH),
            held: AtomicUsize::new(0),
            ready: watch::Sender::new(false),
        }
    }

    pub fn has(&self, path: &str) -> bool {
        self.fixed.contains_key(path) || self.last.contains_key(path) || self.slow.contains(path)
    }

    pub fn set_ready(&self, ready: bool) {
        self.ready.send_replace(ready);
    }

    /// Keep what Python says now.
    pub fn set(&self, path: &str, reply: Reply) {
        if let Some(place) = self.last.get(path) {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = reply;
        }
    }

    fn last(&self, path: &str) -> Option<Reply> {
        let place = self.last.get(path)?;
        Some(place.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// The answer to a page that there is.
pub async fn answer(rest: &Arc<Rest>, path: &str, target: &str) -> Reply {
    let pages = &rest.pages;
    if pages.awaited.contains(path)
        && let Some(seconds) = wait(target)
    {
        hold(rest, seconds).await;
    }
    if let Some(reply) = pages.fixed.get(path) {
        return reply.clone();
    }
    if let Some(last) = pages.last(path) {
        let asked = ask(rest, &pages.fresh, path);
        return match timeout(FRESH, asked).await {
            Ok(Some(reply)) => reply,
            _ => last,
        };
    }
    let lane = &rest.places.slow;
    if lane.inflight() >= lane.limit {
        return Reply::overloaded(lane.limit);
    }
    match rest.late(ask(rest, lane, path)).await {
        Ok(Some(reply)) => reply,
        Ok(None) => Reply::overloaded(lane.limit),
        Err(late) => late,
    }
}

/// Ask Python for a page; `None` where that is not possible.
async fn ask(rest: &Arc<Rest>, lane: &Lane, path: &str) -> Option<Reply> {
    let place = lane.begin()?;
    let (answer, answered) = oneshot::channel();
    let (job, path) = (Arc::clone(rest), path.to_owned());
    let taken = lane.pool.submit(move || {
        let _place = place;
        if !answer.is_closed() {
            let reply = (job.pages.ask)(&path);
            // Also when nobody waits any more: the next one may have to do with it.
            job.pages.set(&path, reply.clone());
            let _ = answer.send(reply);
        }
    });
    if !taken {
        return None;
    }
    answered.await.ok()
}

/// Wait until the server is ready or drains, for so many seconds.
async fn hold(rest: &Rest, seconds: f64) {
    struct Held<'a>(&'a AtomicUsize);
    impl Drop for Held<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Relaxed);
        }
    }
    let before = rest.pages.held.fetch_add(1, Relaxed);
    let _held = Held(&rest.pages.held);
    if before >= MAX_HELD {
        return;
    }
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let (mut ready, mut phase) = (rest.pages.ready.subscribe(), rest.phase.subscribe());
    tokio::select! {
        _ = ready.wait_for(|ready| *ready) => {}
        _ = phase.wait_for(|phase| *phase != Phase::Open) => {}
        () = sleep_until(end) => {}
    }
}

/// How many seconds a client wants to wait for a page.
fn wait(target: &str) -> Option<f64> {
    let query = target.split_once('?')?.1;
    let asked = query.split('&').find_map(|one| one.strip_prefix("wait="))?;
    let (whole, part) = asked
        .split_once('.')
        .map_or((asked, None), |(whole, part)| (whole, Some(part)));
    let digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !digits(whole, 4) || part.is_some_and(|part| !digits(part, 6)) {
        return None;
    }
    asked
        .parse::<f64>()
        .ok()
        .filter(|seconds| *seconds > 0.0)
        .map(|seconds| seconds.min(MAX_HOLD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_number_of_seconds_is_waited_for() {
        for none in [
            "/r",
            "/r?wait=0",
            "/r?wait=-1",
            "/r?wait=x",
            "/r?wait=1e9",
            "/r?await=4",
            "/r?wait=4x",
            "/r?wait=",
            "/r?wait=.5",
        ] {
            assert_eq!(wait(none), None, "{none}");
        }
        assert_eq!(wait("/r?a=b&wait=2.5"), Some(2.5));
        assert_eq!(wait("/r?wait=99"), Some(5.0));
    }
}
