//! `cargo xtask test`: runs every test against the available servers, as every kind of user.
//!
//! The tests are given this environment:
//!
//! * `PG_TESTS_BINDIRS`: the directories of programs of all servers to test with, separated by
//!   colons, the newest first. If a directory contains `pg_config`, the installation is complete.
//! * `TMPDIR`: a directory in which no file and no process may remain after the tests.
//! * `PG_TESTS_SHARED`: a directory for files that the tests of one run share. It is removed after
//!   the run.
//! * The working directory is that of the package, as with cargo. `CARGO_MANIFEST_DIR` and
//!   `CARGO_BIN_EXE_NAME` must be read at run time: another account uses copies, and may not be
//!   able to read the paths from compile time. `CARGO_TARGET_TMPDIR` cannot be used there.

mod account;
pub(crate) mod build;
pub(crate) mod phase;
pub(crate) mod servers;
pub(crate) mod stage;

use std::process::ExitCode;

use anyhow::Result;

use account::Account;
use phase::{Outcome, Phase};
use stage::Stage;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    servers: servers::Selection,
    /// If run by root, the account that runs the server tests again
    /// [default: nobody, or another unprivileged account]
    #[arg(long)]
    account: Option<String>,
    /// Run only tests with one of these words in their name or in the name of their file
    filter: Vec<String>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let account = Account::choose(args.account.as_deref())?;
    let chosen = servers::choose(&args.servers)?;
    chosen.list();

    let executables = build::tests()?;
    let mut phases = Vec::new();
    {
        let stage = Stage::new()?;
        let phase = Phase::new(&stage, &chosen.servers, &args.filter);
        phases.push(phase.cargo_tests(&executables)?);
        if args.filter.is_empty() {
            phases.push(phase.doc_tests()?);
        }
        phases.push(stage.leftovers(&account::current_name()));
    }
    if let Some(account) = &account {
        let stage = Stage::for_account(account, &executables)?;
        let phase = Phase::new(&stage, &chosen.servers, &args.filter);
        phases.push(phase.as_account(account, &executables)?);
        phases.push(stage.leftovers(&account.name));
    }
    // Only root has privileges that can be dropped.
    if cfg!(target_os = "linux") && account.is_some() {
        let stage = Stage::new()?;
        let phase = Phase::new(&stage, &chosen.servers, &args.filter);
        phases.push(phase.confined(&executables)?);
        phases.push(stage.leftovers("confined root"));
    }

    summarise(&chosen, &phases);
    let failed = phases.iter().any(|outcome| !outcome.passed);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn summarise(chosen: &servers::Chosen, phases: &[Outcome]) {
    println!("\nxtask test, with PostgreSQL {}:", chosen.versions());
    for note in &chosen.notes {
        println!("  NOT TESTED  {note}");
    }
    for Outcome { what, passed } in phases {
        println!(
            "  {:<10}  {what}",
            if *passed { "passed" } else { "FAILED" }
        );
    }
}
