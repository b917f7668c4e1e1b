//! What Python sees of the REST port: `slipway_server._native.NativeRest`.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokio::runtime::{Builder, Runtime};

use super::answer::Reply;
use super::body::Asked;
use super::listener::{Port, listen, sweep};
use super::pages::{Ask, Pages};
use super::shared::{Further, Handler, Limits, Phase, Rest};
use super::state::Times;
use crate::grpc::{Listening, bind_tcp};

/// Between two looks whether the last connection has gone.
const POLL: Duration = Duration::from_millis(20);
/// Beyond the limit of connections a page must be asked for within this time.
const RESERVE: Duration = Duration::from_secs(1);

type PageOf<'py> = (String, ReplyOf<'py>);

/// The REST port, and the health port.
#[pyclass(frozen)]
pub struct NativeRest {
    rest: Arc<Rest>,
    runtime: Mutex<Option<Runtime>>,
    bound: Mutex<Vec<Port>>,
}

#[pymethods]
impl NativeRest {
    /// `answer` and `page` are called as the functions `handler` and `pages` below say. `fixed` pages always say the same,
    /// `last` are what Python says now, `slow` ones take their time, and with `awaited` ones a client may wait until the
    /// server is ready. `further` headers are those of answers to targets that begin in some way.
    #[new]
    #[pyo3(signature = (
        answer, page, *, fixed, last, slow, awaited, further, threads, inflight, timeout, body, bodies, head, connections,
        head_seconds, request_seconds, idle_seconds, workers
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        answer: Py<PyAny>,
        page: Py<PyAny>,
        fixed: Vec<PageOf<'_>>,
        last: Vec<PageOf<'_>>,
        slow: Vec<String>,
        awaited: Vec<String>,
        further: Further,
        threads: usize,
        inflight: usize,
        timeout: f64,
        body: usize,
        bodies: usize,
        head: usize,
        connections: usize,
        head_seconds: f64,
        request_seconds: f64,
        idle_seconds: f64,
        workers: usize,
    ) -> PyResult<NativeRest> {
        let time = |value: f64| {
            Duration::try_from_secs_f64(value).map_err(|_| PyValueError::new_err("not a time"))
        };
        let limits = Limits {
            threads,
            inflight,
            timeout: if timeout > 0.0 {
                Some(time(timeout)?)
            } else {
                None
            },
            body,
            bodies,
            head,
            connections,
            times: Times {
                head: time(head_seconds)?,
                request: time(request_seconds)?,
                idle: time(idle_seconds)?,
                reserve: RESERVE,
            },
        };
        let named = |pages: Vec<PageOf<'_>>| {
            pages
                .into_iter()
                .map(|(path, of)| (path, reply(of)))
                .collect()
        };
        let pages = Pages::new(pages(page), named(fixed), named(last), slow, awaited);
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers.max(1))
            .enable_all()
            .thread_name("rest")
            .build()
            .map_err(|error| PyOSError::new_err(error.to_string()))?;
        Ok(NativeRest {
            rest: Arc::new(Rest::new(limits, handler(answer), pages, further)),
            runtime: Mutex::new(Some(runtime)),
            bound: Mutex::default(),
        })
    }

    /// Listen on a TCP port of all addresses, and return it; connections wait until `start`.
    fn bind(&self, port: u16, pages_only: bool) -> PyResult<u16> {
        let failed = |error: std::io::Error| PyOSError::new_err(error.to_string());
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = runtime.as_ref().ok_or_else(stopped)?;
        let _entered = runtime.enter();
        let Listening::Tcp(listener) = bind_tcp(port).map_err(failed)? else {
            return Err(stopped());
        };
        let port = listener.local_addr().map_err(failed)?.port();
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        bound.push(Port {
            listener,
            pages_only,
        });
        Ok(port)
    }

    /// Take connections: pages answer at once, everything else when `serve` was called.
    fn start(&self) -> PyResult<()> {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = runtime.as_ref().ok_or_else(stopped)?;
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        for port in bound.drain(..) {
            runtime.spawn(listen(Arc::clone(&self.rest), port));
        }
        runtime.spawn(sweep(Arc::clone(&self.rest)));
        Ok(())
    }

    /// The handler is in place.
    fn serve(&self) {
        self.rest.serving.store(true, Relaxed);
    }

    /// Whether what clients may wait for has happened.
    fn set_ready(&self, ready: bool) {
        self.rest.pages.set_ready(ready);
    }

    /// What a page says when Python does not get to it.
    fn set_page(&self, path: &str, of: ReplyOf<'_>) {
        self.rest.pages.set(path, reply(of));
    }

    /// From now on ask every client, with its next answer, to connect anew.
    fn drain(&self) {
        let begin = |phase: &mut Phase| {
            let open = *phase == Phase::Open;
            if open {
                *phase = Phase::Draining;
            }
            open
        };
        self.rest.phase.send_if_modified(begin);
    }

    /// Close the connections that have been idle for so many seconds.
    fn close_idle(&self, seconds: f64) {
        let least = Duration::from_secs_f64(seconds.clamp(0.0, 1e9));
        self.rest.close_idle(least);
    }

    /// Requests for models that are worked on or wait.
    #[getter]
    fn inflight(&self) -> usize {
        self.rest.places.inference.inflight()
    }

    /// Number of requests since the start, without pages.
    #[getter]
    fn requests(&self) -> usize {
        self.rest.requests.load(Relaxed)
    }

    #[getter]
    fn connections(&self) -> usize {
        self.rest.connections()
    }

    /// The peers of connections that were used for pages only.
    fn pages_only(&self) -> Vec<String> {
        self.rest.pages_only()
    }

    /// Take no new connection, wait up to `grace` seconds for what is in flight, cut the rest.
    fn stop(&self, py: Python<'_>, grace: f64) {
        let grace = Duration::from_secs_f64(grace.clamp(0.0, 1e9));
        py.detach(|| {
            self.rest.phase.send_replace(Phase::Stopping);
            let end = Instant::now() + grace;
            while self.rest.connections() > 0 && Instant::now() < end {
                thread::sleep(POLL);
            }
            self.rest.phase.send_replace(Phase::Over);
            let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(runtime) = runtime.take() {
                runtime.shutdown_timeout(Duration::from_secs(1));
            }
        });
    }
}

fn stopped() -> PyErr {
    PyRuntimeError::new_err("the port was stopped")
}

/// Status, content type, headers, body, whether the connection ends.
type ReplyOf<'py> = (
    u16,
    String,
    Vec<(String, String)>,
    Bound<'py, PyBytes>,
    bool,
);

fn reply(of: ReplyOf<'_>) -> Reply {
    let (status, content_type, headers, body, close) = of;
    Reply {
        status,
        content_type,
        headers,
        body: Bytes::copy_from_slice(body.as_bytes()),
        close,
    }
}

/// Wrap a function `(method, target, headers, body, peer, seconds left or None)` that returns a reply.
fn handler(function: Py<PyAny>) -> Handler {
    Box::new(move |asked| Python::attach(|py| said(call(py, &function, asked))))
}

/// Wrap a function `(path)` that returns a reply.
fn pages(function: Py<PyAny>) -> Ask {
    Box::new(move |path| Python::attach(|py| said(function.bind(py).call1((path,)))))
}

fn said(value: PyResult<Bound<'_, PyAny>>) -> Reply {
    let found = value.and_then(|value| value.extract::<ReplyOf<'_>>());
    // They raise nothing; what they might raise is in the server's log and not for clients.
    found.map_or_else(|_| Reply::failure(500, "Internal error"), reply)
}

fn call<'py>(py: Python<'py>, function: &Py<PyAny>, asked: Asked) -> PyResult<Bound<'py, PyAny>> {
    let headers: Vec<_> = asked
        .headers
        .iter()
        .map(|(name, value)| {
            let name = PyBytes::new(py, name.as_str().as_bytes());
            (name, PyBytes::new(py, value.as_bytes()))
        })
        .collect();
    let left = asked.deadline.map(|end| {
        end.saturating_duration_since(tokio::time::Instant::now())
            .as_secs_f64()
    });
    let arguments = (
        asked.method.as_str(),
        PyBytes::new(py, asked.target.as_bytes()),
        headers,
        body(py, asked.body)?,
        &*asked.peer,
        left,
    );
    function.bind(py).call1(arguments)
}

/// The body as one object. Each block goes as soon as it is copied: all of it is never there twice.
fn body<'py>(py: Python<'py>, mut blocks: Vec<Bytes>) -> PyResult<Bound<'py, PyAny>> {
    if blocks.len() <= 1 {
        let only = blocks.pop().unwrap_or_default();
        return Ok(PyBytes::new(py, &only).into_any());
    }
    let size: usize = blocks.iter().map(Bytes::len).sum();
    let announced = ffi::Py_ssize_t::try_from(size)?;
    // SAFETY: without bytes to copy, a new object of that size is made or an error is set.
    let whole = unsafe {
        let made = ffi::PyBytes_FromStringAndSize(std::ptr::null(), announced);
        Bound::from_owned_ptr_or_err(py, made)?
    };
    // SAFETY: it is an object of bytes, so that this is where they are.
    let mut place = unsafe { ffi::PyBytes_AsString(whole.as_ptr()) }.cast::<u8>();
    for block in blocks {
        // SAFETY: all blocks together are as long as the object, and nobody else has it yet.
        unsafe {
            place.copy_from_nonoverlapping(block.as_ptr(), block.len());
            place = place.add(block.len());
        }
    }
    Ok(whole)
}
