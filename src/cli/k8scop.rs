//! K8sCop's own command line, which names no command.

use std::{fmt, path::PathBuf, process::ExitCode, time::Duration};

use clap::{
    Args, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use jiff::Timestamp;

use super::{backfill, told};
use crate::{
    backfill::k8scop::{self, Analysis, End},
    config::{self, Overrides},
};

pub(super) const USAGE: &str = "\
k8scop <COMMAND>
       k8scop -E HOST:PORT -I PREFIX -i PREFIX -s Y-M-D-H-M-S -A static|streaming [-e Y-M-D-H-M-S] [-d SECONDS]";

pub(super) const HELP: &str = "\
K8sCop's command line reads the indices PREFIX-YYYY.MM.DD, from the start to the end or to now, and puts each alert into \
the index of its own day. A streaming analysis goes on with what comes in later. Times are UTC. It is a short form of \
`k8scop backfill`, which can do more:
  k8scop -E 127.0.0.1:9200 -I logstash -i alerts -s 2019-2-1-0-0-0 -e 2019-3-2-0-0-0 -A static
  k8scop -E 127.0.0.1:9200 -I logstash -i alerts -s 2019-2-1-0-0-0 -A streaming -d 5";

#[derive(Args)]
#[command(next_help_heading = "K8sCop's own command line")]
pub(super) struct K8scopArgs {
    /// The Elasticsearch that is read, and that takes the alerts
    #[arg(short = 'E', long = "elastic", value_name = "HOST:PORT|URL")]
    elastic: String,
    /// What the names of the logs' indices begin with: logstash for logstash-2019.03.02
    #[arg(short = 'I', long = "pages", value_name = "PREFIX", value_parser = k8scop::prefix)]
    pages: String,
    /// The same of the alerts' indices
    #[arg(short = 'i', long = "alerts", value_name = "PREFIX", value_parser = k8scop::prefix)]
    alerts: String,
    /// From this second on: year-month-day-hour-minute-second
    #[arg(short = 's', long = "start", value_name = "Y-M-D-H-M-S", value_parser = k8scop::start)]
    start: Timestamp,
    /// Once, or always
    #[arg(short = 'A', long = "analysis", value_enum)]
    analysis: AnalysisName,
    /// A static analysis ends behind this second, or now
    #[arg(short = 'e', long = "end", value_name = "Y-M-D-H-M-S|now", value_parser = k8scop::end, default_value = "now")]
    end: End,
    /// A streaming analysis looks after so many seconds again
    #[arg(short = 'd', long = "fetch-delay", value_name = "SECONDS", value_parser = delay(), default_value = "10")]
    fetch_delay: u64,
    /// Configuration file (YAML) for rules, alerts and all else; not of K8sCop
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AnalysisName {
    Static,
    Streaming,
}

/// Without the URL, which may hold a password.
impl fmt::Debug for K8scopArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("K8scopArgs").finish_non_exhaustive()
    }
}

/// Those that K8sCop knows.
fn delay() -> impl TypedValueParser<Value = u64> {
    PossibleValuesParser::new(["3", "5", "8", "10", "12"]).try_map(|it| it.parse())
}

pub(super) fn run(args: &K8scopArgs) -> ExitCode {
    let is_streaming = args.analysis == AnalysisName::Streaming;
    if is_streaming && args.end != End::Now {
        eprintln!(
            "error: --end (-e) is for --analysis (-A) static: a streaming analysis has no end"
        );
        return ExitCode::from(2);
    }
    let analysis = Analysis {
        elastic: args.elastic.clone(),
        pages: args.pages.clone(),
        start: args.start,
        end: args.end,
        follow: is_streaming.then(|| Duration::from_secs(args.fetch_delay)),
    };
    let options = match analysis.options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let typed = match config::typed_cluster(&analysis.url(), None, None) {
        Ok(typed) => typed,
        Err(error) => {
            eprintln!("error: {}", error.to_string().replace("--source", "--elastic (-E)"));
            return ExitCode::from(2);
        }
    };
    let overrides = Overrides { output: Some(analysis.url()), ..Overrides::default() };
    match config::load(args.config.as_deref(), overrides) {
        Ok(mut config) => {
            k8scop::reach_as_typed(&mut config, typed);
            k8scop::alert_as_it(&mut config, &args.alerts);
            backfill::run_with(config, &options)
        }
        Err(error) => told(&error),
    }
}
