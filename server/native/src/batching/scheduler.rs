//! Threads for the decisions of `planner`: who waits, who runs a batch, who looks at the clock.
//!
//! A request that may run at once runs on its caller's thread. Batches run on threads of their own, and whoever waits is
//! told by a function that it has left here: it may be a thread that sleeps, or a connection's task.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::planner::{Batch, Layout, Planner, QueueId, RequestId};
use super::rules::{Failure, Rules};
use crate::pool::Pool;

/// Runs batches of one queue.
pub trait Work: Send + Sync + 'static {
    /// What a request brings.
    type Input: Send + Sync + 'static;
    /// What a batch yields.
    type Output: Send + Sync + 'static;

    /// Run a batch; a failure is that of all its requests.
    fn run(&self, parts: &[Part<Self::Input>]) -> Result<Self::Output, Failure>;
}

/// Rows of a request in a batch.
pub struct Part<I> {
    request: RequestId,
    pub input: Arc<I>,
    pub start: usize,
    pub rows: usize,
    /// Whether these are all rows of the request.
    pub whole: bool,
    /// Seconds from its coming to the batch's beginning.
    pub waited: f64,
}

impl<I> Part<I> {
    /// A request that runs by itself, and has not waited.
    pub fn alone(input: Arc<I>, rows: usize) -> Part<I> {
        Part {
            request: 0,
            input,
            start: 0,
            rows,
            whole: true,
            waited: 0.0,
        }
    }
}

/// Rows of a batch's output that answer rows of a request.
pub struct Share<O> {
    pub output: Arc<O>,
    pub from: usize,
    pub rows: usize,
    /// The first of the request's rows that these answer.
    start: usize,
}

pub type Answered<O> = Result<Vec<Share<O>>, Failure>;
type Tell<O> = Box<dyn FnOnce(Answered<O>) + Send>;

struct Member<W: Work> {
    work: Arc<W>,
    input: Arc<W::Input>,
    shares: Vec<Share<W::Output>>,
    failure: Option<Failure>,
    tell: Tell<W::Output>,
}

struct Job<W: Work> {
    batch: Batch,
    work: Arc<W>,
    parts: Vec<Part<W::Input>>,
}

struct State<W: Work> {
    planner: Planner,
    members: HashMap<RequestId, Member<W>>,
    timer: bool,
    timer_due: Option<f64>,
    draining: usize,
}

/// Runs the batches of all versions, so many at a time.
pub struct Scheduler<W: Work> {
    epoch: Instant,
    state: Mutex<State<W>>,
    drained: Condvar,
    clock: Condvar,
    pool: Pool,
}

/// A slot for a request that runs alone, until it is dropped.
pub struct Alone<W: Work> {
    scheduler: Arc<Scheduler<W>>,
    queue: QueueId,
    rows: usize,
    began: f64,
}

/// A request that waits; whoever drops it does not want the answer any more.
pub struct Ticket<W: Work> {
    scheduler: Arc<Scheduler<W>>,
    queue: QueueId,
    request: RequestId,
}

impl<W: Work> Scheduler<W> {
    pub fn new(slots: usize) -> Arc<Scheduler<W>> {
        Arc::new(Scheduler {
            epoch: Instant::now(),
            state: Mutex::new(State {
                planner: Planner::new(slots),
                members: HashMap::new(),
                timer: false,
                timer_due: None,
                draining: 0,
            }),
            drained: Condvar::new(),
            clock: Condvar::new(),
            pool: Pool::new("batch", slots),
        })
    }

    pub fn open(&self, rules: Arc<Rules>) -> QueueId {
        self.state().planner.open(rules)
    }

    /// Give a request a slot if it may run at once and alone, on its caller's thread.
    pub fn enter(self: &Arc<Self>, queue: QueueId, rows: usize) -> Option<Alone<W>> {
        let mut state = self.state();
        let began = self.now();
        state.planner.enter(queue, rows).then(|| Alone {
            scheduler: Arc::clone(self),
            queue,
            rows,
            began,
        })
    }

    /// Let a request wait; `tell` hears of its answer unless the ticket is dropped before.
    pub fn submit(
        self: &Arc<Self>,
        work: &Arc<W>,
        queue: QueueId,
        request: (usize, Layout, Option<Instant>),
        input: Arc<W::Input>,
        tell: Tell<W::Output>,
    ) -> Result<Ticket<W>, Failure> {
        let (rows, layout, deadline) = request;
        let deadline = deadline.map(|end| {
            end.checked_duration_since(self.epoch)
                .unwrap_or_default()
                .as_secs_f64()
        });
        let mut state = self.state();
        let now = self.now();
        if deadline.is_some_and(|end| end <= now) {
            return Err(Failure::late());
        }
        let request = state.planner.add(queue, rows, layout, deadline, now)?;
        let member = Member {
            work: Arc::clone(work),
            input,
            shares: Vec::new(),
            failure: None,
            tell,
        };
        state.members.insert(request, member);
        self.go_on(state, now);
        Ok(Ticket {
            scheduler: Arc::clone(self),
            queue,
            request,
        })
    }

    /// Return when everything that waits in a queue or runs from it is done; nothing new may come to it any more.
    pub fn drain(self: &Arc<Self>, queue: QueueId) {
        let mut state = self.state();
        state.planner.close(queue);
        state.draining += 1;
        let now = self.now();
        self.go_on(state, now);
        let mut state = self.state();
        while state.planner.busy(queue) {
            state = self
                .drained
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.draining -= 1;
        state.planner.forget(queue);
    }

    fn state(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The clock is read with the lock held: what happens later never has an earlier time.
    fn now(&self) -> f64 {
        self.epoch.elapsed().as_secs_f64()
    }

    /// Have threads run what is due, and tell those who are too late.
    fn go_on(self: &Arc<Self>, state: MutexGuard<'_, State<W>>, now: f64) {
        for job in self.take(state, now) {
            self.hand_over(job);
        }
    }

    fn take(self: &Arc<Self>, mut state: MutexGuard<'_, State<W>>, now: f64) -> Vec<Job<W>> {
        let mut jobs = Vec::new();
        while let Some(batch) = state.planner.take(now) {
            jobs.extend(state.job(batch, now));
        }
        let expired = state.planner.expired();
        let late: Vec<Member<W>> = expired
            .iter()
            .filter_map(|request| state.members.remove(request))
            .collect();
        self.watch_clock(&mut state);
        if state.draining > 0 {
            self.drained.notify_all();
        }
        drop(state);
        for member in late {
            (member.tell)(Err(Failure::late()));
        }
        jobs
    }

    fn hand_over(self: &Arc<Self>, job: Job<W>) {
        let job = Arc::new(Mutex::new(Some(job)));
        let (this, theirs) = (Arc::clone(self), Arc::clone(&job));
        let taken = self.pool.submit(move || {
            if let Some(job) = theirs.lock().unwrap_or_else(PoisonError::into_inner).take() {
                this.work_on(job);
            }
        });
        if !taken {
            // Not even one thread can be started: those who wait must hear something all the same.
            let job = job.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(job) = job {
                self.work_on(job);
            }
        }
    }

    fn work_on(self: &Arc<Self>, job: Job<W>) {
        let mut next = Some(job);
        while let Some(job) = next {
            let mut following = self.execute(job).into_iter();
            next = following.next();
            for job in following {
                self.hand_over(job);
            }
        }
    }

    /// Run a batch, tell those who wait for it, return what should run now.
    fn execute(self: &Arc<Self>, job: Job<W>) -> Vec<Job<W>> {
        let ran = catch_unwind(AssertUnwindSafe(|| job.work.run(&job.parts)));
        let ran = ran
            .unwrap_or_else(|_| Err(Failure::internal()))
            .map(Arc::new);
        let mut state = self.state();
        let now = self.now();
        state.planner.finish(&job.batch, now);
        let mut answered = Vec::new();
        let mut from = 0;
        for part in &job.parts {
            let last = state.planner.finish_piece(part.request);
            if let Some(member) = state.members.get_mut(&part.request) {
                match &ran {
                    Ok(output) => member.shares.push(Share {
                        output: Arc::clone(output),
                        from,
                        rows: part.rows,
                        start: part.start,
                    }),
                    Err(failure) => member.failure = Some(failure.clone()),
                }
            }
            if last {
                answered.extend(state.members.remove(&part.request));
            }
            from += part.rows;
        }
        let following = self.take(state, now);
        drop(job);
        drop(ran);
        for member in answered {
            let mut shares = member.shares;
            shares.sort_by_key(|share| share.start);
            (member.tell)(member.failure.map_or(Ok(shares), Err));
        }
        following
    }

    fn watch_clock(self: &Arc<Self>, state: &mut MutexGuard<'_, State<W>>) {
        let Some(due) = state.planner.next_due() else {
            return;
        };
        if state.timer && state.timer_due.is_some_and(|before| before <= due) {
            return;
        }
        state.timer_due = Some(due);
        if !state.timer {
            let this = Arc::clone(self);
            let started = thread::Builder::new()
                .name("batch-clock".into())
                .spawn(move || this.keep_time());
            state.timer = started.is_ok();
        }
        self.clock.notify_all();
    }

    fn keep_time(self: &Arc<Self>) {
        let mut state = self.state();
        loop {
            state.timer_due = state.planner.next_due();
            let now = self.now();
            match state.timer_due {
                Some(due) if due <= now => {
                    state.timer_due = None;
                    self.go_on(state, now);
                    state = self.state();
                }
                Some(due) => {
                    let left = Duration::from_secs_f64((due - now).clamp(0.0, 3600.0));
                    let woken = self.clock.wait_timeout(state, left);
                    state = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => {
                    let woken = self.clock.wait(state);
                    state = woken.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl<W: Work> State<W> {
    fn job(&self, batch: Batch, now: f64) -> Option<Job<W>> {
        let mut parts = Vec::with_capacity(batch.pieces.len());
        let mut work = None;
        for piece in &batch.pieces {
            let member = self.members.get(&piece.request)?;
            work.get_or_insert_with(|| Arc::clone(&member.work));
            parts.push(Part {
                request: piece.request,
                input: Arc::clone(&member.input),
                start: piece.start,
                rows: piece.rows,
                whole: self.planner.rows(piece.request) == Some(piece.rows),
                waited: now - self.planner.arrived(piece.request).unwrap_or(now),
            });
        }
        let work = work?;
        Some(Job { batch, work, parts })
    }
}

impl<W: Work> Drop for Alone<W> {
    fn drop(&mut self) {
        let scheduler = Arc::clone(&self.scheduler);
        let mut state = scheduler.state();
        let now = scheduler.now();
        let waiting = state.planner.leave(self.queue, self.rows, self.began, now);
        if waiting || state.draining > 0 {
            scheduler.go_on(state, now);
        }
    }
}

impl<W: Work> Drop for Ticket<W> {
    fn drop(&mut self) {
        let mut state = self.scheduler.state();
        let member = state.members.remove(&self.request);
        if member.is_some() {
            state.planner.withdraw(self.queue, self.request);
            if state.draining > 0 {
                self.scheduler.drained.notify_all();
            }
        }
        drop(state);
        drop(member);
    }
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
