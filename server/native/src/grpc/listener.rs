//! Sockets to listen on, and the connections that come.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::connection::serve;
use crate::front::{Front, Phase};

const BACKLOG: u32 = 1024;
/// After an error, such as too many open files; the next attempt would fail as well at once.
const PAUSE: Duration = Duration::from_millis(50);

/// A socket that listens.
pub enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Listen on every address of the machine, of IPv6 and IPv4; of IPv4 alone where there is no other.
pub fn bind_tcp(port: u16) -> io::Result<Listening> {
    let socket = match TcpSocket::new_v6() {
        Ok(socket) => socket,
        Err(_) => return bind_address(TcpSocket::new_v4()?, Ipv4Addr::UNSPECIFIED.into(), port),
    };
    let off: libc::c_int = 0;
    // SAFETY: the descriptor is open, and the option has the size that is announced.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_V6ONLY,
            (&raw const off).cast(),
            size_of_val(&off) as libc::socklen_t,
        );
    }
    match bind_address(socket, Ipv6Addr::UNSPECIFIED.into(), port) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            bind_address(TcpSocket::new_v4()?, Ipv4Addr::UNSPECIFIED.into(), port)
        }
        other => other,
    }
}

fn bind_address(socket: TcpSocket, address: IpAddr, port: u16) -> io::Result<Listening> {
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::new(address, port))?;
    Ok(Listening::Tcp(socket.listen(BACKLOG)?))
}

pub fn bind_unix(path: &Path) -> io::Result<Listening> {
    Ok(Listening::Unix(UnixListener::bind(path)?))
}

/// Take connections until the port ends.
pub async fn listen(front: Arc<Front>, bound: Listening) {
    let mut phase = front.phase.subscribe();
    loop {
        if *phase.borrow_and_update() != Phase::Open {
            return;
        }
        let taken = tokio::select! {
            taken = accept(&front, &bound) => taken,
            _ = phase.changed() => continue,
        };
        if taken.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn accept(front: &Arc<Front>, bound: &Listening) -> io::Result<()> {
    match bound {
        Listening::Tcp(listener) => {
            let (socket, address) = listener.accept().await?;
            let _ = socket.set_nodelay(true);
            begin(front, socket, peer(address));
        }
        Listening::Unix(listener) => {
            let (socket, _) = listener.accept().await?;
            begin(front, socket, "unix:".to_owned());
        }
    }
    Ok(())
}

fn begin<S>(front: &Arc<Front>, socket: S, peer: String)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let counted = Counted(Arc::clone(front));
    let before = front.connections.fetch_add(1, Relaxed);
    let most = front.limits.connections;
    if most == 0 || before < most {
        let front = Arc::clone(front);
        let phase = front.phase.subscribe();
        tokio::spawn(async move {
            serve(front, phase, socket, peer.into()).await;
            drop(counted);
        });
    }
}

/// One connection, until it is dropped.
struct Counted(Arc<Front>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

/// Name a client as gRPC does.
fn peer(address: SocketAddr) -> String {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => format!("ipv4:{ip}:{}", address.port()),
        IpAddr::V6(ip) => format!("ipv6:%5B{ip}%5D:{}", address.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_named_as_grpc_names_it() {
        let table = [
            ("127.0.0.1:5", "ipv4:127.0.0.1:5"),
            ("[::ffff:127.0.0.1]:5", "ipv4:127.0.0.1:5"),
            ("[::1]:5", "ipv6:%5B::1%5D:5"),
        ];
        for (text, expected) in table {
            assert_eq!(peer(text.parse().expect("an address")), expected);
        }
    }
}
