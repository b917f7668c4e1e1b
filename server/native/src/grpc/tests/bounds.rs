//! What clients that do not finish, or do not listen, can make the server keep.

use h2::SendStream;
use h2::client::ResponseFuture;

use super::super::health;
use super::*;

/// Begin a call and send what is given of its message, but not its end.
fn begun(
    client: &mut SendRequest<Bytes>,
    path: &str,
    piece: Bytes,
) -> (ResponseFuture, SendStream<Bytes>) {
    let request =
        Request::post(format!("http://x{path}")).header("content-type", "application/grpc");
    let request = request.body(()).expect("a request");
    let (answer, mut stream) = client.send_request(request, false).expect("it is taken");
    stream.send_data(piece, false).expect("it is open");
    (answer, stream)
}

/// Code and sentence of a call that was refused.
async fn refused(answer: ResponseFuture) -> (String, String) {
    let answer = timeout(LONG, answer).await.expect("in time").expect("one");
    let text = |name| answer.headers()[name].to_str().expect("text").to_owned();
    (text("grpc-status"), text("grpc-message"))
}

async fn until(reached: impl Fn() -> bool) {
    let reached = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, reached).await.expect("in time");
}

#[test]
fn a_message_that_arrives_has_a_place_until_it_is_late_and_others_need_it() {
    for arrival in [LONG * 60, Duration::ZERO] {
        let limits = Limits {
            arrival,
            ..limits()
        };
        let port = Port::open(limits, true, echo());
        port.runtime.block_on(async {
            let mut client = Port::client(port.number).await;
            let whole = framed(b"hello");
            let mut held: Vec<_> = (0..2)
                .map(|_| begun(&mut client, ECHO, whole.slice(..7)))
                .collect();
            until(|| port.front.arrivals.count() == 2).await;
            let (code, said, _) = call(&mut client, ECHO, &[], std::slice::from_ref(&whole)).await;
            if arrival.is_zero() {
                assert_eq!(code, "0");
                for (answer, _) in held {
                    let late = refused(answer).await;
                    assert_eq!(late.0, "14");
                    assert!(late.1.starts_with("Timed out receiving"), "{late:?}");
                }
            } else {
                assert_eq!(code, "14");
                assert!(said.starts_with("The server is overloaded"), "{said}");
                for (answer, mut stream) in held.drain(..) {
                    stream.send_data(whole.slice(7..), true).expect("open");
                    let answer = timeout(LONG, answer).await.expect("in time");
                    assert!(!answer.expect("one").headers().contains_key("grpc-status"));
                }
            }
            until(|| port.front.has_room(Lane::Inference) && port.front.arrivals.count() == 0)
                .await;
        });
    }
}

#[test]
fn what_has_come_of_messages_that_wait_is_bounded_by_the_window() {
    const SIZE: usize = 100_000;
    const PIECE: usize = 50_000;
    let limits = Limits {
        inflight: 100,
        message: SIZE,
        held: 1,
        ..limits()
    };
    let port = Port::open(limits, true, echo());
    port.runtime.block_on(async {
        let whole = framed(&[7; SIZE]);
        let mut other = Port::client(port.number).await;
        let (first, mut rest) = begun(&mut other, ECHO, whole.slice(..PIECE));
        until(|| port.front.rooms.used().0[1] == SIZE).await;
        let mut client = Port::client(port.number).await;
        let mut waiting = Vec::new();
        for _ in 0..40 {
            client = client.ready().await.expect("it is open");
            waiting.push(begun(&mut client, ECHO, whole.slice(..PIECE)));
        }
        // A window of 1 MiB, and one piece that is kept beside it.
        until(|| port.front.rooms.used().1 >= 21).await;
        for _ in 0..50 {
            call(&mut other, health::CHECK, &[], &[framed(b"")]).await;
        }
        assert!(
            port.front.rooms.used().1 <= 23,
            "{:?}",
            port.front.rooms.used()
        );
        rest.send_data(whole.slice(PIECE..), true).expect("open");
        timeout(LONG, first).await.expect("in time").expect("one");
        drop(waiting);
        until(|| port.front.rooms.used() == ([0; 3], 0)).await;
    });
}

#[test]
fn a_watch_of_health_takes_no_room_and_its_message_is_short() {
    let limits = Limits {
        message: 100_000,
        ..limits()
    };
    let port = Port::open(limits, true, echo());
    port.runtime.block_on(async {
        let mut client = Port::client(port.number).await;
        let whole = framed(&[0x0a, 3, b'a', b'b', b'c']);
        let (answer, mut stream) = begun(&mut client, health::WATCH, whole.slice(..7));
        until(|| port.front.rooms.used().0[0] == 5).await;
        stream.send_data(whole.slice(7..), true).expect("open");
        let watch = timeout(LONG, answer).await.expect("in time").expect("one");
        let mut told = watch.into_body();
        let told = timeout(LONG, told.data()).await.expect("in time");
        assert_eq!(&told.expect("one").expect("data")[5..], [8, 3]);
        until(|| port.front.rooms.used().0[0] == 0).await;
        for path in [health::CHECK, health::WATCH] {
            let found = call(&mut client, path, &[], &[framed(&[0; 4097])]).await;
            assert_eq!(
                (found.0.as_str(), found.1.as_str()),
                ("8", "Received message larger than max (4097 vs. 4096)")
            );
        }
    });
}

#[test]
fn a_stream_asks_for_no_answer_that_its_client_does_not_take() {
    const COUNT: usize = 100;
    let begun_count = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun_count);
    let handler: Handler = Box::new(move |_, _| {
        count.fetch_add(1, SeqCst);
        Ok(vec![Bytes::from(vec![7; 8 << 10])])
    });
    // A place is free again a moment after its answer was sent.
    let limits = Limits {
        inflight: 8,
        ..limits()
    };
    let port = Port::open(limits, true, handler);
    port.runtime.block_on(async {
        let mut client = Port::client(port.number).await;
        let (answer, mut stream) = begun(&mut client, STREAM, framed(b""));
        for _ in 1..COUNT {
            stream.send_data(framed(b""), false).expect("open");
        }
        stream.send_data(Bytes::new(), true).expect("open");
        let answer = timeout(LONG, answer).await.expect("in time").expect("one");
        // The client's window is 64 KiB.
        until(|| begun_count.load(SeqCst) >= 8).await;
        let mut other = Port::client(port.number).await;
        for _ in 0..50 {
            call(&mut other, health::CHECK, &[], &[framed(b"")]).await;
        }
        assert_eq!(begun_count.load(SeqCst), 8);
        let (mut body, mut received) = (answer.into_body(), 0);
        while let Some(piece) = timeout(LONG, body.data()).await.expect("in time") {
            let size = piece.expect("data").len();
            received += size;
            let _ = body.flow_control().release_capacity(size);
        }
        let end = body.trailers().await;
        assert_eq!(received, COUNT * (5 + (8 << 10)), "{end:?}");
    });
}

#[test]
fn a_connection_that_has_said_nothing_ends_with_the_port() {
    let port = Port::open(limits(), true, echo());
    port.runtime.block_on(async {
        let _silent = TcpStream::connect(("127.0.0.1", port.number))
            .await
            .expect("the port listens");
        until(|| port.front.connections.load(SeqCst) == 1).await;
        let stopped = std::time::Instant::now();
        port.front.phase.send_replace(Phase::Stopping);
        until(|| port.front.connections.load(SeqCst) == 0).await;
        // Without a word from the server it would end after 20 seconds.
        assert!(stopped.elapsed() < Duration::from_secs(15));
    });
}

#[test]
fn one_thread_that_serves_connections_runs_no_model() {
    for workers in [1, 2, 4] {
        let limits = Limits {
            workers,
            ..limits()
        };
        let front = Front::new(limits, echo(), Methods::default(), false);
        let held: Vec<_> = std::iter::from_fn(|| front.begin_inline())
            .take(9)
            .collect();
        assert_eq!(held.len(), workers - 1);
        drop(held);
        assert_eq!(front.begin_inline().is_some(), workers > 1);
    }
}
