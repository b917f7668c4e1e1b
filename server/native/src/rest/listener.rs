//! Ports to listen on, and the connections that come.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{interval, sleep};

use super::connection::serve;
use super::shared::{Phase, Rest};

const SWEEP: Duration = Duration::from_millis(500);
/// After an error, such as too many open files; the next attempt would fail as well at once.
const PAUSE: Duration = Duration::from_millis(20);

pub struct Port {
    pub listener: TcpListener,
    /// Whether it has pages and nothing else.
    pub pages_only: bool,
}

/// Take connections until the port ends.
pub async fn listen(rest: Arc<Rest>, port: Port) {
    let mut phase = rest.phase.subscribe();
    loop {
        if *phase.borrow_and_update() > Phase::Draining {
            return;
        }
        let taken = tokio::select! {
            taken = port.listener.accept() => taken,
            _ = phase.changed() => continue,
        };
        match taken {
            Ok((socket, address)) => {
                let _ = socket.set_nodelay(true);
                let connected = rest.connected(peer(address).into(), port.pages_only);
                let (rest, phase) = (Arc::clone(&rest), rest.phase.subscribe());
                tokio::spawn(async move {
                    serve(rest, phase, Arc::clone(&connected.conn), socket).await;
                });
            }
            Err(error) => {
                if out_of_descriptors(&error) {
                    rest.make_room();
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// Look after all connections until the port ends.
pub async fn sweep(rest: Arc<Rest>) {
    let mut ticks = interval(SWEEP);
    loop {
        ticks.tick().await;
        if *rest.phase.borrow() == Phase::Over {
            return;
        }
        rest.sweep();
    }
}

fn out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Name a client as logs do.
fn peer(address: SocketAddr) -> String {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => format!("{ip}:{}", address.port()),
        IpAddr::V6(ip) => format!("[{ip}]:{}", address.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_named_as_in_logs() {
        let table = [
            ("127.0.0.1:5", "127.0.0.1:5"),
            ("[::ffff:127.0.0.1]:5", "127.0.0.1:5"),
            ("[::1]:5", "[::1]:5"),
        ];
        for (text, expected) in table {
            assert_eq!(peer(text.parse().expect("an address")), expected);
        }
    }
}
