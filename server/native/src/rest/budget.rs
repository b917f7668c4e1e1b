//! What the bodies of all requests together may take, from their arrival to the answer: as the Python front has it
//! (`frontends/http/budget.py`).
//!
//! Of many half-sent bodies one always gets on: the one that has been arriving for the longest is read beyond the limit
//! as long as what is complete stays below it. Who is first in that row and dawdles while others wait gives way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// In which the first of the row may be as slow as it likes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes a second that it must have sent since, if others wait.
const PACE: f64 = (1 << 20) as f64;

pub struct Budget {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: u64,
    arriving: BTreeMap<u64, Arrival>,
    partial: usize,
    complete: usize,
}

struct Arrival {
    size: usize,
    held: bool,
    gives_way: bool,
    first: Option<(Instant, usize)>,
    changed: Arc<Notify>,
}

impl State {
    fn may_read(&self, limit: usize, number: u64) -> bool {
        let first = self.arriving.first_key_value().map(|(first, _)| *first);
        self.partial + self.complete < limit || (self.complete < limit && first == Some(number))
    }

    fn let_go_on(&mut self, limit: usize) {
        let held = self.arriving.iter().filter(|(_, arrival)| arrival.held);
        let held: Vec<u64> = held.map(|(number, _)| *number).collect();
        for number in held {
            if self.may_read(limit, number)
                && let Some(arrival) = self.arriving.get_mut(&number)
            {
                arrival.held = false;
                arrival.first = None;
                arrival.changed.notify_one();
            }
        }
    }
}

/// What a body that arrives has to do next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    Read,
    Wait,
    GiveWay,
}

impl Budget {
    pub fn new(limit: usize) -> Budget {
        Budget {
            limit,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that are counted now.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        let state = self.state();
        state.partial + state.complete
    }

    /// Begin to count a body.
    pub fn begin(self: &Arc<Self>) -> Arriving {
        let changed = Arc::new(Notify::new());
        let mut state = self.state();
        state.last += 1;
        let number = state.last;
        let arrival = Arrival {
            size: 0,
            held: false,
            gives_way: false,
            first: None,
            changed: Arc::clone(&changed),
        };
        state.arriving.insert(number, arrival);
        Arriving {
            budget: Arc::clone(self),
            number,
            changed,
        }
    }

    /// Take its place from the first in the row when it is too slow and others wait; called every second or so.
    pub fn sweep(&self, now: Instant) {
        let mut state = self.state();
        let others_wait = state.arriving.values().any(|arrival| arrival.held);
        let Some(mut first) = state.arriving.first_entry() else {
            return;
        };
        let arrival = first.get_mut();
        match arrival.first {
            Some((since, size)) if !arrival.held => {
                let seconds = now
                    .saturating_duration_since(since + PATIENCE)
                    .as_secs_f64();
                let came = (arrival.size - size) as f64;
                if seconds > 0.0 && came < seconds * PACE && others_wait {
                    arrival.gives_way = true;
                    arrival.changed.notify_one();
                }
            }
            _ => arrival.first = Some((now, arrival.size)),
        }
    }
}

/// A body that arrives; forgotten when it is dropped.
pub struct Arriving {
    budget: Arc<Budget>,
    number: u64,
    pub changed: Arc<Notify>,
}

impl Arriving {
    /// Count further bytes.
    pub fn add(&self, size: usize) {
        let mut state = self.budget.state();
        state.partial += size;
        let may_read = state.may_read(self.budget.limit, self.number);
        if let Some(arrival) = state.arriving.get_mut(&self.number) {
            arrival.size += size;
            arrival.held = !may_read;
        }
    }

    pub fn next(&self) -> Next {
        match self.budget.state().arriving.get(&self.number) {
            Some(arrival) if arrival.gives_way => Next::GiveWay,
            Some(arrival) if arrival.held => Next::Wait,
            _ => Next::Read,
        }
    }

    /// The body is complete: it is counted until the result is dropped.
    pub fn complete(self) -> Counted {
        let mut state = self.budget.state();
        let size = state
            .arriving
            .remove(&self.number)
            .map_or(0, |one| one.size);
        state.partial -= size;
        state.complete += size;
        state.let_go_on(self.budget.limit);
        drop(state);
        let budget = Arc::clone(&self.budget);
        Counted { budget, size }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        if let Some(arrival) = state.arriving.remove(&self.number) {
            state.partial -= arrival.size;
            state.let_go_on(self.budget.limit);
        }
    }
}

/// A complete body, until it is dropped.
pub struct Counted {
    budget: Arc<Budget>,
    size: usize,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.complete -= self.size;
        state.let_go_on(self.budget.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_bodies_that_fill_the_budget_the_first_gets_on_and_then_the_next() {
        let budget = Arc::new(Budget::new(100));
        let (first, second) = (budget.begin(), budget.begin());
        first.add(60);
        second.add(60);
        assert_eq!((first.next(), second.next()), (Next::Read, Next::Wait));
        first.add(60);
        assert_eq!(first.next(), Next::Read);
        let done = first.complete();
        assert_eq!(second.next(), Next::Wait);
        drop(done);
        assert_eq!(second.next(), Next::Read);
        drop(second);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn who_dawdles_while_others_wait_gives_way() {
        let budget = Arc::new(Budget::new(100));
        let (first, second) = (budget.begin(), budget.begin());
        let now = Instant::now();
        first.add(100);
        budget.sweep(now);
        budget.sweep(now + PATIENCE * 2);
        assert_eq!(first.next(), Next::Read, "nobody waits");
        second.add(1);
        budget.sweep(now + PATIENCE * 2);
        assert_eq!((first.next(), second.next()), (Next::GiveWay, Next::Wait));
        drop(first);
        assert_eq!(second.next(), Next::Read);
    }
}
