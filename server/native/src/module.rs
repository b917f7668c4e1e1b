//! What Python sees: `slipway_server._native`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use tokio::runtime::{Builder, Runtime};

use crate::batching::module::{NativeBatches, NativeBatching};
use crate::front::{Front, Lane, Limits, Methods, Phase};
use crate::grpc::{Listening, bind_tcp, bind_unix, listen};
use crate::metrics::{Buckets, Counts, Key, Metrics};
use crate::models::{Input, Signature, Version};
use crate::python::{self, NativeVersion};
use crate::rest::module::NativeRest;
use crate::sampling::Drawn;
use crate::tensorflow::{Session, bind};
use crate::tls::{Roots, server_config};
use crate::usage::Usage;

/// Within this time a message should come, once there are more requests than may wait.
const ARRIVAL: Duration = Duration::from_secs(10);
/// Between two looks whether the last connection has gone.
const POLL: Duration = Duration::from_millis(20);

type SignatureOf = (
    String,
    Vec<(String, String, i32, bool)>,
    Vec<(String, String)>,
    i64,
);

/// The gRPC port.
#[pyclass(frozen)]
struct NativeFront {
    front: Arc<Front>,
    metrics: Metrics,
    runtime: Mutex<Option<Runtime>>,
    bound: Mutex<Vec<Listening>>,
}

#[pymethods]
impl NativeFront {
    /// `handler` is called as `python::Handler` says; `early` are methods that answer from the beginning.
    #[new]
    #[pyo3(signature = (
        handler, early, *, threads, inflight, message, held, streams, connections, age, age_grace, workers, tensor_content,
        seconds, classic_microseconds
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        handler: Py<PyAny>,
        early: Vec<String>,
        threads: usize,
        inflight: usize,
        message: usize,
        held: usize,
        streams: u32,
        connections: usize,
        age: f64,
        age_grace: f64,
        workers: usize,
        tensor_content: bool,
        seconds: Vec<f64>,
        classic_microseconds: Vec<f64>,
    ) -> PyResult<NativeFront> {
        let time = |value: f64| {
            Duration::try_from_secs_f64(value).map_err(|_| PyValueError::new_err("not a time"))
        };
        // One more than run models: it answers health and takes connections meanwhile.
        let workers = workers.max(1) + 1;
        let limits = Limits {
            workers,
            threads,
            inflight,
            arrival: ARRIVAL,
            message,
            held,
            streams,
            connections,
            age: time(age)?,
            age_grace: time(age_grace)?,
        };
        let lanes = early
            .iter()
            .map(|path| (path.clone(), Lane::Status))
            .collect();
        let methods = Methods {
            lanes,
            early,
            complete: false,
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers)
            .enable_all()
            .thread_name("grpc")
            .build();
        let runtime = runtime.map_err(|error| PyOSError::new_err(error.to_string()))?;
        Ok(NativeFront {
            front: Arc::new(Front::new(
                limits,
                python::handler(handler),
                methods,
                tensor_content,
            )),
            metrics: Metrics::new(Buckets {
                seconds,
                classic_microseconds,
            }),
            runtime: Mutex::new(Some(runtime)),
            bound: Mutex::default(),
        })
    }

    /// Listen on a TCP port of all addresses; connections wait until `start`.
    fn bind_tcp(&self, port: u16) -> PyResult<()> {
        self.bind(|| bind_tcp(port))
    }

    /// Listen on a UNIX socket.
    fn bind_unix(&self, path: PathBuf) -> PyResult<()> {
        self.bind(|| bind_unix(&path))
    }

    /// Open new connections with TLS, of PEM text. With `roots`, clients need a certificate that comes from one of them.
    fn set_tls(
        &self,
        key: &[u8],
        chain: &[u8],
        roots: Option<&[u8]>,
        system: bool,
    ) -> PyResult<()> {
        let roots = roots.map(|pem| Roots { pem, system });
        let config = server_config(key, chain, roots).map_err(PyValueError::new_err)?;
        self.front.tls.set(config);
        Ok(())
    }

    /// Take connections: health answers at once, everything else when `serve` was called.
    fn start(&self) -> PyResult<()> {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = runtime.as_ref().ok_or_else(stopped)?;
        for bound in self
            .bound
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            runtime.spawn(listen(Arc::clone(&self.front), bound));
        }
        Ok(())
    }

    /// Put the methods in place, by path.
    fn serve(
        &self,
        methods: Vec<String>,
        status: Vec<String>,
        reload: Vec<String>,
        streams: Vec<String>,
    ) {
        let mut place = self
            .front
            .methods
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let mut lanes = place.lanes.clone();
        for (paths, lane) in [
            (methods, Lane::Inference),
            (status, Lane::Status),
            (reload, Lane::Reload),
            (streams, Lane::Stream),
        ] {
            lanes.extend(paths.into_iter().map(|path| (path, lane)));
        }
        *place = Arc::new(Methods {
            lanes,
            early: place.early.clone(),
            complete: true,
        });
    }

    fn set_health(&self, services: Vec<String>, serving: bool) {
        for service in services {
            self.front.health.set(service, serving);
        }
    }

    fn enter_shutdown(&self) {
        self.front.health.enter_shutdown();
    }

    /// Requests for inference that no thread has taken yet.
    #[getter]
    fn waiting(&self) -> usize {
        self.front.waiting()
    }

    /// Number of calls since the start, without those of early methods.
    #[getter]
    fn requests(&self) -> usize {
        self.front.requests.load(Relaxed)
    }

    /// Take no new connection, ask clients to go elsewhere, wait up to `grace` seconds for what is in flight, cut the
    /// rest.
    fn stop(&self, py: Python<'_>, grace: f64) {
        let grace = Duration::from_secs_f64(grace.clamp(0.0, 1e9));
        py.detach(|| {
            self.front.phase.send_replace(Phase::Stopping);
            let end = Instant::now() + grace;
            while self.front.connections.load(Relaxed) > 0 && Instant::now() < end {
                thread::sleep(POLL);
            }
            self.front.phase.send_replace(Phase::Over);
            let runtime = self
                .runtime
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(runtime) = runtime {
                runtime.shutdown_timeout(Duration::from_secs(1));
            }
        });
    }

    /// Whether Predict may be answered without Python.
    fn set_hot(&self, hot: bool) {
        self.front.hot.store(hot, Relaxed);
    }

    #[pyo3(signature = (model, number, session, graph, on_caller, signatures, owner, batches=None))]
    #[allow(clippy::too_many_arguments)]
    /// Make a version of a session and prepare its signatures. Addresses of 0 mean that only Python can run it.
    fn version(
        &self,
        py: Python<'_>,
        model: String,
        number: i64,
        session: usize,
        graph: usize,
        on_caller: bool,
        signatures: Vec<SignatureOf>,
        owner: Py<PyAny>,
        batches: Option<&NativeBatches>,
    ) -> NativeVersion {
        let session = Session::at(session, graph, on_caller);
        let found = session.as_ref().map_or_else(HashMap::new, |session| {
            let known = signatures.into_iter().filter_map(|one| {
                let signature = self.signature(session, &model, number, one)?;
                Some((signature.key.clone().into_bytes(), signature))
            });
            known.collect()
        });
        let version = Version {
            model,
            number,
            session,
            signatures: found,
            batches: batches.map(|one| Arc::clone(&one.batches)),
            usage: Usage::default(),
        };
        py.detach(|| version.prepare());
        NativeVersion {
            version: Arc::new(version),
            owner: Mutex::new(Some(owner)),
        }
    }

    /// Let a version answer requests.
    fn add(&self, version: &NativeVersion) {
        self.front.models.add(Arc::clone(&version.version));
    }

    /// Let a version answer no new request.
    fn remove(&self, version: &NativeVersion) {
        self.front.models.remove(&version.version);
    }

    /// Replace the labels of all models.
    fn set_labels(&self, labels: HashMap<String, HashMap<String, i64>>) {
        self.front.models.set_labels(labels);
    }

    /// Replace the rates of the models that have a request log; what is to be logged is left to Python.
    fn sample(&self, rates: HashMap<String, f64>) {
        self.front.models.rates.set(rates);
    }

    /// The number of the request that this thread answers, below 1; None for one that was not tried here.
    fn chance(&self) -> Option<f64> {
        Drawn::chance()
    }

    /// Predict calls that were answered here, and those that were left to Python.
    fn predictions(&self) -> (u64, u64) {
        (
            self.front.answered.load(Relaxed),
            self.front.declined.load(Relaxed),
        )
    }

    /// What was counted here: ((model, version, signature), counts).
    fn counts(&self) -> Vec<(Key, Counts)> {
        self.metrics.snapshot()
    }
}

impl NativeFront {
    fn bind(&self, bind: impl FnOnce() -> std::io::Result<Listening>) -> PyResult<()> {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = runtime.as_ref().ok_or_else(stopped)?;
        let _entered = runtime.enter();
        let bound = bind().map_err(|error| PyOSError::new_err(error.to_string()))?;
        self.bound
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(bound);
        Ok(())
    }

    /// `None` for one with a tensor that the graph does not have.
    fn signature(
        &self,
        session: &Session,
        model: &str,
        number: i64,
        (key, inputs, outputs, rows): SignatureOf,
    ) -> Option<Signature> {
        let inputs = inputs
            .into_iter()
            .map(|(alias, tensor, dtype, has_rows)| {
                Some(Input {
                    alias,
                    tensor: session.output(&tensor)?,
                    dtype,
                    has_rows,
                })
            })
            .collect::<Option<Vec<_>>>()?;
        let outputs = outputs
            .into_iter()
            .map(|(alias, tensor)| Some((alias, session.output(&tensor)?)))
            .collect::<Option<Vec<_>>>()?;
        // Without inputs TensorFlow would run when it is asked to prepare; without outputs there is nothing to answer.
        if inputs.is_empty() || outputs.is_empty() {
            return None;
        }
        let series = self.metrics.series(model, number, &key);
        Some(Signature::new(key, inputs, outputs, rows, series))
    }
}

fn stopped() -> PyErr {
    PyRuntimeError::new_err("the port was stopped")
}

/// Find TensorFlow's C API in the library at a path.
#[pyfunction]
fn bind_tensorflow(path: &str) -> PyResult<()> {
    bind(path).map_err(PyOSError::new_err)
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<NativeFront>()?;
    module.add_class::<NativeVersion>()?;
    module.add_class::<NativeRest>()?;
    module.add_class::<NativeBatching>()?;
    module.add_class::<NativeBatches>()?;
    module.add_function(wrap_pyfunction!(bind_tensorflow, module)?)
}
