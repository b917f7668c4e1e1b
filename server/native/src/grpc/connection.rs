//! One connection: its limits, its age, its end.

use std::future::poll_fn;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection};
use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::call::Call;
use crate::front::{Front, Phase};
use crate::tls;

/// A client that has connected must begin to speak HTTP/2 within this time, TLS included.
const OPENING: Duration = Duration::from_secs(20);
/// Also between calls the server asks whether the client is there.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);
/// A connection that was asked to end and carries nothing is looked at so often.
const LOOK: Duration = Duration::from_secs(1);
const STREAM_WINDOW: u32 = 512 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
const MAX_FRAME: u32 = 64 << 10;
const MAX_HEADERS: u32 = 16 << 10;
/// Calls that a client takes back before they are looked at; more than that end the connection.
const MAX_RESETS: usize = 50;
/// Of answers that the client does not take; above it, its further calls wait.
const MAX_UNSENT: usize = 16 << 20;

/// Bytes of a connection's large answers that are not sent yet.
#[derive(Default)]
pub struct Unsent {
    bytes: AtomicUsize,
    less: Notify,
}

pub struct Counted {
    unsent: Arc<Unsent>,
    size: usize,
}

impl Unsent {
    pub fn count(self: &Arc<Self>, size: usize) -> Counted {
        self.bytes.fetch_add(size, Relaxed);
        Counted {
            unsent: Arc::clone(self),
            size,
        }
    }

    fn is_much(&self) -> bool {
        self.bytes.load(Relaxed) > MAX_UNSENT
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.unsent.bytes.fetch_sub(self.size, Relaxed);
        self.unsent.less.notify_one();
    }
}

/// Who has connected.
pub struct Client {
    /// As gRPC writes it.
    pub peer: Arc<str>,
    /// What the client had to show, in DER.
    pub certificate: Option<Arc<[u8]>>,
}

/// Serve a connection until it ends. `phase` is what was subscribed to before there was a task for it.
pub async fn serve<S>(
    front: Arc<Front>,
    mut phase: watch::Receiver<Phase>,
    socket: S,
    peer: Arc<str>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let end = Instant::now() + OPENING;
    let mut client = Client {
        peer,
        certificate: None,
    };
    let Some(acceptor) = front.tls.acceptor() else {
        return speak(front, phase, socket, client, end).await;
    };
    let Some(socket) = opened(&mut phase, end, acceptor.accept(socket)).await else {
        return;
    };
    let Some(certificate) = tls::client(&socket) else {
        return;
    };
    client.certificate = certificate;
    speak(front, phase, socket, client, end).await;
}

/// Wait for the client's part in opening the connection, which carries nothing yet.
async fn opened<T, E>(
    phase: &mut watch::Receiver<Phase>,
    end: Instant,
    shaken: impl Future<Output = Result<T, E>>,
) -> Option<T> {
    tokio::select! {
        shaken = timeout_at(end, shaken) => shaken.ok()?.ok(),
        _ = phase.wait_for(|now| *now != Phase::Open) => None,
    }
}

async fn speak<S>(
    front: Arc<Front>,
    mut phase: watch::Receiver<Phase>,
    socket: S,
    client: Client,
    end: Instant,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(MAX_HEADERS)
        .max_concurrent_streams(front.limits.streams)
        .max_concurrent_reset_streams(MAX_RESETS)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_send_buffer_size(1 << 20);
    let Some(connection) = opened(&mut phase, end, builder.handshake(socket)).await else {
        return;
    };
    Served {
        calls: Arc::new(()),
        unsent: Arc::default(),
        front,
        client: Arc::new(client),
    }
    .run(phase, connection)
    .await;
}

struct Served {
    front: Arc<Front>,
    client: Arc<Client>,
    unsent: Arc<Unsent>,
    /// Shared with each call that is in flight.
    calls: Arc<()>,
}

impl Served {
    async fn run<S>(self, mut phase: watch::Receiver<Phase>, mut connection: Connection<S, Bytes>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let limits = &self.front.limits;
        let mut age = pin!(sleep(jittered(limits.age)));
        let mut look = pin!(sleep(LOOK));
        let mut lost = pin!(keep_alive(connection.ping_pong()));
        let mut asked: Option<Instant> = None;
        if *phase.borrow_and_update() != Phase::Open {
            connection.graceful_shutdown();
            asked = Some(Instant::now());
        }
        loop {
            let busy = self.unsent.is_much();
            tokio::select! {
                // While much is unsent, what is in flight goes on, and no new call is taken.
                call = poll_fn(|context| match busy {
                    true => connection.poll_closed(context).map(|_| None),
                    false => connection.poll_accept(context),
                }) => match call {
                    Some(Ok((request, respond))) => self.begin(request, respond),
                    _ => return,
                },
                () = self.unsent.less.notified(), if busy => {}
                () = &mut age, if asked.is_none() => {
                    connection.graceful_shutdown();
                    asked = Some(Instant::now());
                    look.set(sleep(LOOK));
                }
                () = &mut look, if asked.is_some() => {
                    let over = asked.is_some_and(|since| since.elapsed() > limits.age_grace);
                    let long_idle = asked.is_some_and(|since| since.elapsed() > KEEPALIVE_ANSWER)
                        && Arc::strong_count(&self.calls) == 1;
                    if over || long_idle {
                        return;
                    }
                    look.set(sleep(LOOK));
                }
                () = &mut lost => return,
                changed = phase.changed() => {
                    let now = *phase.borrow_and_update();
                    if changed.is_err() || now == Phase::Over {
                        return;
                    }
                    if now == Phase::Stopping && asked.is_none() {
                        connection.graceful_shutdown();
                        asked = Some(Instant::now());
                        look.set(sleep(LOOK));
                    }
                }
            }
        }
    }

    fn begin(
        &self,
        request: http::Request<h2::RecvStream>,
        respond: h2::server::SendResponse<Bytes>,
    ) {
        let call = Call {
            front: Arc::clone(&self.front),
            client: Arc::clone(&self.client),
            unsent: Arc::clone(&self.unsent),
            respond,
        };
        let counted = Arc::clone(&self.calls);
        tokio::spawn(async move {
            call.answer(request).await;
            drop(counted);
        });
    }
}

/// Return when the client does not answer any more.
async fn keep_alive(pings: Option<PingPong>) {
    let Some(mut pings) = pings else {
        return std::future::pending().await;
    };
    loop {
        sleep_until(Instant::now() + KEEPALIVE).await;
        match timeout(KEEPALIVE_ANSWER, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            _ => return,
        }
    }
}

/// A tenth more or less: clients that came together do not all come back together.
fn jittered(age: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 2001;
    age.mul_f64(0.9 + random as f64 / 10_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_differs_by_a_tenth_at_most() {
        let ages: Vec<f64> = (0..1000)
            .map(|_| jittered(Duration::from_secs(10)).as_secs_f64())
            .collect();
        assert!(ages.iter().all(|age| (9.0..=11.0).contains(age)));
        assert!(ages.iter().any(|age| *age < 9.5) && ages.iter().any(|age| *age > 10.5));
    }
}
