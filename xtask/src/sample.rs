//! `cargo xtask sample`: runs the tests of the sample project as a user would.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use camino::Utf8PathBuf;

use crate::postgres::{self, Wanted};
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory of the server's programs [default: that of an installed server, or of one that is
    /// fetched]
    #[arg(long)]
    bindir: Option<Utf8PathBuf>,
}

/// Runs the tests with `cargo test`, in one process, and with nextest, in a process for each.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let manifest = workspace::root().join("tests/sample/Cargo.toml");
    let bindir = match &args.bindir {
        Some(directory) => directory.clone(),
        None => postgres::one(Wanted::Any)?.bin,
    };
    // With one target directory, shared dependencies are built once.
    let target = workspace::root().join("target");
    let runners: &[&[&str]] = if workspace::has_nextest() {
        &[&["test"], &["nextest", "run"]]
    } else {
        println!("NOT TESTED: nextest is not installed (`cargo install cargo-nextest`)");
        &[&["test"]]
    };
    for runner in runners {
        let mut cargo: Command = workspace::cargo();
        cargo
            .args(*runner)
            .args(["--manifest-path", manifest.as_str()])
            .args(["--target-dir", target.as_str()])
            .env("SAMPLE_BINDIR", &bindir);
        println!("cargo {}", runner.join(" "));
        let status = cargo.status().context("failed to run cargo")?;
        if !status.success() {
            bail!(
                "the sample's tests failed under `cargo {}`",
                runner.join(" ")
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}
