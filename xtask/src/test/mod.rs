//! `cargo xtask test`: every test, against every server that can be had, as every kind of user.
//!
//! What tests may rely on:
//!
//! * `PG_TESTS_BINDIRS`: the programs' directories of all servers to test with, separated by
//!   colons, the newest first. Where a directory has `pg_config`, the installation is complete.
//! * `TMPDIR`: what is left there in the end counts as a failure, and so does a process that works
//!   there.
//! * `PG_TESTS_SHARED`: a directory for what tests of one run share. Removed with the run.
//! * The working directory is the package's, as always with cargo. `CARGO_MANIFEST_DIR` and
//!   `CARGO_BIN_EXE_NAME` are to be asked when the test runs: under another account both are
//!   copies, and the compiled-in ones may be closed to it. `CARGO_TARGET_TMPDIR` is of no use
//!   there.

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
    /// As root: the account that the server tests run under after they ran as root
    /// [default: nobody, or the first that exists of a few like it]
    #[arg(long)]
    account: Option<String>,
    /// Only tests with one of these words in their name, or in that of their file
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
    // Only root has rights to lose.
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
