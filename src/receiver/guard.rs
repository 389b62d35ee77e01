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
/// In a full house, room is made for this part of it at once.
const ROOM_PART: usize = 64;
/// Places that are left in any case.
const PLACES_MIN: usize = 16;
/// What of a body or of an answer counts as being of use (bytes).
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
    /// Fewer than at first, when the system has no room for so many.
    places: AtomicUsize,
    started: Instant,
    guests: Mutex<Vec<Arc<Activity>>>,
    left: Notify,
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
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
    /// The head that came last tells the length of its body in two ways.
    two_lengths: AtomicBool,
    /// Bodies that nobody wants and that are still being read, though their requests are answered.
    discards: AtomicUsize,
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
            places: AtomicUsize::new(places.max(1)),
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
                let places = self.places.load(Ordering::Relaxed);
                if guests.len() < places {
                    let activity = Arc::new(Activity::new(self.started));
                    guests.push(Arc::clone(&activity));
                    return Place { house: Arc::clone(self), activity };
                }
                // Some more than one: it takes a moment until one is gone, and those who wait outside may be many.
                let leaving = guests.iter().filter(|it| it.evicted.is_cancelled()).count();
                let room = (places / ROOM_PART).max(1);
                evict_idlest(&guests, (guests.len() - places + room).saturating_sub(leaving));
            }
            left.await;
        }
    }

    /// Has fewer places from now on, for the system has no room for more, and lets go those that are too many. Gives
    /// back how many places are left.
    pub(super) fn shrinks(&self) -> usize {
        let guests = self.guests();
        let places = (guests.len() / 4 * 3).max(PLACES_MIN);
        let places = self.places.fetch_min(places, Ordering::Relaxed).min(places);
        evict_idlest(&guests, guests.len().saturating_sub(places));
        places
    }

    fn guests(&self) -> MutexGuard<'_, Vec<Arc<Activity>>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets so many go who have been of no use for longest.
fn evict_idlest(guests: &[Arc<Activity>], count: usize) {
    let useful = |it: &&Arc<Activity>| it.useful_ms.load(Ordering::Relaxed);
    let mut idle: Vec<_> = guests.iter().filter(|it| it.may_be_evicted()).collect();
    if count < idle.len() {
        idle.sort_by_cached_key(useful);
    }
    for guest in idle.iter().take(count) {
        guest.evicted.cancel();
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
            two_lengths: AtomicBool::new(false),
            discards: AtomicUsize::new(0),
            evicted: CancellationToken::new(),
        };
        new.is_useful();
        new
    }

    fn is_useful(&self) {
        self.useful_ms.store(milliseconds(self.started), Ordering::Relaxed);
    }

    fn may_be_evicted(&self) -> bool {
        self.doing.load(Ordering::Relaxed) != ANSWER && !self.evicted.is_cancelled()
    }

    /// The head of a request is in.
    pub(super) fn begins(&self) {
        self.doing.store(BODY, Ordering::Relaxed);
    }

    /// Bytes of a body came in, or of an answer went out.
    pub(super) fn moved(&self, bytes: usize) {
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
        if begins {
            self.discards.fetch_add(1, Ordering::Relaxed);
        } else {
            self.discards.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether the head of this request has both Content-Length and Transfer-Encoding. hyper, which reads it, goes by
    /// the latter, hides the former and hangs up afterwards (RFC 9112, 6.1).
    pub(super) fn has_two_lengths(&self) -> bool {
        self.two_lengths.load(Ordering::Relaxed)
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
    /// A head that has not ended, as far as it came.
    head: Option<Vec<u8>>,
}

/// Whether a head that has ended tells the length of its body in two ways; `None` if it has not ended.
fn has_two_lengths(head: &[u8]) -> Option<bool> {
    // Empty lines before a request are skipped.
    let start = head.iter().position(|it| !matches!(it, b'\r' | b'\n'))?;
    let (mut content_length, mut transfer_encoding) = (false, false);
    for line in head.get(start..)?.split_inclusive(|it| *it == b'\n') {
        let line = line.strip_suffix(b"\n")?;
        if line.strip_suffix(b"\r").unwrap_or(line).is_empty() {
            return Some(content_length && transfer_encoding);
        }
        let name = line.split(|it| *it == b':').next().unwrap_or_default();
        content_length |= name.eq_ignore_ascii_case(b"content-length");
        transfer_encoding |= name.eq_ignore_ascii_case(b"transfer-encoding");
    }
    None
}

impl<S> Guarded<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>, write_timeout: Duration) -> Self {
        Self { stream, activity, write_timeout, stalled: None, head: None }
    }

    /// Looks at the bytes of a head, which begins where nothing was read since the last answer.
    fn watch_head(&mut self, bytes: &[u8], begins: bool) {
        if begins {
            self.head = Some(Vec::new());
        }
        let Some(head) = &mut self.head else { return };
        head.extend_from_slice(bytes);
        if let Some(two_lengths) = has_two_lengths(head) {
            self.activity.two_lengths.store(two_lengths, Ordering::Relaxed);
            self.head = None;
        }
    }

    /// A client that reads its answer is of use.
    fn wrote(&self, poll: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = poll {
            self.activity.moved(*bytes);
        }
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
        if read > 0 && in_head && self.activity.discards.load(Ordering::Relaxed) == 0 {
            let had = self.activity.head_bytes.fetch_add(read, Ordering::Relaxed);
            let bytes = buffer.filled().get(before..).unwrap_or_default();
            self.watch_head(bytes, had == 0);
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
        self.wrote(&poll);
        self.progress(context, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.wrote(&poll);
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

    #[test]
    fn heads_with_two_lengths() {
        let both = "Content-Length: 1\r\nTRANSFER-ENCODING: chunked\r\n";
        let of = |text: &str| has_two_lengths(text.as_bytes());
        assert_eq!(of(&format!("\r\nPOST / HTTP/1.1\r\n{both}\r\n")), Some(true));
        assert_eq!(of(&format!("POST / HTTP/1.1\n{}\n", both.replace('\r', ""))), Some(true));
        assert_eq!(of(&format!("POST / HTTP/1.1\r\n{both}\r")), None);
        assert_eq!(of(&format!("POST / HTTP/1.1\r\nhost: x\r\n\r\n{both}\r\n")), Some(false));
        assert_eq!(of("POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\n"), Some(false));
        assert_eq!(of("\r\n\r\n"), None);
    }

    #[tokio::test]
    async fn without_room_the_idlest_go() {
        let house = House::new(100);
        let mut places = Vec::new();
        for number in 0..40 {
            let place = house.enter().await;
            place.activity.useful_ms.store(number, Ordering::Relaxed);
            if number == 0 {
                place.activity.answers();
            }
            places.push(place);
        }
        assert_eq!(house.shrinks(), 30);
        let evicted: Vec<_> = places.iter().map(|it| it.activity.evicted.is_cancelled()).collect();
        assert!(
            !evicted[0] && evicted[1..11].iter().all(|it| *it) && !evicted[11..].contains(&true)
        );
        places.clear();
        assert_eq!(house.shrinks(), PLACES_MIN);
    }

    #[tokio::test]
    async fn a_trickle_is_of_no_use() {
        let activity = Activity::new(Instant::now() - Duration::from_secs(10));
        let before = activity.useful_ms.swap(1, Ordering::Relaxed);
        assert!(before >= 10_000);
        activity.moved(USEFUL_BYTES - 1);
        assert_eq!(activity.useful_ms.load(Ordering::Relaxed), 1);
        activity.moved(1);
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
