//! Batching without the interpreter's lock: requests of all ports, and of Python's handlers, in one queue per version,
//! signature and choice of outputs.
//!
//! `begin` is the one way in. `planner` decides, `scheduler` has the threads, `queues` the tensors.

mod decided;
mod joining;
mod metrics;
#[cfg(feature = "python")]
pub mod module;
mod planner;
mod queues;
mod rules;
mod scheduler;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::tensorflow::Tensor;
use joining::{Rows, joined};
use scheduler::{Answered, Share, Ticket};

pub use decided::Decided;
pub use queues::{Batches, Input, Lane, Ran};
pub use rules::Failure;

/// The outputs of a request, in the order in which its queue has them.
pub enum Outputs {
    /// Those of a whole batch, which is this request's alone.
    Whole(Arc<Ran>),
    Own(Ran),
}

impl Outputs {
    pub fn tensors(&self) -> &[Tensor] {
        match self {
            Outputs::Whole(ran) => &ran.outputs,
            Outputs::Own(ran) => &ran.outputs,
        }
    }

    /// The tensors alone, of which none needs another's memory; `None` without memory for copies.
    #[cfg_attr(not(feature = "python"), allow(dead_code))]
    pub fn into_own(self) -> Option<Ran> {
        match self {
            Outputs::Whole(ran) => ran.part(0, ran.rows),
            Outputs::Own(ran) => Some(ran),
        }
    }

    /// How long TensorFlow ran.
    pub fn took(&self) -> Duration {
        match self {
            Outputs::Whole(ran) => ran.took,
            Outputs::Own(ran) => ran.took,
        }
    }
}

/// What has become of a request.
pub enum Begun {
    Done(Result<Outputs, Failure>),
    Waiting(Pending),
}

/// A request in a queue, or in a batch that runs. Dropping it withdraws what still waits.
pub struct Pending {
    answer: oneshot::Receiver<Answered<Ran>>,
    _ticket: Ticket<Lane>,
    rows: usize,
}

impl Pending {
    pub async fn answer(mut self) -> Result<Outputs, Failure> {
        let answered = (&mut self.answer).await;
        outputs(
            answered.unwrap_or_else(|_| Err(Failure::internal())),
            self.rows,
        )
    }
}

/// A request for a queue: inputs as its lane takes them (`Lane::fits`), the rows that they have (`Lane::rows`).
pub struct Request {
    pub input: Arc<Input>,
    pub rows: usize,
    pub deadline: Option<Instant>,
}

/// Run a request on this thread where it is alone and may run `here`; otherwise let it wait.
pub fn begin(lane: &Arc<Lane>, request: Request, here: bool) -> Begun {
    if let Some(done) = alone(lane, &request, here) {
        return Begun::Done(done);
    }
    let rows = request.rows;
    let (tell, answer) = oneshot::channel();
    let tell = Box::new(move |answered| drop(tell.send(answered)));
    match submit(lane, request, tell) {
        Ok(ticket) => Begun::Waiting(Pending {
            answer,
            _ticket: ticket,
            rows,
        }),
        Err(failure) => Begun::Done(Err(failure)),
    }
}

/// As `begin`, on a thread that may wait.
pub fn run(lane: &Arc<Lane>, request: Request) -> Result<Outputs, Failure> {
    if let Some(done) = alone(lane, &request, true) {
        return done;
    }
    let (rows, deadline) = (request.rows, request.deadline);
    let (tell, answer) = std::sync::mpsc::sync_channel(1);
    let tell = Box::new(move |answered| drop(tell.send(answered)));
    let ticket = submit(lane, request, tell)?;
    let answered = match deadline {
        None => answer.recv().map_err(|_| Failure::internal())?,
        Some(end) => {
            let left = end.saturating_duration_since(Instant::now());
            answer.recv_timeout(left).map_err(|_| Failure::late())?
        }
    };
    drop(ticket);
    outputs(answered, rows)
}

fn alone(lane: &Arc<Lane>, request: &Request, here: bool) -> Option<Result<Outputs, Failure>> {
    if !here {
        return None;
    }
    let slot = lane.scheduler.enter(lane.queue, request.rows)?;
    let done = if request.deadline.is_some_and(|end| end <= Instant::now()) {
        Err(Failure::late())
    } else {
        lane.run_alone(Arc::clone(&request.input), request.rows)
    };
    drop(slot);
    Some(done.map(Outputs::Own))
}

fn submit(
    lane: &Arc<Lane>,
    request: Request,
    tell: Box<dyn FnOnce(Answered<Ran>) + Send>,
) -> Result<Ticket<Lane>, Failure> {
    let layout = lane.layout(&request.input.tensors);
    let about = (request.rows, layout, request.deadline);
    lane.scheduler
        .submit(lane, lane.queue, about, request.input, tell)
}

/// A request's own rows of what its pieces were part of.
fn outputs(answered: Answered<Ran>, rows: usize) -> Result<Outputs, Failure> {
    let shares = answered?;
    if let [share] = shares.as_slice()
        && share.from == 0
        && (share.rows, share.output.rows) == (rows, rows)
    {
        return Ok(Outputs::Whole(Arc::clone(&share.output)));
    }
    let own = collected(&shares, rows).ok_or_else(Failure::no_memory)?;
    Ok(Outputs::Own(own))
}

fn collected(shares: &[Share<Ran>], rows: usize) -> Option<Ran> {
    let first = shares.first()?;
    let took = shares.iter().map(|share| share.output.took).sum();
    let tensors = (0..first.output.outputs.len()).map(|place| {
        let parts = shares.iter().map(|share| {
            Some(Rows {
                tensor: share.output.outputs.get(place)?,
                start: share.from,
                rows: share.rows,
            })
        });
        joined(&parts.collect::<Option<Vec<_>>>()?, 0)
    });
    Some(Ran::of(tensors.collect::<Option<_>>()?, rows, took))
}
