//! A socket that tells its connection's state what happens.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::answer::Reply;
use super::head::unparsed;
use super::shared::Rest;
use super::state::Conn;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub struct Watched<S> {
    socket: S,
    rest: Arc<Rest>,
    conn: Arc<Conn>,
    /// What the client gets instead of what the library says.
    instead: Bytes,
    /// What has been read to tell the protocols apart, and is read again.
    first: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Watched<S> {
    pub fn new(socket: S, rest: Arc<Rest>, conn: Arc<Conn>) -> Watched<S> {
        Watched {
            socket,
            rest,
            conn,
            instead: Bytes::new(),
            first: Vec::new(),
        }
    }

    /// Wait for the first bytes; whether they are those of HTTP/2.
    pub async fn is_two(&mut self) -> io::Result<bool> {
        let mut buffer = [0; PREFACE.len()];
        loop {
            let left = buffer.get_mut(self.first.len()..).unwrap_or_default();
            let size = self.socket.read(left).await?;
            self.first
                .extend_from_slice(left.get(..size).unwrap_or_default());
            if size > 0 {
                self.conn.received();
            }
            if !PREFACE.starts_with(&self.first) || size == 0 {
                return Ok(false);
            }
            if self.first.len() == PREFACE.len() {
                self.conn.two.store(true, Relaxed);
                return Ok(true);
            }
        }
    }

    pub fn into_socket(self) -> S {
        self.socket
    }

    fn saw(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.conn.received();
        if !self.conn.two.load(Relaxed) && !self.conn.is_busy() {
            let mut scan = self
                .conn
                .scan
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            scan.see(bytes);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = if this.first.is_empty() {
            Pin::new(&mut this.socket).poll_read(context, buffer)
        } else {
            let size = this.first.len().min(buffer.remaining());
            let some: Vec<u8> = this.first.drain(..size).collect();
            buffer.put_slice(&some);
            Poll::Ready(Ok(()))
        };
        this.saw(buffer.filled().get(before..).unwrap_or_default());
        polled
    }
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    /// The bytes of an answer to what is no request, with the headers that its target asks for.
    pub fn refusal(&self, mut reply: Reply) -> Vec<u8> {
        let scan = self.conn.scan.lock();
        let scan = scan.unwrap_or_else(PoisonError::into_inner);
        let further = self.rest.further(scan.target());
        reply.headers.extend(further.iter().cloned());
        reply.raw()
    }

    /// Write something else than these bytes of the library's, where they are its refusal.
    fn poll_instead(
        &mut self,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Option<Poll<io::Result<usize>>> {
        if self.instead.is_empty() {
            if self.conn.two.load(Relaxed) || self.conn.owes() {
                return None;
            }
            self.instead = self.refusal(unparsed(data, &self.rest.limits)?).into();
        }
        while !self.instead.is_empty() {
            let polled = Pin::new(&mut self.socket).poll_write(context, &self.instead);
            self.conn.wrote(polled.is_ready());
            match polled {
                Poll::Ready(Ok(size)) if size > 0 => self.instead.advance(size),
                Poll::Ready(Ok(_)) => return Some(Poll::Ready(Err(ErrorKind::WriteZero.into()))),
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
                Poll::Pending => return Some(Poll::Pending),
            }
        }
        Some(Poll::Ready(Ok(data.len())))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(polled) = this.poll_instead(context, data) {
            return polled;
        }
        let polled = Pin::new(&mut this.socket).poll_write(context, data);
        this.conn.wrote(polled.is_ready());
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let first = data.iter().find(|one| !one.is_empty());
        if let Some(polled) = first.and_then(|first| this.poll_instead(context, first)) {
            return polled;
        }
        let polled = Pin::new(&mut this.socket).poll_write_vectored(context, data);
        this.conn.wrote(polled.is_ready());
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.socket).poll_flush(context);
        if matches!(polled, Poll::Ready(Ok(()))) {
            this.conn.flushed();
        }
        polled
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}
