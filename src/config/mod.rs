//! What the operator wrote, turned into what is meant. Everything that is wrong is told at once, and nothing
//! listens before all of it is right.

mod alerting;
mod raw;
mod rule_files;
mod value;
mod watch;

use std::{
    fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use reqwest::Url;
use thiserror::Error;

pub use self::{
    raw::{LogFormat, Raw},
    rule_files::{RuleSources, RuleTexts, RulesDigest},
    watch::{Look, Watched, watch},
};
use crate::{
    correlate::{self, BaseRule, Plan},
    correlator::CorrelationSettings,
    forward::{Backoff, ClientCert, Credentials, ElasticsearchSettings, FileSettings, Secret},
    prepare::{AlertTarget, DATASET_LOGS, LineRoute, Policy, is_namespace},
    receiver::{
        CredentialSettings, Limits, PassThrough, Passing, Pattern, Proof, PubsubSettings,
        PushSettings, TlsSettings,
    },
    rules::{self, Lists, Rule, RuleError, RuleSet, Search},
    unwrap::{self, Component},
};

/// Everything that a run needs.
#[derive(Debug)]
pub struct Config {
    /// Where shippers connect to.
    pub listen: SocketAddr,
    /// Where metrics and health are served.
    pub admin: SocketAddr,
    /// TLS for shippers.
    pub tls: Option<TlsSettings>,
    /// TLS for metrics and health.
    pub admin_tls: Option<TlsSettings>,
    /// Clients that are let in; any, where there is none.
    pub auth: Vec<CredentialSettings>,
    /// How those who push events are known, and where these go.
    pub push: PushSettings,
    /// How often files are looked at for what has changed.
    pub reload: Duration,
    /// Where documents go.
    pub output: OutputConfig,
    /// What becomes of documents that are refused for good.
    pub dead_letters: DeadLetters,
    /// What is done with items.
    pub policy: Policy,
    /// The rules.
    pub rules: Vec<Rule>,
    /// The correlations over them.
    pub plan: Arc<Plan>,
    /// How much correlations remember, and where.
    pub correlation: CorrelationSettings,
    /// Where they are read again.
    pub rule_sources: RuleSources,
    /// What was read there.
    pub rules_digest: RulesDigest,
    /// Limits of the receiver.
    pub limits: Limits,
    /// What is passed on to Elasticsearch besides bulk requests.
    pub passing: Passing,
    /// Most bytes of bodies at once.
    pub in_flight_bytes_max: u64,
    /// Most connections at once, on each port.
    pub connections_max: usize,
    /// Longest time from one request to the next one's head.
    pub header_read_timeout: Duration,
    /// Longest wait for a client to read more of its answer.
    pub write_timeout: Duration,
    /// How long a stop waits for what is in flight.
    pub shutdown_grace: Duration,
    /// Largest bulk request to the output (bytes).
    pub bulk_bytes_max: usize,
    /// Waits between tries.
    pub backoff: Backoff,
    /// How logs are written.
    pub log_format: LogFormat,
}

/// What rule files hold.
#[derive(Debug)]
pub struct Compiled {
    /// The rules.
    pub rules: Vec<Rule>,
    /// The correlations over them.
    pub plan: Arc<Plan>,
}

/// Where documents go.
#[derive(Debug)]
pub enum OutputConfig {
    /// To a cluster.
    Elasticsearch(ElasticsearchSettings),
    /// To files.
    File(FileSettings),
}

/// What becomes of documents that are refused for good.
#[derive(Debug)]
pub enum DeadLetters {
    /// The shipper hears of them and decides.
    Report,
    /// They are kept in a data stream of the output.
    Output,
    /// They are kept in files.
    File(FileSettings),
}

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no configuration.
    #[error("{}:{line}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Why.
        reason: String,
    },
    /// Options that cannot be meant: `name: what is wrong`.
    #[error("{}", lines(.0))]
    Options(Vec<String>),
    /// Rules that cannot be used.
    #[error("{}", lines(.0))]
    Rules(Vec<RuleError>),
}

fn lines<T: fmt::Display>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What is typed on the command line; it wins over the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--listen`
    pub listen: Option<SocketAddr>,
    /// `--admin`
    pub admin: Option<SocketAddr>,
    /// `--output`
    pub output: Option<String>,
}

/// Reads the configuration: the file, if there is one, and what was typed.
pub fn load(file: Option<&Path>, overrides: Overrides) -> Result<Config, ConfigError> {
    let raw = match file {
        None => Raw::default(),
        Some(path) => read(path)?,
    };
    meant(raw, overrides)
}

/// Reads a configuration file, as it is written.
pub fn read(path: &Path) -> Result<Raw, ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let mut raw = parse(&text).map_err(|(line, reason)| ConfigError::Syntax {
        path: path.to_owned(),
        line,
        reason,
    })?;
    raw.rules.begin_at(path);
    Ok(raw)
}

/// Reads the text of a configuration file, or gives the line and the reason why it is none.
pub fn parse(text: &str) -> Result<Raw, (usize, String)> {
    if text.trim().is_empty() {
        return Ok(Raw::default());
    }
    yaml_serde::from_str(text).map_err(|error| {
        let mut reason = error.to_string();
        for (of_rust, of_people) in TYPES {
            reason = reason.replace(of_rust, of_people);
        }
        (error.location().map_or(1, |it| it.line()), reason)
    })
}

/// How serde names what is expected, and how people do.
const TYPES: [(&str, &str); 3] = [
    ("expected u64", "expected a whole number, without a unit"),
    ("expected usize", "expected a whole number, without a unit"),
    ("expected a sequence", "expected a list"),
];

/// Checks what was written and turns it into what is meant.
pub fn meant(raw: Raw, overrides: Overrides) -> Result<Config, ConfigError> {
    let mut wrong = Vec::new();
    let listen = overrides.listen.unwrap_or_else(|| address("listen", &raw.listen, &mut wrong));
    let admin = overrides.admin.unwrap_or_else(|| address("admin", &raw.admin, &mut wrong));
    if listen == admin && listen.port() != 0 && wrong.is_empty() {
        wrong.push(format!("admin: {admin} is the address of listen"));
    }
    let written = overrides.output.unwrap_or_else(|| raw.output.clone());
    let output = output(&written, &raw, &mut wrong);
    let tls = tls("tls", raw.tls.as_ref(), &mut wrong);
    let admin_tls = self::tls("admin_tls", raw.admin_tls.as_ref(), &mut wrong);
    let auth = auth(&raw, &mut wrong);
    let push = push(&raw, &mut wrong);
    let dead_letters = dead_letters(&raw, &mut wrong);
    let alerts = alerts(&raw, &mut wrong);
    let alerting = alerting::alerting(&raw.alerts, &mut wrong);
    let passing = passing(&raw, &mut wrong);
    let drop = drop(&raw, &mut wrong);
    let lines_of = lines_of(&raw, &mut wrong);
    limits_fit(&raw, &mut wrong);
    if !is_namespace(&raw.audit.namespace) {
        wrong.push(format!(
            "audit.namespace: `{}` cannot be part of a data stream's name",
            raw.audit.namespace
        ));
    }
    let (Some(output), true) = (output, wrong.is_empty()) else {
        return Err(ConfigError::Options(wrong));
    };
    let rule_sources = RuleSources::new(&raw.rules);
    let rule_texts = rule_sources.read()?;
    let Compiled { rules, plan } = rule_texts.compile()?;
    let limits = &raw.limits;
    let depth_max = limits.depth_max;
    Ok(Config {
        listen,
        admin,
        tls,
        admin_tls,
        auth,
        push,
        reload: Duration::from_secs(raw.reload_s),
        output,
        dead_letters,
        policy: Policy {
            route: raw.audit.route,
            namespace: raw.audit.namespace.clone(),
            drop,
            lines: raw.control_plane.route,
            lines_of,
            ids: raw.audit.ids,
            alerts,
            alerting,
            unwrap: unwrap::Settings {
                preserve_original: raw.audit.preserve_original,
                objects: raw.audit.objects,
                depth_max,
                cluster: raw.audit.cluster.clone(),
                from_containers: raw.audit.from_containers,
            },
            items_max: limits.items_max,
            depth_max,
            // A document grows by a third or so; the rest is room for alerts.
            batch_bytes_max: usize::try_from(limits.decoded_bytes_max.saturating_mul(2))
                .unwrap_or(usize::MAX),
            inflated_bytes_max: usize::try_from(limits.decoded_bytes_max).unwrap_or(usize::MAX),
        },
        rules,
        plan,
        correlation: correlation(&raw.correlation),
        rule_sources,
        rules_digest: rule_texts.digest(),
        limits: Limits {
            body_bytes_max: limits.body_bytes_max,
            decoded_bytes_max: limits.decoded_bytes_max,
            body_idle_timeout: Duration::from_secs(limits.body_idle_timeout_s),
            body_bytes_per_s_min: limits.body_bytes_per_s_min,
            request_deadline: Duration::from_secs(limits.request_deadline_s),
            shard_timeout: Duration::from_secs(raw.elasticsearch.request_timeout_s) * 2 / 3,
        },
        passing,
        in_flight_bytes_max: limits.in_flight_bytes_max,
        connections_max: limits.connections_max,
        header_read_timeout: Duration::from_secs(limits.header_read_timeout_s),
        write_timeout: Duration::from_secs(limits.write_timeout_s),
        shutdown_grace: Duration::from_secs(limits.shutdown_grace_s),
        bulk_bytes_max: usize::try_from(raw.elasticsearch.bulk_bytes_max).unwrap_or(usize::MAX),
        backoff: Backoff {
            first: Duration::from_millis(raw.retry.first_ms),
            longest: Duration::from_millis(raw.retry.longest_ms),
        },
        log_format: raw.log.format,
    })
}

fn correlation(raw: &raw::RawCorrelation) -> CorrelationSettings {
    let micros =
        |seconds: u64| i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
    let bytes = usize::try_from(raw.memory_bytes_max).unwrap_or(usize::MAX);
    CorrelationSettings {
        state: raw.state.clone(),
        sync_each_request: raw.sync_each_request,
        limits: correlate::Limits {
            late_max_us: micros(raw.late_max_s),
            ahead_max_us: micros(raw.ahead_max_s),
            quiet_max_us: micros(raw.quiet_max_s),
            held_bytes_max: bytes / 3,
            groups_max: raw.groups_max,
            groups_bytes_max: bytes / 3 * 2,
            values_max: raw.values_max,
            alerts_per_hour_max: raw.alerts_per_hour_max,
            ..correlate::Limits::default()
        },
    }
}

fn address(name: &str, text: &str, wrong: &mut Vec<String>) -> SocketAddr {
    text.parse().unwrap_or_else(|_invalid| {
        wrong.push(format!("{name}: `{text}` is no address with a port, such as 127.0.0.1:9250"));
        SocketAddr::from(([127, 0, 0, 1], 0))
    })
}

fn output(written: &str, raw: &Raw, wrong: &mut Vec<String>) -> Option<OutputConfig> {
    if let Some(dir) = written.strip_prefix("file:") {
        if dir.is_empty() {
            wrong.push("output: `file:` needs a folder, such as file:./k8scop-data".into());
            return None;
        }
        return Some(OutputConfig::File(FileSettings {
            dir: dir.into(),
            rotate_bytes: raw.file.rotate_bytes,
            recent_ids_max: raw.file.recent_ids_max,
        }));
    }
    let mut credentials = configured_credentials(raw, wrong);
    let mut urls = Vec::new();
    for text in written.split(',').map(str::trim) {
        match Url::parse(text) {
            Ok(mut url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                if !url.username().is_empty() || url.password().is_some() {
                    let part = |it: &str| {
                        percent_encoding::percent_decode_str(it).decode_utf8_lossy().into_owned()
                    };
                    let password = Secret::new(part(url.password().unwrap_or_default()));
                    credentials.get_or_insert(Credentials::Basic {
                        username: part(url.username()),
                        password,
                    });
                    // Neither can fail for a URL with a host.
                    url.set_username("").ok();
                    url.set_password(None).ok();
                }
                urls.push(url);
            }
            // The text is not shown: it may hold a password.
            _ => wrong.push(
                "output: needs http:// or https:// URLs with commas between them, or file:DIR"
                    .into(),
            ),
        }
    }
    let elasticsearch = &raw.elasticsearch;
    Some(OutputConfig::Elasticsearch(ElasticsearchSettings {
        urls,
        credentials,
        ca_file: elasticsearch.ca_file.clone(),
        client_cert: client_cert(raw, wrong),
        connect_timeout: Duration::from_secs(elasticsearch.connect_timeout_s),
        request_timeout: Duration::from_secs(elasticsearch.request_timeout_s),
        compression_level: elasticsearch.compression_level,
    }))
}

/// How a cluster is reached that is typed (`--source`, `--api-key`, `--ca-file`), not configured.
pub fn typed_cluster(
    urls: &str,
    api_key: Option<&str>,
    ca_file: Option<&Path>,
) -> Result<ElasticsearchSettings, ConfigError> {
    let mut raw = Raw::default();
    raw.elasticsearch.api_key = api_key.map(|it| raw::RawSecret(it.to_owned()));
    raw.elasticsearch.ca_file = ca_file.map(Path::to_owned);
    let mut wrong = Vec::new();
    match output(urls, &raw, &mut wrong) {
        Some(OutputConfig::Elasticsearch(settings)) if wrong.is_empty() => Ok(settings),
        Some(OutputConfig::Elasticsearch(_)) => {
            let typed = |it: String| {
                it.replace("elasticsearch.api_key", "--api-key")
                    .replace("output: needs", "--source: needs")
                    .replace(", or file:DIR", "")
            };
            Err(ConfigError::Options(wrong.into_iter().map(typed).collect()))
        }
        _ => Err(ConfigError::Options(vec![
            "--source: needs http:// or https:// URLs with commas between them; files are read by `k8scop scan`".into(),
        ])),
    }
}

fn configured_credentials(raw: &Raw, wrong: &mut Vec<String>) -> Option<Credentials> {
    let mut secret = |name: &str, written: &Option<raw::RawSecret>| {
        value::resolve(written.as_ref()?)
            .map_err(|error| wrong.push(format!("elasticsearch.{name}: {error}")))
            .ok()
    };
    let api_key = secret("api_key", &raw.elasticsearch.api_key);
    let password = secret("password", &raw.elasticsearch.password);
    match (api_key, &raw.elasticsearch.username, password) {
        (Some(key), None, None) => Some(Credentials::ApiKey(key)),
        (None, Some(username), Some(password)) => {
            Some(Credentials::Basic { username: username.clone(), password })
        }
        (None, None, None) => None,
        _ => {
            wrong.push("elasticsearch: give either api_key, or username and password".into());
            None
        }
    }
}

fn client_cert(raw: &Raw, wrong: &mut Vec<String>) -> Option<ClientCert> {
    let elasticsearch = &raw.elasticsearch;
    match (&elasticsearch.client_cert_file, &elasticsearch.client_key_file) {
        (Some(cert_file), Some(key_file)) => {
            Some(ClientCert { cert_file: cert_file.clone(), key_file: key_file.clone() })
        }
        (None, None) => None,
        _ => {
            wrong
                .push("elasticsearch: client_cert_file and client_key_file need each other".into());
            None
        }
    }
}

fn tls(
    section: &'static str,
    raw: Option<&raw::RawTls>,
    wrong: &mut Vec<String>,
) -> Option<TlsSettings> {
    let raw = raw?;
    if raw.client_auth.is_some() && raw.client_ca_file.is_none() {
        wrong.push(format!("{section}.client_auth: needs {section}.client_ca_file"));
    }
    Some(TlsSettings {
        section,
        cert_file: raw.cert_file.clone(),
        key_file: raw.key_file.clone(),
        client_ca_file: raw.client_ca_file.clone(),
        client_auth: raw.client_auth.unwrap_or_default(),
    })
}

fn auth(raw: &Raw, wrong: &mut Vec<String>) -> Vec<CredentialSettings> {
    let mut credentials = Vec::new();
    for raw_credential in &raw.auth {
        let raw::RawCredential { name, password, api_key, bearer, certificate, .. } =
            raw_credential;
        let secret = |written: &raw::RawSecret| value::resolve(written);
        let proof = match (password, api_key, bearer, certificate) {
            (Some(it), None, None, None) => secret(it).map(Proof::Password),
            (None, Some(it), None, None) => secret(it).map(Proof::ApiKey),
            (None, None, Some(it), None) => secret(it).map(Proof::Bearer),
            (None, None, None, Some(it)) => match &raw.tls {
                Some(tls) if tls.client_ca_file.is_some() => Ok(Proof::Certificate(it.clone())),
                _ => Err("certificate needs tls.client_ca_file".into()),
            },
            _ => Err("give one of password, api_key, bearer and certificate".into()),
        };
        match proof {
            Ok(proof) => credentials.push(CredentialSettings {
                name: name.clone(),
                proof,
                indices: raw_credential.indices.clone(),
                set_up: raw_credential.set_up,
            }),
            Err(reason) => wrong.push(format!("auth {name}: {reason}")),
        }
    }
    credentials
}

/// Dataset of what is pushed and is no audit event.
const DATASET_PUSH: &str = "k8scop.push";

fn push(raw: &Raw, wrong: &mut Vec<String>) -> PushSettings {
    let namespace = &raw.push.namespace;
    if !is_namespace(namespace) {
        wrong.push(format!("push.namespace: `{namespace}` cannot be part of a data stream's name"));
    }
    let firehose_key = raw.push.firehose.access_key.as_ref().and_then(|written| {
        value::resolve(written)
            .map_err(|error| wrong.push(format!("push.firehose.access_key: {error}")))
            .ok()
    });
    let pubsub = raw.push.pubsub.as_ref().map(|it| {
        for (name, text) in [("audience", &it.audience), ("email", &it.email)] {
            if text.is_empty() {
                wrong.push(format!("push.pubsub.{name}: is empty"));
            }
        }
        if !is_jwks(&it.jwks) {
            // The text is not shown: it may hold a password.
            wrong.push("push.pubsub.jwks: needs an https:// URL or file:PATH".into());
        }
        PubsubSettings {
            audience: it.audience.clone(),
            email: it.email.clone(),
            jwks: it.jwks.clone(),
        }
    });
    let index = format!("logs-{DATASET_PUSH}-{namespace}");
    let events = format!("logs-{DATASET_LOGS}-{namespace}");
    PushSettings { writes: vec![index.clone(), events], index, firehose_key, pubsub }
}

/// Whoever can change keys on their way can make tokens.
fn is_jwks(written: &str) -> bool {
    if let Some(path) = written.strip_prefix("file:") {
        return !path.is_empty();
    }
    Url::parse(written).is_ok_and(|it| match it.scheme() {
        "https" => it.has_host(),
        "http" => matches!(it.host_str(), Some("127.0.0.1" | "[::1]" | "localhost")),
        _ => false,
    })
}

fn dead_letters(raw: &Raw, wrong: &mut Vec<String>) -> DeadLetters {
    let written = raw.dead_letter.to.as_str();
    let target = match written.strip_prefix("file:") {
        Some("") => {
            Err("dead_letter.to: `file:` needs a folder, such as file:./dead-letters".into())
        }
        Some(dir) if written == raw.output => Err(format!(
            "dead_letter.to: {dir} is the output's folder: write `output`, or name another one"
        )),
        Some(dir) => Ok(DeadLetters::File(FileSettings {
            dir: dir.into(),
            rotate_bytes: raw.file.rotate_bytes,
            recent_ids_max: raw.file.recent_ids_max,
        })),
        None if written == "output" => Ok(DeadLetters::Output),
        None => Err(format!("dead_letter.to: `{written}` is neither `output` nor file:DIR")),
    };
    match (raw.on_reject, target) {
        (raw::OnReject::DeadLetter, Ok(target)) => target,
        (_, Err(reason)) => {
            wrong.push(reason);
            DeadLetters::Report
        }
        (raw::OnReject::Report, Ok(_)) => DeadLetters::Report,
    }
}

fn alerts(raw: &Raw, wrong: &mut Vec<String>) -> AlertTarget {
    match raw.alerts.target {
        raw::AlertTargetName::DataStream => AlertTarget::DataStream,
        raw::AlertTargetName::Daily => {
            let prefix = &raw.alerts.prefix;
            if !begins_index(prefix) {
                wrong.push(format!("alerts.prefix: `{prefix}` cannot begin an index name"));
            }
            AlertTarget::Daily(prefix.clone())
        }
    }
}

/// Whether the name of an index may begin so.
#[must_use]
pub fn begins_index(prefix: &str) -> bool {
    is_namespace(prefix) && !prefix.starts_with(['-', '_', '+', '.'])
}

fn passing(raw: &Raw, wrong: &mut Vec<String>) -> Passing {
    let read = |text: &String| {
        let pattern = Pattern::parse(text);
        if pattern.is_none() {
            wrong.push(format!(
                "pass_through.also: `{text}` is no METHOD and /path, such as `DELETE /my-*`"
            ));
        }
        pattern
    };
    Passing {
        all: raw.pass_through.allow == PassThrough::All,
        also: raw.pass_through.also.iter().filter_map(read).collect(),
    }
}

fn drop(raw: &Raw, wrong: &mut Vec<String>) -> Vec<Search> {
    let all = raw.audit.drop.iter().enumerate();
    let read = all.filter_map(|(place, map)| {
        let read = rules::selection(&format!("audit.drop[{place}]"), map);
        read.map_err(|error| wrong.push(error)).ok()
    });
    read.collect()
}

fn lines_of(raw: &Raw, wrong: &mut Vec<String>) -> Vec<(Component, LineRoute)> {
    let read = |(name, route): (&String, &LineRoute)| {
        let component = Component::ALL.into_iter().find(|it| it.name() == name);
        if component.is_none() {
            let names: Vec<_> = Component::ALL.iter().map(|it| it.name()).collect();
            wrong.push(format!(
                "control_plane.components: there is no `{name}` (there are: {})",
                names.join(", ")
            ));
        }
        component.map(|it| (it, *route))
    };
    raw.control_plane.components.iter().filter_map(read).collect()
}

/// Longest time that can be set (seconds): a day.
const SECONDS_MAX: u64 = 24 * 60 * 60;
/// Largest number of anything else.
const COUNT_MAX: u64 = 1 << 40;

fn limits_fit(raw: &Raw, wrong: &mut Vec<String>) {
    let limits = &raw.limits;
    let largest = limits.body_bytes_max.max(limits.decoded_bytes_max);
    if limits.in_flight_bytes_max < largest {
        wrong.push(format!(
            "limits.in_flight_bytes_max: {} is less than the largest body ({largest}), which would never be taken",
            limits.in_flight_bytes_max
        ));
    }
    if !(8..=1000).contains(&limits.depth_max) {
        wrong.push("limits.depth_max: must be from 8 to 1000, Elasticsearch's own limit".into());
    }
    if raw.elasticsearch.compression_level > 9 {
        wrong.push("elasticsearch.compression_level: must be from 0 (none) to 9".into());
    }
    for (name, value) in [
        ("limits.items_max", limits.items_max as u64),
        ("limits.connections_max", limits.connections_max as u64),
        ("limits.body_bytes_max", limits.body_bytes_max),
        ("limits.decoded_bytes_max", limits.decoded_bytes_max),
        ("limits.body_idle_timeout_s", limits.body_idle_timeout_s),
        ("limits.body_bytes_per_s_min", limits.body_bytes_per_s_min),
        ("limits.header_read_timeout_s", limits.header_read_timeout_s),
        ("limits.write_timeout_s", limits.write_timeout_s),
        ("limits.request_deadline_s", limits.request_deadline_s),
        ("limits.shutdown_grace_s", limits.shutdown_grace_s),
        ("reload_s", raw.reload_s),
        ("elasticsearch.connect_timeout_s", raw.elasticsearch.connect_timeout_s),
        ("elasticsearch.request_timeout_s", raw.elasticsearch.request_timeout_s),
        ("elasticsearch.bulk_bytes_max", raw.elasticsearch.bulk_bytes_max),
        ("retry.first_ms", raw.retry.first_ms),
        ("retry.longest_ms", raw.retry.longest_ms),
        ("correlation.late_max_s", raw.correlation.late_max_s),
        ("correlation.ahead_max_s", raw.correlation.ahead_max_s),
        ("correlation.quiet_max_s", raw.correlation.quiet_max_s),
        ("correlation.memory_bytes_max", raw.correlation.memory_bytes_max),
        ("correlation.groups_max", raw.correlation.groups_max as u64),
        ("correlation.values_max", raw.correlation.values_max as u64),
        ("correlation.alerts_per_hour_max", raw.correlation.alerts_per_hour_max as u64),
    ] {
        let most = if name.ends_with("_s") { SECONDS_MAX } else { COUNT_MAX };
        if value == 0 || value > most {
            wrong.push(format!("{name}: must be from 1 to {most}"));
        }
    }
}

/// Reads rule files: name and text. Tells what is wrong with all of them, and which two have one id.
pub fn compile_rules(files: &[(String, String)], lists: &Lists) -> Result<Compiled, ConfigError> {
    let set = rules::assemble(files, &rules::Options::default(), lists);
    plan_rules(set.map_err(ConfigError::Rules)?)
}

/// The rules that come with the program, and the correlations over them.
pub fn built_in_rules() -> Result<Compiled, ConfigError> {
    let files = rules::BUILT_IN.iter().map(|(name, text)| ((*name).into(), (*text).into()));
    compile_rules(&files.collect::<Vec<_>>(), &Lists::default())
}

/// Reads the correlations over rules. Tells what is wrong with all of them.
pub fn plan_rules(set: RuleSet) -> Result<Compiled, ConfigError> {
    let RuleSet { rules, correlations, .. } = set;
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for document in &correlations {
        match rules::correlation::read(document) {
            Ok(correlation) => good.push(correlation),
            Err(error) => bad.push(error),
        }
    }
    if !bad.is_empty() {
        return Err(ConfigError::Rules(bad));
    }
    let base =
        |it: &Rule| BaseRule { id: it.id.clone(), name: it.name.clone(), file: it.file.clone() };
    let base: Vec<BaseRule> = rules.iter().map(base).collect();
    let plan = Plan::new(good, &base).map_err(|error| ConfigError::Rules(vec![error]))?;
    Ok(Compiled { rules, plan: Arc::new(plan) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(text: &str) -> Result<Config, String> {
        let raw = parse(text).map_err(|(line, reason)| format!("line {line}: {reason}"))?;
        meant(raw, Overrides::default()).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn wrong(text: &str, expected: &[&str]) {
        let error = loaded(text).unwrap_err();
        for expected in expected {
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_default_stores_in_files_and_listens_on_loopback() {
        let config = loaded("").unwrap();
        assert!(config.listen.ip().is_loopback() && config.admin.ip().is_loopback());
        assert!(
            matches!(config.output, OutputConfig::File(file) if file.dir == Path::new("./k8scop-data"))
        );
    }

    #[test]
    fn mistakes_are_told_all_at_once() {
        wrong("lisen: x", &["line 1", "unknown field `lisen`"]);
        wrong("limits:\n  body_bytes: 5", &["line 2", "body_bytes"]);
        wrong(
            "listen: here\noutput: ftp://x\naudit: {namespace: A}\nlimits: {in_flight_bytes_max: 5, depth_max: 2000, items_max: 0}",
            &[
                "listen:",
                "output:",
                "audit.namespace:",
                "limits.in_flight_bytes_max:",
                "limits.depth_max:",
                "limits.items_max:",
            ],
        );
        wrong("listen: 127.0.0.1:1\nadmin: 127.0.0.1:1", &["admin: 127.0.0.1:1 is the address"]);
        wrong("control_plane: drop", &["control_plane: invalid type", "expected a map of options"]);
        wrong("limits: {body_bytes_max: 1MB}", &["expected a whole number, without a unit"]);
        wrong("rules: {paths: x}", &["expected a list"]);
        wrong("output: 'file:'", &["needs a folder"]);
        wrong("output: http://h:1\nelasticsearch: {api_key: a, username: b}", &["either api_key"]);
        wrong(
            "output: http://h:1\nelasticsearch: {api_key: 'env:K8SCOP_NOT_SET'}",
            &["elasticsearch.api_key", "K8SCOP_NOT_SET"],
        );
        wrong("alerts: {target: daily, prefix: _x}", &["alerts.prefix"]);
        wrong(
            "push: {namespace: A, firehose: {access_key: 'env:K8SCOP_NOT_SET'}, pubsub: {audience: '', email: e, jwks: 'http://a/b'}}",
            &[
                "push.namespace",
                "push.firehose.access_key",
                "push.pubsub.audience",
                "push.pubsub.jwks",
            ],
        );
    }

    #[test]
    fn passwords_in_urls_are_taken_out_and_never_shown() {
        let config = loaded("output: https://elastic:s3cr%3At@a:9200,https://b:9200/es").unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains("s3cr"), "{shown}");
        let OutputConfig::Elasticsearch(settings) = config.output else { panic!("{shown}") };
        assert_eq!(
            settings.urls.iter().map(Url::as_str).collect::<Vec<_>>(),
            ["https://a:9200/", "https://b:9200/es"]
        );
        let expected = Credentials::Basic {
            username: "elastic".into(),
            password: Secret::new("s3cr:t".into()),
        };
        assert_eq!(settings.credentials, Some(expected));
        let error = loaded("output: ftp://elastic:s3cret@a").unwrap_err();
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn two_rules_with_one_id() {
        let rule = "title: t\nid: i\nlevel: low\nlogsource: {product: kubernetes, service: audit}\ndetection: {a: {verb: get}, condition: a}";
        let files = [("a.yml".to_owned(), rule.to_owned()), ("b.yml".to_owned(), rule.to_owned())];
        assert!(
            compile_rules(&files, &Lists::default())
                .unwrap_err()
                .to_string()
                .contains("the id i is that of a.yml already")
        );
    }
}
