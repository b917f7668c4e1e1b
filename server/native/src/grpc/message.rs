//! Receives a call's messages, within bounds of one message and of all together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::status::{INTERNAL, RESOURCE_EXHAUSTED, Status, UNAVAILABLE};
use crate::arrivals::timed_out;

/// Messages up to so many bytes have a room of their own: large ones that fill theirs do not hold them up.
const SMALL: usize = 64 << 10;
/// Once others need its place, a message has to come at this rate, after a moment in which nothing is asked of it.
const BYTES_PER_SECOND: f64 = (1 << 20) as f64;
const MOMENT: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(250);
/// For a message to be let in; others may hold the room for as long as their requests are worked on.
const WAIT: Duration = Duration::from_secs(60);
const HEAD: usize = 5;
/// Of the room of large messages, for what has come of messages that wait to be let in.
const WAITING_SHARE: usize = 8;

/// Where messages have room that do not arrive in one piece.
pub struct Rooms {
    small: Arc<Room>,
    large: Arc<Room>,
    waiting: Arc<Room>,
}

impl Rooms {
    /// So many bytes of small and of large messages may be on their way at a time.
    pub fn new(small: usize, large: usize) -> Rooms {
        Rooms {
            small: Arc::new(Room::new(small)),
            large: Arc::new(Room::new(large)),
            waiting: Arc::new(Room::new(large / WAITING_SHARE)),
        }
    }

    /// Bytes in the rooms of small and of large messages and of those that wait, and how many of these there are.
    #[cfg(test)]
    pub fn used(&self) -> ([usize; 3], usize) {
        let rooms = [&self.small, &self.large, &self.waiting];
        let waiting = rooms.map(|room| room.waiting.load(Relaxed)).iter().sum();
        (rooms.map(|room| room.used.load(Relaxed)), waiting)
    }

    fn of(&self, size: usize) -> &Arc<Room> {
        if size > SMALL {
            &self.large
        } else {
            &self.small
        }
    }
}

/// Bytes of messages that are arriving or worked on.
struct Room {
    limit: usize,
    used: AtomicUsize,
    waiting: AtomicUsize,
    freed: Notify,
}

impl Room {
    fn new(limit: usize) -> Room {
        Room {
            limit,
            used: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
        }
    }

    fn try_take(self: &Arc<Self>, size: usize) -> Option<Share> {
        let fits = |used: usize| {
            // One that is larger than all the room is let in when nobody else is there.
            (used == 0 || used + size <= self.limit).then_some(used + size)
        };
        self.used.fetch_update(Relaxed, Relaxed, fits).ok()?;
        Some(Share {
            room: Arc::clone(self),
            size,
        })
    }

    async fn take(self: &Arc<Self>, size: usize) -> Share {
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let freed = self.freed.notified();
            if let Some(share) = self.try_take(size) {
                return share;
            }
            // The timer is for a share that was given back between the two lines above.
            let _ = timeout(LOOK, freed).await;
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Waiting<'a> {
        count.fetch_add(1, Relaxed);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Some of the room, until it is dropped.
pub struct Share {
    room: Arc<Room>,
    size: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.size, Relaxed);
        self.room.freed.notify_waiters();
    }
}

/// A message as it came.
pub struct Message {
    pub data: Bytes,
    pub compressed: bool,
    /// What it takes of the room, as long as the message is there.
    _share: Option<Share>,
}

/// The messages of one call.
pub struct Messages {
    body: RecvStream,
    rooms: Arc<Rooms>,
    limit: usize,
    /// What has come of the next message.
    rest: Bytes,
    /// Bytes that have come and that the client may not yet send others for: `rest`, and those of a message that has
    /// no room yet.
    owed: usize,
}

impl Messages {
    pub fn new(body: RecvStream, rooms: Arc<Rooms>, limit: usize) -> Messages {
        Messages {
            body,
            rooms,
            limit,
            rest: Bytes::new(),
            owed: 0,
        }
    }

    /// The next message; `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<Message>, Status> {
        let mut chunk = std::mem::take(&mut self.rest);
        if chunk.len() < HEAD {
            let mut head = BytesMut::from(&chunk[..]);
            while head.len() < HEAD {
                match self.chunk().await? {
                    None if head.is_empty() => return Ok(None),
                    None => return Err(cut()),
                    // Usually all is there at once, and nothing is copied.
                    Some(next) if head.is_empty() && next.len() >= HEAD => {
                        chunk = next;
                        break;
                    }
                    Some(next) => head.extend_from_slice(&next),
                }
            }
            if chunk.len() < HEAD {
                chunk = head.freeze();
            }
        }
        let [flag, length @ ..] = *chunk.first_chunk::<HEAD>().ok_or_else(cut)?;
        let size = u32::from_be_bytes(length) as usize;
        if flag > 1 {
            return Err(Status::new(
                INTERNAL,
                "The message has an invalid flag of compression",
            ));
        }
        if size > self.limit {
            let text = format!(
                "Received message larger than max ({size} vs. {})",
                self.limit
            );
            return Err(Status::new(RESOURCE_EXHAUSTED, text));
        }
        let began = chunk.split_off(HEAD);
        let (data, share) = self.content(began, size).await?;
        Ok(Some(Message {
            data,
            compressed: flag == 1,
            _share: share,
        }))
    }

    async fn content(
        &mut self,
        mut first: Bytes,
        size: usize,
    ) -> Result<(Bytes, Option<Share>), Status> {
        if first.len() >= size {
            self.rest = first.split_off(size);
            self.release();
            return Ok((first, None));
        }
        let room = Arc::clone(self.rooms.of(size));
        let share = self.share(&room, size).await?;
        self.release();
        let began = Instant::now();
        let mut whole = BytesMut::with_capacity(size.min(4 << 20));
        whole.extend_from_slice(&first);
        while whole.len() < size {
            if let Ok(next) = timeout(LOOK, self.chunk()).await {
                let mut next = next?.ok_or_else(cut)?;
                if next.len() > size - whole.len() {
                    self.rest = next.split_off(size - whole.len());
                }
                whole.extend_from_slice(&next);
                self.release();
            }
            if room.waiting.load(Relaxed) > 0 && too_slow(began.elapsed(), whole.len(), size) {
                return Err(timed_out());
            }
        }
        Ok((whole.freeze(), Some(share)))
    }

    async fn share(&mut self, room: &Arc<Room>, size: usize) -> Result<Share, Status> {
        if let Some(share) = room.try_take(size) {
            return Ok(share);
        }
        // What has come is kept meanwhile. As far as there is room for that, it does not hold the connection's other
        // calls up; beyond that the connection's window bounds it.
        let kept = self.rooms.waiting.try_take(self.owed);
        if kept.is_some() {
            self.release();
        }
        timeout(WAIT, room.take(size)).await.map_err(|_| {
            let text =
                "The server is overloaded: too many bytes of requests are arriving or worked on";
            Status::new(UNAVAILABLE, text)
        })
    }

    /// Let the client send as much as has been received, but for what is of the next message.
    fn release(&mut self) {
        let size = self.owed.saturating_sub(self.rest.len());
        self.owed -= size;
        let _ = self.body.flow_control().release_capacity(size);
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Status> {
        match self.body.data().await {
            None => Ok(None),
            Some(Ok(data)) => {
                self.owed += data.len();
                Ok(Some(data))
            }
            Some(Err(_)) => Err(cut()),
        }
    }
}

fn too_slow(elapsed: Duration, received: usize, size: usize) -> bool {
    let asked = elapsed.saturating_sub(MOMENT).as_secs_f64() * BYTES_PER_SECOND;
    received < size && (received as f64) < asked
}

fn cut() -> Status {
    Status::new(INTERNAL, "The request ended within a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_lets_in_what_fits_and_one_that_is_too_large_alone() {
        let room = Arc::new(Room::new(10));
        let first = room.try_take(6).expect("empty");
        assert!(room.try_take(5).is_none());
        let second = room.try_take(4).expect("fits");
        drop((first, second));
        let large = room.try_take(50).expect("alone");
        assert!(room.try_take(1).is_none());
        drop(large);
        assert_eq!(room.used.load(Relaxed), 0);
    }

    #[test]
    fn a_message_that_stalls_is_too_slow_and_one_that_comes_is_not() {
        let seconds = Duration::from_secs_f64;
        assert!(!too_slow(seconds(0.9), 0, 1 << 20));
        assert!(too_slow(seconds(1.1), 5, 64 << 10));
        assert!(!too_slow(seconds(5.0), 5 << 20, 64 << 20));
        assert!(too_slow(seconds(10.0), 5 << 20, 64 << 20));
    }
}
