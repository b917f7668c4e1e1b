//! Slipway's native front: the gRPC port and the REST port in Rust, with Predict straight to TensorFlow, inside
//! the server's process.
//!
//! Predict needs no interpreter lock when it is the plain good case (`hot`). Everything else, errors included, is
//! Python's: bytes in, bytes out (`python`).

// The tests do without Python, and so without what only its module uses.
#![cfg_attr(not(feature = "python"), allow(dead_code, unused_imports))]

mod arrivals;
mod batching;
mod front;
#[cfg(test)]
mod fuzzing;
mod grpc;
mod hot;
mod metrics;
mod models;
#[cfg(feature = "python")]
mod module;
mod pool;
mod predict;
#[cfg(feature = "python")]
mod python;
mod rest;
mod sampling;
mod tensorflow;
mod tls;
mod usage;
mod wire;
