//! The parameters of batching and the sentences of its refusals, as Python has them.

use super::planner::Layout;

/// `slipway_server.batching.parameters.BatchingParameters`, which Python has read and checked. Sizes are rows.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Of one request; of one batch as well, unless requests are split.
    pub max_batch_size: usize,
    /// Seconds that the first request of a batch may wait for it to fill.
    pub batch_timeout: f64,
    pub max_enqueued_batches: usize,
    /// Ascending; a batch is filled up to the next of them.
    pub allowed_batch_sizes: Vec<usize>,
    pub pad: bool,
    pub splitting: bool,
    pub max_execution_batch_size: usize,
}

impl Rules {
    /// The size to which a batch is filled up.
    pub fn allowed(&self, rows: usize) -> usize {
        let mut sizes = self.allowed_batch_sizes.iter();
        match sizes.find(|size| **size >= rows) {
            Some(size) if rows > 0 => *size,
            _ => rows,
        }
    }
}

/// Why a request has no answer: a canonical code and a sentence.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub code: i32,
    pub message: String,
}

const INVALID_ARGUMENT: i32 = 3;
const DEADLINE_EXCEEDED: i32 = 4;
const RESOURCE_EXHAUSTED: i32 = 8;
const FAILED_PRECONDITION: i32 = 9;
const INTERNAL: i32 = 13;
const UNAVAILABLE: i32 = 14;

impl Failure {
    fn new(code: i32, message: impl Into<String>) -> Failure {
        Failure {
            code,
            message: message.into(),
        }
    }

    pub fn too_large(rows: usize, limit: usize) -> Failure {
        let text = format!("Task size {rows} is larger than maximum input batch size {limit}");
        Failure::new(INVALID_ARGUMENT, text)
    }

    pub fn full(waiting: usize, limit: usize) -> Failure {
        Failure::new(
            UNAVAILABLE,
            format!(
                "The batch scheduling queue to which this task was submitted is full; currently {waiting} batches \
                 enqueued and max_enqueued_batches is {limit}"
            ),
        )
    }

    pub fn different_shapes(first: &Layout, second: &Layout) -> Failure {
        let differ = first.iter().zip(second).find(|(one, other)| one != other);
        let name = differ.map(|pair| pair.0).or(first.first());
        let name = name.map_or("", |one| &*one.0);
        Failure::new(
            FAILED_PRECONDITION,
            format!(
                "Tensors with name '{name}' from different tasks have different shapes and padding is turned off. Set \
                 pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal \
                 dimensions starting with the first dim."
            ),
        )
    }

    pub fn no_dimension() -> Failure {
        let text = "Batching Run() input tensors must have at least one dimension";
        Failure::new(INVALID_ARGUMENT, text)
    }

    pub fn unequal_rows() -> Failure {
        let text = "Batching Run() input tensors must have equal 0th-dimension size";
        Failure::new(INVALID_ARGUMENT, text)
    }

    pub fn output_without_rows() -> Failure {
        let text = "Batched output tensor has 0 dimensions";
        Failure::new(FAILED_PRECONDITION, text)
    }

    pub fn output_of_other_rows() -> Failure {
        Failure::new(
            FAILED_PRECONDITION,
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors",
        )
    }

    pub fn late() -> Failure {
        let text = "The deadline passed before the model could be run";
        Failure::new(DEADLINE_EXCEEDED, text)
    }

    pub fn no_memory() -> Failure {
        Failure::new(RESOURCE_EXHAUSTED, "Out of memory")
    }

    pub fn unloaded() -> Failure {
        Failure::new(UNAVAILABLE, "The version is being unloaded")
    }

    pub fn internal() -> Failure {
        Failure::new(INTERNAL, "The batch could not be run")
    }
}
