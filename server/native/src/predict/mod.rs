//! Predict: a PredictRequest in, a PredictResponse out. What is not the plain good case is declined: Python answers it.

mod arrays;
#[cfg(test)]
mod fuzz;
mod request;
mod response;

pub use arrays::{Decoded, Limits, element_size};
pub use request::{Asked, PredictRequest, read_request};
pub use response::{Answer, write_response};

/// Not the plain good case. Python reads the request again, and answers or words the error.
#[derive(Debug, PartialEq)]
pub struct Declined;

impl From<crate::wire::Malformed> for Declined {
    fn from(_: crate::wire::Malformed) -> Declined {
        Declined
    }
}
