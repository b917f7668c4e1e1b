//! The port on tokio's paused clock: hours pass at once, and nothing waits for a thread.
//!
//! It is starting, so that what has been received is answered with 503 and without Python.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Ping, PingPong};
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::time::sleep;

use super::answer::Reply;
use super::connection::serve;
use super::listener::sweep;
use super::pages::Pages;
use super::shared::{Limits, Rest};
use super::state::Times;

const STARTING: u16 = 503;

pub fn limits() -> Limits {
    Limits {
        threads: 1,
        inflight: 1000,
        timeout: None,
        body: 512 << 20,
        bodies: 1 << 30,
        head: 64 << 10,
        connections: 100,
        times: Times {
            head: Duration::from_secs(20),
            request: Duration::from_secs(300),
            idle: Duration::from_secs(600),
            reserve: Duration::from_secs(1),
        },
    }
}

/// A port with the page `/livez`, and with `/readyz`, which waits when asked to.
fn port(limits: Limits) -> Arc<Rest> {
    let page = |path: &str| (path.to_owned(), Reply::text(200, "ok"));
    let pages = Pages::new(
        Box::new(|_| Reply::text(200, "ok")),
        HashMap::from([page("/livez"), page("/readyz")]),
        HashMap::new(),
        Vec::new(),
        vec!["/readyz".to_owned()],
    );
    let handler = Box::new(|_| Reply::text(200, "answered"));
    let further = |start: &str| {
        (
            start.to_owned(),
            vec![("x-further".to_owned(), start.to_owned())],
        )
    };
    let further = vec![further("/v2"), further("")];
    let rest = Arc::new(Rest::new(limits, handler, pages, further));
    tokio::spawn(sweep(Arc::clone(&rest)));
    rest
}

fn connect(rest: &Arc<Rest>) -> DuplexStream {
    let (client, server) = duplex(1 << 16);
    let connected = rest.connected("192.0.2.1:5".into(), false);
    let (rest, phase) = (Arc::clone(rest), rest.phase.subscribe());
    tokio::spawn(async move {
        serve(rest, phase, Arc::clone(&connected.conn), server).await;
    });
    client
}

async fn connect_two(rest: &Arc<Rest>) -> (SendRequest<Bytes>, PingPong) {
    let (send, mut connection) = h2::client::handshake(connect(rest))
        .await
        .expect("a connection");
    let ping = connection.ping_pong().expect("the first to ask for it");
    tokio::spawn(connection);
    (send.ready().await.expect("a connection"), ping)
}

/// Send a request over HTTP/2; the status of its answer.
async fn ask_two(
    send: &SendRequest<Bytes>,
    request: http::request::Builder,
    mut body: Bytes,
) -> u16 {
    let request = request.body(()).expect("a request");
    let mut send = send.clone().ready().await.expect("a connection");
    let (answer, mut stream) = send
        .send_request(request, body.is_empty())
        .expect("a stream");
    while !body.is_empty() {
        stream.reserve_capacity(body.len().min(1 << 16));
        let Some(Ok(size)) = poll_fn(|context| stream.poll_capacity(context)).await else {
            break;
        };
        let piece = body.split_to(size.min(body.len()));
        if stream.send_data(piece, body.is_empty()).is_err() {
            break;
        }
    }
    answer.await.expect("an answer").status().as_u16()
}

fn get(path: &str) -> http::request::Builder {
    Request::get(format!("http://x{path}"))
}

async fn wait_until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert!(holds(), "not within 100 seconds: {what}");
}

#[tokio::test(start_paused = true)]
async fn a_request_over_http2_has_all_of_its_time_however_old_the_connection_is() {
    let rest = port(limits());
    let (send, mut ping) = connect_two(&rest).await;
    for _ in 0..16 {
        let status = ask_two(&send, get("/v1/models/m"), Bytes::new()).await;
        assert_eq!(status, STARTING);
        // Clients and the server itself ask whether the other one is still there.
        ping.ping(Ping::opaque()).await.expect("an echo");
        sleep(Duration::from_secs(301)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_over_http2_has_all_of_its_time_when_others_are_always_under_way() {
    let mut limits = limits();
    limits.times.request = Duration::from_secs(2);
    let rest = port(limits);
    let (send, _ping) = connect_two(&rest).await;
    let held = send.clone();
    let held =
        tokio::spawn(async move { ask_two(&held, get("/readyz?wait=5"), Bytes::new()).await });
    sleep(Duration::from_secs(3)).await;
    for _ in 0..16 {
        let status = ask_two(&send, get("/v1/models/m"), Bytes::new()).await;
        assert_eq!(status, STARTING);
    }
    assert!(!held.is_finished());
    assert_eq!(held.await.expect("an answer"), 200);
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_http2_that_only_sends_pings_is_idle() {
    let rest = port(limits());
    let (send, mut ping) = connect_two(&rest).await;
    ask_two(&send, get("/livez"), Bytes::new()).await;
    ping.ping(Ping::opaque()).await.expect("an echo");
    rest.make_room();
    wait_until("it has made room", || rest.connections() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_over_http2_that_does_not_come_is_given_up_after_its_time() {
    let rest = port(limits());
    let (send, _ping) = connect_two(&rest).await;
    let request = Request::post("http://x/v1/models/m:predict").body(());
    let mut ready = send.clone().ready().await.expect("a connection");
    let (answer, mut stream) = ready
        .send_request(request.expect("a request"), false)
        .expect("a stream");
    let drips = tokio::spawn(async move {
        while stream.send_data(Bytes::from_static(b"x"), false).is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    });
    let began = tokio::time::Instant::now();
    assert_eq!(answer.await.expect("an answer").status().as_u16(), 408);
    assert!(began.elapsed() >= Duration::from_secs(299));
    drips.abort();
}

#[tokio::test(start_paused = true)]
async fn bodies_that_share_a_connection_of_http2_do_not_hold_each_other_up() {
    let mut limits = limits();
    limits.bodies = 4_000_000;
    let rest = port(limits);
    let (send, _ping) = connect_two(&rest).await;
    let body = Bytes::from(vec![b'x'; 2_000_000]);
    let asked: Vec<_> = (0..12)
        .map(|_| {
            let (send, body) = (send.clone(), body.clone());
            let request = Request::post("http://x/v1/models/m:predict");
            tokio::spawn(async move { ask_two(&send, request, body).await })
        })
        .collect();
    for one in asked {
        assert_eq!(one.await.expect("an answer"), STARTING);
    }
}

#[tokio::test(start_paused = true)]
async fn headers_over_http2_are_bounded_together() {
    let rest = port(limits());
    let (send, _ping) = connect_two(&rest).await;
    for (size, expected) in [(10_000, 200), (20_000, 431)] {
        let request = get("/livez").header("x", "x".repeat(size));
        assert_eq!(ask_two(&send, request, Bytes::new()).await, expected);
    }
}

/// Send bytes over HTTP/1; everything that comes back, in lower case.
async fn raw(rest: &Arc<Rest>, bytes: &[u8]) -> String {
    let (mut reader, mut writer) = split(connect(rest));
    let mut answer = Vec::new();
    let (_, read) = tokio::join!(writer.write_all(bytes), reader.read_to_end(&mut answer));
    read.expect("an end");
    String::from_utf8_lossy(&answer).to_ascii_lowercase()
}

#[tokio::test(start_paused = true)]
async fn empty_lines_before_a_request_hide_nothing() {
    let rest = port(limits());
    let request = b"\r\n\r\nPOST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\
        Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let answer = raw(&rest, request).await;
    assert!(answer.starts_with("http/1.1 400 "), "{answer}");
    assert!(answer.ends_with("exclude each other\"}"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn nothing_follows_a_body_that_is_not_read() {
    let rest = port(limits());
    for announced in [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let request = format!("GET /livez HTTP/1.1\r\nHost: x\r\n{announced}");
        let answer = raw(&rest, request.as_bytes()).await;
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_parsed_is_answered_with_a_sentence() {
    let rest = port(limits());
    let long = format!(
        "GET /v2 HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "x".repeat(70_000)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "a: b\r\n".repeat(1500)
    );
    let table = [
        ("garbage\r\n\r\n", 400, "its request line or a header"),
        (
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "its request line or a header",
        ),
        (&long, 431, "exceed 65536 bytes"),
        (&many, 431, "or are more than 1024"),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
            400,
            "more than one content-length",
        ),
        (
            "GET /v1/models/\u{e4} HTTP/1.1\r\nHost: x\r\n\r\n",
            400,
            "percent-encoded",
        ),
    ];
    for (request, status, part) in table {
        let answer = raw(&rest, request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("http/1.1 {status} ")),
            "{answer}"
        );
        let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
        assert!(
            body.starts_with("{\"error\":\"") && body.ends_with("\"}"),
            "{answer}"
        );
        assert!(body.contains(part), "{answer}");
        assert!(
            head.contains(&format!("\r\ncontent-length: {}", body.len())),
            "{answer}"
        );
        let further = if request.contains("/v2") { "/v2" } else { "" };
        assert!(
            head.lines()
                .any(|line| line == format!("x-further: {further}")),
            "{answer}"
        );
    }
    let answer = raw(
        &rest,
        b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\ngarbage\r\n\r\n",
    )
    .await;
    let (first, second) = answer.split_once("\r\n\r\nok").expect("both answers");
    assert!(first.starts_with("http/1.1 200 "), "{answer}");
    assert!(
        second.starts_with("http/1.1 400 ") && second.ends_with("\"}"),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_just_come_keeps_its_connection() {
    let rest = port(limits());
    for _ in 0..32 {
        let mut client = connect(&rest);
        for _ in 0..2 {
            sleep(Duration::from_secs(1)).await;
            let request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
            client.write_all(request).await.expect("room");
            rest.close_idle(Duration::ZERO);
            let mut answer = [0; 15];
            client.read_exact(&mut answer).await.expect("an answer");
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
            let mut rest_of_it = [0; 4096];
            let _ = client.read(&mut rest_of_it).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_endless_trailer_is_not_read() {
    let rest = port(limits());
    let (mut reader, mut writer) = split(connect(&rest));
    let start = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-T: ";
    let sent = async {
        let mut sent = 0;
        let mut fails = writer.write_all(start).await.is_err();
        while !fails {
            fails = writer.write_all(&[b'a'; 4096]).await.is_err();
            sent += 4096;
        }
        sent
    };
    let mut answer = Vec::new();
    let (sent, _) = tokio::join!(sent, reader.read_to_end(&mut answer));
    // The pipe itself holds 64 KiB, and so does the library.
    assert!(sent <= 256 << 10, "{sent}");
    assert!(answer.starts_with(b"HTTP/1.1 400 "));
}
