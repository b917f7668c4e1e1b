//! What all connections share: limits, models, methods, counts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use crate::arrivals::Arrivals;
use crate::grpc::{Health, Rooms, Status};
use crate::models::Models;
use crate::pool::Pool;
use crate::sampling::Chances;
use crate::tls::Tls;

/// Bounds of the port.
#[derive(Clone)]
pub struct Limits {
    /// Threads that serve all connections.
    pub workers: usize,
    /// Requests worked on at a time.
    pub threads: usize,
    /// Requests worked on or waiting; further ones are refused at once.
    pub inflight: usize,
    /// A message that has been arriving for longer gives its place up when others need it.
    pub arrival: Duration,
    /// Bytes of a message, as sent.
    pub message: usize,
    /// Bytes of all large messages that arrive or are worked on.
    pub held: usize,
    /// Calls at a time on one connection.
    pub streams: u32,
    /// Connections at a time; 0 means any number.
    pub connections: usize,
    /// After which a connection is asked to reconnect.
    pub age: Duration,
    /// For what it still carries then.
    pub age_grace: Duration,
}

/// What a handler is told about a call.
#[derive(Clone)]
pub struct CallInfo {
    pub path: Arc<str>,
    /// As gRPC writes it: `ipv4:127.0.0.1:5000`, `unix:`.
    pub peer: Arc<str>,
    /// Of a client that had to show one.
    pub certificate: Option<Arc<[u8]>>,
    /// Names and values of the client's own headers.
    pub metadata: Arc<[(String, String)]>,
    pub deadline: Option<Instant>,
}

/// Answers a message that is not answered here; called on a thread that may wait.
pub type Handler = Box<dyn Fn(&CallInfo, &Bytes) -> Result<Vec<Bytes>, Status> + Send + Sync>;

/// Bytes of messages of up to 64 KiB that did not arrive in one piece.
const SMALL_MESSAGES: usize = 64 << 20;
const STATUS_THREADS: usize = 4;
const STREAM_THREADS: usize = 4;

/// Which threads answer a method of Python's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lane {
    Inference,
    /// Answers also while every thread for inference is busy.
    Status,
    /// May take minutes.
    Reload,
    /// Messages in both directions; each is answered by itself.
    Stream,
}

pub struct Lanes {
    inference: Pool,
    status: Pool,
    reload: Pool,
    stream: Pool,
    /// TensorFlow runs that take long; no Python in these threads.
    pub runs: Pool,
}

impl Lanes {
    pub fn of(&self, lane: Lane) -> &Pool {
        match lane {
            Lane::Inference => &self.inference,
            Lane::Status => &self.status,
            Lane::Reload => &self.reload,
            Lane::Stream => &self.stream,
        }
    }
}

/// Methods of Python's by path.
#[derive(Default)]
pub struct Methods {
    pub lanes: HashMap<String, Lane>,
    /// Not counted as requests: probes call them.
    pub early: Vec<String>,
    /// Whether all are there; before that the server is starting.
    pub complete: bool,
}

/// How far the port's end has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    Open,
    /// No new connection; what is in flight finishes.
    Stopping,
    /// Whatever is still there is cut.
    Over,
}

pub struct Front {
    pub limits: Limits,
    pub models: Models,
    pub health: Health,
    pub tls: Tls,
    pub methods: RwLock<Arc<Methods>>,
    pub handler: Handler,
    pub lanes: Lanes,
    pub rooms: Arc<Rooms>,
    pub arrivals: Arrivals,
    pub phase: watch::Sender<Phase>,
    /// Whether Predict may be answered here at all.
    pub hot: AtomicBool,
    /// Of which each request gets one.
    pub chances: Chances,
    /// Write outputs as `tensor_content`.
    pub as_content: bool,
    pub requests: AtomicUsize,
    /// Predict calls that were answered here, and those that were left to Python.
    pub answered: AtomicU64,
    pub declined: AtomicU64,
    pub connections: AtomicUsize,
    inline: AtomicUsize,
    inflight: AtomicUsize,
    status_inflight: AtomicUsize,
}

impl Front {
    pub fn new(limits: Limits, handler: Handler, methods: Methods, as_content: bool) -> Front {
        let lanes = Lanes {
            inference: Pool::new("rpc", limits.threads),
            status: Pool::new("rpc-status", STATUS_THREADS),
            reload: Pool::new("rpc-reload", 1),
            stream: Pool::new("rpc-stream", STREAM_THREADS),
            runs: Pool::new("rpc-run", limits.threads),
        };
        Front {
            models: Models::default(),
            health: Health::default(),
            tls: Tls::default(),
            methods: RwLock::new(Arc::new(methods)),
            handler,
            lanes,
            rooms: Arc::new(Rooms::new(SMALL_MESSAGES, limits.held)),
            arrivals: Arrivals::default(),
            phase: watch::Sender::new(Phase::Open),
            hot: AtomicBool::new(false),
            chances: Chances::default(),
            as_content,
            requests: AtomicUsize::new(0),
            answered: AtomicU64::new(0),
            declined: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            inline: AtomicUsize::new(0),
            inflight: AtomicUsize::new(0),
            status_inflight: AtomicUsize::new(0),
            limits,
        }
    }

    pub fn methods(&self) -> Arc<Methods> {
        Arc::clone(&self.methods.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self, lane: Lane) -> &AtomicUsize {
        if lane == Lane::Inference {
            &self.inflight
        } else {
            &self.status_inflight
        }
    }

    /// Whether another request may be taken.
    #[cfg(test)]
    pub fn has_room(&self, lane: Lane) -> bool {
        self.count(lane).load(Relaxed) < self.limits.inflight
    }

    /// Begin to run a model on a thread that serves connections; `None` where it would be the last of them. However
    /// long a run takes that was thought to be quick, the port answers.
    pub fn begin_inline(&self) -> Option<Inline<'_>> {
        let fits = |count: usize| (count + 1 < self.limits.workers).then_some(count + 1);
        self.inline.fetch_update(Relaxed, Relaxed, fits).ok()?;
        Some(Inline(&self.inline))
    }

    /// Requests for inference that no thread has taken yet.
    pub fn waiting(&self) -> usize {
        self.lanes.inference.waiting() + self.lanes.runs.waiting()
    }
}

/// A run on a thread that serves connections, until it is dropped.
pub struct Inline<'a>(&'a AtomicUsize);

impl Drop for Inline<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// One request in flight, until it is dropped.
pub struct Inflight {
    front: Arc<Front>,
    lane: Lane,
}

impl Inflight {
    /// `None` when there are too many, also without those whose message does not come.
    pub fn begin(front: &Arc<Front>, lane: Lane) -> Option<Inflight> {
        Inflight::try_begin(front, lane).or_else(|| {
            let before = Instant::now().checked_sub(front.limits.arrival)?;
            let counted =
                |other: &Inflight| std::ptr::eq(front.count(other.lane), front.count(lane));
            front.arrivals.free(before, counted);
            Inflight::try_begin(front, lane)
        })
    }

    fn try_begin(front: &Arc<Front>, lane: Lane) -> Option<Inflight> {
        let before = front.count(lane).fetch_add(1, Relaxed);
        let this = Inflight {
            front: Arc::clone(front),
            lane,
        };
        (before < front.limits.inflight).then_some(this)
    }
}

impl Drop for Inflight {
    fn drop(&mut self) {
        self.front.count(self.lane).fetch_sub(1, Relaxed);
    }
}
