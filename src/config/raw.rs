use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, de};

use crate::{
    alerts::Rate,
    prepare::{Ids, LineRoute, Route},
    receiver::{ClientAuth, PassThrough},
    rules::Level,
    unwrap::Objects,
};

/// The configuration file as it is written (YAML). Every option may be left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields, default)]
pub struct Raw {
    /// Address for shippers: they write here instead of to Elasticsearch.
    pub listen: String,
    /// Address for `/metrics`, `/livez`, `/readyz`.
    pub admin: String,
    /// TLS for `listen`.
    pub tls: Option<RawTls>,
    /// TLS for `admin`.
    pub admin_tls: Option<RawTls>,
    /// Clients that are let in. Where there is one, no other is, and what they send as `Authorization` stays here.
    pub auth: Vec<RawCredential>,
    /// How often certificates, keys and secrets in files, and the files of `rules.paths`, are looked at for what has
    /// changed (seconds); SIGHUP is for now.
    pub reload_s: u64,
    /// `http://` or `https://` URLs of Elasticsearch nodes with commas between them, or `file:DIR`.
    pub output: String,
    /// How to reach Elasticsearch.
    pub elasticsearch: RawElasticsearch,
    /// What is passed on to Elasticsearch besides bulk requests.
    pub pass_through: RawPassThrough,
    /// What becomes of a document that is refused for good. `report`: the shipper hears of it and decides;
    /// `dead_letter`: it is kept, and the shipper hears that it is stored.
    pub on_reject: OnReject,
    /// Where dead letters are kept.
    pub dead_letter: RawDeadLetter,
    /// How files are written.
    pub file: RawFile,
    /// What becomes of audit events.
    pub audit: RawAudit,
    /// What becomes of the other logs of a control plane: what is no audit event in the logs of EKS and AKS.
    pub control_plane: RawControlPlane,
    /// Events that are pushed: POST `/audit`, `/firehose` and `/pubsub`, each also with `/CLUSTER`.
    pub push: RawPush,
    /// Where alerts go, and which are told.
    pub alerts: RawAlerts,
    /// Which rules are used.
    pub rules: RawRules,
    /// What correlations, rules over several events, remember.
    pub correlation: RawCorrelation,
    /// What is allowed.
    pub limits: RawLimits,
    /// Waits between tries.
    pub retry: RawRetry,
    /// The program's own log.
    pub log: RawLog,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9250".into(),
            admin: "127.0.0.1:9251".into(),
            tls: None,
            admin_tls: None,
            auth: Vec::new(),
            reload_s: 10,
            output: "file:./k8scop-data".into(),
            elasticsearch: RawElasticsearch::default(),
            pass_through: RawPassThrough::default(),
            on_reject: OnReject::default(),
            dead_letter: RawDeadLetter::default(),
            file: RawFile::default(),
            audit: RawAudit::default(),
            control_plane: RawControlPlane::default(),
            push: RawPush::default(),
            alerts: RawAlerts::default(),
            rules: RawRules::default(),
            correlation: RawCorrelation::default(),
            limits: RawLimits::default(),
            retry: RawRetry::default(),
            log: RawLog::default(),
        }
    }
}

/// TLS on one of our ports.
#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields)]
pub struct RawTls {
    /// Our certificate, and those between it and its authority (PEM).
    pub cert_file: PathBuf,
    /// Its key (PEM).
    pub key_file: PathBuf,
    /// Authorities of client certificates (PEM). With it clients are asked for theirs.
    pub client_ca_file: Option<PathBuf>,
    /// `required`: no client without one; `optional`: a client may have none.
    pub client_auth: Option<ClientAuth>,
}

/// A client that is let in, by one of `password`, `api_key`, `bearer` and `certificate`.
#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields)]
pub struct RawCredential {
    /// For logs; the user of `password`.
    pub name: String,
    /// Basic authentication: `env:NAME`, `file:PATH` or the password.
    pub password: Option<RawSecret>,
    /// API key: `env:NAME`, `file:PATH` or the key (`id:key`, or its `encoded` form).
    pub api_key: Option<RawSecret>,
    /// Bearer token: `env:NAME`, `file:PATH` or the token.
    pub bearer: Option<RawSecret>,
    /// Common name of the client's certificate, else its first DNS name or URI; needs `tls.client_ca_file`.
    pub certificate: Option<String>,
    /// What it may write: names of indices, `*` is any text but not a dot at the start.
    #[serde(default = "every_index")]
    pub indices: Vec<String>,
    /// Whether it may put templates, policies and pipelines.
    #[serde(default = "yes")]
    pub set_up: bool,
}

fn every_index() -> Vec<String> {
    vec!["*".into()]
}

fn yes() -> bool {
    true
}

/// A secret as it is written. No message shows it, not even that it should have been in quotes.
#[derive(Clone, PartialEq, Eq)]
pub struct RawSecret(pub String);

impl fmt::Debug for RawSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for RawSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        const QUOTES: &str =
            "a secret that looks like a number or a word of YAML must stand in quotes";

        impl de::Visitor<'_> for Visitor {
            type Value = RawSecret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret: env:NAME, file:PATH, or the text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawSecret, E> {
                Ok(RawSecret(text.to_owned()))
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<RawSecret, E> {
                Err(E::custom(QUOTES))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<RawSecret, E> {
                Err(E::custom(QUOTES))
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<RawSecret, E> {
                Err(E::custom(QUOTES))
            }

            fn visit_i128<E: de::Error>(self, _: i128) -> Result<RawSecret, E> {
                Err(E::custom(QUOTES))
            }

            fn visit_u128<E: de::Error>(self, _: u128) -> Result<RawSecret, E> {
                Err(E::custom(QUOTES))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<RawSecret, E> {
                Err(E::custom(QUOTES))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// How to reach Elasticsearch. Without credentials here, those of the shipper are passed on.
#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields, default)]
pub struct RawElasticsearch {
    /// API key: `env:NAME`, `file:PATH` or the key (`id:key`, or its `encoded` form).
    pub api_key: Option<RawSecret>,
    /// User of basic authentication.
    pub username: Option<String>,
    /// Its password: `env:NAME`, `file:PATH` or the password.
    pub password: Option<RawSecret>,
    /// Certificate authorities to trust besides the system's (PEM).
    pub ca_file: Option<PathBuf>,
    /// The certificate that we show to Elasticsearch, with those between it and its authority (PEM).
    pub client_cert_file: Option<PathBuf>,
    /// Its key (PEM).
    pub client_key_file: Option<PathBuf>,
    /// Longest wait for a connection (seconds).
    pub connect_timeout_s: u64,
    /// Longest wait for an answer (seconds).
    pub request_timeout_s: u64,
    /// Largest bulk request (bytes); what is larger goes in several.
    pub bulk_bytes_max: u64,
    /// How bulk requests are compressed (gzip), as in Filebeat's output: from 1, which costs least, to 9; 0: not at all,
    /// which is best where the network is near and no bottleneck.
    pub compression_level: u32,
}

impl Default for RawElasticsearch {
    fn default() -> Self {
        Self {
            api_key: None,
            username: None,
            password: None,
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            connect_timeout_s: 5,
            request_timeout_s: 30,
            bulk_bytes_max: 32 << 20,
            compression_level: 0,
        }
    }
}

/// What is passed on to Elasticsearch besides bulk requests.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields, default)]
pub struct RawPassThrough {
    /// `shippers`: what shippers ask when they start (root, licence, templates, policies, pipelines, aliases,
    /// creation of indices) and when they write documents; `all`: everything.
    pub allow: PassThrough,
    /// More requests: `METHOD /path`, with `*` for any text.
    pub also: Vec<String>,
}

/// See [`Raw::on_reject`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnReject {
    /// The shipper hears of it.
    #[default]
    Report,
    /// It is kept.
    DeadLetter,
}

/// Where dead letters are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields, default)]
pub struct RawDeadLetter {
    /// `output`: in the data stream `logs-k8scop.dead_letter-NAMESPACE` of the output; or `file:DIR`.
    pub to: String,
}

impl Default for RawDeadLetter {
    fn default() -> Self {
        Self { to: "output".into() }
    }
}

/// How files are written.
#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields, default)]
pub struct RawFile {
    /// A file larger than this is set aside (bytes).
    pub rotate_bytes: u64,
    /// How many documents back an `_id` is known.
    pub recent_ids_max: usize,
}

impl Default for RawFile {
    fn default() -> Self {
        Self { rotate_bytes: 64 << 20, recent_ids_max: 100_000 }
    }
}

/// What becomes of audit events.
#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields, default)]
pub struct RawAudit {
    /// `reroute`: to `logs-kubernetes.audit_logs-NAMESPACE`; `keep`: to the index that the shipper named.
    pub route: Route,
    /// NAMESPACE where the shipper's index has none.
    pub namespace: String,
    /// Name of the cluster where the document does not tell.
    pub cluster: Option<String>,
    /// `_id` where the shipper gave none. `audit`: from cluster, auditID, stage, and time, user, verb and URI of
    /// the request; `elasticsearch`: its own.
    pub ids: Ids,
    /// What is kept of `requestObject` and `responseObject`. `drop_metadata`: all but their own `metadata`, as Elastic
    /// does; `slim`: all but their `status`, and of `metadata` names, labels, annotations and owners; `string`: JSON
    /// text in `requestObject_raw` and `responseObject_raw`; `flattened`: all of them, for that field type (see
    /// `pipelines/templates/README.md`); `full`: as they came. `managedFields` go with all but `full`.
    pub objects: Objects,
    /// Keep the event's text in `event.original`.
    pub preserve_original: bool,
    /// Whether an audit event that a container printed is taken for one. Whoever runs a container can forge such; they
    /// are tagged `k8scop_from_container`. `false`: they pass as they came.
    pub from_containers: bool,
    /// Events that are not stored, and on which no rule is run: maps of fields as in the detection of a rule, such as
    /// `{objectRef.resource: leases, user.username|startswith: 'system:'}`. What was denied or failed is always stored.
    pub drop: Vec<yaml_serde::Mapping>,
}

impl Default for RawAudit {
    fn default() -> Self {
        Self {
            route: Route::default(),
            namespace: "default".into(),
            cluster: None,
            ids: Ids::default(),
            objects: Objects::default(),
            preserve_original: false,
            from_containers: true,
            drop: Vec::new(),
        }
    }
}

/// What becomes of the other logs of a control plane.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields, default)]
pub struct RawControlPlane {
    /// `reroute`: read, and stored in the data stream of the component, `logs-kubernetes.scheduler_logs-NAMESPACE`; `keep`:
    /// in the index that the shipper named, as they came; `drop`: not stored.
    pub route: LineRoute,
    /// The same for some components, by name: `kube-scheduler: drop`.
    pub components: BTreeMap<String, LineRoute>,
}

/// Events that are pushed by API servers, Firehose and Pub/Sub.
#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields, default)]
pub struct RawPush {
    /// Namespace of the data streams that they go to: audit events to `logs-kubernetes.audit_logs-NAMESPACE`, others
    /// to `logs-k8scop.push-NAMESPACE`. A credential of `auth` needs both in its `indices`.
    pub namespace: String,
    /// How Amazon Data Firehose is known.
    pub firehose: RawFirehose,
    /// How Google Pub/Sub is known. Without it, as all others are: by `auth`.
    pub pubsub: Option<RawPubsub>,
}

impl Default for RawPush {
    fn default() -> Self {
        Self { namespace: "default".into(), firehose: RawFirehose::default(), pubsub: None }
    }
}

/// How Amazon Data Firehose is known.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields, default)]
pub struct RawFirehose {
    /// The access key of the stream: `env:NAME`, `file:PATH` or the key. With it `/firehose` needs nothing of `auth`;
    /// without it, it does as all others.
    pub access_key: Option<RawSecret>,
}

/// How Google Pub/Sub is known: by the token of an authenticated push subscription.
#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields)]
pub struct RawPubsub {
    /// The audience of the subscription.
    pub audience: String,
    /// The service account of the subscription.
    pub email: String,
    /// The keys that tokens are signed with: `https://…`, or `file:PATH`. `http://` on loopback only.
    #[serde(default = "google_keys")]
    pub jwks: String,
}

/// Google's keys (its OpenID Connect discovery document, `jwks_uri`).
fn google_keys() -> String {
    "https://www.googleapis.com/oauth2/v3/certs".into()
}

/// Where alerts go.
#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields, default)]
pub struct RawAlerts {
    /// `data_stream`: to `logs-k8scop.alerts-NAMESPACE`; `daily`: to `PREFIX-YYYY.MM.DD`.
    pub target: AlertTargetName,
    /// PREFIX of daily indices.
    pub prefix: String,
    /// Least level of an alert. What is lower labels its event, and is counted.
    pub min_level: Level,
    /// How bad some alerts are, in place of what their rules say; the first that fits.
    pub overrides: Vec<RawOverride>,
    /// Where some alerts go; the first that fits.
    pub routes: Vec<RawRoute>,
    /// Alerts that say the same: one is told, the others are counted, and a summary tells how many; the first that fits.
    pub suppress: Vec<RawSuppress>,
    /// Most alerts a minute. What is beyond is counted, and a summary tells how many. The first alert of each rule and
    /// user in that minute passes all the same, if these are not too many.
    pub rate: RawRate,
}

impl Default for RawAlerts {
    fn default() -> Self {
        Self {
            target: AlertTargetName::DataStream,
            prefix: "alerts".into(),
            min_level: Level::Low,
            overrides: Vec::new(),
            routes: Vec::new(),
            suppress: Vec::new(),
            rate: RawRate::default(),
        }
    }
}

/// See [`RawAlerts::overrides`]. In names, `*` is any text; an empty list fits all.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields, default)]
pub struct RawOverride {
    /// Ids, titles or tags of rules.
    pub rules: Vec<String>,
    /// Namespaces of what was asked for; `""` is that of what has none.
    pub namespaces: Vec<String>,
    /// Clusters.
    pub clusters: Vec<String>,
    /// In place of the rule's level. `informational`: a label only.
    pub level: Option<Level>,
    /// `event.risk_score`, from 0 to 100, in place of that of the level.
    pub risk_score: Option<u8>,
}

/// See [`RawAlerts::routes`].
#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields)]
pub struct RawRoute {
    /// Alerts of this level and above.
    pub min_level: Level,
    /// The index or data stream that they go to. `logs-k8scop.alerts-NAME` has the mappings that `k8scop setup` puts.
    pub index: String,
}

/// See [`RawAlerts::suppress`].
#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields)]
pub struct RawSuppress {
    /// Ids, titles or tags of rules. Alerts of two rules never say the same.
    pub rules: Vec<String>,
    /// Namespaces, as in `overrides`.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Clusters.
    #[serde(default)]
    pub clusters: Vec<String>,
    /// Fields that are the same in alerts that say the same. Of a list, the first value counts.
    #[serde(default)]
    pub by: Vec<String>,
    /// For how long, in the time of the events: `90s`, `15m`, `1h`; at most 24h.
    #[serde(rename = "for")]
    pub for_time: String,
    /// What is higher is always told.
    #[serde(default = "max_level")]
    pub max_level: Level,
}

/// See [`RawAlerts::rate`].
#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields, default)]
pub struct RawRate {
    /// Alerts of one rule, in one cluster.
    pub per_rule: u32,
    /// Alerts of all rules, in one index or data stream.
    pub total: u32,
    /// What is higher is always told, and takes no place.
    pub max_level: Level,
}

impl Default for RawRate {
    fn default() -> Self {
        let Rate { per_rule, total, max_level } = Rate::default();
        Self { per_rule, total, max_level }
    }
}

fn max_level() -> Level {
    Level::Medium
}

/// See [`RawAlerts::target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertTargetName {
    /// One data stream.
    DataStream,
    /// An index a day.
    Daily,
}

/// Which rules are used.
#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields, default)]
pub struct RawRules {
    /// The rules that come with the program.
    pub built_in: bool,
    /// More rule files, or folders of them with all that are in these, but for names that begin with a dot. Relative
    /// paths, also those of lists, begin at the folder of this file.
    pub paths: Vec<PathBuf>,
    /// What `%NAME%` stands for where a rule says `expand`: values, or a file with one a line (`.yml`: a YAML list).
    pub lists: BTreeMap<String, RawList>,
    /// The configuration file that names these paths: those that are relative begin at its folder.
    #[serde(skip)]
    pub named_in: Option<PathBuf>,
}

impl RawRules {
    /// Lets relative paths begin at the folder of the configuration file.
    pub fn begin_at(&mut self, file: &Path) {
        let folder = file.parent().unwrap_or(Path::new(""));
        let files = self.lists.values_mut().filter_map(|it| match it {
            RawList::File(path) => Some(path),
            RawList::Values(_) => None,
        });
        for path in self.paths.iter_mut().chain(files) {
            *path = folder.join(&*path);
        }
        self.named_in = Some(file.to_owned());
    }
}

impl Default for RawRules {
    fn default() -> Self {
        Self { built_in: true, paths: Vec::new(), lists: BTreeMap::new(), named_in: None }
    }
}

/// The values of a list.
#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "a list of texts, or the path of a file", untagged)]
pub enum RawList {
    /// These.
    Values(Vec<yaml_serde::Value>),
    /// Those in a file.
    File(PathBuf),
}

/// What correlations remember. What there is no room for is forgotten, that of longest ago first, and counted.
#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields, default)]
pub struct RawCorrelation {
    /// A folder for what is remembered. Without one it is forgotten when the process ends.
    pub state: Option<PathBuf>,
    /// Answer a request only when what correlations remember of it is on the disk (`fdatasync`), so that it outlives the
    /// machine; otherwise it is there a second later. A request waits for the disk, and for those before it.
    pub sync_each_request: bool,
    /// How much later than newer ones an event may come (seconds). Correlations tell what happened so much later.
    pub late_max_s: u64,
    /// How far the clock of an event may be ahead of ours (seconds). One that is further ahead counts as of its arrival.
    pub ahead_max_s: u64,
    /// When no event has come for so long, correlations wait for no earlier one (seconds).
    pub quiet_max_s: u64,
    /// Most memory of groups and of events that wait (bytes).
    pub memory_bytes_max: u64,
    /// Most groups: values of `group-by`.
    pub groups_max: usize,
    /// Most values that `first_seen` remembers; each takes about 60 bytes.
    pub values_max: usize,
    /// Most alerts of one correlation in an hour, in one cluster. What is more is counted, and told with the next.
    pub alerts_per_hour_max: usize,
}

impl Default for RawCorrelation {
    fn default() -> Self {
        Self {
            state: None,
            sync_each_request: false,
            late_max_s: 60,
            ahead_max_s: 60,
            quiet_max_s: 300,
            memory_bytes_max: 96 << 20,
            groups_max: 100_000,
            values_max: 1_000_000,
            alerts_per_hour_max: 100,
        }
    }
}

/// What is allowed.
#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields, default)]
pub struct RawLimits {
    /// Largest body as it comes (bytes). Elasticsearch's `http.max_content_length` is as large.
    pub body_bytes_max: u64,
    /// Largest body once it is decompressed (bytes).
    pub decoded_bytes_max: u64,
    /// Most bytes of bodies at once; above, requests are answered 429. The process needs about three times this.
    pub in_flight_bytes_max: u64,
    /// Most items of one request.
    pub items_max: usize,
    /// Deepest document (levels).
    pub depth_max: usize,
    /// Most connections at once, on each port. One more takes the place of the one that was of no use for longest.
    pub connections_max: usize,
    /// Longest time from one request to the next one's head (seconds).
    pub header_read_timeout_s: u64,
    /// Longest silence while a body comes in (seconds).
    pub body_idle_timeout_s: u64,
    /// Slowest body after that time (bytes a second).
    pub body_bytes_per_s_min: u64,
    /// Longest wait for a client to read more of its answer (seconds).
    pub write_timeout_s: u64,
    /// Longest time to deliver a request (seconds). Shorter than the shippers' own timeouts (Filebeat 90,
    /// Logstash 60), so that they hear how it ended. An API server, which waits 30 s, is answered within 20, or 25
    /// where dead letters have to be kept.
    pub request_deadline_s: u64,
    /// How long a stop waits for what is in flight (seconds).
    pub shutdown_grace_s: u64,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 100 << 20,
            decoded_bytes_max: 100 << 20,
            in_flight_bytes_max: 256 << 20,
            items_max: 100_000,
            depth_max: 1000,
            connections_max: 4096,
            header_read_timeout_s: 300,
            body_idle_timeout_s: 30,
            body_bytes_per_s_min: 1024,
            write_timeout_s: 30,
            request_deadline_s: 30,
            shutdown_grace_s: 35,
        }
    }
}

/// Waits between tries: a random part of a span that doubles from `first_ms` to `longest_ms`.
#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields, default)]
pub struct RawRetry {
    /// Before the second try (milliseconds).
    pub first_ms: u64,
    /// The longest (milliseconds).
    pub longest_ms: u64,
}

impl Default for RawRetry {
    fn default() -> Self {
        Self { first_ms: 100, longest_ms: 5000 }
    }
}

/// The program's own log, on standard error.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(expecting = "a map of options", deny_unknown_fields, default)]
pub struct RawLog {
    /// `auto`: text on a terminal, JSON elsewhere.
    pub format: LogFormat,
}

/// See `log.format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}
