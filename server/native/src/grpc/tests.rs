//! The port as a client sees it: a real socket, h2's client, and a function in place of Python's handlers.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, HeaderValue, Request};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::listener::{Listening, bind_tcp, listen};
use super::status::Status;
use crate::front::{Front, Handler, Lane, Limits, Methods, Phase};

mod bounds;
mod opening;

const LONG: Duration = Duration::from_secs(60);
const ECHO: &str = "/inference.GRPCInferenceService/Echo";
const STREAM: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

fn limits() -> Limits {
    Limits {
        workers: 2,
        threads: 1,
        inflight: 2,
        arrival: LONG,
        message: 1000,
        held: 1 << 20,
        streams: 100,
        connections: 0,
        age: Duration::from_secs(3600),
        age_grace: Duration::from_secs(3600),
    }
}

struct Port {
    runtime: Runtime,
    front: Arc<Front>,
    number: u16,
}

impl Port {
    fn open(limits: Limits, complete: bool, handler: Handler) -> Port {
        let lanes = [(ECHO, Lane::Inference), (STREAM, Lane::Stream)]
            .into_iter()
            .filter(|_| complete)
            .map(|(path, lane)| (path.to_owned(), lane))
            .collect();
        let methods = Methods {
            lanes,
            early: Vec::new(),
            complete,
        };
        let front = Arc::new(Front::new(limits, handler, methods, false));
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let entered = runtime.enter();
        let bound = bind_tcp(0).expect("a port");
        let Listening::Tcp(listener) = &bound else {
            unreachable!("it is TCP")
        };
        let number = listener.local_addr().expect("an address").port();
        drop(entered);
        runtime.spawn(listen(Arc::clone(&front), bound));
        Port {
            runtime,
            front,
            number,
        }
    }

    async fn client(number: u16) -> SendRequest<Bytes> {
        let socket = TcpStream::connect(("127.0.0.1", number))
            .await
            .expect("the port listens");
        let (client, connection) = h2::client::handshake(socket)
            .await
            .expect("it speaks HTTP/2");
        tokio::spawn(connection);
        client
    }
}

fn echo() -> Handler {
    Box::new(|_, message| Ok(vec![message.clone()]))
}

fn framed(message: &[u8]) -> Bytes {
    let mut out = vec![0];
    out.extend_from_slice(&(message.len() as u32).to_be_bytes());
    out.extend_from_slice(message);
    out.into()
}

/// Code, sentence and messages of a call whose body is sent in pieces.
async fn call(
    client: &mut SendRequest<Bytes>,
    path: &str,
    headers: &[(&str, &str)],
    body: &[Bytes],
) -> (String, String, Vec<u8>) {
    let mut request =
        Request::post(format!("http://x{path}")).header("content-type", "application/grpc");
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
        request = request.header(*name, value);
    }
    let ended = body.is_empty();
    let (answer, mut stream) = client
        .send_request(request.body(()).expect("a request"), ended)
        .expect("it is taken");
    for (index, piece) in body.iter().enumerate() {
        // A call that was refused meanwhile takes no more.
        let _ = stream.send_data(piece.clone(), index + 1 == body.len());
    }
    let response = timeout(LONG, answer)
        .await
        .expect("in time")
        .expect("an answer");
    let (head, mut received) = response.into_parts();
    let mut data = Vec::new();
    while let Some(piece) = received.data().await {
        let piece = piece.expect("data");
        let _ = received.flow_control().release_capacity(piece.len());
        data.extend_from_slice(&piece);
    }
    let trailers = received
        .trailers()
        .await
        .expect("trailers")
        .unwrap_or(head.headers);
    let text = |name: &str, all: &HeaderMap| {
        all.get(name).map_or(String::new(), |value| {
            value.to_str().expect("text").to_owned()
        })
    };
    (
        text("grpc-status", &trailers),
        text("grpc-message", &trailers),
        data,
    )
}

#[test]
fn a_message_is_echoed_however_it_is_cut() {
    let port = Port::open(limits(), true, echo());
    port.runtime.block_on(async {
        let mut client = Port::client(port.number).await;
        let whole = framed(b"hello");
        for cut in 0..whole.len() {
            let pieces = [whole.slice(..cut), whole.slice(cut..)];
            let (code, _, data) = call(&mut client, ECHO, &[], &pieces).await;
            assert_eq!(
                (code.as_str(), &data[..]),
                ("0", &whole[..]),
                "cut at {cut}"
            );
        }
    });
}

#[test]
fn what_is_no_call_of_one_message_gets_a_status() {
    let port = Port::open(limits(), true, echo());
    port.runtime.block_on(async {
        let mut client = Port::client(port.number).await;
        let table: [(&str, &[Bytes], &str, &str); 5] = [
            (ECHO, &[], "12", "requires exactly one request message."),
            (
                ECHO,
                &[Bytes::from_static(&[0, 0, 0, 0, 9, 1])],
                "13",
                "The request ended within a message",
            ),
            (
                ECHO,
                &[framed(&[0; 1001])],
                "8",
                "Received message larger than max (1001 vs. 1000)",
            ),
            (
                ECHO,
                &[Bytes::from_static(&[7, 0, 0, 0, 0])],
                "13",
                "invalid flag of compression",
            ),
            ("/x.Y/Z", &[framed(b"")], "12", "Method not found!"),
        ];
        for (path, body, code, said) in table {
            let found = call(&mut client, path, &[], body).await;
            assert_eq!(found.0, code, "{found:?}");
            assert!(found.1.ends_with(said), "{found:?}");
        }
    });
}

#[test]
fn before_its_methods_are_there_the_server_is_starting() {
    let port = Port::open(limits(), false, echo());
    port.runtime.block_on(async {
        let mut client = Port::client(port.number).await;
        let found = call(&mut client, ECHO, &[], &[framed(b"")]).await;
        assert_eq!(
            (found.0.as_str(), found.1.as_str()),
            (
                "14",
                "the server is starting: its models are not loaded yet"
            )
        );
    });
}

/// Handlers that wait until they may go on; how many have begun.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    begun: AtomicUsize,
}

impl Gate {
    fn handler(self: &Arc<Self>) -> Handler {
        let gate = Arc::clone(self);
        Box::new(move |_, message| {
            gate.begun.fetch_add(1, SeqCst);
            let mut open = gate.open.lock().expect("no panic");
            while !*open {
                open = gate.opened.wait(open).expect("no panic");
            }
            Ok(vec![message.clone()])
        })
    }

    fn let_go(&self) {
        *self.open.lock().expect("no panic") = true;
        self.opened.notify_all();
    }

    async fn begun(&self, count: usize) {
        let reached = async {
            while self.begun.load(SeqCst) < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, reached).await.expect("in time");
    }
}

#[test]
fn a_deadline_ends_a_call_and_what_waited_behind_it_is_not_begun() {
    let gate = Arc::new(Gate::default());
    let limits = Limits {
        inflight: 1000,
        ..limits()
    };
    let port = Port::open(limits, true, gate.handler());
    port.runtime.block_on(async {
        let mut client = Port::client(port.number).await;
        let late = [("grpc-timeout", "50m")];
        let mut behind = 0;
        while behind < 2 {
            // On a busy machine the first one's time may be over before a thread has begun with it.
            behind += gate.begun.load(SeqCst);
            let found = call(&mut client, ECHO, &late, &[framed(b"")]).await;
            assert_eq!(
                (found.0.as_str(), found.1.as_str()),
                ("4", "Deadline Exceeded")
            );
        }
        gate.let_go();
        let found = call(&mut client, ECHO, &[], &[framed(b"last")]).await;
        assert_eq!(found.0, "0");
        assert_eq!(gate.begun.load(SeqCst), 2, "the first and the last");
    });
}

#[test]
fn beyond_the_limit_calls_are_refused_and_health_answers() {
    let gate = Arc::new(Gate::default());
    let port = Port::open(limits(), true, gate.handler());
    port.front.health.set(String::new(), true);
    port.runtime.block_on(async {
        let first = Port::client(port.number).await;
        let held: Vec<_> = (0..2)
            .map(|_| {
                let mut client = first.clone();
                tokio::spawn(async move { call(&mut client, ECHO, &[], &[framed(b"")]).await })
            })
            .collect();
        let full = async {
            while port.front.has_room(Lane::Inference) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, full).await.expect("in time");
        let mut client = Port::client(port.number).await;
        let refused = call(&mut client, ECHO, &[], &[framed(b"")]).await;
        assert_eq!(refused.0, "14");
        assert!(
            refused
                .1
                .starts_with("The server is overloaded: 2 requests are in flight")
        );
        let health = call(&mut client, super::health::CHECK, &[], &[framed(b"")]).await;
        assert_eq!((health.0.as_str(), &health.2[5..]), ("0", &[8_u8, 1][..]));
        gate.let_go();
        for one in held {
            assert_eq!(one.await.expect("no panic").0, "0");
        }
    });
}

#[test]
fn a_port_that_stops_finishes_what_is_in_flight_and_takes_no_connection() {
    let gate = Arc::new(Gate::default());
    let port = Port::open(limits(), true, gate.handler());
    port.runtime.block_on(async {
        let mut client = Port::client(port.number).await;
        let held =
            tokio::spawn(async move { call(&mut client, ECHO, &[], &[framed(b"kept")]).await });
        gate.begun(1).await;
        port.front.phase.send_replace(Phase::Stopping);
        let refused = async {
            while TcpStream::connect(("127.0.0.1", port.number)).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, refused).await.expect("in time");
        gate.let_go();
        assert_eq!(held.await.expect("no panic").2, framed(b"kept"));
        let left = async {
            while port.front.connections.load(SeqCst) > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, left).await.expect("the connection ends");
    });
}

#[test]
fn a_status_of_a_handler_is_the_clients() {
    let refuse: Handler = Box::new(|_, _| Err(Status::new(3, "not so: ü")));
    let port = Port::open(limits(), true, refuse);
    port.runtime.block_on(async {
        let mut client = Port::client(port.number).await;
        let found = call(&mut client, ECHO, &[], &[framed(b"")]).await;
        assert_eq!(
            (found.0.as_str(), found.1.as_str()),
            ("3", "not so: %C3%BC")
        );
    });
}

/// Answers with the names of the client's headers.
fn names() -> Handler {
    Box::new(|call, _| {
        let names: Vec<&str> = call.metadata.iter().map(|one| one.0.as_str()).collect();
        Ok(vec![Bytes::from(names.join(" "))])
    })
}

#[test]
fn no_header_is_hidden_by_what_others_hold() {
    let port = Port::open(limits(), true, names());
    port.runtime.block_on(async {
        let mut client = Port::client(port.number).await;
        let proxied = ("x-forwarded-for", "10.0.0.7, \u{fc}");
        let found = call(&mut client, ECHO, &[proxied], &[framed(b"")]).await;
        assert_eq!(&found.2[5..], b"x-forwarded-for");
        let most = "a".repeat((8 << 10) - "x".len());
        let found = call(&mut client, ECHO, &[("x", &most)], &[framed(b"")]).await;
        assert_eq!((found.0.as_str(), &found.2[5..]), ("0", &b"x"[..]));
        for large in ["a".repeat(8 << 10), "\u{fc}".repeat(4 << 10)] {
            let headers = [("x", large.as_str()), proxied];
            let found = call(&mut client, ECHO, &headers, &[framed(b"")]).await;
            assert_eq!(
                (found.0.as_str(), found.1.as_str()),
                (
                    "8",
                    "received metadata size exceeds hard limit (8220 vs. 8192)"
                )
            );
        }
    });
}
