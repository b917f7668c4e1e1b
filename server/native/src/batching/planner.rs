//! Which batch runs when: the decisions of batching, as `slipway_server.batching.queues` has them. No threads, no clock,
//! no tensors; times are seconds on any one clock.
//!
//! A batch is due when it is full, or when its timeout has passed since it was opened. With a timeout of 0 it is due at
//! once, except where the crowd promises better: while the requests around are enough to fill a batch, it waits for its
//! share of them, never longer than a batch usually takes. A client that is alone never waits.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::Failure;
use super::rules::Rules;

const NEW_TIME_WEIGHT: f64 = 0.2;
/// For how many batches the largest crowd is remembered: once to twice as many.
const MEMORY: usize = 4;
/// In so many seconds whoever wants to ask again has done so, however long the model takes.
const RETURN_SECONDS: f64 = 0.02;

/// Name and inner shape of each input whose inner shape may differ from request to request.
pub type Layout = Vec<(Arc<str>, Vec<i64>)>;
pub type QueueId = u64;
pub type RequestId = u64;

/// Rows of one request that run together: `rows` of them from `start` on.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    pub request: RequestId,
    pub start: usize,
    pub rows: usize,
}

/// Pieces that run together.
#[derive(Debug)]
pub struct Batch {
    pub queue: QueueId,
    pub pieces: Vec<Piece>,
    pub rows: usize,
    opened: f64,
    /// When `take` returned it.
    pub began: f64,
}

struct Waiting {
    rows: usize,
    layout: Layout,
    deadline: Option<f64>,
    arrived: f64,
    /// Pieces that are not finished yet.
    pieces: usize,
}

struct Queue {
    rules: Arc<Rules>,
    /// In the order of their coming; all but the last are closed.
    waiting: VecDeque<Batch>,
    waiting_rows: usize,
    running: usize,
    running_rows: usize,
    /// Seconds that a batch takes, a moving average; 0 when none has run.
    usual: f64,
    ended: f64,
    peak: usize,
    peak_before: usize,
    begun: usize,
    closing: bool,
}

impl Queue {
    fn new(rules: Arc<Rules>) -> Queue {
        Queue {
            rules,
            waiting: VecDeque::new(),
            waiting_rows: 0,
            running: 0,
            running_rows: 0,
            usual: 0.0,
            ended: f64::NEG_INFINITY,
            peak: 0,
            peak_before: 0,
            begun: 0,
            closing: false,
        }
    }

    fn due(&self, slots: usize) -> f64 {
        let Some(head) = self.waiting.front() else {
            return f64::INFINITY;
        };
        let limit = self.rules.max_execution_batch_size;
        if self.waiting.len() > 1 || head.rows >= limit || self.closing {
            return f64::NEG_INFINITY;
        }
        if self.rules.batch_timeout > 0.0 {
            return head.opened + self.rules.batch_timeout;
        }
        let crowd = self.crowd();
        let enough = if crowd < limit {
            self.running == 0 || head.rows.saturating_mul(slots) >= crowd
        } else {
            let share = slots.min((2 * crowd + limit) / (2 * limit));
            head.rows.saturating_mul(share) >= crowd
        };
        if enough {
            return f64::NEG_INFINITY;
        }
        if self.running > 0 {
            return head.opened + self.usual;
        }
        // Whoever has just been answered comes back soon; but while nothing runs, waiting costs more.
        head.opened.max(self.ended) + (self.usual / 2.0).min(RETURN_SECONDS)
    }

    /// The most rows that were around at a time, of late.
    fn crowd(&self) -> usize {
        self.peak.max(self.peak_before)
    }

    fn watch(&mut self) {
        self.peak = self.peak.max(self.waiting_rows + self.running_rows);
    }

    fn begin(&mut self, rows: usize) {
        self.running += 1;
        self.running_rows += rows;
        self.begun += 1;
        if self.begun >= MEMORY {
            self.begun = 0;
            self.peak_before = std::mem::take(&mut self.peak);
        }
        self.watch();
    }

    fn end(&mut self, rows: usize, began: f64, now: f64) {
        self.ended = now;
        self.running -= 1;
        self.running_rows -= rows;
        let weight = if self.usual == 0.0 {
            1.0
        } else {
            NEW_TIME_WEIGHT
        };
        self.usual += (now - began - self.usual) * weight;
    }
}

/// All queues, and the slots in which their batches run.
pub struct Planner {
    slots: usize,
    running: usize,
    queues: HashMap<QueueId, Queue>,
    /// Those with something waiting; the next one to be asked is first.
    active: VecDeque<QueueId>,
    requests: HashMap<RequestId, Waiting>,
    expired: Vec<RequestId>,
    last: u64,
}

impl Planner {
    /// `slots` batches may run at a time.
    pub fn new(slots: usize) -> Planner {
        Planner {
            slots: slots.max(1),
            running: 0,
            queues: HashMap::new(),
            active: VecDeque::new(),
            requests: HashMap::new(),
            expired: Vec::new(),
            last: 0,
        }
    }

    pub fn open(&mut self, rules: Arc<Rules>) -> QueueId {
        self.last += 1;
        self.queues.insert(self.last, Queue::new(rules));
        self.last
    }

    /// Forget a queue from which nothing waits or runs.
    pub fn forget(&mut self, queue: QueueId) {
        if !self.busy(queue) {
            self.queues.remove(&queue);
        }
    }

    /// Nothing more comes to a queue, and what waits is due at once.
    pub fn close(&mut self, queue: QueueId) {
        if let Some(queue) = self.queues.get_mut(&queue) {
            queue.closing = true;
        }
    }

    /// Whether anything waits in a queue or runs from it.
    pub fn busy(&self, queue: QueueId) -> bool {
        let found = self.queues.get(&queue);
        found.is_some_and(|queue| !queue.waiting.is_empty() || queue.running > 0)
    }

    /// Let a request wait; nothing has changed when it is refused.
    pub fn add(
        &mut self,
        queue: QueueId,
        rows: usize,
        layout: Layout,
        deadline: Option<f64>,
        now: f64,
    ) -> Result<RequestId, Failure> {
        let id = queue;
        let queue = self.queues.get_mut(&id).ok_or_else(Failure::unloaded)?;
        let rules = Arc::clone(&queue.rules);
        let limit = rules.max_execution_batch_size;
        if rows > rules.max_batch_size {
            return Err(Failure::too_large(rows, rules.max_batch_size));
        }
        let mut room = queue
            .waiting
            .back()
            .map_or(0, |last| limit.saturating_sub(last.rows));
        let mut joins =
            !queue.waiting.is_empty() && (rows <= room || (rules.splitting && room > 0));
        if joins {
            let open = queue.waiting.back().and_then(|last| last.pieces.first());
            let open = open.and_then(|piece| self.requests.get(&piece.request));
            if let Some(open) = open.filter(|open| open.layout != layout) {
                if !rules.pad {
                    return Err(Failure::different_shapes(&open.layout, &layout));
                }
                joins = false;
            }
        }
        if !joins {
            room = 0;
        }
        let sizes = if joins && rows <= room {
            vec![rows]
        } else {
            split(rows, room, limit)
        };
        let opened = sizes.len() - usize::from(joins);
        if opened > 0 && queue.waiting.len() + opened > rules.max_enqueued_batches {
            return Err(Failure::full(
                queue.waiting.len(),
                rules.max_enqueued_batches,
            ));
        }
        self.last += 1;
        let request = self.last;
        let pieces = sizes.len();
        let mut start = 0;
        for (number, size) in sizes.into_iter().enumerate() {
            if number > 0 || !joins {
                queue.waiting.push_back(Batch {
                    queue: id,
                    pieces: Vec::new(),
                    rows: 0,
                    opened: now,
                    began: now,
                });
            }
            if let Some(last) = queue.waiting.back_mut() {
                last.rows += size;
                last.pieces.push(Piece {
                    request,
                    start,
                    rows: size,
                });
            }
            start += size;
        }
        queue.waiting_rows += rows;
        queue.watch();
        if !self.active.contains(&id) {
            self.active.push_back(id);
        }
        let waiting = Waiting {
            rows,
            layout,
            deadline,
            arrived: now,
            pieces,
        };
        self.requests.insert(request, waiting);
        Ok(request)
    }

    /// A batch that should run now, which gets a slot; `None` when there is none or no slot is free.
    pub fn take(&mut self, now: f64) -> Option<Batch> {
        while self.running < self.slots {
            let place = self.active.iter().position(|id| {
                let queue = self.queues.get(id);
                queue.is_some_and(|queue| queue.due(self.slots) <= now)
            })?;
            let id = self.active.remove(place)?;
            let queue = self.queues.get_mut(&id)?;
            let mut batch = queue.waiting.pop_front()?;
            queue.waiting_rows -= batch.rows;
            if !queue.waiting.is_empty() {
                self.active.push_back(id); // behind the others
            }
            self.drop_late(&mut batch, now);
            if batch.pieces.is_empty() {
                continue;
            }
            batch.began = now;
            self.running += 1;
            if let Some(queue) = self.queues.get_mut(&id) {
                queue.begin(batch.rows);
            }
            return Some(batch);
        }
        None
    }

    /// Free the slot of a batch that `take` returned.
    pub fn finish(&mut self, batch: &Batch, now: f64) {
        self.running -= 1;
        if let Some(queue) = self.queues.get_mut(&batch.queue) {
            queue.end(batch.rows, batch.began, now);
        }
    }

    /// Count a piece that has run; true for the last one of its request. One that was withdrawn has none.
    pub fn finish_piece(&mut self, request: RequestId) -> bool {
        let Some(waiting) = self.requests.get_mut(&request) else {
            return false;
        };
        waiting.pieces -= 1;
        let last = waiting.pieces == 0;
        if last {
            self.requests.remove(&request);
        }
        last
    }

    pub fn arrived(&self, request: RequestId) -> Option<f64> {
        self.requests.get(&request).map(|waiting| waiting.arrived)
    }

    /// Rows of a request that is not answered yet.
    pub fn rows(&self, request: RequestId) -> Option<usize> {
        self.requests.get(&request).map(|waiting| waiting.rows)
    }

    /// Give a request a slot if it may run at once and alone, where `add` and `take` would do the same.
    pub fn enter(&mut self, queue: QueueId, rows: usize) -> bool {
        if !self.active.is_empty() || self.running >= self.slots {
            return false;
        }
        let Some(queue) = self.queues.get_mut(&queue) else {
            return false;
        };
        let limit = queue.rules.max_execution_batch_size;
        let waits = rows < limit && (queue.crowd() >= limit || queue.rules.batch_timeout > 0.0);
        if queue.running > 0 || rows > limit || waits {
            return false;
        }
        self.running += 1;
        queue.begin(rows);
        true
    }

    /// Free the slot that `enter` gave; whether anything waits.
    pub fn leave(&mut self, queue: QueueId, rows: usize, began: f64, now: f64) -> bool {
        self.running -= 1;
        if let Some(queue) = self.queues.get_mut(&queue) {
            queue.end(rows, began, now);
        }
        !self.active.is_empty()
    }

    /// Forget what of a request still waits; nobody waits for its answer any more.
    pub fn withdraw(&mut self, queue: QueueId, request: RequestId) {
        self.requests.remove(&request);
        let Some(found) = self.queues.get_mut(&queue) else {
            return;
        };
        for batch in &mut found.waiting {
            let before = batch.rows;
            batch.pieces.retain(|piece| piece.request != request);
            batch.rows = batch.pieces.iter().map(|piece| piece.rows).sum();
            found.waiting_rows -= before - batch.rows;
        }
        found.waiting.retain(|batch| !batch.pieces.is_empty());
        if found.waiting.is_empty() {
            self.active.retain(|id| *id != queue);
        }
    }

    /// Once, the requests that were left out of batches because their deadline had passed.
    pub fn expired(&mut self) -> Vec<RequestId> {
        std::mem::take(&mut self.expired)
    }

    /// When to call `take` although nothing else happens.
    pub fn next_due(&self) -> Option<f64> {
        if self.running >= self.slots {
            return None;
        }
        let queues = self.active.iter().filter_map(|id| self.queues.get(id));
        queues.map(|queue| queue.due(self.slots)).reduce(f64::min)
    }

    fn drop_late(&mut self, batch: &mut Batch, now: f64) {
        let is_late = |piece: &Piece| {
            // One that was withdrawn while another of its pieces ran is over as well.
            self.requests
                .get(&piece.request)
                .is_none_or(|one| one.deadline.is_some_and(|end| end <= now))
        };
        let late: Vec<RequestId> = batch
            .pieces
            .iter()
            .filter(|piece| is_late(piece))
            .map(|piece| piece.request)
            .collect();
        if late.is_empty() {
            return;
        }
        batch.pieces.retain(|piece| !late.contains(&piece.request));
        batch.rows = batch.pieces.iter().map(|piece| piece.rows).sum();
        for request in late {
            if self.requests.contains_key(&request) {
                self.withdraw(batch.queue, request);
                self.expired.push(request);
            }
        }
    }
}

/// The sizes of a request's pieces: first what there is room for, then whole batches, then the rest.
fn split(rows: usize, room: usize, limit: usize) -> Vec<usize> {
    let mut sizes = Vec::new();
    if room > 0 {
        sizes.push(room.min(rows));
    }
    let mut rest = rows - sizes.iter().sum::<usize>();
    while rest >= limit {
        sizes.push(limit);
        rest -= limit;
    }
    if rest > 0 || sizes.is_empty() {
        sizes.push(rest);
    }
    sizes
}

#[cfg(test)]
#[path = "planner_tests.rs"]
mod tests;
