use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use reqwest::Url;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::Backoff;

/// Failures in a row after which a node is left alone for a while.
const FAILURES_MAX: u32 = 3;

/// The nodes of a cluster: who is asked next, and who is left alone because it fails.
#[derive(Debug)]
pub(super) struct Nodes {
    nodes: Vec<Node>,
    backoff: Backoff,
    /// Told when a node may be asked again.
    recovered: Notify,
}

#[derive(Debug)]
struct Node {
    url: Url,
    in_flight: AtomicUsize,
    breaker: Mutex<Breaker>,
}

/// Whether a node is asked. Closed: yes. Open: not before a certain time, then by one request (half-open).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Breaker {
    failures: u32,
    /// Not asked before.
    open_until: Option<Instant>,
    /// One request is finding out.
    probing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum May {
    Ask,
    Probe,
    NotBefore(Instant),
    /// Another request is finding out.
    Wait,
}

impl Breaker {
    fn may(&self, now: Instant) -> May {
        match self.open_until {
            None => May::Ask,
            Some(_) if self.probing => May::Wait,
            Some(until) if until > now => May::NotBefore(until),
            Some(_) => May::Probe,
        }
    }

    /// True if it was open until now.
    fn succeeded(&mut self) -> bool {
        let was_open = self.open_until.is_some();
        *self = Self::default();
        was_open
    }

    /// `probe`: it was the request that finds out. Others were sent before and say nothing new.
    fn failed(&mut self, probe: bool, now: Instant, backoff: Backoff, random: f64) {
        if self.open_until.is_some() && !probe {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        self.probing = false;
        if let Some(tries) = self.failures.checked_sub(FAILURES_MAX) {
            // At least half of the span: a node that is down is asked once in a while, not all the time.
            self.open_until = Some(now + backoff.delay(tries, 0.5 + random / 2.0));
        }
    }
}

/// The right to send one request to a node. Dropped without a word, it counts for nothing.
#[derive(Debug)]
pub(super) struct Lease<'n> {
    nodes: &'n Nodes,
    node: &'n Node,
    probe: bool,
    told: bool,
}

impl Nodes {
    pub(super) fn new(urls: &[Url], backoff: Backoff) -> Self {
        let node = |url: &Url| Node {
            url: url.clone(),
            in_flight: AtomicUsize::new(0),
            breaker: Mutex::default(),
        };
        Self { nodes: urls.iter().map(node).collect(), backoff, recovered: Notify::new() }
    }

    /// A node to ask, as soon as there is one: of those that work the one with the fewest requests, else one that
    /// may work again. `None` if there is none until then.
    pub(super) async fn lease(&self, until: Instant) -> Option<Lease<'_>> {
        loop {
            // Made before looking, so that no recovery between the two is missed.
            let recovered = self.recovered.notified();
            let next = match self.try_lease() {
                Ok(lease) => return Some(lease),
                Err(next) => next.map_or(until, |it| it.min(until)),
            };
            if timeout_at(next, recovered).await.is_err() && Instant::now() >= until {
                return None;
            }
        }
    }

    /// A node to ask now, or when there may be one.
    pub(super) fn try_lease(&self) -> Result<Lease<'_>, Option<Instant>> {
        let now = Instant::now();
        let first = fastrand::usize(..self.nodes.len().max(1));
        let (front, back) = self.nodes.split_at_checked(first).unwrap_or_default();
        let mut best: Option<(&Node, usize)> = None;
        let mut next: Option<Instant> = None;
        for node in back.iter().chain(front) {
            let mut breaker = node.breaker();
            match breaker.may(now) {
                May::Ask => {
                    let load = node.in_flight.load(Ordering::Relaxed);
                    if best.is_none_or(|(_, least)| load < least) {
                        best = Some((node, load));
                    }
                }
                // A node that came back is found out about even while others work.
                May::Probe => {
                    breaker.probing = true;
                    return Ok(self.leased(node, true));
                }
                May::NotBefore(at) => next = Some(next.map_or(at, |it| it.min(at))),
                May::Wait => (),
            }
        }
        best.map(|(node, _)| self.leased(node, false)).ok_or(next)
    }

    fn leased<'n>(&'n self, node: &'n Node, probe: bool) -> Lease<'n> {
        node.in_flight.fetch_add(1, Ordering::Relaxed);
        Lease { nodes: self, node, probe, told: false }
    }

    /// Waits until a node that failed works again.
    pub(super) async fn recovered(&self) {
        self.recovered.notified().await;
    }

    /// Whether any node is believed to work.
    pub(super) fn any_works(&self) -> bool {
        self.nodes.iter().any(|it| it.breaker().open_until.is_none())
    }
}

impl Node {
    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease<'_> {
    /// The address of the node for a path and a query.
    pub(super) fn url(&self, path_and_query: &str) -> Option<Url> {
        let base = self.node.url.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}{path_and_query}")).ok()
    }

    /// The node answered.
    pub(super) fn succeeded(mut self) {
        self.told = true;
        if self.node.breaker().succeeded() {
            tracing::info!(node = self.node.url.host_str(), "the node answers again");
            self.nodes.recovered.notify_waiters();
        }
    }

    /// The node did not answer, or not so that it can be believed.
    pub(super) fn failed(mut self) {
        self.told = true;
        let mut breaker = self.node.breaker();
        let was_closed = breaker.open_until.is_none();
        breaker.failed(self.probe, Instant::now(), self.nodes.backoff, fastrand::f64());
        if was_closed && breaker.open_until.is_some() {
            tracing::warn!(
                node = self.node.url.host_str(),
                "the node fails: it is left alone for a while"
            );
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.node.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.probe && !self.told {
            self.node.breaker().probing = false;
        }
        if self.probe {
            // Whoever waits looks again: there is a new time to wait for, or nobody is finding out any more.
            self.nodes.recovered.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BACKOFF: Backoff =
        Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(5) };

    fn nodes(count: usize) -> Nodes {
        let url = |it| Url::parse(&format!("http://node-{it}:9200/p/")).unwrap();
        Nodes::new(&(0..count).map(url).collect::<Vec<_>>(), BACKOFF)
    }

    fn host(lease: &Lease<'_>) -> String {
        lease.url("/_bulk?x").unwrap().to_string()
    }

    #[tokio::test]
    async fn the_least_loaded_node_is_asked() {
        let nodes = nodes(3);
        let leases: Vec<_> = (0..6).map(|_| nodes.try_lease().unwrap()).collect();
        let mut hosts: Vec<_> = leases.iter().map(host).collect();
        hosts.sort();
        hosts.dedup();
        assert_eq!(hosts.len(), 3);
        assert_eq!(hosts[0], "http://node-0:9200/p/_bulk?x");
        assert!(nodes.nodes.iter().all(|it| it.in_flight.load(Ordering::Relaxed) == 2));
        drop(leases);
        assert!(nodes.nodes.iter().all(|it| it.in_flight.load(Ordering::Relaxed) == 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_fails_is_left_alone_and_found_again_by_one_request() {
        let nodes = nodes(1);
        for _ in 0..FAILURES_MAX {
            nodes.try_lease().unwrap().failed();
        }
        assert!(!nodes.any_works());
        let next = nodes.try_lease().unwrap_err().unwrap();
        assert!(next <= Instant::now() + BACKOFF.first && next > Instant::now());
        let far = Instant::now() + Duration::from_secs(60);
        let probe = nodes.lease(far).await.unwrap();
        assert!(Instant::now() >= next);
        assert_eq!(nodes.try_lease().unwrap_err(), None, "one request finds out, not all");
        // The others go on the moment it has found out.
        let waiting = async { nodes.lease(far).await.is_some() };
        let finding = async {
            tokio::task::yield_now().await;
            probe.succeeded();
        };
        assert!(tokio::join!(waiting, finding).0);
        assert!(nodes.any_works() && Instant::now() < far);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_given_up_leaves_the_way_to_the_next() {
        let nodes = nodes(1);
        for _ in 0..FAILURES_MAX {
            nodes.try_lease().unwrap().failed();
        }
        let far = Instant::now() + Duration::from_secs(60);
        drop(nodes.lease(far).await.unwrap());
        nodes.lease(far).await.unwrap().failed();
        assert!(nodes.lease(Instant::now()).await.is_none());
        assert!(nodes.lease(far).await.is_some());
    }

    #[test]
    fn the_time_alone_grows_and_ends() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        let mut last = Duration::ZERO;
        for failures in 1..40 {
            breaker.failed(true, now, BACKOFF, 1.0);
            let alone = breaker.open_until.map_or(Duration::ZERO, |it| it - now);
            assert!(alone >= last && alone <= BACKOFF.longest);
            assert_eq!(alone == Duration::ZERO, failures < FAILURES_MAX);
            last = alone;
        }
        assert_eq!(last, BACKOFF.longest);
        assert!(breaker.succeeded());
        assert_eq!(breaker.may(now), May::Ask);
        // Many requests that were on their way say no more than the first of them.
        for _ in 0..100 {
            breaker.failed(false, now, BACKOFF, 1.0);
        }
        assert_eq!(breaker.open_until, Some(now + BACKOFF.first));
    }
}
