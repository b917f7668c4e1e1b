//! Threads for work that may take long, started as they are needed.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

type Job = Box<dyn FnOnce() + Send>;
type Start = fn(String, Job) -> io::Result<()>;

/// At most so many threads, which take jobs in their order.
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    name: &'static str,
    size: usize,
    start: Start,
    state: Mutex<State>,
    some: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        loop {
            let job = {
                let mut state = self.state();
                loop {
                    if let Some(job) = state.jobs.pop_front() {
                        break job;
                    }
                    state.idle += 1;
                    state = self
                        .some
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                    state.idle -= 1;
                }
            };
            // Whoever waits for the job hears of a panic: the sender of its answer is dropped.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }
}

impl Pool {
    pub fn new(name: &'static str, size: usize) -> Pool {
        Pool::starting(name, size, |name, job| {
            thread::Builder::new().name(name).spawn(job).map(drop)
        })
    }

    fn starting(name: &'static str, size: usize, start: Start) -> Pool {
        let state = Mutex::default();
        let size = size.max(1);
        Pool {
            shared: Arc::new(Shared {
                name,
                size,
                start,
                state,
                some: Condvar::new(),
            }),
        }
    }

    /// Have a job done. Where not even one thread can be started it is dropped instead, and false returned.
    #[must_use]
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) -> bool {
        let mut state = self.shared.state();
        state.jobs.push_back(Box::new(job));
        if state.jobs.len() > state.idle && state.threads < self.shared.size {
            let shared = Arc::clone(&self.shared);
            let name = format!("{}-{}", shared.name, state.threads);
            // Where no further thread is allowed, the job waits for those that are there.
            if (self.shared.start)(name, Box::new(move || shared.work())).is_ok() {
                state.threads += 1;
            } else if state.threads == 0 {
                let job = state.jobs.pop_back();
                drop(state);
                drop(job);
                return false;
            }
        }
        drop(state);
        self.shared.some.notify_one();
        true
    }

    /// Jobs that no thread has taken yet.
    pub fn waiting(&self) -> usize {
        self.shared.state().jobs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn jobs_are_done_side_by_side_up_to_the_size_and_others_wait() {
        let pool = Pool::new("test", 2);
        let (began, begun) = mpsc::channel();
        let (go, may_go) = mpsc::channel::<()>();
        let may_go = Arc::new(Mutex::new(may_go));
        for _ in 0..3 {
            let (began, may_go) = (began.clone(), Arc::clone(&may_go));
            let taken = pool.submit(move || {
                began.send(()).expect("the test listens");
                may_go
                    .lock()
                    .expect("no panic")
                    .recv()
                    .expect("the test tells");
            });
            assert!(taken);
        }
        for _ in 0..2 {
            begun.recv_timeout(LONG).expect("two begin");
        }
        assert_eq!(pool.waiting(), 1);
        for _ in 0..3 {
            go.send(()).expect("a job waits");
        }
        begun.recv_timeout(LONG).expect("the third begins");
    }

    #[test]
    fn a_job_that_panics_does_not_take_its_thread_along() {
        let pool = Pool::new("test", 1);
        assert!(pool.submit(|| std::panic::resume_unwind(Box::new("meant"))));
        let (done, is_done) = mpsc::channel();
        assert!(pool.submit(move || done.send(()).expect("the test listens")));
        is_done.recv_timeout(LONG).expect("the thread goes on");
    }

    #[test]
    fn without_any_thread_a_job_is_dropped_and_does_not_wait_for_ever() {
        let pool = Pool::starting("test", 1, |_, _| Err(io::ErrorKind::WouldBlock.into()));
        let (done, is_done) = mpsc::channel::<()>();
        assert!(!pool.submit(move || drop(done)));
        assert_eq!(
            is_done.recv_timeout(LONG),
            Err(mpsc::RecvTimeoutError::Disconnected)
        );
        assert_eq!(pool.waiting(), 0);
    }
}
