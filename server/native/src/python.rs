//! What lies between Python and the calls: its handlers, bytes in, bytes out, and the versions that it holds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::front::{CallInfo, Handler};
use crate::grpc::{INTERNAL, Status};
use crate::models::Version;

/// Wrap a function `(path, message, peer, metadata, seconds left or None, the client's certificate or None)` that returns
/// a list of messages, or code and sentence.
pub fn handler(function: Py<PyAny>) -> Handler {
    Box::new(move |call, message| {
        Python::attach(|py| {
            let found = ask(py, &function, call, message).and_then(|value| read_reply(&value));
            match found {
                Ok(reply) => reply,
                Err(error) => {
                    let text = format!("{}: {}", error.get_type(py), error.value(py));
                    Err(Status::new(INTERNAL, text))
                }
            }
        })
    })
}

fn ask<'py>(
    py: Python<'py>,
    function: &Py<PyAny>,
    call: &CallInfo,
    message: &Bytes,
) -> PyResult<Bound<'py, PyAny>> {
    let left = call
        .deadline
        .map(|end| end.saturating_duration_since(Instant::now()));
    let arguments = (
        &*call.path,
        PyBytes::new(py, message),
        &*call.peer,
        call.metadata.to_vec(),
        left.map(|time| time.as_secs_f64()),
        call.certificate.as_deref().map(|der| PyBytes::new(py, der)),
    );
    function.bind(py).call1(arguments)
}

fn read_reply(value: &Bound<'_, PyAny>) -> PyResult<Result<Vec<Bytes>, Status>> {
    if let Ok((code, message)) = value.extract::<(u8, String)>() {
        return Ok(Err(Status::new(code, message)));
    }
    let mut messages = Vec::new();
    for item in value.try_iter()? {
        let item = item?;
        messages.push(Bytes::copy_from_slice(item.cast::<PyBytes>()?.as_bytes()));
    }
    Ok(Ok(messages))
}

/// A version for `NativeFront.add`: signatures as (key, inputs, outputs, rows), inputs as (alias, tensor, type, whether
/// it has rows), outputs as (alias, tensor).
#[pyclass(frozen)]
pub struct NativeVersion {
    pub version: Arc<Version>,
    /// Who owns the session; released when the last request has ended.
    pub owner: Mutex<Option<Py<PyAny>>>,
}

#[pymethods]
impl NativeVersion {
    /// Requests that use it now.
    #[getter]
    fn users(&self) -> usize {
        self.version.usage.users()
    }

    /// Keys of the signatures that are answered without Python.
    #[getter]
    fn signatures(&self) -> Vec<String> {
        self.version
            .signatures
            .values()
            .map(|signature| signature.key.clone())
            .collect()
    }

    /// Refuse new requests and wait for those in flight; false when so many seconds passed first.
    #[pyo3(signature = (timeout=None))]
    fn close(&self, py: Python<'_>, timeout: Option<f64>) -> bool {
        let timeout = timeout.map(|seconds| Duration::from_secs_f64(seconds.clamp(0.0, 1e9)));
        let closed = py.detach(|| self.version.usage.close(timeout));
        if closed {
            let mut owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
            let owner = owner.take();
            drop(owner);
        }
        closed
    }
}
