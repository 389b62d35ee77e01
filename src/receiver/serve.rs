use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Reply,
    guard::{Guarded, House, Place},
    tls::{self, Tls},
};

/// Largest chunk in which bodies are read, and thus what a connection may take (bytes).
const READ_BYTES_MAX: usize = 256 << 10;
/// How long nothing is accepted after the system refused to (too many open files, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Longest TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Whom the verified certificate of a connection's client names: an extension of its requests.
#[derive(Clone, Debug)]
pub struct ClientSubject(pub Arc<str>);

/// Connections of one port.
#[derive(Clone, Debug)]
pub struct Connections {
    /// Most of them at once. One more costs the place of the one that was of no use for longest.
    pub connections_max: usize,
    /// Longest time from the end of one request to the end of the next one's head.
    pub header_read_timeout: Duration,
    /// Longest wait for a client to read more of its answer.
    pub write_timeout: Duration,
    /// TLS, if it is spoken.
    pub tls: Option<Arc<Tls>>,
    /// Where they run, so that the end can be waited for.
    pub tasks: TaskTracker,
    /// No more connections, and no more requests on those that are there.
    pub stop: CancellationToken,
}

/// Accepts connections until it is told to stop, and answers each request with `answer`.
pub async fn serve<A, F>(listener: TcpListener, connections: Connections, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let house = House::new(connections.connections_max);
    loop {
        let next = async {
            let accepted = listener.accept().await;
            (accepted, house.enter().await)
        };
        let (accepted, place) = tokio::select! {
            () = connections.stop.cancelled() => return,
            next = next => next,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Most often no more files may be open. Who holds the others open is not to keep shippers out, and
                // connections to Elasticsearch need some, too.
                drop(place);
                let connections_max = house.shrinks();
                tracing::warn!(%error, connections_max, "a connection could not be accepted: room is made");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY cannot be set");
        }
        let (connections, answer) = (connections.clone(), answer.clone());
        connections.tasks.clone().spawn(async move {
            let Some(tls) = &connections.tls else {
                return converse(stream, None, place, &connections, answer).await;
            };
            let accepted = tokio::select! {
                () = connections.stop.cancelled() => return,
                () = place.activity.evicted() => return,
                it = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)) => it,
            };
            match accepted {
                Ok(Ok(stream)) => {
                    let subject = tls::client_subject(&stream).map(|it| ClientSubject(it.into()));
                    converse(stream, subject, place, &connections, answer).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                Err(_elapsed) => tracing::debug!("a TLS handshake took too long"),
            }
        });
    }
}

/// Answers the requests of one connection until it ends.
async fn converse<S, A, F>(
    stream: S,
    subject: Option<ClientSubject>,
    place: Place,
    connections: &Connections,
    answer: A,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let activity = Arc::clone(&place.activity);
    let service = service_fn(move |mut request| {
        let activity = Arc::clone(&activity);
        activity.begins();
        request.extensions_mut().insert(Arc::clone(&activity));
        if let Some(subject) = &subject {
            request.extensions_mut().insert(subject.clone());
        }
        let reply = answer(request);
        async move {
            let reply = reply.await;
            activity.answered();
            Ok::<_, Infallible>(reply)
        }
    });
    let guarded = Guarded::new(stream, Arc::clone(&place.activity), connections.write_timeout);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(connections.header_read_timeout)
        .max_buf_size(READ_BYTES_MAX)
        .serve_connection(TokioIo::new(guarded), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = place.activity.evicted() => {
            tracing::debug!("a connection of no use made room for another");
            return;
        }
        () = connections.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
