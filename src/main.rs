//! Reads what was typed and hands it over to [`k8scop::cli`].

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    k8scop::cli::run(&k8scop::cli::Cli::parse())
}
