//! gRPC over HTTP/2: listening, connections, calls.

mod answer;
mod call;
mod connection;
mod health;
mod listener;
mod message;
mod status;
#[cfg(test)]
mod tests;

pub use health::Health;
pub use listener::{Listening, bind_tcp, bind_unix, listen};
pub use message::Rooms;
pub use status::{INTERNAL, Status, UNAVAILABLE};
