//! `k8scop backfill`.

use std::{
    convert::Infallible, fmt, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration,
};

use clap::{Args, ValueEnum};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use tokio_util::sync::CancellationToken;

use super::{block_on, say, stopped, told};
use crate::{
    app,
    backfill::{self, BackfillError, Options, Outcome, SourceOptions, Voices},
    config::{self, Config, Overrides},
    report::Told,
};

pub(super) fn help() -> String {
    format!(
        "\
Ids are those of `k8scop run`: what it stored, or what another backfill did, is not stored twice. A backfill that was \
stopped, by whatever, goes on when the same command is given again; rules and query must be the same.

`alerts.suppress` and `alerts.rate` hold nothing here: all that happened is told once. Correlations are told at the end.

--progress json writes objects, one a line: documents, documents_total, documents_per_s, left_s, alerts on standard error, \
and at last on standard output outcome (complete, incomplete, stopped), missing (what, in words), counts (how documents \
ended), correlations (alerts of several events: created, duplicate, refused), and summary:
{}

Exit status: 0 all was read, and all that it raised is stored; 1 something is missing, and was told; 2 wrong usage; \
3 a rule cannot be used; 4 the configuration cannot be used; 70 stopped before the end: the same command goes on.

Example:
  k8scop backfill --source http://127.0.0.1:9200 --index 'logstash-*' --from 2026-10-01 --to 2026-11-01",
        Told::JSON
    )
}

#[derive(Args)]
pub(super) struct BackfillArgs {
    /// Configuration file (YAML)
    #[arg(short, long, value_name = "FILE", env = "K8SCOP_CONFIG")]
    config: Option<PathBuf>,
    /// The cluster that is read: URLs with commas between them, or https://user:password@host:9200 [default: `output` of
    /// the configuration]
    #[arg(long, value_name = "URL", env = "K8SCOP_SOURCE", hide_env_values = true)]
    source: Option<String>,
    /// An API key for it: where it stands, or itself (as handed out in `encoded`, or id:key)
    #[arg(long, value_name = "env:NAME|file:PATH|KEY", requires = "source")]
    api_key: Option<String>,
    /// Certificates of the authorities to trust besides the system's (PEM)
    #[arg(long, value_name = "FILE", requires = "source")]
    ca_file: Option<PathBuf>,
    /// Indices, data streams and aliases with commas between them; * is any text
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    index: String,
    /// From this time on (UTC): 2026-10-01 or 2026-10-01T06:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
    /// The field that tells the time of a document
    #[arg(long, value_name = "FIELD", default_value = "@timestamp")]
    time_field: String,
    /// A query of Elasticsearch that documents must match, too
    #[arg(long, value_name = "JSON")]
    query: Option<String>,
    /// Where alerts (and logs) go [default: the source]
    #[arg(long, value_name = "URL|file:DIR", hide_env_values = true)]
    output: Option<String>,
    /// What is stored; the indices that are read stay as they are
    #[arg(long, value_enum, default_value_t = Write::Alerts)]
    write: Write,
    /// Shards that are read at the same time, or auto: as many as there are cores, 8 at most
    #[arg(long, value_name = "auto|N", value_parser = slices, default_value = "auto")]
    slices: Slices,
    /// Most documents in a second [default: as many as go; fewer while the source is busy]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Stop after so many documents; the next time it goes on behind them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_docs: Option<u64>,
    /// Store nothing, only tell what would be
    #[arg(long)]
    dry_run: bool,
    /// Where the place is kept [default: k8scop-backfill-….checkpoint, by what is read]
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Begin anew, though there is a checkpoint
    #[arg(long)]
    restart: bool,
    /// How it is told how far it is: auto is a bar on a terminal, else lines
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    progress: Progress,
    /// Write the summary as a page, too
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Serve /metrics here while it runs
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<SocketAddr>,
    /// Stop when the source, or the output, has failed for so long (seconds)
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    give_up: u64,
}

/// Without URLs, keys and the query, which may be secret.
impl fmt::Debug for BackfillArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackfillArgs").finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Write {
    Alerts,
    #[value(name = "alerts+logs")]
    AlertsAndLogs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Progress {
    Auto,
    Plain,
    Json,
}

/// `None` is `auto`. A type of its own, because clap takes an `Option` for something that need not be given.
#[derive(Clone, Copy, Debug)]
struct Slices(Option<usize>);

/// Most shards at the same time.
const SLICES_MAX: usize = 256;

fn slices(text: &str) -> Result<Slices, String> {
    if text == "auto" {
        return Ok(Slices(None));
    }
    let count = text.parse().ok().filter(|it| (1..=SLICES_MAX).contains(it));
    count.map(|it| Slices(Some(it))).ok_or_else(|| format!("give auto, or 1 to {SLICES_MAX}"))
}

/// To Elasticsearch, nothing means everything.
fn pattern(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("name indices; * is all of them".into()),
        _ => Ok(text.to_owned()),
    }
}

/// A moment, or the beginning of a day; in UTC, if no zone is told.
fn time(text: &str) -> Result<Timestamp, String> {
    let utc = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
    text.parse()
        .ok()
        .or_else(|| utc().map(|it| it.timestamp()))
        .ok_or_else(|| "give a day (2026-10-01) or a moment (2026-10-01T06:00:00Z)".into())
}

impl BackfillArgs {
    fn options(&self) -> Options {
        Options {
            source: SourceOptions {
                urls: self.source.clone(),
                api_key: self.api_key.clone(),
                ca_file: self.ca_file.clone(),
            },
            index: self.index.clone(),
            from: self.from,
            to: self.to,
            time_field: self.time_field.clone(),
            query: self.query.clone(),
            write: match self.write {
                Write::Alerts => backfill::Write::Alerts,
                Write::AlertsAndLogs => backfill::Write::AlertsAndLogs,
            },
            slices: self.slices.0,
            rate: self.rate,
            docs_max: self.max_docs,
            dry_run: self.dry_run,
            checkpoint: self.checkpoint.clone(),
            restart: self.restart,
            progress: match self.progress {
                Progress::Auto => backfill::Progress::Auto,
                Progress::Plain => backfill::Progress::Plain,
                Progress::Json => backfill::Progress::Json,
            },
            html: self.html.clone(),
            metrics_listen: self.metrics_listen,
            follow: None,
            to_output: self.output.is_some(),
            give_up: Duration::from_secs(self.give_up),
        }
    }
}

pub(super) fn run(args: &BackfillArgs) -> ExitCode {
    let overrides = Overrides { output: args.output.clone(), ..Overrides::default() };
    match config::load(args.config.as_deref(), overrides) {
        Ok(config) => run_with(config, &args.options()),
        Err(error) => told(&error),
    }
}

/// Runs a backfill, whatever it was typed as.
pub(super) fn run_with(config: Config, options: &Options) -> ExitCode {
    if let (Some(from), Some(to)) = (options.from, options.to)
        && from >= to
    {
        eprintln!("error: --from {from} is not before --to {to}: nothing lies between them");
        return ExitCode::from(2);
    }
    app::start_log(config.log_format, "warn");
    let mut print = |text: &str| say(&format!("{text}\n"));
    let mut tell = |text: &str| eprintln!("{text}");
    let mut voices = Voices { print: &mut print, tell: &mut tell };
    let outcome = block_on(async {
        let stop = CancellationToken::new();
        let work = backfill::run(config, options, &mut voices, stop.clone());
        Ok(ended_by_signal(work, stop).await)
    });
    match outcome {
        Ok(Ok(Outcome::Complete)) => ExitCode::SUCCESS,
        Ok(Ok(Outcome::Incomplete)) => ExitCode::FAILURE,
        Ok(Ok(Outcome::Stopped)) => ExitCode::from(70),
        Ok(Err(error)) => {
            eprintln!("error: {error}");
            ExitCode::from(match error {
                BackfillError::Usage(_) => 2,
                BackfillError::Settings(_) => 4,
                BackfillError::Failed(_) => 70,
            })
        }
        Err(error) => stopped(&error),
    }
}

/// The first SIGINT or SIGTERM asks it to stop, the second ends it.
async fn ended_by_signal<T>(work: impl Future<Output = T>, stop: CancellationToken) -> T {
    let signals = async {
        if app::wait_for_end().await.is_ok() {
            stop.cancel();
            eprintln!("stopping behind the pages that are being read; once more stops at once");
            if app::wait_for_end().await.is_ok() {
                std::process::exit(70);
            }
        }
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        done = work => done,
        never = signals => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let of = |text: &str| time(text).map(|it| it.to_string());
        assert_eq!(of("2026-10-01").unwrap(), "2026-10-01T00:00:00Z");
        assert_eq!(of("2026-10-01T02:00:00+02:00").unwrap(), "2026-10-01T00:00:00Z");
        assert_eq!(of("2026-10-01T06:00:00").unwrap(), "2026-10-01T06:00:00Z");
        for bad in ["", "yesterday", "2026-13-01", "2026-10-01T25:00:00"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_of_slices() {
        assert_eq!(slices("auto").unwrap().0, None);
        assert_eq!(slices("3").unwrap().0, Some(3));
        for bad in ["0", "257", "many", ""] {
            assert!(slices(bad).is_err(), "{bad}");
        }
    }
}
