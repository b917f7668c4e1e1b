//! One connection: its protocol, its times, its end.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::answer::Reply;
use super::exchange::{exchange, full};
use super::head::{MAX_HEADERS, longest_head};
use super::shared::{Phase, Rest};
use super::state::{Conn, End};
use super::watched::Watched;

const STREAMS: u32 = 16;
const STREAM_WINDOW: u32 = 64 << 10;
/// Bodies that are held up take nothing from the others of their connection.
const CONNECTION_WINDOW: u32 = STREAMS * STREAM_WINDOW;
/// Of each of these requests, before it is one that is counted.
const MOST_HEAD_TWO: usize = 16 << 10;
const MAX_RESETS: usize = 50;
const KEEPALIVE: Duration = Duration::from_secs(60);
/// For the last word to a client whose connection ends.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Serve a connection until it ends. `phase` was subscribed to before there was a task for it.
pub async fn serve<S>(
    rest: Arc<Rest>,
    mut phase: watch::Receiver<Phase>,
    conn: Arc<Conn>,
    socket: S,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut socket = Watched::new(socket, Arc::clone(&rest), Arc::clone(&conn));
    let two = loop {
        tokio::select! {
            two = socket.is_two() => break two,
            () = conn.end.notified() => {
                if conn.why() == End::Idle {
                    // As in `serve_one`.
                    tokio::select! {
                        biased;
                        two = socket.is_two() => break two,
                        () = yield_now() => {}
                    }
                    if !conn.is_idle_still() {
                        continue;
                    }
                }
                return last_word(socket, conn.why()).await;
            }
            // It carries nothing yet.
            () = stopping(&mut phase) => return,
        }
    };
    match two {
        Ok(true) => serve_two(rest, phase, conn, socket).await,
        Ok(false) => serve_one(rest, phase, conn, socket).await,
        Err(_) => {}
    }
}

async fn stopping(phase: &mut watch::Receiver<Phase>) {
    let _ = phase.wait_for(|now| *now > Phase::Draining).await;
}

async fn serve_one<S>(
    rest: Arc<Rest>,
    mut phase: watch::Receiver<Phase>,
    conn: Arc<Conn>,
    socket: Watched<S>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let head = longest_head(&rest.limits);
    let service = {
        let conn = Arc::clone(&conn);
        service_fn(move |request| exchange(Arc::clone(&rest), Arc::clone(&conn), request))
    };
    let mut served = http1::Builder::new()
        .half_close(true)
        .title_case_headers(true)
        .max_headers(MAX_HEADERS)
        .max_buf_size(head)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(socket), service);
    let why = loop {
        tokio::select! {
            _ = &mut served => return,
            () = conn.end.notified() => match conn.why() {
                End::Idle => {
                    // A request may have come that nobody has looked at: let the runtime look at the sockets first.
                    tokio::select! {
                        biased;
                        _ = &mut served => return,
                        () = yield_now() => {}
                    }
                    if conn.is_idle_still() {
                        std::pin::Pin::new(&mut served).graceful_shutdown();
                    }
                }
                why => break why,
            },
            changed = phase.changed() => {
                let now = *phase.borrow_and_update();
                if changed.is_err() || now == Phase::Over {
                    return;
                }
                if now == Phase::Stopping {
                    std::pin::Pin::new(&mut served).graceful_shutdown();
                }
            }
        }
    };
    let socket = served.into_parts().io.into_inner();
    last_word(socket, why).await;
}

async fn serve_two<S>(
    rest: Arc<Rest>,
    mut phase: watch::Receiver<Phase>,
    conn: Arc<Conn>,
    socket: Watched<S>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = {
        let (rest, conn) = (Arc::clone(&rest), Arc::clone(&conn));
        service_fn(move |request| exchange(Arc::clone(&rest), Arc::clone(&conn), request))
    };
    let head = rest.limits.head.min(MOST_HEAD_TWO);
    let head = u32::try_from(head).unwrap_or(u32::MAX);
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(head)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS)
        .max_send_buf_size(1 << 20)
        .keep_alive_interval(KEEPALIVE)
        .serve_connection(TokioIo::new(socket), service);
    let mut served = pin!(served);
    // It may have been told before it was listened to.
    if *phase.borrow_and_update() != Phase::Open {
        served.as_mut().graceful_shutdown();
    }
    loop {
        tokio::select! {
            _ = served.as_mut() => return,
            () = conn.end.notified() => match conn.why() {
                End::Idle => served.as_mut().graceful_shutdown(),
                _ => return,
            },
            changed = phase.changed() => {
                let now = *phase.borrow_and_update();
                if changed.is_err() || now == Phase::Over {
                    return;
                }
                served.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Tell a client of HTTP/1, whose answers have all been sent, why its connection ends.
async fn last_word<S: AsyncRead + AsyncWrite + Unpin>(socket: Watched<S>, why: End) {
    let reply = match why {
        End::SlowHead => Reply::last(408, "Timed out receiving the request"),
        End::Full => full(),
        End::Idle | End::Cut => return,
    };
    let bytes = socket.refusal(reply);
    let mut socket = socket.into_socket();
    let said = async {
        socket.write_all(&bytes).await?;
        socket.shutdown().await
    };
    let _ = timeout(LAST_WORD, said).await;
}
