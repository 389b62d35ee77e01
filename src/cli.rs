//! What can be typed, and what is printed for it. Data goes to standard output, the rest to standard error.

#![expect(clippy::print_stderr, reason = "this is where the program speaks to a person")]

mod backfill;
mod k8scop;
mod rules;

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;

use crate::{
    app,
    check::{self, CheckError},
    config::{self, Config, ConfigError, OutputConfig, Overrides},
    dead_letter::{self, DeadLetterError, Replayed},
    demo, explain, export,
    report::Told,
    rules::Level,
    ruleset,
    setup::{self, SetupError},
};

/// Stands between log shippers and Elasticsearch and knows Kubernetes audit logs.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(override_usage = k8scop::USAGE, after_help = EXIT_CODES, after_long_help = format!("{}\n\n{EXIT_CODES}", k8scop::HELP))]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    k8scop: Option<k8scop::K8scopArgs>,
}

const EXIT_CODES: &str = "Exit status: 0 done; 1 a test or check failed, letters, templates or rules are left, or --fail-on was hit; 2 wrong usage; 3 a rule cannot be used; \
4 the configuration cannot be used; 70 stopped by an error.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Take bulk requests in, unwrap and classify audit events, and deliver all to the output
    Run(RunArgs),
    /// Show the main job: an attack is sent through a real server, and its alerts are printed
    Demo(DemoArgs),
    /// Check the configuration and the rules, and start nothing
    Validate(RunArgs),
    /// Put index templates and a lifecycle into the output's cluster: once, before the first event
    Setup(SetupArgs),
    /// Play shippers against a URL that claims to be Elasticsearch, and tell what would break, for whom, and why
    Check(CheckArgs),
    /// Tell what becomes of each event of a file, and which rules it hits and why; nothing is sent
    #[command(after_long_help = EXPLAIN_JSON)]
    Explain(ExplainArgs),
    /// Find the alerts in files of logs, without a server
    #[command(after_long_help = scan_help())]
    Scan(ScanArgs),
    /// Read what a cluster stored before, and raise the alerts that it would have raised
    #[command(after_long_help = backfill::help())]
    Backfill(backfill::BackfillArgs),
    /// Work with rules
    Rules {
        #[command(subcommand)]
        command: rules::RulesCommand,
    },
    /// Work with documents that were refused for good and kept (`on_reject: dead_letter`)
    DeadLetter {
        #[command(subcommand)]
        command: DeadLetterCommand,
    },
    /// Print files for others that lead to k8scop
    Export {
        #[command(subcommand)]
        command: ExportCommand,
    },
}

const EXPLAIN_JSON: &str = "\
Read are JSON objects (one a line or over several), arrays of them, bulk bodies, EventLists, audit logs, klog, exports \
of CloudWatch (`aws logs`, files in S3) and answers of _search, in gzip or not.

--format json writes one object for each event, always with these members:
  line      where it begins, from 1
  part      its place among those that came in one document, from 1
  kind      audit; line: the control plane wrote it; piece: it came along;
            broken: an audit event that cannot be read; dropped; refused;
            other: it passes as it came; error: it is no document
  reason    why it is no audit event; of an error its line and what is wrong
  provider  plain, eks, gke, aks, openshift
  carrier   what it was wrapped in, from the outside in
  cluster   its name, where something tells
  time      when it happened
  cut       whether it was cut on its way
  index     where it goes; null: where the shipper says
  id        its _id; null: Elasticsearch's own
  kubectl   the command behind it, without `kubectl`
  rules     those that it hits: id, title, level, alert, reason, why
            alert   false: the rule only labels
            reason  the alert's sentence
            why     selection, holds, field, value, pattern
                    holds is false for what stands under a `not`
  misses    with --rule and --near those that it does not: id, title, level,
            lines, no_one_element, why
            lines   how many would have to come out otherwise
            no_one_element  each line of the selection holds, but not all of
                    them for one element of an array
            why     the first line that does not hold; holds is true for what
                    stands under a `not` and fits
  document  what is stored; not with --rule
What there is not is null.

Example:
  k8scop explain audit.ndjson --rule 'Secret read'";

fn scan_help() -> String {
    format!(
        "\
Files are read as by `k8scop explain`. An alert is told once for each request, or for each of its stages, as its rule \
says (once_per), also when files overlap.

--format ndjson writes one object for each alert: time, severity, rule (id, title), reason, user, source_ip, verb, \
kubectl, resource, namespace, name, code, cluster, provider, audit_id, stage, file, line; the summary goes to \
standard error.
--format json writes {{\"alerts\": […], \"summary\": {{…}}}}. The summary has files, files_failed, bytes, and:
{}

Exit status: 0 done; 1 --fail-on was hit; 2 wrong usage; 3 a rule cannot be used; 4 the configuration cannot be used; \
70 no file could be read.",
        Told::JSON
    )
}

#[derive(Debug, Args)]
struct LookArgs {
    /// Configuration file (YAML); what only a running server needs is passed over
    #[arg(short, long, value_name = "FILE", env = "K8SCOP_CONFIG")]
    config: Option<PathBuf>,
    /// Rule file or folder, in place of all other rules; may be given again
    #[arg(long, value_name = "PATH")]
    rules: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// The file; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// For a person, or one JSON object an event
    #[arg(long, value_enum, default_value_t = ExplainFormat::Text)]
    format: ExplainFormat,
    /// Tell only of this rule, by its id or title: why it is hit, or why not
    #[arg(long, value_name = "ID|TITLE")]
    rule: Option<String>,
    /// Tell also of rules that are nearly hit: all their lines hold but one
    #[arg(long, conflicts_with = "rule")]
    near: bool,
    #[command(flatten)]
    look: LookArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExplainFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
struct ScanArgs {
    /// Files, or folders with all that is in them; - is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// A table and a summary, JSON, or only the summary
    #[arg(long, value_enum, default_value_t = ScanFormat::Table)]
    format: ScanFormat,
    /// The lowest severity that is told
    #[arg(long, value_enum, value_name = "SEVERITY", default_value_t = Severity::Low)]
    min_severity: Severity,
    /// Exit with status 1 if there is an alert of this severity or above
    #[arg(long, value_enum, value_name = "SEVERITY")]
    fail_on: Option<Severity>,
    /// Most alerts in the table
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// Show no progress, which is shown on a terminal only
    #[arg(long)]
    no_progress: bool,
    /// Write the summary as a page, too, with charts: one file that loads nothing
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    look: LookArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ScanFormat {
    Table,
    Json,
    Ndjson,
    Summary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    fn level(self) -> Level {
        match self {
            Self::Low => Level::Low,
            Self::Medium => Level::Medium,
            Self::High => Level::High,
            Self::Critical => Level::Critical,
        }
    }
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Configuration file (YAML)
    #[arg(short, long, value_name = "FILE", env = "K8SCOP_CONFIG")]
    config: Option<PathBuf>,
    /// Address for shippers [default: 127.0.0.1:9250]
    #[arg(long, value_name = "ADDR", env = "K8SCOP_LISTEN")]
    listen: Option<SocketAddr>,
    /// Address for metrics and health [default: 127.0.0.1:9251]
    #[arg(long, value_name = "ADDR", env = "K8SCOP_ADMIN")]
    admin: Option<SocketAddr>,
    /// Elasticsearch URLs with commas between them, or file:DIR [default: file:./k8scop-data]
    #[arg(long, value_name = "URL|file:DIR", env = "K8SCOP_OUTPUT", hide_env_values = true)]
    output: Option<String>,
}

#[derive(Args)]
struct SetupArgs {
    /// Configuration file (YAML)
    #[arg(short, long, value_name = "FILE", env = "K8SCOP_CONFIG")]
    config: Option<PathBuf>,
    /// Elasticsearch URLs with commas between them [default: `output` of the configuration]
    #[arg(long, value_name = "URL", env = "K8SCOP_OUTPUT", hide_env_values = true)]
    output: Option<String>,
    /// An API key: where it stands, or itself (as handed out in `encoded`, or id:key)
    #[arg(long, value_name = "env:NAME|file:PATH|KEY")]
    api_key: Option<String>,
    /// Certificates of the authorities to trust besides the system's (PEM)
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Delete documents after this time [default: as it is; for ever, if nothing was ever set]
    #[arg(long, value_name = "90d|36h", value_parser = setup::Retention::parse)]
    retention: Option<setup::Retention>,
    /// Shards of each new index [default: as it is]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    shards: Option<u32>,
    /// Copies of each shard [default: as it is]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1024))]
    replicas: Option<u32>,
    /// Only a part of it
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// Write it into files below this folder, instead of putting it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["dry_run", "yes"])]
    export: Option<PathBuf>,
    /// What the cluster is, instead of asking it
    #[arg(long, value_name = "NAME-VERSION", value_parser = setup::Engine::typed)]
    engine: Option<setup::Engine>,
    /// Only show what differs
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Without the URL and the key, which may be secret.
impl fmt::Debug for SetupArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetupArgs").finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Only {
    Templates,
    Lifecycle,
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// End when the story is told; fail unless exactly the expected alerts were written
    #[arg(long)]
    once: bool,
    /// Where documents and alerts are written
    #[arg(long, value_name = "DIR", default_value = "./k8scop-data")]
    data: PathBuf,
    /// Address for shippers [default: 127.0.0.1:9250; with --once a free port]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Address for metrics and health [default: 127.0.0.1:9251; with --once a free port]
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
}

#[derive(Args)]
struct CheckArgs {
    /// The target: http://host:9200, or https://user:password@host:9200/path
    url: String,
    /// Write into this index, no data stream; it is deleted at the end if it is new [default: k8scop-check-RANDOM]
    #[arg(long, value_name = "NAME", conflicts_with = "read_only")]
    index: Option<String>,
    /// Trust any certificate
    #[arg(long, conflicts_with = "ca_file")]
    insecure: bool,
    /// Certificates of the authorities to trust besides the system's (PEM)
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// An API key: where it stands, or itself (as handed out in `encoded`, or id:key)
    #[arg(long, value_name = "env:NAME|file:PATH|KEY")]
    api_key: Option<String>,
    /// Longest wait for an answer (seconds)
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// A table, or one JSON object a check
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Play only what writes nothing: the handshakes
    #[arg(long)]
    read_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Without the URL and the key, which may be secret.
impl fmt::Debug for CheckArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckArgs").finish_non_exhaustive()
    }
}

#[derive(Debug, Subcommand)]
enum DeadLetterCommand {
    /// Show what was kept, and why it was refused
    List {
        #[command(flatten)]
        run: RunArgs,
        #[command(flatten)]
        which: WhichLetters,
        /// Most that are shown, the oldest first
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
        /// A table, or one JSON object a letter with its lines
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Send it again, and remove what is stored then
    Replay(ReplayArgs),
}

#[derive(Args)]
struct ReplayArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    which: WhichLetters,
    /// Only this one, by its id in `list`; may be given again
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
    /// Where to: http://host:9250, or https://user:password@host:9250/path [default: `listen` of the configuration]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// An API key for it: where it stands, or itself (as handed out in `encoded`, or id:key)
    #[arg(long, value_name = "env:NAME|file:PATH|KEY")]
    api_key: Option<String>,
    /// Certificates of the authorities to trust besides the system's (PEM)
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Only tell what would be sent
    #[arg(long)]
    dry_run: bool,
    /// Remove nothing
    #[arg(long)]
    keep: bool,
}

/// Without the URL and the key, which may be secret.
impl fmt::Debug for ReplayArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayArgs").finish_non_exhaustive()
    }
}

#[derive(Debug, Subcommand)]
enum ExportCommand {
    /// A kubeconfig with which a kube-apiserver pushes its audit events here (--audit-webhook-config-file)
    WebhookKubeconfig(WebhookArgs),
    /// An audit policy that logs what the rules read (--audit-policy-file)
    AuditPolicy,
}

/// Paths are those on the machine of the API server.
#[derive(Debug, Args)]
struct WebhookArgs {
    /// Where k8scop listens for shippers: https://k8scop.example:9250
    #[arg(long, value_name = "URL")]
    url: String,
    /// What the cluster is called in its events
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Certificates of the authorities that the API server is to trust (PEM) [default: the system's]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<String>,
    /// A bearer token of `auth`
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// A client certificate of `auth` (PEM)
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_certificate: Option<String>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    client_key: Option<String>,
}

#[derive(Debug, Args)]
struct WhichLetters {
    /// Only what was meant for this index; `*` is any text
    #[arg(long, value_name = "PATTERN")]
    index: Option<String>,
    /// Only what was kept since this time: 2026-11-22T06:00:00Z
    #[arg(long, value_name = "RFC3339")]
    since: Option<Timestamp>,
}

impl WhichLetters {
    fn filter(&self, ids: &[String]) -> dead_letter::Filter {
        dead_letter::Filter {
            index: self.index.clone(),
            since: self.since,
            ids: ids.iter().cloned().collect(),
        }
    }
}

impl RunArgs {
    fn load(&self) -> Result<Config, ConfigError> {
        let overrides =
            Overrides { listen: self.listen, admin: self.admin, output: self.output.clone() };
        config::load(self.config.as_deref(), overrides)
    }
}

/// Does what was typed.
#[must_use]
pub fn run(cli: &Cli) -> ExitCode {
    let Some(command) = &cli.command else {
        // Without both, clap shows its help.
        return cli.k8scop.as_ref().map_or(ExitCode::from(2), k8scop::run);
    };
    match command {
        Command::Run(args) => run_server(args),
        Command::Validate(args) => match args.load() {
            Ok(config) => match app::check(&config) {
                Ok(()) => {
                    say(&format!("{}\n", summary(&config)));
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    eprintln!("error: {error:#}");
                    ExitCode::from(4)
                }
            },
            Err(error) => told(&error),
        },
        Command::Backfill(args) => backfill::run(args),
        Command::Rules { command } => rules::run(command),
        Command::Setup(args) => set_up(args),
        Command::Explain(args) => explain_file(args),
        Command::Scan(args) => scan_files(args),
        Command::Check(args) => check_target(args),
        Command::DeadLetter { command } => dead_letters(command),
        Command::Export { command } => exported(command),
        Command::Demo(args) => {
            app::start_log(config::LogFormat::Auto, "warn");
            let local =
                |port: u16| SocketAddr::from(([127, 0, 0, 1], if args.once { 0 } else { port }));
            let options = demo::Options {
                once: args.once,
                data: args.data.clone(),
                listen: args.listen.unwrap_or_else(|| local(9250)),
                admin: args.admin.unwrap_or_else(|| local(9251)),
            };
            let outcome = block_on(demo::run(options, &mut |text| say(&format!("{text}\n"))));
            match outcome {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => ExitCode::FAILURE,
                Err(error) => stopped(&error),
            }
        }
    }
}

fn run_server(args: &RunArgs) -> ExitCode {
    let config = match args.load() {
        Ok(config) => config,
        Err(error) => return told(&error),
    };
    app::start_log(config.log_format, "info");
    if let Err(error) = app::check(&config) {
        eprintln!("error: {error:#}");
        return ExitCode::from(4);
    }
    match block_on(app::run(config)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(70),
        Err(error) => stopped(&error),
    }
}

fn explain_file(args: &ExplainArgs) -> ExitCode {
    let config = match explain::load(args.look.config.as_deref(), &args.look.rules) {
        Ok(config) => config,
        Err(error) => return told(&error),
    };
    let about = match &args.rule {
        Some(name) => match ruleset::find(&config.rules, &config.plan, name) {
            Ok(place) => explain::About::Rule(place),
            Err(error) => return rules::failed(&error),
        },
        None if args.near => explain::About::Near,
        None => explain::About::Hits,
    };
    if args.file.as_os_str() == "-" && io::stdin().is_terminal() {
        eprintln!("reading standard input: type events, end with Ctrl-D");
    }
    let options = explain::ExplainOptions {
        file: args.file.clone(),
        json: args.format == ExplainFormat::Json,
        about,
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    match explain::explain(&options, config, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => stopped(&error),
    }
}

fn scan_files(args: &ScanArgs) -> ExitCode {
    let config = match explain::load(args.look.config.as_deref(), &args.look.rules) {
        Ok(config) => config,
        Err(error) => return told(&error),
    };
    let options = explain::ScanOptions {
        paths: args.files.clone(),
        format: match args.format {
            ScanFormat::Table => explain::Format::Table,
            ScanFormat::Json => explain::Format::Json,
            ScanFormat::Ndjson => explain::Format::Ndjson,
            ScanFormat::Summary => explain::Format::Summary,
        },
        severity_min: args.min_severity.level(),
        fail_on: args.fail_on.map(Severity::level),
        rows_max: args.limit,
        progress: !args.no_progress,
        html: args.html.clone(),
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    match explain::scan(&options, config, &mut out, &mut |text| eprintln!("{text}")) {
        Ok(explain::Outcome::Done) => ExitCode::SUCCESS,
        Ok(explain::Outcome::Hit) => ExitCode::FAILURE,
        Ok(explain::Outcome::Failed) => ExitCode::from(70),
        Err(error) => stopped(&error),
    }
}

fn set_up(args: &SetupArgs) -> ExitCode {
    let overrides = Overrides { output: args.output.clone(), ..Overrides::default() };
    let config = match config::load(args.config.as_deref(), overrides) {
        Ok(config) => config,
        Err(error) => return told(&error),
    };
    app::start_log(config.log_format, "error");
    // Fails only where another part of the process has chosen already.
    rustls::crypto::ring::default_provider().install_default().ok();
    let options = setup::Options {
        api_key: args.api_key.clone(),
        ca_file: args.ca_file.clone(),
        engine: args.engine,
        retention: args.retention.clone(),
        shards: args.shards,
        replicas: args.replicas,
        only: args.only.map(|it| match it {
            Only::Templates => setup::Part::Templates,
            Only::Lifecycle => setup::Part::Lifecycle,
        }),
        export: args.export.clone(),
        dry_run: args.dry_run,
        yes: args.yes,
    };
    let mut print = |text: &str| say(&format!("{text}\n"));
    let mut tell = |text: &str| eprintln!("{text}");
    let mut voices =
        setup::Voices { print: &mut print, tell: &mut tell, confirm: &mut asked_on_terminal };
    let outcome = block_on(async { Ok(setup::run(&config, &options, &mut voices).await) });
    match outcome {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(error)) => {
            eprintln!("error: {error}");
            ExitCode::from(match error {
                SetupError::Usage(_) => 2,
                SetupError::Settings(_) => 4,
                SetupError::Failed(_) => 70,
            })
        }
        Err(error) => stopped(&error),
    }
}

/// The answer to a question; `None` where no person sits.
fn asked_on_terminal(question: &str) -> Option<bool> {
    if !io::stdin().is_terminal() {
        return None;
    }
    eprint!("{question}");
    io::stderr().flush().ok();
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).ok()?;
    Some(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn check_target(args: &CheckArgs) -> ExitCode {
    let options = check::Options {
        url: args.url.clone(),
        api_key: args.api_key.clone(),
        ca_file: args.ca_file.clone(),
        insecure: args.insecure,
        index: args.index.clone(),
        timeout: Duration::from_secs(args.timeout),
        read_only: args.read_only,
        json: args.format == Format::Json,
    };
    let mut print = |text: &str| say(&format!("{text}\n"));
    let mut tell = |text: &str| eprintln!("{text}");
    let mut voices = check::Voices { print: &mut print, tell: &mut tell };
    let outcome = block_on(async { Ok(check::run(&options, &mut voices).await) });
    match outcome {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(error)) => {
            eprintln!("error: {error}");
            ExitCode::from(if matches!(error, CheckError::Usage(_)) { 2 } else { 70 })
        }
        Err(error) => stopped(&error),
    }
}

fn exported(command: &ExportCommand) -> ExitCode {
    let args = match command {
        ExportCommand::AuditPolicy => {
            say(export::AUDIT_POLICY);
            return ExitCode::SUCCESS;
        }
        ExportCommand::WebhookKubeconfig(args) => args,
    };
    let options = export::WebhookOptions {
        url: args.url.clone(),
        cluster: args.cluster.clone(),
        ca_file: args.ca_file.clone(),
        token_file: args.token_file.clone(),
        client_certificate: args.client_certificate.clone(),
        client_key: args.client_key.clone(),
    };
    match export::webhook_kubeconfig(&options) {
        Ok(text) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn dead_letters(command: &DeadLetterCommand) -> ExitCode {
    let (DeadLetterCommand::List { run, .. } | DeadLetterCommand::Replay(ReplayArgs { run, .. })) =
        command;
    let config = match run.load() {
        Ok(config) => config,
        Err(error) => return told(&error),
    };
    app::start_log(config.log_format, "error");
    // Fails only where another part of the process has chosen already.
    rustls::crypto::ring::default_provider().install_default().ok();
    let mut print = |text: &str| say(&format!("{text}\n"));
    let mut tell = |text: &str| eprintln!("{text}");
    let mut voices = dead_letter::Voices { print: &mut print, tell: &mut tell };
    let outcome = block_on(async {
        Ok(match command {
            DeadLetterCommand::List { which, limit, format, .. } => {
                let options = dead_letter::ListOptions {
                    filter: which.filter(&[]),
                    limit: *limit,
                    json: *format == Format::Json,
                };
                dead_letter::list(&config, &options, &mut voices).await.map(|()| Replayed::All)
            }
            DeadLetterCommand::Replay(args) => {
                let options = dead_letter::ReplayOptions {
                    filter: args.which.filter(&args.id),
                    target: dead_letter::TargetOptions {
                        url: args.to.clone(),
                        api_key: args.api_key.clone(),
                        ca_file: args.ca_file.clone(),
                    },
                    dry_run: args.dry_run,
                    keep: args.keep,
                };
                dead_letter::replay(&config, &options, &mut voices).await
            }
        })
    });
    match outcome {
        Ok(Ok(Replayed::All)) => ExitCode::SUCCESS,
        Ok(Ok(Replayed::Some)) => ExitCode::FAILURE,
        Ok(Ok(Replayed::Stopped)) => ExitCode::from(70),
        Ok(Err(error)) => {
            eprintln!("error: {error}");
            ExitCode::from(if matches!(error, DeadLetterError::Settings(_)) { 4 } else { 70 })
        }
        Err(error) => stopped(&error),
    }
}

/// Standard output. That nobody reads on (`| head`) stops nothing, least of all what has been begun; what cannot be
/// written otherwise, as on a full disk, is an error.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        eprintln!("error: standard output: {error}");
        std::process::exit(70);
    }
}

fn summary(config: &Config) -> String {
    let output = match &config.output {
        OutputConfig::Elasticsearch(settings) => {
            settings.urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        OutputConfig::File(settings) => format!("file:{}", settings.dir.display()),
    };
    let correlations = match config.plan.correlations().len() {
        0 => String::new(),
        count => format!(", {count} correlations"),
    };
    format!(
        "the configuration is good: output {output}, {} rules{correlations}",
        config.rules.len()
    )
}

fn told(error: &ConfigError) -> ExitCode {
    for line in error.to_string().lines() {
        eprintln!("error: {line}");
    }
    ExitCode::from(if matches!(error, ConfigError::Rules(_)) { 3 } else { 4 })
}

fn stopped(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::from(70)
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
