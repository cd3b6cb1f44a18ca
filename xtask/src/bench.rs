//! `cargo xtask bench`: how long things take, beside what they could take at best and what others need.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// A temporary cluster, beside `initdb` with `pg_ctl`, and beside the bare copy and exec
    Temp {
        /// How often each is measured, in turns
        #[arg(long, default_value_t = 20)]
        rounds: u32,
        /// Directory of the server's programs [default: the newest server installed]
        #[arg(long)]
        bindir: Option<String>,
    },
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let What::Temp { rounds, bindir } = &args.what;
    let mut cargo = workspace::cargo();
    cargo
        .args(["bench", "--package=pg-tests", "--bench=temp"])
        .env("ROUNDS", rounds.to_string());
    if let Some(bindir) = bindir {
        cargo.env("PG_TESTS_BINDIRS", bindir);
    }
    let status = cargo.status().context("failed to run cargo")?;
    if !status.success() {
        bail!("the benchmark failed");
    }
    Ok(ExitCode::SUCCESS)
}
