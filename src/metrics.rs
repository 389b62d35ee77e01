//! Every metric: its name, its help and its closed set of label values. No label value is taken from input.

use std::{
    collections::HashSet,
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, core::Collector,
};

use crate::{
    alerts::Reason,
    rules::{Level, Rule},
    unwrap::{Broken, Dropped, Provider},
};

/// Seconds; from a loopback answer to a request that waited for its deadline.
const SECONDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

/// How a bulk item ended: the values of the label `result`.
pub const ITEM_RESULTS: [&str; 6] =
    ["stored", "duplicate", "rejected", "dead_lettered", "returned", "dropped"];

/// Where items come in: values of the label `input`.
pub const INPUTS: [&str; 5] = ["bulk", "webhook", "firehose", "pubsub", "backfill"];

/// All metrics of the process.
///
/// `k8scop_received_items_total` is the sum of `k8scop_settled_items_total` over its results and
/// `k8scop_items_in_flight`, at every scrape.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Held (read) while items move from one count to another, so that a scrape (write) sees each item once.
    balance: RwLock<()>,
    /// Bulk requests by HTTP status of our answer.
    pub http_requests: IntCounterVec,
    /// Time to answer them.
    pub http_request_duration: HistogramVec,
    /// Requests that are being answered.
    pub http_requests_in_flight: IntGaugeVec,
    /// Bytes of bulk bodies as they came.
    pub received_bytes: IntCounterVec,
    /// The same, decoded.
    pub decoded_bytes: IntCounterVec,
    /// Items taken in.
    pub received_items: IntCounterVec,
    /// Items answered.
    pub settled_items: IntCounterVec,
    /// Items taken in and not answered yet.
    pub items_in_flight: IntGauge,
    /// Bytes of bodies that are being handled.
    pub in_flight_bytes: IntGauge,
    /// The most of them.
    pub in_flight_limit_bytes: IntGauge,
    /// Requests of clients that are not known.
    pub unauthorized_requests: IntCounterVec,
    /// Audit events found, by where they come from.
    pub unwrapped_events: IntCounterVec,
    /// Documents that start like an audit event and are none.
    pub decode_errors: IntCounterVec,
    /// Audit events that came without their end.
    pub truncated_events: IntCounter,
    /// Lines of the control plane.
    pub control_plane_lines: IntCounter,
    /// Documents of which nothing was to be stored, by reason.
    pub dropped: IntCounterVec,
    /// Audit events that were stored without their objects.
    pub reduced_events: IntCounter,
    /// Hits of each rule.
    pub rule_matches: IntCounterVec,
    /// Rules in use.
    pub rules_loaded: IntGauge,
    /// How often rules were read again, by result.
    pub rules_reloads: IntCounterVec,
    /// Whether the rules on disk are those in use, or could be.
    pub rules_last_reload_success: IntGauge,
    /// When the rules in use were found good.
    pub rules_last_reload_timestamp: IntGauge,
    /// Alerts stored, by rule.
    pub alerts: IntCounterVec,
    /// Hits that are no alert of their own, by rule, level and reason.
    pub alerts_suppressed: IntCounterVec,
    /// Summaries of these, by what became of them.
    pub alert_summaries: IntCounterVec,
    /// Summaries that are not stored yet.
    pub alert_summaries_waiting: IntGauge,
    /// What alerts say that were told lately.
    pub alert_windows: IntGauge,
    /// What of it was forgotten for want of room.
    pub alert_windows_evicted: IntCounter,
    /// Alerts by what became of them.
    pub settled_alerts: IntCounterVec,
    /// What became of events that correlations are about.
    pub correlation_events: IntCounterVec,
    /// What correlations found.
    pub correlation_matches: IntCounterVec,
    /// Alerts of correlations by what became of them.
    pub correlation_alerts: IntCounterVec,
    /// What correlations forgot for want of room.
    pub correlation_evicted: IntCounterVec,
    /// What correlations remember.
    pub correlation_remembered: IntGaugeVec,
    /// Memory of groups and held events.
    pub correlation_bytes: IntGauge,
    /// How often what correlations remember could not be read or written.
    pub correlation_state_errors: IntCounter,
    /// Requests to the output, by status; `0` where there was none.
    pub bulk_requests: IntCounterVec,
    /// Their time.
    pub bulk_request_duration: HistogramVec,
    /// Bytes sent to the output.
    pub bulk_sent_bytes: IntCounterVec,
    /// Outgoing documents, by what was said of them.
    pub bulk_items: IntCounterVec,
}

impl Metrics {
    /// Registers all metrics; the rules' labels start at 0.
    pub fn new(rules: &[Rule]) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let metric = IntCounter::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let counters =
            |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
                let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
                registry.register(Box::new(metric.clone()))?;
                Ok(metric)
            };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let metric = IntGauge::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let gauges =
            |name: &str, help: &str, labels: &[&str]| -> Result<IntGaugeVec, prometheus::Error> {
                let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
                registry.register(Box::new(metric.clone()))?;
                Ok(metric)
            };
        let in_flight = IntGaugeVec::new(
            Opts::new("k8scop_http_requests_in_flight", "Requests that are being answered."),
            &["input"],
        )?;
        registry.register(Box::new(in_flight.clone()))?;
        let durations = HistogramVec::new(
            HistogramOpts::new("k8scop_http_request_duration_seconds", "Time to answer a request.")
                .buckets(SECONDS.to_vec()),
            &["input"],
        )?;
        registry.register(Box::new(durations.clone()))?;
        let bulk_duration = HistogramVec::new(
            HistogramOpts::new(
                "k8scop_bulk_request_duration_seconds",
                "Time of one bulk request to the output.",
            )
            .buckets(SECONDS.to_vec()),
            &["target"],
        )?;
        registry.register(Box::new(bulk_duration.clone()))?;
        let build = IntGaugeVec::new(
            Opts::new("k8scop_build_info", "What is running: always 1."),
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(build))?;
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process))?;
        let metrics = Self {
            http_requests: counters(
                "k8scop_http_requests_total",
                "Requests by status of the answer.",
                &["input", "code"],
            )?,
            http_request_duration: durations,
            http_requests_in_flight: in_flight,
            received_bytes: counters(
                "k8scop_received_bytes_total",
                "Bytes of bodies as they came.",
                &["input"],
            )?,
            decoded_bytes: counters(
                "k8scop_decoded_bytes_total",
                "Bytes of bodies after decompression.",
                &["input"],
            )?,
            received_items: counters("k8scop_received_items_total", "Items taken in.", &["input"])?,
            settled_items: counters(
                "k8scop_settled_items_total",
                "Items answered: stored, duplicate (there already), rejected (for good), dead_lettered (for good, and kept), returned (to be sent again), dropped (not wanted).",
                &["result"],
            )?,
            items_in_flight: gauge(
                "k8scop_items_in_flight",
                "Items taken in and not answered yet.",
            )?,
            in_flight_bytes: gauge(
                "k8scop_in_flight_bytes",
                "Bytes of bodies that are being handled.",
            )?,
            in_flight_limit_bytes: gauge(
                "k8scop_in_flight_limit_bytes",
                "Most bytes of bodies at once (limits.in_flight_bytes_max).",
            )?,
            unauthorized_requests: counters(
                "k8scop_unauthorized_requests_total",
                "Requests refused by auth or by a proof of push: credentials missing, malformed, unknown; or forbidden to known ones.",
                &["reason"],
            )?,
            unwrapped_events: counters(
                "k8scop_unwrapped_events_total",
                "Kubernetes audit events found, by provider: eks (CloudWatch), gke, aks, openshift, plain.",
                &["provider"],
            )?,
            decode_errors: counters(
                "k8scop_decode_errors_total",
                "Documents that passed as they came, by reason.",
                &["input", "reason"],
            )?,
            truncated_events: counter(
                "k8scop_truncated_events_total",
                "Audit events that were cut on their way; what stood before the cut is stored.",
            )?,
            control_plane_lines: counter(
                "k8scop_control_plane_lines_total",
                "Log lines of the control plane that are no audit events.",
            )?,
            dropped: counters(
                "k8scop_dropped_documents_total",
                "Documents that are not stored, by reason: control_message (of CloudWatch), control_plane, audit (audit.drop).",
                &["reason"],
            )?,
            reduced_events: counter(
                "k8scop_reduced_events_total",
                "Audit events that were refused (400) and then taken without requestObject and responseObject.",
            )?,
            rule_matches: counters(
                "k8scop_rule_matches_total",
                "Audit events that hit a rule.",
                &["rule", "severity"],
            )?,
            rules_loaded: gauge("k8scop_rules_loaded", "Rules in use.")?,
            rules_reloads: counters(
                "k8scop_rules_reloads_total",
                "How often rules were read again: success, failure (those before stay in use).",
                &["result"],
            )?,
            rules_last_reload_success: gauge(
                "k8scop_rules_last_reload_success",
                "1 if the rules were good when they were read last, 0 if those before stay in use.",
            )?,
            rules_last_reload_timestamp: gauge(
                "k8scop_rules_last_reload_timestamp_seconds",
                "When rules were last read and found good (Unix time).",
            )?,
            alerts: counters(
                "k8scop_alerts_total",
                "Alerts stored, by rule.",
                &["rule", "severity"],
            )?,
            alerts_suppressed: counters(
                "k8scop_alerts_suppressed_total",
                "Hits that are no alert of their own: min_level (too low: a label only); suppress, rate_per_rule, rate_total (counted in a summary).",
                &["rule", "severity", "reason"],
            )?,
            alert_summaries: counters(
                "k8scop_alert_summaries_total",
                "Alerts that tell how many were suppressed: stored, failed (given up).",
                &["result"],
            )?,
            alert_summaries_waiting: gauge(
                "k8scop_alert_summaries_waiting",
                "Alerts that will tell how many were suppressed.",
            )?,
            alert_windows: gauge(
                "k8scop_alert_windows",
                "Windows of time in which alerts that say the same, or are too many, are suppressed.",
            )?,
            alert_windows_evicted: counter(
                "k8scop_alert_windows_evicted_total",
                "Windows that were forgotten for want of room: their alerts are told again.",
            )?,
            settled_alerts: counters(
                "k8scop_settled_alerts_total",
                "Alerts: created, duplicate (there already), failed (not stored).",
                &["result"],
            )?,
            correlation_events: counters(
                "k8scop_correlation_events_total",
                "Events that correlations are about: taken, duplicate (taken before), late (after correlation.late_max_s; taken), ahead (of the clock by more than correlation.ahead_max_s; taken as of their arrival), too_late (of no use to a group any more), hurried (taken before their time for want of room), cut (more than one group has room for).",
                &["result"],
            )?,
            correlation_matches: counters(
                "k8scop_correlation_matches_total",
                "Matches of correlations: told, suppressed (the group was told less than a timespan ago), withheld (correlation.alerts_per_hour_max).",
                &["result"],
            )?,
            correlation_alerts: counters(
                "k8scop_correlation_alerts_total",
                "Alerts of correlations: created, duplicate (there already), failed (refused for good), lost (too many waited).",
                &["result"],
            )?,
            correlation_evicted: counters(
                "k8scop_correlation_evicted_total",
                "What correlations forgot for want of room: groups, values.",
                &["what"],
            )?,
            correlation_remembered: gauges(
                "k8scop_correlation_remembered",
                "What correlations remember: groups, values (of first_seen), held (events that wait for earlier ones), pending (alerts that wait to be stored).",
                &["what"],
            )?,
            correlation_bytes: gauge(
                "k8scop_correlation_bytes",
                "Memory of groups and held events (correlation.memory_bytes_max).",
            )?,
            correlation_state_errors: counter(
                "k8scop_correlation_state_errors_total",
                "How often what correlations remember could not be read or written (correlation.state).",
            )?,
            bulk_requests: counters(
                "k8scop_bulk_requests_total",
                "Bulk requests to the output by status; 0 without an answer.",
                &["target", "code"],
            )?,
            bulk_request_duration: bulk_duration,
            bulk_sent_bytes: counters(
                "k8scop_bulk_sent_bytes_total",
                "Bytes of bulk bodies sent to the output.",
                &["target"],
            )?,
            bulk_items: counters(
                "k8scop_bulk_items_total",
                "Documents sent to the output: created, duplicate, rejected, retried (sent again later, or given up).",
                &["target", "result"],
            )?,
            registry,
            balance: RwLock::new(()),
        };
        metrics.start_at_zero();
        metrics.uses_rules(rules, &[]);
        Ok(metrics)
    }

    fn start_at_zero(&self) {
        for result in ITEM_RESULTS {
            self.settled_items.with_label_values(&[result]);
        }
        for result in ["created", "duplicate", "failed"] {
            self.settled_alerts.with_label_values(&[result]);
        }
        for result in ["taken", "duplicate", "late", "ahead", "too_late", "hurried", "cut"] {
            self.correlation_events.with_label_values(&[result]);
        }
        for result in ["told", "suppressed", "withheld"] {
            self.correlation_matches.with_label_values(&[result]);
        }
        for result in ["created", "duplicate", "failed", "lost"] {
            self.correlation_alerts.with_label_values(&[result]);
        }
        for what in ["groups", "values"] {
            self.correlation_evicted.with_label_values(&[what]);
        }
        for provider in Provider::ALL {
            self.unwrapped_events.with_label_values(&[provider.name()]);
        }
        for reason in ["missing", "malformed", "unknown", "forbidden"] {
            self.unauthorized_requests.with_label_values(&[reason]);
        }
        for reason in Dropped::ALL {
            self.dropped.with_label_values(&[reason.name()]);
        }
        for input in INPUTS {
            self.received_items.with_label_values(&[input]);
            for reason in Broken::ALL {
                self.decode_errors.with_label_values(&[input, reason.name()]);
            }
        }
        for result in ["stored", "failed"] {
            self.alert_summaries.with_label_values(&[result]);
        }
        for result in ["success", "failure"] {
            self.rules_reloads.with_label_values(&[result]);
        }
    }

    /// Other rules are in use: theirs start at 0. Those of the rules `before` stay, so that what was counted since the
    /// last scrape is seen; older ones go.
    pub fn uses_rules(&self, rules: &[Rule], before: &[Rule]) {
        self.rules_loaded.set(i64::try_from(rules.len()).unwrap_or(i64::MAX));
        for rule in rules {
            let labels = [rule.title.as_str(), rule.level.name()];
            self.rule_matches.with_label_values(&labels);
            self.alerts.with_label_values(&labels);
            for reason in Reason::ALL {
                let [title, level] = labels;
                self.alerts_suppressed.with_label_values(&[title, level, reason.name()]);
            }
        }
        let kept: HashSet<_> = rules.iter().chain(before).map(|it| it.title.as_str()).collect();
        for metric in [&self.rule_matches, &self.alerts, &self.alerts_suppressed] {
            let families = metric.collect();
            for series in families.iter().flat_map(|it| it.get_metric()) {
                let value = |name| {
                    let mut all = series.get_label().iter();
                    all.find(|it| it.name() == name).map(|it| it.value()).unwrap_or_default()
                };
                let all = ["rule", "severity", "reason"].map(value);
                let labels = all.iter().filter(|it| !it.is_empty()).copied().collect::<Vec<_>>();
                if !kept.contains(&value("rule")) && metric.remove_label_values(&labels).is_err() {
                    tracing::debug!("the counters of a rule were gone already");
                }
            }
        }
    }

    /// Counts hits of a rule, by its place, that are no alert of their own.
    pub fn suppressed(
        &self,
        rules: &[Rule],
        rule: usize,
        level: Level,
        reason: Reason,
        count: u64,
    ) {
        if let Some(rule) = rules.get(rule) {
            let labels = [rule.title.as_str(), level.name(), reason.name()];
            self.alerts_suppressed.with_label_values(&labels).inc_by(count);
        }
    }

    /// Keeps scrapes away until it is dropped: for what changes several counts that must agree.
    pub fn moving(&self) -> RwLockReadGuard<'_, ()> {
        self.balance.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The text that Prometheus scrapes.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let families = {
            let _still = self.balance.write().unwrap_or_else(PoisonError::into_inner);
            self.registry.gather()
        };
        let mut out = Vec::new();
        TextEncoder::new().encode(&families, &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }
}
