use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::Sleep,
};
use tokio_util::sync::CancellationToken;

/// Largest head of a request (bytes). Elasticsearch's `http.max_header_size` is 16 kB.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// What of a body counts as being of use (bytes).
const USEFUL_BYTES: usize = 16 << 10;

/// A connection waits for a request, or for the end of its head.
const HEAD: u8 = 0;
/// It waits for the end of a body.
const BODY: u8 = 1;
/// The request is in: waiting is ours.
const ANSWER: u8 = 2;

/// The connections of one port. Full, it lets the one go that has been of no use for longest, so that nobody keeps
/// shippers out by holding connections open.
#[derive(Debug)]
pub(super) struct House {
    places: usize,
    started: Instant,
    guests: Mutex<Vec<Arc<Activity>>>,
    left: Notify,
}

/// What a connection does.
#[derive(Debug)]
pub(super) struct Activity {
    started: Instant,
    /// When it was of use last, in milliseconds since the start.
    useful_ms: AtomicU64,
    /// Bytes since then.
    bytes: AtomicUsize,
    /// One of [`HEAD`], [`BODY`], [`ANSWER`].
    doing: AtomicU8,
    /// Bytes read while waiting for the end of a head.
    head_bytes: AtomicUsize,
    /// A body that nobody wants is being read, though its request is answered.
    discards: AtomicBool,
    evicted: CancellationToken,
}

/// A place in the house. Free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    house: Arc<House>,
    pub(super) activity: Arc<Activity>,
}

impl House {
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            places: places.max(1),
            started: Instant::now(),
            guests: Mutex::default(),
            left: Notify::new(),
        })
    }

    /// A place, at the cost of whoever needs it least. Waits only while all are being answered.
    pub(super) async fn enter(self: &Arc<Self>) -> Place {
        loop {
            let left = self.left.notified();
            {
                let mut guests = self.guests();
                if guests.len() < self.places {
                    let activity = Arc::new(Activity::new(self.started));
                    guests.push(Arc::clone(&activity));
                    return Place { house: Arc::clone(self), activity };
                }
                let idle = guests.iter().filter(|it| it.may_be_evicted());
                if let Some(guest) = idle.min_by_key(|it| it.useful_ms.load(Ordering::Relaxed)) {
                    guest.evicted.cancel();
                }
            }
            left.await;
        }
    }

    fn guests(&self) -> MutexGuard<'_, Vec<Arc<Activity>>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.house.guests().retain(|it| !Arc::ptr_eq(it, &self.activity));
        self.house.left.notify_waiters();
    }
}

impl Activity {
    fn new(started: Instant) -> Self {
        let new = Self {
            started,
            useful_ms: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
            doing: AtomicU8::new(HEAD),
            head_bytes: AtomicUsize::new(0),
            discards: AtomicBool::new(false),
            evicted: CancellationToken::new(),
        };
        new.is_useful();
        new
    }

    fn is_useful(&self) {
        let elapsed = self.started.elapsed().as_millis();
        self.useful_ms.store(u64::try_from(elapsed).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn may_be_evicted(&self) -> bool {
        self.doing.load(Ordering::Relaxed) != ANSWER && !self.evicted.is_cancelled()
    }

    /// The head of a request is in.
    pub(super) fn begins(&self) {
        self.doing.store(BODY, Ordering::Relaxed);
    }

    /// Bytes of a body came in.
    pub(super) fn received(&self, bytes: usize) {
        if self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes >= USEFUL_BYTES {
            self.bytes.store(0, Ordering::Relaxed);
            self.is_useful();
        }
    }

    /// A request is in: from now on, waiting is ours.
    pub(super) fn answers(&self) {
        self.doing.store(ANSWER, Ordering::Relaxed);
    }

    /// The request is answered.
    pub(super) fn answered(&self) {
        self.head_bytes.store(0, Ordering::Relaxed);
        self.doing.store(HEAD, Ordering::Relaxed);
        self.is_useful();
    }

    /// A body is read that nobody wants, until it ends.
    pub(super) fn discards(&self, begins: bool) {
        self.head_bytes.store(0, Ordering::Relaxed);
        self.discards.store(begins, Ordering::Relaxed);
    }

    /// Told when the connection has to make room.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

/// A connection that ends when its client does not read its answer, or sends a head without end.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    stream: S,
    activity: Arc<Activity>,
    write_timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Guarded<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>, write_timeout: Duration) -> Self {
        Self { stream, activity, write_timeout, stalled: None }
    }

    /// Ends a write that has been waiting for too long.
    fn progress<T>(
        &mut self,
        context: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stalled = None;
            return poll;
        }
        let timeout = self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().len().saturating_sub(before);
        let in_head = self.activity.doing.load(Ordering::Relaxed) == HEAD;
        if read > 0 && in_head && !self.activity.discards.load(Ordering::Relaxed) {
            let had = self.activity.head_bytes.fetch_add(read, Ordering::Relaxed);
            // The last read may have brought the beginning of the body.
            if had > HEAD_BYTES_MAX {
                return Poll::Ready(Err(io::Error::other("the head of a request has no end")));
            }
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.progress(context, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.progress(context, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        self.progress(context, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(context);
        self.progress(context, poll)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_full_house_lets_the_one_go_that_was_of_no_use_for_longest() {
        let house = House::new(3);
        let (idle, busy, useful) = (house.enter().await, house.enter().await, house.enter().await);
        busy.activity.answers();
        useful.activity.useful_ms.store(u64::MAX, Ordering::Relaxed);
        let first = Arc::clone(&idle.activity);
        let leaves = async {
            first.evicted().await;
            drop(idle);
        };
        let (fourth, ()) = tokio::join!(house.enter(), leaves);
        assert!(!busy.activity.evicted.is_cancelled() && !useful.activity.evicted.is_cancelled());
        assert_eq!(house.guests().len(), 3);
        drop((busy, useful, fourth));
        assert!(house.guests().is_empty());
    }

    #[tokio::test]
    async fn a_trickle_is_of_no_use() {
        let activity = Activity::new(Instant::now() - Duration::from_secs(10));
        let before = activity.useful_ms.swap(1, Ordering::Relaxed);
        assert!(before >= 10_000);
        activity.received(USEFUL_BYTES - 1);
        assert_eq!(activity.useful_ms.load(Ordering::Relaxed), 1);
        activity.received(1);
        assert!(activity.useful_ms.load(Ordering::Relaxed) >= 10_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_reads_is_let_go() {
        let (mut client, server) = tokio::io::duplex(64);
        let activity = Arc::new(Activity::new(Instant::now()));
        let mut guarded = Guarded::new(server, activity, Duration::from_secs(5));
        guarded.write_all(&[0; 64]).await.unwrap();
        let error = guarded.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // One that reads slowly is not.
        client.read_exact(&mut [0; 64]).await.unwrap();
        guarded.stalled = None;
        guarded.write_all(&[0; 64]).await.unwrap();
    }

    #[tokio::test]
    async fn a_head_has_an_end() {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let activity = Arc::new(Activity::new(Instant::now()));
        let mut guarded = Guarded::new(server, Arc::clone(&activity), Duration::from_secs(5));
        client.write_all(&vec![b'x'; 300_000]).await.unwrap();
        activity.begins();
        let mut buffer = vec![0; 100_000];
        guarded.read_exact(&mut buffer).await.unwrap();
        activity.answered();
        assert!(guarded.read_exact(&mut buffer).await.is_ok(), "it may end in this part");
        assert!(guarded.read_exact(&mut buffer).await.is_err());
    }
}
