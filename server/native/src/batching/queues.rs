//! The queues of a version: one for each signature and choice of outputs, whoever asks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::joining::{Rows, joined};
use super::metrics::Series;
use super::planner::{Layout, QueueId};
use super::rules::{Failure, Rules};
use super::scheduler::{Part, Scheduler, Work};
use crate::tensorflow::{Output, Session, Tensor};

/// Clients choose outputs, and each choice has a queue; the first so many of a version do.
const MAX_QUEUES: usize = 64;
/// Of signatures that are made for one request, each of which is kept.
const MAX_SIGNATURES: usize = 1024;

pub type Batcher = Scheduler<Lane>;

/// What a signature says of one input.
pub struct InputSpec {
    pub name: Arc<str>,
    pub tensor: Output,
    pub dtype: i32,
    /// -1 where any size goes; `None` when even the rank is open.
    pub shape: Option<Vec<i64>>,
}

impl InputSpec {
    /// Whether its inner shape may differ from request to request.
    fn is_open(&self) -> bool {
        self.shape
            .as_ref()
            .is_none_or(|shape| shape.iter().skip(1).any(|size| *size == -1))
    }

    fn fits(&self, dtype: i32, dims: &[i64]) -> bool {
        if dtype != self.dtype {
            return false;
        }
        let Some(shape) = &self.shape else {
            return true;
        };
        // A model made for so many rows and no others cannot run several requests at once.
        shape.first().is_none_or(|rows| *rows == -1)
            && shape.len() == dims.len()
            && shape
                .iter()
                .zip(dims)
                .all(|(wanted, size)| *wanted == -1 || wanted == size)
    }
}

/// A signature as the queues see it.
pub struct Described {
    inputs: Arc<Vec<InputSpec>>,
    outputs: Vec<Output>,
    series: Arc<Series>,
    lanes: RwLock<Vec<(Vec<usize>, Arc<Lane>)>>,
}

/// A version whose requests are batched.
pub struct Batches {
    session: Arc<Session>,
    rules: Arc<Rules>,
    scheduler: Arc<Batcher>,
    signatures: RwLock<HashMap<Vec<u8>, Arc<Described>>>,
    queues: AtomicUsize,
}

impl Batches {
    pub fn new(session: Session, rules: Rules, scheduler: Arc<Batcher>) -> Batches {
        Batches {
            session: Arc::new(session),
            rules: Arc::new(rules),
            scheduler,
            signatures: RwLock::default(),
            queues: AtomicUsize::new(0),
        }
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Add a signature; its inputs and outputs are known by their places. False where there are too many.
    pub fn describe(
        &self,
        key: &[u8],
        inputs: Vec<InputSpec>,
        outputs: Vec<Output>,
        series: Arc<Series>,
    ) -> bool {
        let mut known = self
            .signatures
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if known.contains_key(key) {
            return true;
        }
        if known.len() >= MAX_SIGNATURES {
            return false;
        }
        let described = Described {
            inputs: Arc::new(inputs),
            outputs,
            series,
            lanes: RwLock::default(),
        };
        known.insert(key.to_vec(), Arc::new(described));
        true
    }

    /// The queue of a signature and of some of its outputs, in ascending order; `None` where there are too many.
    pub fn lane(&self, key: &[u8], outputs: &[usize]) -> Option<Arc<Lane>> {
        let signatures = self
            .signatures
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let described = Arc::clone(signatures.get(key)?);
        drop(signatures);
        let find = |lanes: &[(Vec<usize>, Arc<Lane>)]| {
            let found = lanes.iter().find(|(of, _)| of == outputs);
            found.map(|(_, lane)| Arc::clone(lane))
        };
        let known = described
            .lanes
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = find(&known) {
            return Some(lane);
        }
        drop(known);
        let mut lanes = described
            .lanes
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = find(&lanes) {
            return Some(lane);
        }
        let places = outputs
            .iter()
            .map(|place| described.outputs.get(*place).copied());
        let fetches = places.collect::<Option<Vec<Output>>>()?;
        let fits = |count: usize| (count < MAX_QUEUES).then_some(count + 1);
        self.queues.fetch_update(Relaxed, Relaxed, fits).ok()?;
        let lane = Arc::new(Lane {
            scheduler: Arc::clone(&self.scheduler),
            queue: self.scheduler.open(Arc::clone(&self.rules)),
            session: Arc::clone(&self.session),
            rules: Arc::clone(&self.rules),
            feeds: described.inputs.iter().map(|input| input.tensor).collect(),
            inputs: Arc::clone(&described.inputs),
            fetches,
            series: Arc::clone(&described.series),
        });
        lanes.push((outputs.to_vec(), Arc::clone(&lane)));
        Some(lane)
    }

    /// Return when everything that waits or runs is done; nothing new may come.
    pub fn drain(&self) {
        let signatures = self
            .signatures
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let all: Vec<Arc<Described>> = signatures.values().cloned().collect();
        drop(signatures);
        for described in all {
            let lanes = described
                .lanes
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            let queues: Vec<QueueId> = lanes.iter().map(|(_, lane)| lane.queue).collect();
            drop(lanes);
            for queue in queues {
                self.scheduler.drain(queue);
            }
        }
    }
}

/// What may run together: one signature with one choice of outputs.
pub struct Lane {
    pub(super) scheduler: Arc<Batcher>,
    pub(super) queue: QueueId,
    session: Arc<Session>,
    rules: Arc<Rules>,
    inputs: Arc<Vec<InputSpec>>,
    feeds: Vec<Output>,
    fetches: Vec<Output>,
    series: Arc<Series>,
}

/// The tensors of a request, and what it keeps until no run needs it any more: its place, its use of the version.
pub struct Input {
    pub tensors: Vec<Tensor>,
    pub held: Box<dyn Send + Sync>,
}

/// What a run yielded.
pub struct Ran {
    pub outputs: Vec<Tensor>,
    /// An output may be an input's own memory.
    _inputs: (Option<Arc<Input>>, Vec<Tensor>),
    pub rows: usize,
    pub took: Duration,
}

impl Ran {
    /// Tensors that depend on no others.
    pub fn of(outputs: Vec<Tensor>, rows: usize, took: Duration) -> Ran {
        Ran {
            outputs,
            _inputs: (None, Vec::new()),
            rows,
            took,
        }
    }

    /// Copies of some rows of each output.
    pub fn part(&self, start: usize, rows: usize) -> Option<Ran> {
        let copies = self.outputs.iter().map(|tensor| {
            let part = Rows {
                tensor,
                start,
                rows,
            };
            joined(&[part], 0)
        });
        Some(Ran::of(copies.collect::<Option<_>>()?, rows, self.took))
    }
}

impl Lane {
    /// The rows of a request, or why it cannot be batched.
    pub fn rows(&self, tensors: &[Tensor]) -> Result<usize, Failure> {
        let mut rows: Option<i64> = None;
        for tensor in tensors {
            let first = tensor.dims().first().copied();
            let first = first.ok_or_else(Failure::no_dimension)?;
            if rows.is_some_and(|rows| rows != first) {
                return Err(Failure::unequal_rows());
            }
            rows = Some(first);
        }
        let rows = rows.and_then(|rows| usize::try_from(rows).ok());
        rows.ok_or_else(Failure::no_dimension)
    }

    /// Whether the inputs are what the signature says; others run alone, for they may fail alone, too.
    pub fn fits(&self, tensors: &[Tensor]) -> bool {
        let mut pairs = self.inputs.iter().zip(tensors);
        self.inputs.len() == tensors.len()
            && pairs.all(|(input, tensor)| input.fits(tensor.dtype(), &tensor.dims()))
    }

    /// The inner shapes in which requests must agree to run in one batch; their ranks where they are padded.
    pub fn layout(&self, tensors: &[Tensor]) -> Layout {
        let pairs = self.inputs.iter().zip(tensors);
        let open = pairs.filter(|(input, _)| input.is_open());
        open.map(|(input, tensor)| {
            let mut inner: Vec<i64> = tensor.dims().into_iter().skip(1).collect();
            if self.rules.pad {
                inner = vec![i64::try_from(inner.len()).unwrap_or_default()];
            }
            (Arc::clone(&input.name), inner)
        })
        .collect()
    }

    /// Run a request alone, filled up to an allowed size.
    pub fn run_alone(&self, input: Arc<Input>, rows: usize) -> Result<Ran, Failure> {
        let part = Part::alone(input, rows);
        let ran = self.run(std::slice::from_ref(&part))?;
        if ran.rows == rows {
            return Ok(ran);
        }
        ran.part(0, rows).ok_or_else(Failure::no_memory)
    }

    fn merged(&self, parts: &[Part<Input>], surplus: usize) -> Option<Vec<Tensor>> {
        (0..self.inputs.len())
            .map(|place| {
                let rows = parts.iter().map(|part| {
                    Some(Rows {
                        tensor: part.input.tensors.get(place)?,
                        start: part.start,
                        rows: part.rows,
                    })
                });
                joined(&rows.collect::<Option<Vec<_>>>()?, surplus)
            })
            .collect()
    }
}

impl Work for Lane {
    type Input = Input;
    type Output = Ran;

    fn run(&self, parts: &[Part<Input>]) -> Result<Ran, Failure> {
        let rows: usize = parts.iter().map(|part| part.rows).sum();
        let size = self.rules.allowed(rows);
        let inputs = match parts {
            [part] if part.whole && size == rows => (Some(Arc::clone(&part.input)), Vec::new()),
            _ => {
                let merged = self.merged(parts, size - rows);
                (None, merged.ok_or_else(Failure::no_memory)?)
            }
        };
        let tensors = match &inputs.0 {
            Some(input) => &input.tensors,
            None => &inputs.1,
        };
        let began = Instant::now();
        let outputs = self.session.run(&self.feeds, tensors, &self.fetches);
        let outputs = outputs.map_err(|error| Failure {
            code: error.code,
            message: error.message,
        })?;
        let took = began.elapsed();
        for output in &outputs {
            match output.dims().first() {
                None => return Err(Failure::output_without_rows()),
                Some(first) if usize::try_from(*first) != Ok(size) => {
                    return Err(Failure::output_of_other_rows());
                }
                Some(_) => {}
            }
        }
        let requests = parts.iter().map(|part| (part.rows, part.waited));
        self.series.add(requests, size);
        Ok(Ran {
            outputs,
            _inputs: inputs,
            rows: size,
            took,
        })
    }
}
