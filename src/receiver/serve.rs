use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Reply;

/// Largest head of a request (bytes), and the chunk in which bodies are read.
const HEAD_BYTES_MAX: usize = 256 << 10;
/// How long nothing is accepted after the system refused to (too many open files, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections of one port.
#[derive(Clone, Debug)]
pub struct Connections {
    /// Most of them at once; further ones wait in the system's queue.
    pub connections_max: usize,
    /// Longest time from the end of one request to the end of the next one's head.
    pub header_read_timeout: Duration,
    /// Where they run, so that the end can be waited for.
    pub tasks: TaskTracker,
    /// No more connections, and no more requests on those that are there.
    pub stop: CancellationToken,
}

/// Accepts connections until it is told to stop, and answers each request with `answer`.
pub async fn serve<A, F>(listener: TcpListener, connections: Connections, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(connections.connections_max));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = connections.stop.cancelled() => return,
            next = next => next,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY cannot be set");
        }
        let (answer, stop, timeout) =
            (answer.clone(), connections.stop.clone(), connections.header_read_timeout);
        connections.tasks.spawn(async move {
            let _place = place;
            let service = service_fn(move |request| {
                let reply = answer(request);
                async move { Ok::<_, Infallible>(reply.await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(timeout)
                .max_buf_size(HEAD_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
}
