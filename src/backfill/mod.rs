//! `k8scop backfill`: reads what a cluster stored before, and treats it as if it came in now. A second door into the
//! same rooms: [`crate::prepare`] unwraps and classifies, [`crate::forward`] stores.
//!
//! What is read is cut into units (one shard of one index each), and a unit is read in the order of `_seq_no`. That number
//! is given once to each document of a shard, is the same on all of its copies, and survives restarts and merges: a
//! place in it can be gone on from whatever became of the cluster, and of us.

mod checkpoint;
mod end;
mod follow;
pub mod k8scop;
mod pace;
mod progress;
mod run;
mod scrape;
mod source;
mod spool;
mod work;

pub use self::run::run;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use jiff::Timestamp;
use thiserror::Error;

/// What `k8scop backfill` is told.
#[derive(Clone)]
pub struct Options {
    /// The cluster that is read.
    pub source: SourceOptions,
    /// Indices, data streams and aliases with commas between them; `*` is any text.
    pub index: String,
    /// The first moment that is read.
    pub from: Option<Timestamp>,
    /// The first moment that is not read any more.
    pub to: Option<Timestamp>,
    /// The field that tells the time of a document.
    pub time_field: String,
    /// A query of Elasticsearch (JSON) that documents must match.
    pub query: Option<String>,
    /// What is stored.
    pub write: Write,
    /// Units that are read at the same time; as many as there are cores, if nothing is said.
    pub slices: Option<usize>,
    /// Most documents in a second.
    pub rate: Option<u32>,
    /// Most documents in all.
    pub docs_max: Option<u64>,
    /// Stores nothing.
    pub dry_run: bool,
    /// Where the place is kept; made of what is read, if nothing is said.
    pub checkpoint: Option<PathBuf>,
    /// Begins anew, though there is a checkpoint.
    pub restart: bool,
    /// How it is told how far it is.
    pub progress: Progress,
    /// Where the summary is written as a page.
    pub html: Option<PathBuf>,
    /// Where metrics are served meanwhile.
    pub metrics_listen: Option<SocketAddr>,
    /// Goes on with what comes in later, so much behind it.
    pub follow: Option<Duration>,
    /// The configuration's output takes what is stored; otherwise the source does.
    pub to_output: bool,
    /// How long a source or an output that fails is tried again.
    pub give_up: Duration,
}

/// How long what fails is tried again, if nothing is said.
pub const GIVE_UP: Duration = Duration::from_secs(600);

impl Default for Options {
    fn default() -> Self {
        Self {
            source: SourceOptions::default(),
            index: String::new(),
            from: None,
            to: None,
            time_field: "@timestamp".into(),
            query: None,
            write: Write::default(),
            slices: None,
            rate: None,
            docs_max: None,
            dry_run: false,
            checkpoint: None,
            restart: false,
            progress: Progress::default(),
            html: None,
            metrics_listen: None,
            follow: None,
            to_output: false,
            give_up: GIVE_UP,
        }
    }
}

/// How the program speaks.
pub struct Voices<'v> {
    /// To standard output.
    pub print: &'v mut dyn FnMut(&str),
    /// To standard error.
    pub tell: &'v mut dyn FnMut(&str),
}

/// How the cluster that is read is reached.
#[derive(Clone, Default)]
pub struct SourceOptions {
    /// URLs with commas between them, perhaps with user and password; the configuration's output, if there are none.
    pub urls: Option<String>,
    /// `env:NAME`, `file:PATH`, or the key.
    pub api_key: Option<String>,
    /// Certificates of authorities to trust besides the system's (PEM).
    pub ca_file: Option<PathBuf>,
}

/// Without URLs, keys and the query, which may be secret.
impl std::fmt::Debug for SourceOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceOptions").finish_non_exhaustive()
    }
}

/// Without URLs, keys and the query, which may be secret.
impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").finish_non_exhaustive()
    }
}

/// What is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Write {
    /// Alerts.
    #[default]
    Alerts,
    /// Alerts, and the documents that were taken out of their carriers.
    AlertsAndLogs,
}

/// How it is told how far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// A bar on a terminal, else lines.
    #[default]
    Auto,
    /// Lines of text.
    Plain,
    /// Lines of JSON.
    Json,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All that there is was read, and all that it raised is stored.
    Complete,
    /// It came to its end, and something is missing: it was told what.
    Incomplete,
    /// Stopped by a person or by `docs_max`: the checkpoint holds the place.
    Stopped,
}

/// Why it did not come to its end.
#[derive(Debug, Error)]
pub enum BackfillError {
    /// What was typed cannot be meant.
    #[error("{0}")]
    Usage(String),
    /// The configuration cannot be used.
    #[error("{0}")]
    Settings(String),
    /// The source or the output does not do what is asked of it.
    #[error("{0}")]
    Failed(String),
}
