//! `k8scop explain` and `k8scop scan`: what `run` would make of logs that lie in files. Nothing is sent.
//!
//! Both read alike (`split` and `reader`), unwrap and classify as `run` does, and differ in what they tell:
//! `explain` all of each event (`entry`), `scan` the alerts and a summary.

mod alert;
mod entry;
mod reader;
mod scan;
mod split;
mod text;
mod way;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::Context;
use jiff::Timestamp;

pub use self::scan::{Format, Outcome, ScanOptions, scan};
use self::{
    entry::Entry,
    reader::{Input, Meter},
    split::Document,
};
use crate::{
    classify::Classifier,
    config::{self, Config, ConfigError, Overrides, Raw},
    event::AuditEvent,
    prepare::Policy,
    unwrap::{self, Buffers, Part},
};

/// What `k8scop explain` is told.
#[derive(Debug)]
pub struct ExplainOptions {
    /// A file, or `-` for standard input.
    pub file: PathBuf,
    /// One JSON object for each event.
    pub json: bool,
    /// Which rules are told of.
    pub about: About,
}

/// Which rules `k8scop explain` tells of, beside those that are hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum About {
    /// No others.
    #[default]
    Hits,
    /// Those of which all lines but one hold.
    Near,
    /// Only the one at this place: hit, or why not.
    Rule(usize),
}

/// The configuration of a command that sends nothing: without what reaching others needs, such as credentials, which may
/// not be at hand. `rules` stand in place of all others, if there are any.
pub fn load(file: Option<&Path>, rules: &[PathBuf]) -> Result<Config, ConfigError> {
    let mut raw = match file {
        None => Raw::default(),
        Some(path) => config::read(path)?,
    };
    let nothing = Raw::default();
    raw.auth = nothing.auth;
    (raw.tls, raw.admin_tls) = (nothing.tls, nothing.admin_tls);
    (raw.output, raw.elasticsearch) = (nothing.output, nothing.elasticsearch);
    (raw.on_reject, raw.dead_letter) = (nothing.on_reject, nothing.dead_letter);
    if !rules.is_empty() {
        raw.rules.built_in = false;
        raw.rules.paths = rules.to_vec();
        raw.rules.named_in = None;
    }
    config::meant(raw, Overrides::default())
}

/// Explains each event of a file. A bad line is told like an event, and does not stop it.
pub fn explain(
    options: &ExplainOptions,
    config: Config,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let core = Core::new(config)?;
    let input = Input::named(&options.file);
    let meter = Rc::new(Meter::default());
    let mut failed = None;
    let mut show = |entry: &Entry| {
        if failed.is_some() {
            return;
        }
        let written = match options.json {
            true => entry.write_json(out),
            false => text::write(entry, out),
        };
        if let Err(error) = written {
            meter.is_over.set(true);
            failed = Some(error);
        }
    };
    let outcome = reader::read(&input, core.bytes_max(), &meter, &mut |it| match it {
        Ok(document) => entry::of(&core, &document, options.about, &mut show),
        Err(bad) => show(&Entry::bad(&bad)),
    });
    match failed {
        Some(error) => ended(error),
        None => {
            outcome.with_context(|| input.name())?;
            out.flush().or_else(|error| ended(error).map_err(io::Error::other))?;
            Ok(())
        }
    }
}

/// Gives each audit event of a file to `take`, with its place: `line 3`, `line 4, part 2`. What is none is passed over.
pub fn each_event(file: &Path, take: &mut dyn FnMut(&str, &AuditEvent<'_>)) -> anyhow::Result<()> {
    let mut raw = Raw::default();
    raw.rules.built_in = false;
    let core = Core::new(config::meant(raw, Overrides::default())?)?;
    let (input, meter) = (Input::named(file), Rc::new(Meter::default()));
    let outcome = reader::read(&input, core.bytes_max(), &meter, &mut |it| {
        let Ok(document) = it else { return };
        let mut parts = 0;
        core.each(&document, &mut |part| {
            parts += 1;
            if let Part::Audit(found) = part {
                let place = match parts {
                    1 => format!("line {}", document.line),
                    _ => format!("line {}, part {parts}", document.line),
                };
                take(&place, found.event);
            }
        });
    });
    outcome.with_context(|| input.name())
}

/// That nobody reads any more is no error.
fn ended(error: io::Error) -> anyhow::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error.into()) }
}

/// What unwraps and classifies, as `run` is configured to do.
struct Core {
    policy: Policy,
    classifier: Classifier,
    now: Timestamp,
}

impl Core {
    fn new(config: Config) -> anyhow::Result<Self> {
        let classifier = Classifier::new(config.rules).context("the rules have too many texts")?;
        let classifier = classifier.with_plan(config.plan);
        Ok(Self { policy: config.policy, classifier, now: Timestamp::now() })
    }

    /// Most bytes of one line, or of one JSON value.
    fn bytes_max(&self) -> usize {
        self.policy.inflated_bytes_max
    }

    /// Gives each part of a document. Each document may decompress to as much as a whole request.
    fn each(&self, document: &Document<'_>, take: &mut dyn FnMut(Part<'_>)) {
        let mut buffers = Buffers::new(self.policy.inflated_bytes_max);
        let settings = &self.policy.unwrap;
        let Document { text, members, depth, .. } = *document;
        unwrap::each(text, members, depth, settings, &mut buffers, &mut |part| {
            take(self.policy.wanted(part));
            std::ops::ControlFlow::Continue(())
        });
    }
}
