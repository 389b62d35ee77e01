//! How far it is: a bar, lines for people, or lines for machines. All on standard error.

use std::{
    io::{self, IsTerminal},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::time::Instant;

use super::Progress;

/// How often it is told.
const BAR_EVERY: Duration = Duration::from_millis(200);
const JSON_EVERY: Duration = Duration::from_secs(2);
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// What is done, counted by those who do it.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) documents: AtomicU64,
    pub(super) alerts: AtomicU64,
    pub(super) total: AtomicU64,
}

/// Tells of a meter from time to time.
#[derive(Debug)]
pub(super) struct Shown {
    form: Form,
    began: Instant,
    /// What was done before, by another process.
    documents_before: u64,
}

#[derive(Debug)]
enum Form {
    Bar(ProgressBar),
    Plain,
    Json,
}

#[derive(Serialize)]
struct Line {
    documents: u64,
    documents_total: u64,
    documents_per_s: u64,
    left_s: Option<u64>,
    alerts: u64,
}

impl Shown {
    pub(super) fn new(progress: Progress, meter: &Meter) -> Self {
        let form = match progress {
            Progress::Json => Form::Json,
            Progress::Auto if io::stderr().is_terminal() => {
                let bar = ProgressBar::new(meter.total.load(Ordering::Relaxed));
                let shape = "{bar:30} {pos}/{len} documents, {msg}";
                if let Ok(style) = ProgressStyle::with_template(shape) {
                    bar.set_style(style);
                }
                Form::Bar(bar)
            }
            Progress::Auto | Progress::Plain => Form::Plain,
        };
        let documents_before = meter.documents.load(Ordering::Relaxed);
        Self { form, began: Instant::now(), documents_before }
    }

    pub(super) fn every(&self) -> Duration {
        match self.form {
            Form::Bar(_) => BAR_EVERY,
            Form::Plain => PLAIN_EVERY,
            Form::Json => JSON_EVERY,
        }
    }

    /// Tells how far it is.
    pub(super) fn tell(&self, meter: &Meter, tell: &mut dyn FnMut(&str)) {
        let line = self.line(meter);
        match &self.form {
            Form::Bar(bar) => {
                bar.set_length(line.documents_total);
                bar.set_position(line.documents);
                bar.set_message(line.pace());
            }
            Form::Plain => {
                let Line { documents, documents_total, .. } = line;
                let percent = documents * 100 / documents_total.max(1);
                let pace = line.pace();
                tell(&format!("{documents} of {documents_total} documents ({percent} %), {pace}"));
            }
            Form::Json => tell(&serde_json::to_string(&line).unwrap_or_default()),
        }
    }

    /// Takes the bar away; others have their last line.
    pub(super) fn end(&self, meter: &Meter, tell: &mut dyn FnMut(&str)) {
        match &self.form {
            Form::Bar(bar) => bar.finish_and_clear(),
            Form::Plain | Form::Json => self.tell(meter, tell),
        }
    }

    fn line(&self, meter: &Meter) -> Line {
        let of = |it: &AtomicU64| it.load(Ordering::Relaxed);
        let (documents, documents_total) = (of(&meter.documents), of(&meter.total));
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let documents_per_s = (documents - self.documents_before.min(documents)) * 1000 / millis;
        let left = documents_total.saturating_sub(documents);
        Line {
            documents,
            documents_total,
            documents_per_s,
            left_s: left.checked_div(documents_per_s),
            alerts: of(&meter.alerts),
        }
    }
}

impl Line {
    fn pace(&self) -> String {
        let left = match self.left_s {
            None => String::from("some time"),
            Some(s @ ..120) => format!("{s} s"),
            Some(s @ ..7200) => format!("{} min", s / 60),
            Some(s) => format!("{} h", s / 3600),
        };
        format!("{} a second, {left} left, {} alerts", self.documents_per_s, self.alerts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_told() {
        let meter = Meter::default();
        meter.total.store(10_000, Ordering::Relaxed);
        meter.documents.store(1_000, Ordering::Relaxed);
        let (plain, json) =
            (Shown::new(Progress::Plain, &meter), Shown::new(Progress::Json, &meter));
        tokio::time::sleep(Duration::from_secs(2)).await;
        meter.documents.store(2_000, Ordering::Relaxed);
        meter.alerts.store(3, Ordering::Relaxed);
        let mut said = Vec::new();
        plain.tell(&meter, &mut |it| said.push(it.to_owned()));
        json.tell(&meter, &mut |it| said.push(it.to_owned()));
        assert_eq!(
            said,
            [
                "2000 of 10000 documents (20 %), 500 a second, 16 s left, 3 alerts",
                r#"{"documents":2000,"documents_total":10000,"documents_per_s":500,"left_s":16,"alerts":3}"#
            ]
        );
    }
}
