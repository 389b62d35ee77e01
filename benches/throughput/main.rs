//! What one core takes in: CPU time of the real `k8scop run` for bulk requests of audit events, against a sink
//! that answers at once, and next to it that of a plain byte copy of the same requests by the same HTTP stack.
//!
//! Four processes: this driver, which sends; the `sink`, which stands for Elasticsearch; k8scop and the `copy`,
//! which are measured in turns. CPU time (user and system) and not wall time, because machines are busy. What
//! the figures mean is told in `README.md` beside this file.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is what this program is for"
)]
#![expect(clippy::cast_precision_loss, reason = "figures are shown with three digits")]

use std::{
    collections::HashMap,
    convert::Infallible,
    ffi::OsString,
    fmt,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use bytes::{Bytes, BytesMut};
use clap::{Parser, Subcommand};
use flate2::{Compression, write::GzDecoder, write::GzEncoder};
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Body as _, Incoming},
    header::{self, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::{SignedDuration, Timestamp};
use k8scop::config;
use memchr::memmem;
use reqwest::Client;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::sleep,
};
use tokio_util::task::TaskTracker;

mod cases;
mod copy;
#[path = "../data.rs"]
mod data;
mod driver;
mod extras;
#[path = "../generated.rs"]
mod generated;
mod process;
mod record;
mod requests;
mod servers;
mod sink;
mod spread;

use cases::{CASES, Case, Data, Rules};
use servers::{gathered, reply, serve};
use spread::Spread;

/// How many threads the k8scop that is measured may use, and the copy (tokio reads it).
const WORKERS: &str = "TOKIO_WORKER_THREADS";
/// Longest wait for a process to start.
const START_MAX: Duration = Duration::from_secs(20);

/// CPU time of k8scop for bulk requests, next to that of a byte copy.
#[derive(Debug, Parser)]
#[command(name = "throughput")]
struct Args {
    /// 1,000 rules only, and little data: the figures are rough
    #[arg(long)]
    quick: bool,
    /// Only this case; may be given more than once
    #[arg(long = "case", value_name = "NAME", value_parser = CASES.map(|it| it.name))]
    cases: Vec<String>,
    /// Rounds of each of the two programs [default: 5; with --quick 3]
    #[arg(long, value_name = "COUNT")]
    rounds: Option<usize>,
    /// Adds the table to this file (CSV)
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// The commit that is measured, for the record
    #[arg(long, default_value = "-", hide = true)]
    commit: String,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Answers bulk requests at once, as Elasticsearch would
    #[command(hide = true)]
    Sink,
    /// Passes requests to `output` byte by byte
    #[command(hide = true)]
    Copy { output: String },
}

fn main() -> ExitCode {
    let args = Args::parse();
    // Fails only where another part of the process has chosen already.
    rustls::crypto::ring::default_provider().install_default().ok();
    let result = match &args.role {
        Some(Role::Sink) => one_thread(sink::run()),
        // The same kind of runtime as k8scop's own.
        Some(Role::Copy { output }) => many_threads(copy::run(output.clone())),
        None => one_thread(async {
            tokio::select! {
                result = driver::run(&args) => result,
                result = told_to_end() => result,
            }
        }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What was started ends with the driver, however that ends.
async fn told_to_end() -> anyhow::Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => (),
        _ = int.recv() => (),
    }
    bail!("told to end")
}

fn one_thread(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

fn many_threads(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
