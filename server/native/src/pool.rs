//! Threads for work that may take long, started as they are needed.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

type Job = Box<dyn FnOnce() + Send>;

/// At most so many threads, which take jobs in their order.
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    name: &'static str,
    size: usize,
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
        let state = Mutex::default();
        let size = size.max(1);
        Pool {
            shared: Arc::new(Shared {
                name,
                size,
                state,
                some: Condvar::new(),
            }),
        }
    }

    pub fn submit(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = self.shared.state();
        state.jobs.push_back(Box::new(job));
        if state.jobs.len() > state.idle && state.threads < self.shared.size {
            let shared = Arc::clone(&self.shared);
            let name = format!("{}-{}", shared.name, state.threads);
            // Where no further thread is allowed, the job waits for those that are there.
            if thread::Builder::new()
                .name(name)
                .spawn(move || shared.work())
                .is_ok()
            {
                state.threads += 1;
            }
        }
        drop(state);
        self.shared.some.notify_one();
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
            pool.submit(move || {
                began.send(()).expect("the test listens");
                may_go
                    .lock()
                    .expect("no panic")
                    .recv()
                    .expect("the test tells");
            });
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
        pool.submit(|| std::panic::resume_unwind(Box::new("meant")));
        let (done, is_done) = mpsc::channel();
        pool.submit(move || done.send(()).expect("the test listens"));
        is_done.recv_timeout(LONG).expect("the thread goes on");
    }
}
