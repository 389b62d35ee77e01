//! What can be typed, and what is printed for it. Data goes to standard output, the rest to standard error.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is where the program speaks to a person"
)]

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{
    app,
    config::{self, Config, ConfigError, OutputConfig, Overrides},
    demo, rules_test,
};

/// Stands between log shippers and Elasticsearch and knows Kubernetes audit logs.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit status: 0 done; 1 a test or check failed; 2 wrong usage; 3 a rule cannot be used; \
4 the configuration cannot be used; 70 stopped by an error.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Take bulk requests in, unwrap and classify audit events, and deliver all to the output
    Run(RunArgs),
    /// Show the main job: an attack is sent through a real server, and its alerts are printed
    Demo(DemoArgs),
    /// Check the configuration and the rules, and start nothing
    Validate(RunArgs),
    /// Work with rules
    Rules {
        #[command(subcommand)]
        command: RulesCommand,
    },
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

#[derive(Debug, Subcommand)]
enum RulesCommand {
    /// Run every rule on its own examples, those that must hit it and those that must not
    Test {
        /// Rule files or folders [default: the built-in rules]
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
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
    match &cli.command {
        Command::Run(args) => run_server(args),
        Command::Validate(args) => match args.load() {
            Ok(config) => match app::check(&config) {
                Ok(()) => {
                    println!("{}", summary(&config));
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    eprintln!("error: {error:#}");
                    ExitCode::from(4)
                }
            },
            Err(error) => told(&error),
        },
        Command::Rules { command: RulesCommand::Test { paths } } => rules(paths),
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
            let outcome = block_on(demo::run(options, &mut |text| println!("{text}")));
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
    match block_on(app::run(config)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(70),
        Err(error) => stopped(&error),
    }
}

fn rules(paths: &[PathBuf]) -> ExitCode {
    let mut raw = config::Raw::default();
    raw.rules.built_in = paths.is_empty();
    raw.rules.paths = paths.to_vec();
    let config = match config::meant(raw, Overrides::default()) {
        Ok(config) => config,
        Err(error) => return told(&error),
    };
    match rules_test::run(config.rules) {
        Ok(report) => {
            print!("{}", report.text);
            if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => stopped(&error.into()),
    }
}

fn summary(config: &Config) -> String {
    let output = match &config.output {
        OutputConfig::Elasticsearch(settings) => {
            settings.urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        OutputConfig::File(settings) => format!("file:{}", settings.dir.display()),
    };
    format!("the configuration is good: output {output}, {} rules", config.rules.len())
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
