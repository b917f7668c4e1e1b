//! A session that Python has opened, and runs of it.

use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr::{null, null_mut};

use super::api::{Api, Pointer, api};
use super::tensor::Tensor;

/// `TF_Output`: a tensor of the graph.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Output {
    operation: Pointer,
    index: c_int,
}

// SAFETY: names an operation of a graph that is not changed any more.
unsafe impl Send for Output {}
// SAFETY: likewise.
unsafe impl Sync for Output {}

#[repr(C)]
struct Buffer {
    data: *const c_void,
    length: usize,
    deallocator: *const c_void,
}

/// RunOptions with `inter_op_thread_pool` -1: the operations run one after the other on the thread that asks.
const ON_CALLER: [u8; 11] = [
    0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
];

/// Why there is no answer, in TensorFlow's words.
pub struct RunError {
    pub code: i32,
    pub message: String,
}

impl RunError {
    fn internal() -> RunError {
        let message = "The model could not be run".to_owned();
        RunError { code: 13, message }
    }
}

struct Status {
    api: &'static Api,
    pointer: Pointer,
}

impl Status {
    fn new(api: &'static Api) -> Option<Status> {
        // SAFETY: a plain call.
        let pointer = unsafe { (api.NewStatus)() };
        (!pointer.is_null()).then_some(Status { api, pointer })
    }

    fn is_ok(&self) -> bool {
        // SAFETY: the status lives.
        unsafe { (self.api.GetCode)(self.pointer) == 0 }
    }

    fn error(&self) -> RunError {
        // SAFETY: the status lives, and its message with it, which ends with a zero.
        unsafe {
            let message = CStr::from_ptr((self.api.Message)(self.pointer));
            RunError {
                code: (self.api.GetCode)(self.pointer),
                message: message.to_string_lossy().into_owned(),
            }
        }
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        // SAFETY: released once, here.
        unsafe { (self.api.DeleteStatus)(self.pointer) }
    }
}

/// A `TF_Session` and its graph. Whoever makes one keeps the Python objects that own them.
pub struct Session {
    api: &'static Api,
    session: Pointer,
    graph: Pointer,
    on_caller: bool,
}

// SAFETY: TensorFlow's sessions may be run by many threads at a time, and graphs be read.
unsafe impl Send for Session {}
// SAFETY: likewise.
unsafe impl Sync for Session {}

impl Session {
    /// Name a session by the addresses of its `TF_Session` and `TF_Graph`; `None` without them, or before `bind`.
    pub fn at(session: usize, graph: usize, on_caller: bool) -> Option<Session> {
        if session == 0 || graph == 0 {
            return None;
        }
        Some(Session {
            api: api()?,
            session: session as _,
            graph: graph as _,
            on_caller,
        })
    }

    /// Return the tensor `operation:index` of the graph, if there is one.
    pub fn output(&self, tensor: &str) -> Option<Output> {
        let (name, index) = tensor.split_once(':').unwrap_or((tensor, "0"));
        let index: c_int = index.parse().ok()?;
        let name = CString::new(name).ok()?;
        // SAFETY: the graph lives as long as the session, the name ends with a zero.
        let operation = unsafe { (self.api.GraphOperationByName)(self.graph, name.as_ptr()) };
        if operation.is_null() || index < 0 {
            return None;
        }
        // SAFETY: the operation is one of the graph.
        let outputs = unsafe { (self.api.OperationNumOutputs)(operation) };
        (index < outputs).then_some(Output { operation, index })
    }

    /// Run: one value for each of `feeds`, one answer for each of `fetches`.
    pub fn run(
        &self,
        feeds: &[Output],
        values: &[Tensor],
        fetches: &[Output],
    ) -> Result<Vec<Tensor>, RunError> {
        let inputs: Vec<Pointer> = values.iter().map(Tensor::raw).collect();
        let mut outputs: Vec<Pointer> = vec![null_mut(); fetches.len()];
        let (Ok(fed), Ok(fetched)) = (
            c_int::try_from(inputs.len()),
            c_int::try_from(outputs.len()),
        ) else {
            return Err(RunError::internal());
        };
        if feeds.len() != inputs.len() {
            return Err(RunError::internal());
        }
        let status = Status::new(self.api).ok_or_else(RunError::internal)?;
        let options = Buffer {
            data: ON_CALLER.as_ptr().cast(),
            length: ON_CALLER.len(),
            deallocator: null(),
        };
        let options = if self.on_caller {
            (&raw const options).cast()
        } else {
            null()
        };
        // SAFETY: session, operations, tensors and status live, and all lengths are those of the lists.
        unsafe {
            (self.api.SessionRun)(
                self.session,
                options,
                feeds.as_ptr(),
                inputs.as_ptr(),
                fed,
                fetches.as_ptr(),
                outputs.as_mut_ptr(),
                fetched,
                null(),
                0,
                null_mut(),
                status.pointer,
            );
        }
        let answers: Vec<Option<Tensor>> = outputs
            .into_iter()
            .map(|one| Tensor::from_raw(self.api, one))
            .collect();
        if !status.is_ok() {
            return Err(status.error());
        }
        answers
            .into_iter()
            .collect::<Option<Vec<Tensor>>>()
            .ok_or_else(RunError::internal)
    }
}
