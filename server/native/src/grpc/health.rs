//! `grpc.health.v1`: it answers while every other thread is busy.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use tokio::sync::watch;

use super::status::{INTERNAL, NOT_FOUND, Status};
use crate::wire::{Fields, Value};

pub const CHECK: &str = "/grpc.health.v1.Health/Check";
pub const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// Bytes of a request: the name of a service.
pub const MAX_REQUEST: usize = 4 << 10;

/// `HealthCheckResponse.ServingStatus`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Serving {
    Yes = 1,
    No = 2,
    Unknown = 3,
}

#[derive(Default)]
struct Known {
    serving: HashMap<String, bool>,
    /// Nothing serves any more, whatever is said later.
    over: bool,
}

/// The health of each service by name.
pub struct Health {
    known: RwLock<Known>,
    changes: watch::Sender<u64>,
}

impl Default for Health {
    fn default() -> Health {
        Health {
            known: RwLock::default(),
            changes: watch::Sender::new(0),
        }
    }
}

impl Health {
    pub fn set(&self, service: String, serving: bool) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let serving = serving && !known.over;
        known.serving.insert(service, serving);
        drop(known);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Nothing serves any more, for good.
    pub fn enter_shutdown(&self) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.over = true;
        known
            .serving
            .values_mut()
            .for_each(|serving| *serving = false);
        drop(known);
        self.changes.send_modify(|count| *count += 1);
    }

    pub fn of(&self, service: &str) -> Serving {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.serving.get(service) {
            Some(true) => Serving::Yes,
            Some(false) => Serving::No,
            None => Serving::Unknown,
        }
    }

    /// Answer `Check`.
    pub fn check(&self, message: &[u8]) -> Result<Vec<u8>, Status> {
        match self.of(&service(message)?) {
            Serving::Unknown => Err(Status::new(NOT_FOUND, "")),
            known => Ok(reply(known)),
        }
    }

    /// Told of every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// The service that a HealthCheckRequest names.
pub fn service(message: &[u8]) -> Result<String, Status> {
    let refused = || Status::new(INTERNAL, "The request is not a HealthCheckRequest message");
    let mut name: &[u8] = &[];
    for field in Fields(message) {
        if let (1, Value::Bytes(value)) = field.map_err(|_| refused())? {
            name = value;
        }
    }
    String::from_utf8(name.to_vec()).map_err(|_| refused())
}

/// A gRPC message with a HealthCheckResponse.
pub fn reply(serving: Serving) -> Vec<u8> {
    vec![0, 0, 0, 0, 2, 0x08, serving as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_not_found_and_nothing_serves_after_the_end() {
        let health = Health::default();
        health.set("m".to_owned(), true);
        assert_eq!(
            health.check(&[0x0a, 1, b'm']),
            Ok(vec![0, 0, 0, 0, 2, 8, 1])
        );
        assert_eq!(
            health.check(&[0x0a, 1, b'x']).map_err(|status| status.code),
            Err(NOT_FOUND)
        );
        assert_eq!(
            health.check(&[0x0a, 9]).map_err(|status| status.code),
            Err(INTERNAL)
        );
        assert_eq!(
            health.check(&[0x0a, 1, 0xff]).map_err(|status| status.code),
            Err(INTERNAL)
        );
        health.enter_shutdown();
        health.set("m".to_owned(), true);
        assert_eq!(health.of("m"), Serving::No);
    }
}
