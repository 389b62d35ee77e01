//! Alerts of correlations on their way to the output.

use std::time::Duration;

use hyper::{HeaderMap, header};
use jiff::Timestamp;
use tokio::time::Instant;

use super::{Correlator, lock};
use crate::{
    bulk::OutgoingBatch,
    classify::{Correlated, write_correlated},
    correlate::{Engine, Fired, Key, Plan, Planned},
    forward::{Delivery, Passed, may_pass_later},
    json,
    prepare::{AlertTarget, DATASET_ALERTS, namespace},
};

/// Most alerts in one request.
const BATCH_MAX: usize = 100;
/// How long one request is tried.
const DELIVERY_TIME: Duration = Duration::from_secs(30);

/// An alert and its lines in a bulk body.
#[derive(Debug)]
pub(super) struct Pending {
    id: Key,
    lines: String,
}

impl Correlator {
    /// The oldest alerts that wait.
    pub(super) fn pending(&self, engine: &mut Engine, now: Timestamp) -> Vec<Pending> {
        let plan = std::sync::Arc::clone(engine.plan());
        // Those of correlations that are gone, or not the same, have nothing to say any more.
        let gone = engine.fired().iter().take_while(|it| planned(&plan, it).is_none()).count();
        if gone > 0 {
            tracing::warn!(gone, "alerts of correlations that are gone are not stored");
            self.metrics.correlation_alerts.with_label_values(&["lost"]).inc_by(gone as u64);
            engine.stored(gone);
        }
        // What is not bad enough is no alert; it is counted with the matches.
        let grade = |planned: &Planned, fired: &Fired| {
            self.alerting.grade(planned, fired.namespace(planned), &fired.cluster)
        };
        let is_low = |fired: &&Fired| {
            planned(&plan, fired).is_some_and(|it| !self.alerting.is_alert(grade(it, fired).level))
        };
        let low = engine.fired().iter().take_while(is_low).count();
        engine.stored(low);
        let known = engine.fired().iter().take_while(|it| !is_low(it));
        known
            .take(BATCH_MAX)
            .map_while(|fired| Some((fired, planned(&plan, fired)?)))
            .map(|(fired, planned)| {
                let grade = grade(planned, fired);
                let index = fired.events().last().map(|it| &*it.evidence.index);
                let of_events = index.and_then(|it| namespace(it, &[]));
                let namespace = of_events.as_deref().unwrap_or(&self.namespace);
                let routed = self.alerting.route(grade.level).map(str::to_owned);
                let index = routed.unwrap_or_else(|| index_of(&self.target, namespace, fired));
                let data_stream = index.strip_prefix("logs-").and_then(|it| it.split_once('-'));
                let (severity, risk_score) = (grade.level.severity(), grade.risk_score);
                let alert = Correlated { planned, fired, severity, risk_score, data_stream, now };
                let mut lines = action(&index, fired);
                write_correlated(&alert, &mut lines);
                lines.push('\n');
                Pending { id: fired.id, lines }
            })
            .collect()
    }

    /// Sends alerts. False if some of them are to be sent again.
    pub(super) async fn deliver(&self, pending: Vec<Pending>) -> bool {
        let (mut body, mut slots) = (String::new(), Vec::with_capacity(pending.len()));
        for alert in &pending {
            let start = body.len();
            body.push_str(&alert.lines);
            slots.push(start..body.len());
        }
        let mut headers = HeaderMap::new();
        if let Some(authorization) = lock(&self.authorization).clone() {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        let passed = Passed { headers, query: String::new(), sound: true };
        let deadline = Instant::now() + DELIVERY_TIME;
        let batch = OutgoingBatch::new(body, slots);
        let answers = match self.forwarder.deliver(&batch, &passed, deadline).await {
            Delivery::Items(answers, _) => answers,
            Delivery::Whole(whole) => {
                tracing::warn!(
                    status = whole.status,
                    alerts = pending.len(),
                    "alerts of correlations wait"
                );
                return false;
            }
        };
        let mut settled = 0;
        for (alert, answer) in pending.iter().zip(&answers) {
            let result = match answer.status {
                200..300 => "created",
                409 => "duplicate",
                // What is wrong with credentials may be mended.
                401 | 403 => break,
                status if may_pass_later(status) => break,
                _ => "failed",
            };
            if result == "failed" {
                let error = answer.error();
                tracing::error!(id = %alert.id, %error, "an alert of a correlation is refused for good");
            }
            self.metrics.correlation_alerts.with_label_values(&[result]).inc();
            settled += 1;
        }
        // Only this task takes alerts away: the oldest are still those.
        self.work().engine.stored(settled);
        settled == pending.len()
    }
}

/// The correlation that an alert is of.
fn planned<'p>(plan: &'p Plan, fired: &Fired) -> Option<&'p Planned> {
    plan.correlations().iter().find(|it| *it.correlation.id == *fired.correlation)
}

fn index_of(target: &AlertTarget, namespace: &str, fired: &Fired) -> String {
    match target {
        AlertTarget::DataStream => format!("logs-{DATASET_ALERTS}-{namespace}"),
        AlertTarget::Daily(prefix) => {
            let day = Timestamp::from_microsecond(fired.at_us).unwrap_or_default();
            format!("{prefix}-{}", day.strftime("%Y.%m.%d"))
        }
    }
}

fn action(index: &str, fired: &Fired) -> String {
    let mut out = String::from("{\"create\":{\"_index\":");
    json::push_string(&mut out, index);
    out.push_str(",\"_id\":");
    json::push_string(&mut out, &fired.id.to_string());
    out.push_str("}}\n");
    out
}
