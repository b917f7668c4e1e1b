//! What all connections of the port share.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::answer::Reply;
use super::body::Asked;
use super::budget::Budget;
use super::pages::Pages;
use super::state::{Conn, End, Kind, Times};
use crate::pool::Pool;

/// Connections beyond the limit, each for one page: probes are answered when idle clients fill the limit.
const RESERVE: usize = 64;
const STATUS_THREADS: usize = 2;
const MAX_SLOW_PAGES: usize = 16;

/// Bounds of the port.
pub struct Limits {
    pub threads: usize,
    /// Requests worked on or waiting; further ones are refused at once.
    pub inflight: usize,
    /// After which a request is answered 504; `None` means never.
    pub timeout: Option<Duration>,
    /// Bytes of a body, as sent.
    pub body: usize,
    /// Bytes of all large bodies, from their arrival to the answer.
    pub bodies: usize,
    /// Bytes of the request line and headers.
    pub head: usize,
    pub connections: usize,
    pub times: Times,
}

/// How far the port's end has come.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum Phase {
    Open,
    /// With its next answer every client is asked to connect anew, elsewhere.
    Draining,
    /// No new connection; what is in flight finishes.
    Stopping,
    /// Whatever is still there is cut.
    Over,
}

/// Answers what is no page; called on a thread that may wait.
pub type Handler = Box<dyn Fn(Asked) -> Reply + Send + Sync>;

/// Headers for answers to requests whose target begins in some way.
pub type Further = Vec<(String, Vec<(String, String)>)>;

pub struct Rest {
    pub limits: Limits,
    pub handler: Handler,
    pub pages: Pages,
    pub places: Places,
    pub budget: Arc<Budget>,
    pub phase: watch::Sender<Phase>,
    /// Whether the handler is in place; before that the server is starting.
    pub serving: AtomicBool,
    /// Without pages.
    pub requests: AtomicUsize,
    further: Further,
    connections: Mutex<Connections>,
    open: AtomicUsize,
    last: AtomicU64,
}

#[derive(Default)]
struct Connections {
    all: HashMap<u64, Arc<Conn>>,
    /// Those beyond the limit, the oldest first.
    reserve: Vec<Weak<Conn>>,
}

impl Rest {
    pub fn new(limits: Limits, handler: Handler, pages: Pages, further: Further) -> Rest {
        Rest {
            places: Places::new(limits.threads, limits.inflight),
            budget: Arc::new(Budget::new(limits.bodies)),
            phase: watch::Sender::new(Phase::Open),
            serving: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            connections: Mutex::default(),
            open: AtomicUsize::new(0),
            last: AtomicU64::new(0),
            limits,
            handler,
            pages,
            further,
        }
    }

    fn all(&self) -> MutexGuard<'_, Connections> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub fn drains(&self) -> bool {
        *self.phase.borrow() != Phase::Open
    }

    /// Headers that an answer has besides its own.
    pub fn further(&self, target: &str) -> &[(String, String)] {
        let found = self
            .further
            .iter()
            .find(|(start, _)| target.starts_with(start));
        found.map_or(&[], |(_, headers)| headers)
    }

    /// Register a connection until the result is dropped.
    pub fn connected(self: &Arc<Rest>, peer: Arc<str>, pages_only: bool) -> Connected {
        let kind = if self.open.fetch_add(1, Relaxed) < self.limits.connections {
            if pages_only {
                Kind::Pages
            } else {
                Kind::Everything
            }
        } else {
            self.open.fetch_sub(1, Relaxed);
            Kind::Reserve
        };
        let conn = Conn::new(peer, kind);
        let number = self.last.fetch_add(1, Relaxed);
        let mut all = self.all();
        all.all.insert(number, Arc::clone(&conn));
        if kind == Kind::Reserve {
            all.reserve.retain(|one| one.strong_count() > 0);
            if all.reserve.len() >= RESERVE
                && let Some(oldest) = all.reserve.remove(0).upgrade()
            {
                oldest.finish(End::Cut);
            }
            all.reserve.push(Arc::downgrade(&conn));
        }
        drop(all);
        Connected {
            rest: Arc::clone(self),
            number,
            conn,
        }
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.all().all.len()
    }

    /// The peers of connections that were used for pages alone.
    pub fn pages_only(&self) -> Vec<String> {
        let all = self.all();
        let found = all.all.values().filter(|conn| conn.only_pages());
        found.map(|conn| conn.peer.to_string()).collect()
    }

    /// End what is idle or too slow; called every second or so.
    pub fn sweep(&self) {
        for conn in self.all().all.values() {
            if let Some(end) = conn.verdict(&self.limits.times) {
                conn.finish(end);
            }
        }
        self.budget.sweep(Instant::now());
    }

    /// Close the connections that have been idle for so long.
    pub fn close_idle(&self, least: Duration) {
        for conn in self.all().all.values() {
            if conn
                .idle_since()
                .is_some_and(|since| since.elapsed() > least)
            {
                conn.finish(End::Idle);
            }
        }
    }

    /// Without descriptors: end who has been idle for the longest.
    pub fn make_room(&self) {
        let all = self.all();
        let idle = all
            .all
            .values()
            .filter_map(|conn| Some((conn.idle_since()?, conn)));
        if let Some((_, conn)) = idle.min_by_key(|(since, _)| *since) {
            conn.finish(End::Cut);
        }
    }

    /// Wait for an answer, not for longer than a request may take.
    pub async fn late<T>(&self, work: impl Future<Output = T>) -> Result<T, Reply> {
        let Some(end) = self.deadline() else {
            return Ok(work.await);
        };
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = sleep_until(end) => {
                Err(Reply::last(504, "Timed out waiting for the model to answer"))
            }
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.limits
            .timeout
            .and_then(|time| Instant::now().checked_add(time))
    }
}

pub struct Connected {
    rest: Arc<Rest>,
    number: u64,
    pub conn: Arc<Conn>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.rest.all().all.remove(&self.number);
        if self.conn.kind != Kind::Reserve {
            self.rest.open.fetch_sub(1, Relaxed);
        }
    }
}

/// How many requests may be in flight: those for models apart from questions and from pages that take long.
pub struct Places {
    pub inference: Lane,
    pub status: Lane,
    pub slow: Lane,
}

/// Threads, and the requests that they work on or that wait for them.
pub struct Lane {
    pub pool: Pool,
    pub limit: usize,
    count: Arc<AtomicUsize>,
}

impl Places {
    pub fn new(threads: usize, limit: usize) -> Places {
        Places {
            inference: Lane::new("rest", threads, limit),
            status: Lane::new("rest-status", STATUS_THREADS, limit),
            slow: Lane::new("rest-pages", 1, MAX_SLOW_PAGES),
        }
    }
}

impl Lane {
    pub fn new(name: &'static str, threads: usize, limit: usize) -> Lane {
        Lane {
            pool: Pool::new(name, threads),
            limit,
            count: Arc::default(),
        }
    }

    pub fn inflight(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// `None` when there are too many.
    pub fn begin(&self) -> Option<Place> {
        let place = Place(Arc::clone(&self.count));
        let before = self.count.fetch_add(1, Relaxed);
        (before < self.limit).then_some(place)
    }
}

/// One request in flight, until it is dropped.
pub struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
