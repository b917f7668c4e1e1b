//! How many requests use a version, and the wait for the last of them.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

const CLOSED: usize = 1 << (usize::BITS - 1);

/// Counts users until it is closed; then nobody begins any more.
#[derive(Default)]
pub struct Usage {
    /// The number of users, and the bit `CLOSED`.
    state: AtomicUsize,
    lock: Mutex<()>,
    gone: Condvar,
}

/// One use, until it is dropped.
#[cfg(test)]
pub struct Use<'a>(&'a Usage);

impl Usage {
    /// Begin to use; `None` when it is closed.
    #[cfg(test)]
    pub fn begin(&self) -> Option<Use<'_>> {
        self.enter().then(|| Use(self))
    }

    /// Begin to use, until `leave`; false when it is closed.
    pub fn enter(&self) -> bool {
        // Counted first: whoever closes between the two steps sees this user, and waits for it.
        let open = self.state.fetch_add(1, SeqCst) & CLOSED == 0;
        if !open {
            self.leave();
        }
        open
    }

    pub fn leave(&self) {
        if self.state.fetch_sub(1, SeqCst) == CLOSED | 1 {
            // With the lock: the one who waits has not looked yet, or sleeps already.
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.gone.notify_all();
        }
    }

    pub fn users(&self) -> usize {
        self.state.load(SeqCst) & !CLOSED
    }

    /// Refuse new users and wait for the last one; false when so much time passed first.
    pub fn close(&self, timeout: Option<Duration>) -> bool {
        self.state.fetch_or(CLOSED, SeqCst);
        let end = timeout.map(|time| Instant::now() + time);
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while self.users() > 0 {
            let left = match end {
                None => Duration::from_secs(60),
                Some(end) => match end.checked_duration_since(Instant::now()) {
                    Some(left) if !left.is_zero() => left,
                    _ => return false,
                },
            };
            guard = self
                .gone
                .wait_timeout(guard, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }
}

#[cfg(test)]
impl Drop for Use<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn a_closed_one_takes_no_user_and_waits_for_those_it_has() {
        let usage = Arc::new(Usage::default());
        let first = usage.begin().expect("open");
        assert!(!usage.close(Some(Duration::from_millis(1))));
        assert!(usage.begin().is_none());
        assert_eq!(usage.users(), 1);
        let waiting = {
            let usage = Arc::clone(&usage);
            thread::spawn(move || usage.close(None))
        };
        drop(first);
        assert!(waiting.join().expect("no panic"));
        assert_eq!(usage.users(), 0);
    }

    #[test]
    fn many_users_come_and_go_while_it_is_closed() {
        let usage = Arc::new(Usage::default());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let usage = Arc::clone(&usage);
                thread::spawn(move || while usage.begin().is_some() {})
            })
            .collect();
        assert!(usage.close(Some(Duration::from_secs(60))));
        for one in threads {
            one.join().expect("no panic");
        }
        assert_eq!(usage.users(), 0);
    }
}
