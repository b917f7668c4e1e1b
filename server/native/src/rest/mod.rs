//! REST: HTTP/1.1 and HTTP/2 without TLS. Pages are answered here, everything else by Python: bytes in, bytes out.

mod answer;
mod body;
mod budget;
mod connection;
mod exchange;
mod head;
mod listener;
#[cfg(feature = "python")]
pub mod module;
mod pages;
mod shared;
mod state;
#[cfg(test)]
mod tests;
mod watched;
