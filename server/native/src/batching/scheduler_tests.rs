use super::*;
use std::sync::mpsc::{Receiver, Sender, channel};

const LONG: Duration = Duration::from_secs(60);

/// Doubles numbers, when it is let; a negative one fails its batch.
struct Double {
    begun: Mutex<Sender<usize>>,
    may: Mutex<Receiver<()>>,
}

impl Work for Double {
    type Input = Vec<i64>;
    type Output = Vec<i64>;

    fn run(&self, parts: &[Part<Vec<i64>>]) -> Result<Vec<i64>, Failure> {
        let rows = parts
            .iter()
            .flat_map(|part| part.input[part.start..part.start + part.rows].to_vec());
        let rows: Vec<i64> = rows.collect();
        self.begun
            .lock()
            .expect("no panic")
            .send(rows.len())
            .expect("the test listens");
        self.may
            .lock()
            .expect("no panic")
            .recv_timeout(LONG)
            .expect("the test tells");
        assert_ne!(rows[0], 13, "meant");
        if rows.iter().any(|one| *one < 0) {
            return Err(failure());
        }
        Ok(rows.iter().map(|one| 2 * one).collect())
    }
}

fn failure() -> Failure {
    Failure {
        code: 11,
        message: "negative".into(),
    }
}

struct Bench {
    scheduler: Arc<Scheduler<Double>>,
    work: Arc<Double>,
    queue: QueueId,
    begun: Receiver<usize>,
    may: Sender<()>,
}

struct Asked {
    ticket: Option<Ticket<Double>>,
    answer: Receiver<Result<Vec<i64>, Failure>>,
}

impl Bench {
    fn new(slots: usize, splitting: bool, timeout: f64) -> Bench {
        let (begun_sender, begun) = channel();
        let (may, may_receiver) = channel();
        let scheduler = Scheduler::new(slots);
        let queue = scheduler.open(Arc::new(Rules {
            max_batch_size: if splitting { 9 } else { 4 },
            batch_timeout: timeout,
            max_enqueued_batches: 10,
            allowed_batch_sizes: Vec::new(),
            pad: false,
            splitting,
            max_execution_batch_size: 4,
        }));
        let work = Double {
            begun: Mutex::new(begun_sender),
            may: Mutex::new(may_receiver),
        };
        Bench {
            scheduler,
            work: Arc::new(work),
            queue,
            begun,
            may,
        }
    }

    fn ask(&self, numbers: &[i64], deadline: Option<Instant>) -> Result<Asked, Failure> {
        let (sender, answer) = channel();
        let tell = Box::new(move |answered: Answered<Vec<i64>>| {
            let rows = answered.map(|shares| {
                let each = shares
                    .iter()
                    .flat_map(|one| one.output[one.from..one.from + one.rows].to_vec());
                each.collect()
            });
            let _ = sender.send(rows);
        });
        let about = (numbers.len(), Vec::new(), deadline);
        let input = Arc::new(numbers.to_vec());
        let ticket = self
            .scheduler
            .submit(&self.work, self.queue, about, input, tell)?;
        Ok(Asked {
            ticket: Some(ticket),
            answer,
        })
    }

    fn asked(&self, numbers: &[i64]) -> Asked {
        self.ask(numbers, None).expect("there is room")
    }

    fn begins(&self) -> usize {
        self.begun.recv_timeout(LONG).expect("a batch begins")
    }

    fn go(&self) {
        self.may.send(()).expect("a batch waits");
    }
}

impl Asked {
    fn answer(&self) -> Result<Vec<i64>, Failure> {
        self.answer.recv_timeout(LONG).expect("there is an answer")
    }
}

#[test]
fn everybody_gets_the_own_rows_of_what_ran_together() {
    let bench = Bench::new(1, false, 0.0);
    let first = bench.asked(&[1]);
    assert_eq!(bench.begins(), 1);
    let together = [bench.asked(&[2, 3]), bench.asked(&[4]), bench.asked(&[])];
    bench.go();
    assert_eq!(first.answer(), Ok(vec![2]));
    assert_eq!(bench.begins(), 3);
    bench.go();
    let answers = together.each_ref().map(Asked::answer);
    assert_eq!(answers, [Ok(vec![4, 6]), Ok(vec![8]), Ok(vec![])]);
}

#[test]
fn a_split_request_gets_its_rows_in_order_whichever_piece_ends_first() {
    let bench = Bench::new(2, true, 0.0);
    let numbers: Vec<i64> = (0..9).collect();
    let asked = bench.asked(&numbers);
    for _ in 0..3 {
        bench.begins();
        bench.go();
    }
    let doubled = numbers.iter().map(|one| 2 * one).collect();
    assert_eq!(asked.answer(), Ok(doubled));
}

#[test]
fn a_batch_that_fails_or_panics_fails_all_its_members_and_nobody_else() {
    let bench = Bench::new(1, false, 0.0);
    let first = bench.asked(&[1, 1, 1, 1]);
    bench.begins();
    let failing = [bench.asked(&[1, 2]), bench.asked(&[-1, 1])];
    let others = [
        bench.asked(&[5, 5, 5, 5]),
        bench.asked(&[13]),
        bench.asked(&[6; 4]),
    ];
    for _ in 0..4 {
        bench.go();
    }
    bench.go();
    assert!(first.answer().is_ok());
    for one in failing {
        assert_eq!(one.answer(), Err(failure()));
    }
    assert_eq!(others[0].answer(), Ok(vec![10; 4]));
    assert_eq!(others[1].answer(), Err(Failure::internal()));
    assert_eq!(others[2].answer(), Ok(vec![12; 4]), "the slot was freed");
}

#[test]
fn what_is_dropped_while_it_waits_does_not_run_and_what_runs_is_not_missed() {
    let bench = Bench::new(1, false, 0.0);
    let mut first = bench.asked(&[1]);
    bench.begins();
    let mut gone = bench.asked(&[2]);
    let stays = bench.asked(&[3]);
    drop(gone.ticket.take());
    drop(first.ticket.take());
    bench.go();
    assert_eq!(bench.begins(), 1, "one of two runs");
    bench.go();
    assert_eq!(stays.answer(), Ok(vec![6]));
    assert!(gone.answer.try_recv().is_err());
    assert!(first.answer.try_recv().is_err());
}

#[test]
fn a_request_whose_deadline_passes_in_the_queue_is_told_and_does_not_run() {
    let bench = Bench::new(1, false, 0.0);
    let past = bench.ask(&[1], Some(Instant::now()));
    assert_eq!(past.err(), Some(Failure::late()));
    let first = bench.asked(&[1]);
    bench.begins();
    let end = Instant::now() + Duration::from_millis(20);
    let late = bench.ask(&[2], Some(end));
    let late = late.expect("there is room");
    let in_time = bench.ask(&[3], Some(Instant::now() + 2 * LONG));
    let in_time = in_time.expect("there is room");
    while Instant::now() < end {
        thread::yield_now();
    }
    bench.go();
    assert!(first.answer().is_ok());
    assert_eq!(late.answer(), Err(Failure::late()));
    assert_eq!(bench.begins(), 1);
    bench.go();
    assert_eq!(in_time.answer(), Ok(vec![6]));
}

#[test]
fn a_drain_waits_for_what_is_queued_and_does_not_wait_for_its_timeout() {
    let bench = Bench::new(1, false, 3600.0);
    let asked = [bench.asked(&[1]), bench.asked(&[2])];
    let (done, is_done) = channel();
    let (scheduler, queue) = (Arc::clone(&bench.scheduler), bench.queue);
    thread::spawn(move || {
        scheduler.drain(queue);
        done.send(()).expect("the test listens");
    });
    assert_eq!(bench.begins(), 2);
    assert!(is_done.try_recv().is_err());
    bench.go();
    is_done.recv_timeout(LONG).expect("it is drained");
    assert_eq!(
        asked.each_ref().map(Asked::answer),
        [Ok(vec![2]), Ok(vec![4])]
    );
    let refused = bench.ask(&[1], None);
    assert_eq!(refused.err(), Some(Failure::unloaded()));
}

#[test]
fn a_timeout_ends_without_anybody_else_coming() {
    let bench = Bench::new(1, false, 0.01);
    let asked = [bench.asked(&[1]), bench.asked(&[2])];
    bench.go();
    bench.go(); // on a slow machine each runs by itself
    assert_eq!(
        asked.each_ref().map(Asked::answer),
        [Ok(vec![2]), Ok(vec![4])]
    );
}

#[test]
fn who_runs_alone_has_a_slot_and_others_wait_for_it() {
    let bench = Bench::new(1, false, 0.0);
    let alone = bench.scheduler.enter(bench.queue, 1).expect("it is free");
    assert!(bench.scheduler.enter(bench.queue, 1).is_none());
    let waits = bench.asked(&[1]);
    assert!(bench.begun.try_recv().is_err());
    drop(alone);
    bench.go();
    assert_eq!(waits.answer(), Ok(vec![2]));
}
