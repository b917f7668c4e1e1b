//! What is used of TensorFlow's C API: tensors and runs of a session that Python has opened.

mod api;
mod session;
mod tensor;

pub use api::bind;
pub use session::{Output, Session};
pub use tensor::{STRING, Tensor};
