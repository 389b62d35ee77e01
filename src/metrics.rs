//! Every metric: its name, its help and its closed set of label values. No label value is taken from input.

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::rules::Rule;

/// Seconds; from a loopback answer to a request that waited for its deadline.
const SECONDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

/// How a bulk item ended: the values of the label `result`.
pub const ITEM_RESULTS: [&str; 4] = ["stored", "duplicate", "rejected", "returned"];

/// All metrics of the process.
///
/// `k8scop_received_items_total` is the sum of `k8scop_settled_items_total` over its results and
/// `k8scop_items_in_flight`, at every scrape.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Bulk requests by HTTP status of our answer.
    pub http_requests: IntCounterVec,
    /// Time to answer them.
    pub http_request_duration: HistogramVec,
    /// Requests that are being answered.
    pub http_requests_in_flight: IntGaugeVec,
    /// Bytes of bulk bodies as they came.
    pub received_bytes: IntCounter,
    /// The same, decoded.
    pub decoded_bytes: IntCounter,
    /// Items taken in.
    pub received_items: IntCounter,
    /// Items answered.
    pub settled_items: IntCounterVec,
    /// Items taken in and not answered yet.
    pub items_in_flight: IntGauge,
    /// Bytes of bodies that are being handled.
    pub in_flight_bytes: IntGauge,
    /// The most of them.
    pub in_flight_limit_bytes: IntGauge,
    /// Audit events found.
    pub unwrapped_events: IntCounter,
    /// Documents that start like an audit event and are none.
    pub decode_errors: IntCounterVec,
    /// Audit events that were stored without their objects.
    pub reduced_events: IntCounter,
    /// Hits of each rule.
    pub rule_matches: IntCounterVec,
    /// Rules in use.
    pub rules_loaded: IntGauge,
    /// Alerts by what became of them.
    pub alerts: IntCounterVec,
    /// Alerts stored, by rule.
    pub rule_alerts: IntCounterVec,
    /// Requests to Elasticsearch, by status; `0` where there was none.
    pub bulk_requests: IntCounterVec,
    /// Their time.
    pub bulk_request_duration: Histogram,
    /// Bytes sent to Elasticsearch.
    pub bulk_sent_bytes: IntCounter,
    /// Slots that were sent again.
    pub bulk_retried_items: IntCounter,
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
        let bulk_duration = Histogram::with_opts(
            HistogramOpts::new(
                "k8scop_bulk_request_duration_seconds",
                "Time of one bulk request to the output.",
            )
            .buckets(SECONDS.to_vec()),
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
            received_bytes: counter(
                "k8scop_received_bytes_total",
                "Bytes of bulk bodies as they came.",
            )?,
            decoded_bytes: counter(
                "k8scop_decoded_bytes_total",
                "Bytes of bulk bodies after decompression.",
            )?,
            received_items: counter("k8scop_received_items_total", "Bulk items taken in.")?,
            settled_items: counters(
                "k8scop_settled_items_total",
                "Bulk items answered: stored, duplicate (there already), rejected (for good), returned (to be sent again).",
                &["result"],
            )?,
            items_in_flight: gauge(
                "k8scop_items_in_flight",
                "Bulk items taken in and not answered yet.",
            )?,
            in_flight_bytes: gauge(
                "k8scop_in_flight_bytes",
                "Bytes of bodies that are being handled.",
            )?,
            in_flight_limit_bytes: gauge(
                "k8scop_in_flight_limit_bytes",
                "Most bytes of bodies at once (limits.in_flight_bytes_max).",
            )?,
            unwrapped_events: counter(
                "k8scop_unwrapped_events_total",
                "Kubernetes audit events found in bulk items.",
            )?,
            decode_errors: counters(
                "k8scop_decode_errors_total",
                "Documents passed on as they came, by reason.",
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
            alerts: counters(
                "k8scop_alerts_total",
                "Alerts: created, duplicate (there already), failed (not stored).",
                &["result"],
            )?,
            rule_alerts: counters(
                "k8scop_rule_alerts_total",
                "Alerts stored, by rule.",
                &["rule", "severity"],
            )?,
            bulk_requests: counters(
                "k8scop_bulk_requests_total",
                "Bulk requests to the output by status; 0 without an answer.",
                &["code"],
            )?,
            bulk_request_duration: bulk_duration,
            bulk_sent_bytes: counter(
                "k8scop_bulk_sent_bytes_total",
                "Bytes of bulk bodies sent to the output.",
            )?,
            bulk_retried_items: counter(
                "k8scop_bulk_retried_items_total",
                "Outgoing documents that were sent again.",
            )?,
            registry,
        };
        metrics.start_at_zero(rules);
        Ok(metrics)
    }

    fn start_at_zero(&self, rules: &[Rule]) {
        for result in ITEM_RESULTS {
            self.settled_items.with_label_values(&[result]);
        }
        for result in ["created", "duplicate", "failed"] {
            self.alerts.with_label_values(&[result]);
        }
        self.decode_errors.with_label_values(&["broken_audit_event"]);
        self.rules_loaded.set(i64::try_from(rules.len()).unwrap_or(i64::MAX));
        for rule in rules {
            self.rule_matches.with_label_values(&[rule.title.as_str(), rule.level.name()]);
            self.rule_alerts.with_label_values(&[rule.title.as_str(), rule.level.name()]);
        }
    }

    /// The text that Prometheus scrapes.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }
}
