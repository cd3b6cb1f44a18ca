//! `cargo xtask torture`: provokes faults at random moments, on the servers of `cargo xtask test`.
//!
//! The program is `torture` of the tests' package. It is a debug build, because the servers do most
//! of the work, and overflow checks find errors that a release build would hide.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::test::phase::Phase;
use crate::test::stage::Stage;
use crate::test::{build, servers};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    servers: servers::Selection,
    /// Minutes to run; each scenario runs at least once [default: 1, or a single case with --only]
    #[arg(long)]
    minutes: Option<u64>,
    /// Seed of the cases, to repeat a run [default: random]
    #[arg(long)]
    seed: Option<u64>,
    /// Run only this scenario; with the seed of a loss, only that case
    #[arg(long)]
    only: Option<String>,
    /// Number of concurrent cases
    #[arg(long, default_value_t = 2)]
    jobs: u64,
    /// List the scenarios
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    // The program is built with the tests, so that a later run of the tests need not build again.
    let programs = build::tests()?.programs;
    let program = programs
        .get("torture")
        .context("the program `torture` was not built")?;
    let mut command = Command::new(program);
    if args.list {
        let status = command.arg("--list").status()?;
        return Ok(exit_code(status.success()));
    }
    let numbers = [
        ("--minutes", args.minutes),
        ("--seed", args.seed),
        ("--jobs", Some(args.jobs)),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            command.args([name, &number.to_string()]);
        }
    }
    if let Some(scenario) = &args.only {
        command.args(["--only", scenario]);
    }
    let chosen = servers::choose(&args.servers)?;
    chosen.list();
    let stage = Stage::new()?;
    let outcome = Phase::new(&stage, &chosen.servers, &[]).run(command, String::new())?;
    let leftovers = stage.leftovers("the torture");
    Ok(exit_code(outcome.passed && leftovers.passed))
}

fn exit_code(is_good: bool) -> ExitCode {
    match is_good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
