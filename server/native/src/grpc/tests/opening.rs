//! Clients that connect and do not get on with it. The clock is the test's.

use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;
use tokio_rustls::rustls::server::ResolvesServerCertUsingSni;

use super::super::connection::serve;
use super::*;
use crate::tls::server_config_of;

/// A ClientHello announces 512 bytes, and of them come 4.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc";
const HALF_A_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// Seconds until the server leaves a client that has sent some bytes and says nothing more.
async fn patience(sent: &[u8], tls: bool) -> f64 {
    let front = Arc::new(Front::new(limits(), echo(), Methods::default(), false));
    if tls {
        // It gets no further than to the beginning: no certificate is needed.
        let nobody = Arc::new(ResolvesServerCertUsingSni::new());
        front.tls.set(server_config_of(nobody).expect("one"));
    }
    let (mut client, server): (DuplexStream, DuplexStream) = duplex(1 << 16);
    client.write_all(sent).await.expect("there is room");
    let phase = front.phase.subscribe();
    let begun = Instant::now();
    serve(front, phase, server, "unix:".into()).await;
    begun.elapsed().as_secs_f64()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_begin_to_speak_is_left() {
    for (sent, tls) in [
        (&b""[..], false),
        (HALF_A_PREFACE, false),
        (b"", true),
        (HALF_A_HELLO, true),
    ] {
        let waited = patience(sent, tls).await;
        assert!((20.0..21.0).contains(&waited), "{sent:?}: {waited} s");
    }
}

#[tokio::test(start_paused = true)]
async fn who_speaks_something_else_to_a_port_with_tls_is_left_at_once() {
    for sent in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0; 100],
    ] {
        assert!(patience(sent, true).await < 1.0, "{sent:?}");
    }
}
