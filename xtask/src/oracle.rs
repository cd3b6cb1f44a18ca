//! `cargo xtask oracle`: records again how real servers read access files.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};

use crate::test::servers::{self, Selection};
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory for the files [default: `tests/oracle-hba`]
    #[arg(long, value_name = "DIR")]
    output: Option<Utf8PathBuf>,
}

/// Runs all servers that are packaged for this platform or installed.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let chosen = servers::choose(&Selection::all())?;
    chosen.list();
    let recorded = workspace::root().join("tests/oracle-hba");
    let output: &Utf8Path = args.output.as_deref().unwrap_or(&recorded);
    std::fs::create_dir_all(output).with_context(|| format!("failed to create {output}"))?;
    let directories: Vec<&str> = chosen.servers.iter().map(|s| s.bin.as_str()).collect();
    let status = workspace::cargo_without_server()
        .args([
            "run",
            "--quiet",
            "--package",
            "pg-tests",
            "--bin",
            "hba-oracle",
            "--",
        ])
        .arg(output)
        .env("PG_TESTS_BINDIRS", directories.join(":"))
        .status()
        .context("failed to run cargo")?;
    Ok(ExitCode::from(u8::from(!status.success())))
}
