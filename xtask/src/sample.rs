//! `cargo xtask sample`: runs and times the tests of the sample project as a user would run them.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

use crate::postgres::{self, Wanted};
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory of the server's programs [default: that of an installed server, or of one that is
    /// fetched]
    #[arg(long)]
    bindir: Option<Utf8PathBuf>,
}

/// The files with the same tests, and the environment of each test.
const WAYS: [(&str, &str); 3] = [
    ("own", "a server of its own"),
    ("shared", "a database in a shared server"),
    (
        "migrations",
        "a database that a directory of migrations prepared",
    ),
];

/// Runs the tests with `cargo test`, in one process, and with nextest, in a process for each.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let bindir = match &args.bindir {
        Some(directory) => directory.clone(),
        None => postgres::one(Wanted::Any)?.bin,
    };
    let runners: &[&[&str]] = if workspace::has_nextest() {
        &[&["test"], &["nextest", "run"]]
    } else {
        println!("NOT TESTED: nextest is not installed (`cargo install cargo-nextest`)");
        &[&["test"]]
    };
    let mut totals = Vec::new();
    for runner in runners {
        // The totals do not include building, or creating the template once.
        time(runner, &bindir, &["--no-run"])?;
        for (way, what) in WAYS {
            time(runner, &bindir, &["--test", way])?;
            let total = time(runner, &bindir, &["--test", way])?;
            totals.push((runner.join(" "), what, total));
        }
    }
    for (runner, what, total) in totals {
        println!(
            "{:>7.2} s  cargo {runner}, a hundred tests, each with {what}",
            total.as_secs_f64()
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn time(runner: &[&str], bindir: &Utf8Path, arguments: &[&str]) -> Result<Duration> {
    let manifest = workspace::root().join("tests/sample/Cargo.toml");
    // With one target directory, shared dependencies are built once.
    let target = workspace::root().join("target");
    let mut cargo: Command = workspace::cargo();
    cargo
        .args(runner)
        .args(["--manifest-path", manifest.as_str()])
        .args(["--target-dir", target.as_str()])
        .args(arguments)
        .env("SAMPLE_BINDIR", bindir);
    let command = format!("cargo {} {}", runner.join(" "), arguments.join(" "));
    println!("{command}");
    let begun = Instant::now();
    let status = cargo.status().context("failed to run cargo")?;
    if !status.success() {
        bail!("the sample's tests failed under `{command}`");
    }
    Ok(begun.elapsed())
}
