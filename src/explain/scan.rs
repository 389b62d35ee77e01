//! `k8scop scan`: the alerts that `run` would raise on logs in files.

use std::{
    collections::{HashSet, VecDeque},
    fs,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{
    Core,
    alert::{self, Alert},
    ended,
    reader::{self, Input, Meter},
    split::{Document, Form},
};
use crate::{
    classify::Place,
    config::Config,
    correlate::{Engine, Limits},
    prepare,
    report::{About, Event, Page, Raised, Summary, Told},
    rules::Level,
    unwrap::{self, Clock, Found, Part},
};

/// How alerts are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table, then the summary.
    Table,
    /// One JSON object: `alerts`, `summary`.
    Json,
    /// One JSON object for each alert; the summary on standard error.
    Ndjson,
    /// Only the summary.
    Summary,
}

/// What `k8scop scan` is told.
#[derive(Debug)]
pub struct ScanOptions {
    /// Files and folders; `-` is standard input.
    pub paths: Vec<PathBuf>,
    /// How alerts are printed.
    pub format: Format,
    /// The lowest severity that is told.
    pub severity_min: Level,
    /// The severity from which on a scan counts as failed.
    pub fail_on: Option<Level>,
    /// Most alerts in the table.
    pub rows_max: usize,
    /// Show how far it is, if there is a terminal to show it on.
    pub progress: bool,
    /// Where the summary is written as a page.
    pub html: Option<PathBuf>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All was read that can be.
    Done,
    /// There is an alert as severe as `fail_on`.
    Hit,
    /// No file could be read.
    Failed,
}

/// Alerts that are remembered, so that none is told twice.
const IDS_MAX: usize = 1 << 20;
/// Documents between two looks at the clock.
const TICK_DOCUMENTS: u64 = 512;
/// What correlations remember.
const LIMITS: Limits = Limits {
    held_max: 1 << 20,
    held_bytes_max: 512 << 20,
    alerts_per_hour_max: usize::MAX,
    pending_max: 1 << 20,
    ..Limits::DEFAULT
};

/// Scans files. `tell` takes what is for standard error.
pub fn scan(
    options: &ScanOptions,
    config: Config,
    out: &mut dyn Write,
    tell: &mut dyn FnMut(&str),
) -> anyhow::Result<Outcome> {
    let core = Core::new(config)?;
    let meter = Rc::new(Meter::default());
    let start = Instant::now();
    let mut inputs = Vec::new();
    let mut failed = 0;
    for path in &options.paths {
        reader::files(path, &mut inputs, &mut |path, error| {
            failed += 1;
            tell(&format!("error: {}: {error}", path.display()));
        });
    }
    let mut scan = Scan {
        core: &core,
        options,
        out,
        meter: Rc::clone(&meter),
        bar: bar(options, &inputs),
        files: Files { all: failed, failed },
        summary: Summary::default(),
        known: Known::default(),
        rows: Vec::new(),
        written: 0,
        left_out: 0,
        is_hit: false,
        engine: Engine::new(
            Arc::new(core.policy.alerting.adjusted(core.classifier.plan())),
            LIMITS,
        ),
        error: None,
    };
    let mut bytes_of_failed = false;
    for input in &inputs {
        let name = input.name();
        let before = scan.summary.documents();
        let outcome = reader::read(input, core.bytes_max(), &meter, &mut |it| match it {
            Ok(document) => scan.document(&document, &name),
            Err(bad) => {
                scan.summary.document(None);
                scan.bad(&name, bad.line, &bad.reason);
            }
        });
        scan.files.all += 1;
        if let Err(error) = outcome {
            scan.files.failed += 1;
            bytes_of_failed |= scan.summary.documents() > before;
            scan.bar.suspend(|| tell(&format!("error: {name}: {error}")));
        }
        if meter.is_over.get() {
            break;
        }
    }
    scan.correlate();
    scan.bar.finish_and_clear();
    let Files { all: files, failed: files_failed } = scan.files;
    let is_hit = scan.is_hit;
    if let Err(error) = scan.end(meter.bytes.get(), start.elapsed(), tell) {
        ended(error)?;
    }
    Ok(match () {
        () if is_hit => Outcome::Hit,
        () if files == 0 => {
            let paths: Vec<_> = options.paths.iter().map(|it| it.display().to_string()).collect();
            tell(&format!("error: {}: there are no files in it", paths.join(", ")));
            Outcome::Failed
        }
        () if files == files_failed && !bytes_of_failed => Outcome::Failed,
        () => Outcome::Done,
    })
}

/// How far it is. On standard error, so not where alerts stream to the same terminal.
fn bar(options: &ScanOptions, inputs: &[Input]) -> ProgressBar {
    let streams = matches!(options.format, Format::Json | Format::Ndjson);
    let is_shown =
        options.progress && io::stderr().is_terminal() && !(streams && io::stdout().is_terminal());
    if !is_shown {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(inputs.iter().map(Input::len_bytes).sum());
    let shape = "{bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left, {msg}";
    if let Ok(style) = ProgressStyle::with_template(shape) {
        bar.set_style(style);
    }
    bar.set_message("0 events");
    bar
}

/// A scan on its way.
struct Scan<'s> {
    core: &'s Core,
    options: &'s ScanOptions,
    out: &'s mut dyn Write,
    meter: Rc<Meter>,
    bar: ProgressBar,
    files: Files,
    summary: Summary,
    known: Known,
    /// What the table shows.
    rows: Vec<Alert>,
    written: u64,
    /// Alerts beyond the table's last row.
    left_out: u64,
    is_hit: bool,
    /// Holds what correlations are about until all is read: files are in no order.
    engine: Engine,
    /// Why nothing more can be written.
    error: Option<io::Error>,
}

/// How many there are, and how many of them were not read to the end.
#[derive(Clone, Copy)]
struct Files {
    all: u64,
    failed: u64,
}

impl Scan<'_> {
    fn document(&mut self, document: &Document<'_>, file: &str) {
        self.summary.document(None);
        if self.summary.documents().is_multiple_of(TICK_DOCUMENTS) {
            self.bar.set_message(format!("{} events", self.summary.events()));
            self.bar.set_position(self.meter.bytes.get());
        }
        let core = self.core;
        core.each(document, &mut |part| match part {
            Part::Audit(found) => self.event(&found, file, document.line),
            Part::Line(_) => self.summary.other("control_plane_line"),
            Part::Broken(unread) => self.summary.other(unread.reason.name()),
            Part::Dropped(reason) => self.summary.other(reason.name()),
            Part::Piece(piece) => {
                self.summary.other(piece.broken.map_or("not_kubernetes", unwrap::Broken::name));
            }
            Part::Other => match document.form {
                Form::Line(Some(error)) | Form::Export(Some(error)) => {
                    self.bad(file, document.line, &error.to_string());
                }
                _ => self.summary.other("not_kubernetes"),
            },
        });
    }

    fn event(&mut self, found: &Found<'_>, file: &str, line: u64) {
        let (core, event) = (self.core, found.event);
        let when = found.when(core.now);
        let (mut alerts, mut is_matched, mut repeated) = (Vec::new(), false, 0);
        let hits = core.classifier.classify(event).hits;
        let place = Place { index: file, id: Some(&line.to_string()) };
        let at_us = when.at.as_microsecond();
        if let Some(event) =
            prepare::observation(&core.classifier, found, &hits, place, None, at_us)
        {
            self.engine.observe(event);
        }
        for hit in hits {
            let Some(rule) = core.classifier.rules().get(hit) else { continue };
            let level = core.policy.grade(rule, found).level;
            // What only labels raises no alert.
            if !core.policy.alerting.is_alert(level) || core.classifier.plan().is_silent(hit) {
                continue;
            }
            self.is_hit |= self.options.fail_on.is_some_and(|it| level >= it);
            if level < self.options.severity_min {
                continue;
            }
            is_matched = true;
            // As in Elasticsearch: an alert whose `_id` is there already is not stored again.
            if !self.known.is_new(&prepare::made_id(found, Some((&rule.id, rule.once_per)))) {
                repeated += 1;
                continue;
            }
            alerts.push(Raised { id: &rule.id, title: &rule.title, level });
            self.tell(Alert::new(rule, level, found, &when, (file, line)));
        }
        self.summary.event(&Event {
            index: None,
            about: About {
                time: (when.clock == Clock::Event).then_some(when.at),
                user: Some(event.user_name.as_deref().unwrap_or("-")),
                cluster: found.cluster(),
                namespace: event.object.namespace.as_deref(),
            },
            is_cut: found.is_cut(),
            is_matched,
            alerts: &alerts,
            repeated,
        });
    }

    fn bad(&mut self, file: &str, line: u64, reason: &str) {
        self.summary.unreadable(reason, || format!("{file}:{line}"));
    }

    /// Tells what several events mean together.
    fn correlate(&mut self) {
        let plan = Arc::clone(self.engine.plan());
        self.engine.close();
        for fired in self.engine.fired().clone() {
            let mut correlations = plan.correlations().iter();
            let Some(planned) = correlations.find(|it| *it.correlation.id == *fired.correlation)
            else {
                continue;
            };
            let alerting = &self.core.policy.alerting;
            let level = alerting.grade(planned, fired.namespace(planned), &fired.cluster).level;
            if !alerting.is_alert(level) {
                continue;
            }
            self.is_hit |= self.options.fail_on.is_some_and(|it| level >= it);
            if level >= self.options.severity_min {
                self.summary.correlated(planned, level, &fired);
                self.tell(Alert::correlated(planned, level, &fired));
            }
        }
    }

    fn tell(&mut self, alert: Alert) {
        match self.options.format {
            Format::Summary => (),
            Format::Table if self.rows.len() < self.options.rows_max => self.rows.push(alert),
            Format::Table => self.left_out += 1,
            Format::Json | Format::Ndjson if self.error.is_some() => (),
            Format::Json | Format::Ndjson => {
                if let Err(error) = self.write(&alert) {
                    self.meter.is_over.set(true);
                    self.error = Some(error);
                }
            }
        }
    }

    fn write(&mut self, alert: &Alert) -> io::Result<()> {
        let opening: &[u8] = match (self.options.format, self.written) {
            (Format::Json, 0) => b"{\"alerts\":[\n",
            (Format::Json, _) => b",\n",
            _ => b"",
        };
        self.written += 1;
        self.out.write_all(opening)?;
        serde_json::to_writer(&mut *self.out, alert)?;
        match self.options.format {
            Format::Json => Ok(()),
            _ => self.out.write_all(b"\n"),
        }
    }

    /// Prints what is left.
    fn end(self, bytes: u64, took: Duration, tell: &mut dyn FnMut(&str)) -> io::Result<()> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let told = self.summary.told(took);
        let Files { all: files, failed: files_failed } = self.files;
        let failed = match files_failed {
            0 => String::new(),
            failed => format!(", {failed} of them not read to the end"),
        };
        let head = [("files", format!("{files}{failed}"))];
        if let Some(path) = &self.options.html {
            let paths: Vec<_> =
                self.options.paths.iter().map(|it| it.display().to_string()).collect();
            let page = Page {
                title: "Alerts in files".into(),
                about: vec![("read", paths.join(", ")), ("files", head[0].1.clone())],
                now: self.core.now,
            };
            fs::write(path, told.page(&page)).map_err(|error| {
                io::Error::new(error.kind(), format!("--html {}: {error}", path.display()))
            })?;
        }
        let out = self.out;
        match self.options.format {
            Format::Json => {
                out.write_all(if self.written == 0 { b"{\"alerts\":[" } else { b"\n" })?;
                out.write_all(b"],\"summary\":")?;
                let scanned = Scanned { files, files_failed, bytes, told: &told };
                serde_json::to_writer(&mut *out, &scanned)?;
                out.write_all(b"}\n")?;
            }
            Format::Ndjson => tell(told.text(&head).trim_end()),
            Format::Summary => out.write_all(told.text(&head).as_bytes())?,
            Format::Table => {
                if !self.rows.is_empty() {
                    writeln!(out, "{}\n", alert::table(self.rows))?;
                }
                if self.left_out > 0 {
                    writeln!(
                        out,
                        "{} more alerts: raise --limit, or use --format ndjson\n",
                        self.left_out
                    )?;
                }
                out.write_all(told.text(&head).as_bytes())?;
            }
        }
        out.flush()
    }
}

/// The summary of `--format json`.
#[derive(Serialize)]
struct Scanned<'t> {
    files: u64,
    files_failed: u64,
    bytes: u64,
    #[serde(flatten)]
    told: &'t Told,
}

/// The alerts that were told last, by the 16 bytes of their ids.
#[derive(Default)]
struct Known {
    ids: HashSet<u128>,
    order: VecDeque<u128>,
}

impl Known {
    fn is_new(&mut self, id: &str) -> bool {
        // An id that is no number would be one that nothing is known of.
        let Ok(id) = u128::from_str_radix(id, 16) else { return true };
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > IDS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}
