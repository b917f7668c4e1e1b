//! Requests whose message is still arriving. They have places like all others, until others need them.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Instant;

use tokio::sync::Notify;

use crate::front::{Front, Inflight};
use crate::grpc::{Status, UNAVAILABLE};

/// Calls whose message has begun to arrive and is not complete, the oldest first.
#[derive(Default)]
pub struct Arrivals {
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    last: u64,
    by_number: BTreeMap<u64, Arc<Arriving>>,
}

struct Arriving {
    since: Instant,
    place: Mutex<Option<Inflight>>,
    lost: Notify,
}

impl Arriving {
    fn place(&self) -> MutexGuard<'_, Option<Inflight>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arrivals {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.calls().by_number.len()
    }

    /// Take the places of those that have been arriving since before a moment and are of the kind that is wanted.
    pub fn free(&self, before: Instant, wanted: impl Fn(&Inflight) -> bool) {
        let old: Vec<Arc<Arriving>> = {
            let calls = self.calls();
            let old = calls.by_number.values();
            old.take_while(|one| one.since <= before).cloned().collect()
        };
        for one in old {
            let taken = one.place().take_if(|place| wanted(place));
            if taken.is_some() {
                one.lost.notify_one();
            }
        }
    }
}

/// One that is arriving, until it is dropped.
struct Registered<'a> {
    front: &'a Front,
    number: u64,
    call: Arc<Arriving>,
}

impl<'a> Registered<'a> {
    fn new(front: &'a Front, place: Inflight) -> Registered<'a> {
        let call = Arc::new(Arriving {
            since: Instant::now(),
            place: Mutex::new(Some(place)),
            lost: Notify::new(),
        });
        let mut calls = front.arrivals.calls();
        calls.last += 1;
        let number = calls.last;
        calls.by_number.insert(number, Arc::clone(&call));
        Registered {
            front,
            number,
            call,
        }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.front.arrivals.calls().by_number.remove(&self.number);
        // Also where somebody is about to take it: the place ends with its call.
        self.call.place().take();
    }
}

/// Receive a message in a place that others may take when it does not come; return both.
pub async fn receive<T>(
    front: &Front,
    place: Inflight,
    message: impl Future<Output = Result<T, Status>>,
) -> Result<(T, Inflight), Status> {
    let mut message = pin!(message);
    // Usually all of it has come together with its headers.
    let at_once = poll_fn(|context| Poll::Ready(message.as_mut().poll(context))).await;
    if let Poll::Ready(received) = at_once {
        return Ok((received?, place));
    }
    let arriving = Registered::new(front, place);
    tokio::select! {
        biased;
        received = message => {
            let received = received?;
            let place = arriving.call.place().take().ok_or_else(timed_out)?;
            Ok((received, place))
        }
        () = arriving.call.lost.notified() => Err(timed_out()),
    }
}

/// How a call ends whose message did not come while others needed its place.
pub fn timed_out() -> Status {
    Status::new(
        UNAVAILABLE,
        "Timed out receiving the request, and others need its place",
    )
}
