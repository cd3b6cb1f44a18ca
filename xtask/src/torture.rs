//! `cargo xtask torture`: faults at random moments, on the servers that `cargo xtask test` uses.
//!
//! The program is `torture` of the tests' package, as a debug build: servers do the work, and the
//! checks of arithmetic in it find what a release would hide.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::test::phase::Phase;
use crate::test::stage::Stage;
use crate::test::{build, servers};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    servers: servers::Selection,
    /// How long; each scenario has its turn in any case [default: 1, or a single case with --only]
    #[arg(long)]
    minutes: Option<u64>,
    /// Repeat what this number led to [default: a random one]
    #[arg(long)]
    seed: Option<u64>,
    /// Only this scenario: with the seed of a loss, that case
    #[arg(long)]
    only: Option<String>,
    /// How many cases at a time
    #[arg(long, default_value_t = 2)]
    jobs: u64,
    /// Say which scenarios there are
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    // Built with the tests, as they are: after those nothing is left to build.
    let programs = build::tests()?.programs;
    let program = programs.get("torture").context("there is no `torture`")?;
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
