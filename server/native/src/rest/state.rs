//! What is known of one connection, and when it has to end.

use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::head::Scan;

/// Why a connection is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// Nothing is under way.
    Idle,
    /// A request's head does not come.
    SlowHead,
    /// Beyond the limit of connections, and nothing was asked.
    Full,
    /// The client takes no answer, or must give way at once.
    Cut,
}

/// What a connection may ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Everything,
    /// The health port's.
    Pages,
    /// Beyond the limit: one page.
    Reserve,
}

pub struct Times {
    pub head: Duration,
    pub request: Duration,
    pub idle: Duration,
    /// For a connection beyond the limit.
    pub reserve: Duration,
}

/// One connection.
pub struct Conn {
    pub peer: Arc<str>,
    pub kind: Kind,
    pub end: Notify,
    pub scan: Mutex<Scan>,
    pub two: AtomicBool,
    began: Instant,
    why: AtomicU8,
    /// What `since` was when it was decided to end the connection.
    decided: AtomicU64,
    /// 0: nothing was asked yet, 1: pages alone, 2: other things as well.
    asked: AtomicU8,
    busy: AtomicUsize,
    /// Something of an answer may not be with the socket yet.
    owes: AtomicBool,
    sends: AtomicUsize,
    /// Bytes of a request have come whose head is not complete.
    heading: AtomicBool,
    /// Milliseconds since `began`: of the first byte of the head, or of the end of the last request.
    since: AtomicU64,
    /// When an answer last went on; 0 when none is on its way, else one more than the milliseconds.
    sending: AtomicU64,
    /// The same of a write that the socket does not take.
    stalled: AtomicU64,
}

impl Conn {
    pub fn new(peer: Arc<str>, kind: Kind) -> Arc<Conn> {
        Arc::new(Conn {
            peer,
            kind,
            end: Notify::new(),
            scan: Mutex::new(Scan::new()),
            two: AtomicBool::new(false),
            began: Instant::now(),
            why: AtomicU8::new(0),
            decided: AtomicU64::new(0),
            asked: AtomicU8::new(0),
            busy: AtomicUsize::new(0),
            owes: AtomicBool::new(false),
            sends: AtomicUsize::new(0),
            heading: AtomicBool::new(false),
            since: AtomicU64::new(0),
            sending: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// When the first byte of the request came that begins now; over HTTP/1 alone.
    pub fn request_began(&self) -> Instant {
        self.began + Duration::from_millis(self.since.load(Relaxed))
    }

    pub fn is_busy(&self) -> bool {
        self.busy.load(SeqCst) > 0
    }

    /// Bytes have come.
    pub fn received(&self) {
        // Over HTTP/2 they may be an answer to a ping, or the like, of which no request follows.
        if self.two.load(Relaxed) && self.asked.load(Relaxed) != 0 {
            return;
        }
        if !self.is_busy() && !self.heading.swap(true, Relaxed) {
            self.since.store(self.now(), Relaxed);
        }
    }

    /// The socket took bytes, or takes none.
    pub fn wrote(&self, taken: bool) {
        if taken {
            self.stalled.store(0, Relaxed);
        } else if self.stalled.load(Relaxed) == 0 {
            self.stalled.store(self.now() + 1, Relaxed);
        }
    }

    /// The socket has all that was written.
    pub fn flushed(&self) {
        if !self.is_busy() {
            self.owes.store(false, Relaxed);
        }
    }

    /// Whether what is written can belong to an answer.
    pub fn owes(&self) -> bool {
        self.owes.load(Relaxed)
    }

    /// A request's head is complete.
    pub fn begin(self: &Arc<Conn>) -> Arc<Busy> {
        self.busy.fetch_add(1, SeqCst);
        self.owes.store(true, Relaxed);
        self.heading.store(false, Relaxed);
        Arc::new(Busy(Arc::clone(self)))
    }

    pub fn note(&self, page: bool) {
        self.asked.fetch_max(if page { 1 } else { 2 }, Relaxed);
    }

    pub fn only_pages(&self) -> bool {
        self.asked.load(Relaxed) == 1
    }

    /// Since when nothing is under way; `None` while something is.
    pub fn idle_since(&self) -> Option<Instant> {
        let idle = !self.is_busy() && !self.heading.load(Relaxed);
        idle.then(|| self.request_began())
    }

    /// Whether it has to end now.
    pub fn verdict(&self, times: &Times) -> Option<End> {
        let now = self.now();
        let over =
            |since: u64, most: Duration| u128::from(now.saturating_sub(since)) > most.as_millis();
        for waiting in [&self.stalled, &self.sending] {
            let since = waiting.load(Relaxed);
            if since > 0 && over(since - 1, times.request) {
                return Some(End::Cut);
            }
        }
        if self.is_busy() {
            return None;
        }
        let since = self.since.load(Relaxed);
        let two = self.two.load(Relaxed);
        let silent = two && self.asked.load(Relaxed) == 0;
        let heading = silent || (!two && self.heading.load(Relaxed));
        if self.kind == Kind::Reserve && over(since, times.reserve) {
            return Some(End::Full);
        }
        if heading && over(since, times.head) {
            return Some(End::SlowHead);
        }
        (!heading && over(since, times.idle)).then_some(End::Idle)
    }

    /// Whether nothing has come since it was decided to end the connection.
    pub fn is_idle_still(&self) -> bool {
        self.idle_since().is_some() && self.since.load(Relaxed) == self.decided.load(Relaxed)
    }

    pub fn finish(&self, why: End) {
        self.decided.store(self.since.load(Relaxed), Relaxed);
        self.why.store(why as u8, Relaxed);
        self.end.notify_one();
    }

    pub fn why(&self) -> End {
        match self.why.load(Relaxed) {
            0 => End::Idle,
            1 => End::SlowHead,
            2 => End::Full,
            _ => End::Cut,
        }
    }
}

/// A request that is received, worked on or answered, until it is dropped.
pub struct Busy(Arc<Conn>);

/// An answer of which something is left to send, until it is dropped.
pub struct Sending(Arc<Busy>);

impl Sending {
    pub fn begin(busy: Arc<Busy>) -> Sending {
        busy.0.sends.fetch_add(1, SeqCst);
        let this = Sending(busy);
        this.progresses();
        this
    }

    /// The client takes the answer.
    pub fn progresses(&self) {
        let conn = &self.0.0;
        conn.sending.store(conn.now() + 1, Relaxed);
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let conn = &self.0.0;
        if conn.sends.fetch_sub(1, SeqCst) == 1 {
            conn.sending.store(0, Relaxed);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.0.busy.fetch_sub(1, SeqCst) == 1 {
            self.0.heading.store(false, Relaxed);
            self.0.since.store(self.0.now(), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Duration = Duration::from_secs(3600);

    fn conn(kind: Kind) -> Arc<Conn> {
        Conn::new("1.2.3.4:5".into(), kind)
    }

    /// Wait until more than no time has passed.
    fn pass(conn: &Conn) {
        let now = conn.now();
        while conn.now() <= now + 1 {
            std::thread::yield_now();
        }
    }

    fn times(which: &str) -> Times {
        let of = |name| {
            if name == which { Duration::ZERO } else { NEVER }
        };
        Times {
            head: of("head"),
            request: of("request"),
            idle: of("idle"),
            reserve: of("reserve"),
        }
    }

    #[test]
    fn each_state_has_its_own_time() {
        let one = conn(Kind::Everything);
        pass(&one);
        assert_eq!(one.verdict(&times("idle")), Some(End::Idle));
        assert_eq!(one.verdict(&times("head")), None);
        one.received();
        pass(&one);
        assert_eq!(one.verdict(&times("idle")), None);
        assert_eq!(one.verdict(&times("head")), Some(End::SlowHead));
        let busy = one.begin();
        for which in ["idle", "head", "request"] {
            assert_eq!(one.verdict(&times(which)), None, "{which}");
        }
        drop(busy);
        pass(&one);
        assert_eq!(one.verdict(&times("idle")), Some(End::Idle));
        let beyond = conn(Kind::Reserve);
        pass(&beyond);
        assert_eq!(beyond.verdict(&times("reserve")), Some(End::Full));
    }

    #[test]
    fn an_answer_that_nobody_takes_ends_the_connection_and_a_long_run_does_not() {
        let one = conn(Kind::Everything);
        let (running, answered) = (one.begin(), one.begin());
        let sending = Sending::begin(answered);
        pass(&one);
        assert_eq!(one.verdict(&times("request")), Some(End::Cut));
        drop(sending);
        assert_eq!(one.verdict(&times("request")), None);
        drop(running);
        one.wrote(false);
        pass(&one);
        assert_eq!(one.verdict(&times("request")), Some(End::Cut));
        one.wrote(true);
        assert_eq!(one.verdict(&times("request")), None);
    }
}
