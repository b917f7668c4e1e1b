//! What Python sees of batching.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::metrics::{Counts, Key, Limits, Metrics};
use super::queues::{Batcher, Batches, Input, InputSpec};
use super::rules::{Failure, Rules};
use super::scheduler::Scheduler;
use super::{Decided, Request, run};
use crate::tensorflow::{STRING, Session, Tensor};

/// max_batch_size, batch_timeout in seconds, max_enqueued_batches, allowed_batch_sizes, pad_variable_length_inputs,
/// enable_large_batch_splitting, max_execution_batch_size.
type RulesOf = (usize, f64, usize, Vec<usize>, bool, bool, usize);
/// Tensor, type, shape.
type InputOf = (String, i32, Option<Vec<i64>>);

/// The threads that run batches, and what is counted of them.
#[pyclass(frozen)]
pub struct NativeBatching {
    scheduler: Arc<Batcher>,
    metrics: Arc<Metrics>,
}

#[pymethods]
impl NativeBatching {
    /// Batches run `threads` at a time; the lists are upper limits of histograms.
    #[new]
    #[pyo3(signature = (threads, *, sizes, seconds, microseconds))]
    fn new(
        threads: usize,
        sizes: Vec<f64>,
        seconds: Vec<f64>,
        microseconds: Vec<f64>,
    ) -> NativeBatching {
        NativeBatching {
            scheduler: Scheduler::new(threads),
            metrics: Arc::new(Metrics::new(Limits {
                sizes,
                seconds,
                microseconds,
            })),
        }
    }

    /// Make the queues of a version, by the addresses of its session and graph.
    #[pyo3(signature = (model, number, session, graph, on_caller, owner, rules))]
    #[allow(clippy::too_many_arguments)]
    fn version(
        &self,
        model: String,
        number: i64,
        session: usize,
        graph: usize,
        on_caller: bool,
        owner: Py<PyAny>,
        rules: RulesOf,
    ) -> PyResult<NativeBatches> {
        let session = Session::at(session, graph, on_caller)
            .ok_or_else(|| PyValueError::new_err("TensorFlow's library is not bound"))?;
        let (largest, timeout, waiting, allowed, pad, splitting, executed) = rules;
        let rules = Rules {
            max_batch_size: largest,
            batch_timeout: timeout,
            max_enqueued_batches: waiting,
            allowed_batch_sizes: allowed,
            pad,
            splitting,
            max_execution_batch_size: executed.max(1),
        };
        Ok(NativeBatches {
            batches: Arc::new(Batches::new(session, rules, Arc::clone(&self.scheduler))),
            metrics: Arc::clone(&self.metrics),
            model,
            number,
            owner: Mutex::new(Some(owner)),
        })
    }

    /// What was counted: ((model, version, signature), counts).
    fn counts(&self) -> Vec<(Key, Counts)> {
        self.metrics.snapshot()
    }
}

/// The queues of one version.
#[pyclass(frozen)]
pub struct NativeBatches {
    pub batches: Arc<Batches>,
    metrics: Arc<Metrics>,
    model: String,
    number: i64,
    /// Who owns the session.
    owner: Mutex<Option<Py<PyAny>>>,
}

#[pymethods]
impl NativeBatches {
    /// Add a signature: what `run` calls it, inputs, tensors of the outputs, its key in the metrics. False where the
    /// graph has no such tensor, or there are too many signatures.
    fn describe(
        &self,
        key: &str,
        inputs: Vec<InputOf>,
        outputs: Vec<String>,
        signature: String,
    ) -> bool {
        let session = self.batches.session();
        let inputs = inputs.into_iter().map(|(name, dtype, shape)| {
            Some(InputSpec {
                tensor: session.output(&name)?,
                name: Arc::from(name),
                dtype,
                shape,
            })
        });
        let outputs = outputs.iter().map(|name| session.output(name));
        let (Some(inputs), Some(outputs)) = (
            inputs.collect::<Option<Vec<_>>>(),
            outputs.collect::<Option<Vec<_>>>(),
        ) else {
            return false;
        };
        let series = (self.model.clone(), self.number, signature);
        let series = self.metrics.series(series);
        self.batches
            .describe(key.as_bytes(), inputs, outputs, series)
    }

    /// Run tensors, given by their addresses and taken over, in a batch.
    ///
    /// Returns: for each of the outputs, given by their places in ascending order, the address of a tensor, which is
    /// the caller's to delete, or for strings their shape and themselves; (code, sentence) of a failure; None for a
    /// request that has to run alone.
    #[pyo3(signature = (key, outputs, tensors, left))]
    fn run(
        &self,
        py: Python<'_>,
        key: &str,
        outputs: Vec<usize>,
        tensors: Vec<usize>,
        left: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let tensors: Vec<Tensor> = tensors.into_iter().filter_map(Tensor::at).collect();
        if let Some(failure) = Decided::take() {
            return failed(py, failure);
        }
        let Some(lane) = self.batches.lane(key.as_bytes(), &outputs) else {
            return Ok(py.None());
        };
        let rows = match lane.rows(&tensors) {
            Ok(rows) => rows,
            Err(failure) => return failed(py, failure),
        };
        if !lane.fits(&tensors) {
            return Ok(py.None());
        }
        let now = Instant::now();
        let deadline = left.and_then(|left| {
            let left = Duration::try_from_secs_f64(left.max(0.0)).ok()?;
            now.checked_add(left)
        });
        let held = Box::new(());
        let request = Request {
            input: Arc::new(Input { tensors, held }),
            rows,
            deadline,
        };
        let found = py.detach(|| {
            run(&lane, request)
                .and_then(|outputs| outputs.into_own().ok_or_else(Failure::no_memory))
        });
        match found {
            Ok(ran) => {
                let values = ran.outputs.into_iter().map(|tensor| given(py, tensor));
                Ok(PyList::new(py, values.collect::<PyResult<Vec<_>>>()?)?
                    .into_any()
                    .unbind())
            }
            Err(failure) => failed(py, failure),
        }
    }

    /// Return when everything that waits or runs is done, and release the session; nothing new may come.
    fn drain(&self, py: Python<'_>) {
        py.detach(|| self.batches.drain());
        let owner = self
            .owner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(owner);
    }
}

fn failed(py: Python<'_>, failure: Failure) -> PyResult<Py<PyAny>> {
    let pair = (failure.code, failure.message).into_pyobject(py)?;
    Ok(pair.into_any().unbind())
}

fn given(py: Python<'_>, tensor: Tensor) -> PyResult<Py<PyAny>> {
    if tensor.dtype() != STRING {
        return Ok(tensor.into_address().into_pyobject(py)?.into_any().unbind());
    }
    let strings: Vec<_> = tensor.strings().map(|one| PyBytes::new(py, one)).collect();
    Ok((tensor.dims(), strings)
        .into_pyobject(py)?
        .into_any()
        .unbind())
}
