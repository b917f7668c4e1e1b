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
