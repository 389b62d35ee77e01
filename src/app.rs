//! Builds the rooms, joins them, and owns every task and the order of the stop.

use std::{io::IsTerminal, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::Admin,
    classify::Classifier,
    config::{self, Config, DeadLetters, LogFormat, Look, OutputConfig, Watched},
    correlator::{self, Correlator},
    forward::{Elasticsearch, FileOutput, Forwarder, Output},
    metrics::Metrics,
    prepare::Preparer,
    receiver::{
        self, Auth, Budget, Connections, CredentialSettings, DeadLetterOffice, Proof, Push,
        Receiver, Tls, TlsSettings, serve,
    },
    reload::RuleReload,
    summaries::Summaries,
};

/// Least time to tell how many alerts were held, when it stops.
const FLUSH_TIME_MIN: Duration = Duration::from_secs(2);

/// A running k8scop.
#[derive(Debug)]
pub struct App {
    /// Where shippers connect to.
    pub listen: SocketAddr,
    /// Where metrics are served.
    pub admin: SocketAddr,
    admin_state: Arc<Admin>,
    data: Port,
    admin_port: Port,
    /// Correlations, for which time goes on.
    time: Port,
    deliveries: TaskTracker,
    summaries: Arc<Summaries>,
    summaries_port: Port,
    shutdown_grace: Duration,
}

#[derive(Debug)]
struct Port {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl App {
    /// Starts everything. Both ports are bound when this returns, and nothing was started if it fails.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        // Fails only where another part of the process has chosen already.
        rustls::crypto::ring::default_provider().install_default().ok();
        let classifier = Classifier::new(config.rules).context("the rules cannot be compiled")?;
        let classifier = classifier.with_plan(Arc::clone(&config.plan));
        let metrics = Arc::new(Metrics::new(classifier.rules()).context("metrics")?);
        metrics
            .in_flight_limit_bytes
            .set(i64::try_from(config.in_flight_bytes_max).unwrap_or(i64::MAX));
        let has_credentials =
            matches!(&config.output, OutputConfig::Elasticsearch(it) if it.credentials.is_some());
        let mut watched = Vec::new();
        let output = match config.output {
            OutputConfig::Elasticsearch(settings) => {
                let output =
                    Arc::new(Elasticsearch::new(&settings, config.backoff).context("output")?);
                let files = settings.files();
                let part = Arc::clone(&output);
                watched.push(Watched::new("elasticsearch", files, move || part.reload()));
                Output::Elasticsearch(output)
            }
            OutputConfig::File(settings) => Output::File(Arc::new(FileOutput::open(settings)?)),
        };
        let tls = tls(config.tls.as_ref(), &mut watched)?;
        let admin_tls = self::tls(config.admin_tls.as_ref(), &mut watched)?;
        let auth = auth(&config.auth, &mut watched)?;
        let push = Arc::new(Push::new(config.push)?);
        let part = Arc::clone(&push);
        watched.push(Watched::new("push", push.files(), move || part.reload()));
        let listener = bind("listen", config.listen).await?;
        let admin_listener = bind("admin", config.admin).await?;
        let deliveries = TaskTracker::new();
        let forwarder = |output| {
            let metrics = Arc::clone(&metrics);
            Arc::new(Forwarder::new(output, config.backoff, config.bulk_bytes_max, metrics))
        };
        let namespace = config.policy.namespace.clone();
        let main_forwarder = forwarder(output);
        let dead_letters = match config.dead_letters {
            DeadLetters::Report => None,
            DeadLetters::Output => Some(Arc::clone(&main_forwarder)),
            DeadLetters::File(settings) => {
                let file = FileOutput::open(settings).context("dead_letter.to")?;
                Some(forwarder(Output::File(Arc::new(file))))
            }
        };
        let (alerting, correlations) = (&config.policy.alerting, config.plan.correlations());
        let strangers = alerting.strangers(classifier.rules(), correlations);
        for odd in strangers.into_iter().chain(alerting.other_groups(correlations)) {
            tracing::warn!("{odd}");
        }
        if config.correlation.state.is_none() && !config.plan.is_empty() {
            tracing::warn!(
                "correlation.state is not set: what correlations remember is forgotten when the process ends"
            );
        }
        let correlator = Arc::new(Correlator::open(correlator::Parts {
            plan: config.plan,
            settings: config.correlation,
            forwarder: Arc::clone(&main_forwarder),
            target: config.policy.alerts.clone(),
            alerting: config.policy.alerting.clone(),
            namespace: namespace.clone(),
            metrics: Arc::clone(&metrics),
        })?);
        let preparer = Arc::new(Preparer::new(config.policy, classifier));
        let rules = Arc::new(RuleReload::new(
            config.rule_sources,
            config.rules_digest,
            Arc::clone(&preparer),
            Arc::clone(&correlator),
            Arc::clone(&metrics),
        ));
        let (of_summaries, stores) = (Arc::clone(&preparer), Arc::clone(&main_forwarder));
        let summaries = Arc::new(Summaries::new(of_summaries, stores, Arc::clone(&metrics)));
        let receiver = Arc::new(Receiver::new(receiver::Parts {
            preparer,
            forwarder: main_forwarder,
            dead_letters: dead_letters.map(|forwarder| DeadLetterOffice { forwarder, namespace }),
            correlator: Arc::clone(&correlator),
            auth,
            push,
            limits: config.limits,
            passing: config.passing,
            budget: Budget::new(config.in_flight_bytes_max, metrics.in_flight_bytes.clone()),
            metrics: Arc::clone(&metrics),
            deliveries: deliveries.clone(),
        }));
        let admin_state = Arc::new(Admin::new(metrics, Arc::clone(&rules)));
        let connections = |port: &Port, tls| Connections {
            tls,
            connections_max: config.connections_max,
            header_read_timeout: config.header_read_timeout,
            write_timeout: config.write_timeout,
            tasks: port.tasks.clone(),
            stop: port.stop.clone(),
        };
        let (data, admin_port, summaries_port) = (Port::new(), Port::new(), Port::new());
        summaries_port.tasks.spawn(Arc::clone(&summaries).send(summaries_port.stop.clone()));
        let (listen, admin) = (listener.local_addr()?, admin_listener.local_addr()?);
        let answer = move |request| Arc::clone(&receiver).answer(request);
        data.tasks.spawn(serve(listener, connections(&data, tls), answer));
        let state = Arc::clone(&admin_state);
        let answer = move |request| {
            let state = Arc::clone(&state);
            async move { state.answer(&request).await }
        };
        admin_port.tasks.spawn(serve(admin_listener, connections(&admin_port, admin_tls), answer));
        let time = Port::new();
        time.tasks.spawn(correlator.run(time.stop.clone()));
        watched.retain(Watched::has_files);
        let mut looked_at: Vec<Box<dyn Look>> = vec![Box::new(rules)];
        for part in watched {
            looked_at.push(Box::new(part));
        }
        let stop = admin_port.stop.clone();
        let watch = config::watch(looked_at, config.reload, stop).context("SIGHUP")?;
        admin_port.tasks.spawn(watch);
        if has_credentials && !listen.ip().is_loopback() {
            tracing::warn!(%listen, "credentials are configured: whoever reaches this address acts with them");
        }
        tracing::info!(%listen, %admin, "ready");
        Ok(Self {
            listen,
            admin,
            admin_state,
            data,
            admin_port,
            time,
            deliveries,
            summaries,
            summaries_port,
            shutdown_grace: config.shutdown_grace,
        })
    }

    /// Stops: takes nothing new, answers what is in flight, then ends. True if all of it was answered in time.
    pub async fn stop(self) -> bool {
        self.admin_state.drain();
        self.data.stop.cancel();
        let all = async {
            self.data.end().await;
            self.deliveries.close();
            self.deliveries.wait().await;
            // What was answered is remembered.
            self.time.stop.cancel();
            self.time.end().await;
        };
        let deadline = tokio::time::Instant::now() + self.shutdown_grace;
        let answered = tokio::time::timeout_at(deadline, all).await.is_ok();
        self.summaries_port.stop.cancel();
        self.summaries_port.end().await;
        self.summaries.flush(deadline.max(tokio::time::Instant::now() + FLUSH_TIME_MIN)).await;
        self.admin_port.stop.cancel();
        if answered {
            tracing::info!("stopped: everything in flight was answered");
        } else {
            tracing::error!("stopped with requests in flight: their shippers will send them again");
        }
        answered
    }
}

impl Port {
    fn new() -> Self {
        Self { stop: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    async fn end(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn bind(name: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{name}: cannot listen on {address}"))
}

fn tls(
    settings: Option<&TlsSettings>,
    watched: &mut Vec<Watched>,
) -> anyhow::Result<Option<Arc<Tls>>> {
    let Some(settings) = settings else { return Ok(None) };
    let tls = Tls::new(settings)?;
    let part = Arc::clone(&tls);
    watched.push(Watched::new(settings.section, settings.files(), move || part.reload()));
    Ok(Some(tls))
}

fn auth(
    settings: &[CredentialSettings],
    watched: &mut Vec<Watched>,
) -> anyhow::Result<Option<Arc<Auth>>> {
    if settings.is_empty() {
        return Ok(None);
    }
    let path = |it: &CredentialSettings| match &it.proof {
        Proof::Password(secret) | Proof::ApiKey(secret) | Proof::Bearer(secret) => {
            secret.path().cloned()
        }
        Proof::Certificate(_) => None,
    };
    let files = settings.iter().filter_map(path).collect();
    let auth = Arc::new(Auth::new(settings)?);
    let part = Arc::clone(&auth);
    watched.push(Watched::new("auth", files, move || part.reload()));
    Ok(Some(auth))
}

/// Checks what only shows when the parts are built: certificates and credentials. Nothing is started.
pub fn check(config: &Config) -> anyhow::Result<()> {
    rustls::crypto::ring::default_provider().install_default().ok();
    if let OutputConfig::Elasticsearch(settings) = &config.output {
        Elasticsearch::new(settings, config.backoff)?;
    }
    for settings in [&config.tls, &config.admin_tls].into_iter().flatten() {
        Tls::new(settings)?;
    }
    Auth::new(&config.auth)?;
    Push::new(config.push.clone())?;
    Ok(())
}

/// Sends the program's log to standard error. `RUST_LOG` chooses what is told; `level` and worse if it is not
/// set.
pub fn start_log(format: LogFormat, level: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_unset| tracing_subscriber::EnvFilter::new(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    // Fails only where a log was started before, as in tests.
    if json {
        builder.json().flatten_event(true).try_init().ok();
    } else {
        builder.try_init().ok();
    }
}

/// Runs until the process is told to end (SIGTERM, SIGINT).
pub async fn run(config: Config) -> anyhow::Result<bool> {
    let app = App::start(config).await?;
    wait_for_end().await?;
    tracing::info!("stopping");
    Ok(app.stop().await)
}

/// Waits until the process is told to end.
pub(crate) async fn wait_for_end() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => (),
        _ = int.recv() => (),
    }
    Ok(())
}
