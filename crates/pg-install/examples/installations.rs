//! Lists the PostgreSQL installations of this machine.
//!
//! `installations` prints a readable list, `installations --json` one JSON object per line, and
//! `installations --explain` every place that was searched.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program prints"
)]

use std::process::ExitCode;

use pg_install::{DiscoveredInstallation, Discovery};

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    let print: fn(&DiscoveredInstallation) = match argument.as_deref() {
        None => print_text,
        Some("--json") => print_json,
        Some("--explain") => {
            println!("{}", Discovery::new().explain());
            return ExitCode::SUCCESS;
        }
        Some(_) => {
            eprintln!("usage: installations [--json | --explain]");
            return ExitCode::FAILURE;
        }
    };
    let mut code = ExitCode::SUCCESS;
    let mut count = 0;
    for found in Discovery::new().all() {
        match found {
            Ok(found) => {
                print(&found);
                count += 1;
            }
            Err(error) => {
                print_error(&error);
                code = ExitCode::FAILURE;
            }
        }
    }
    if count == 0 {
        eprintln!(
            "no PostgreSQL installation was found; --explain lists the places that were searched"
        );
        code = ExitCode::FAILURE;
    }
    code
}

fn print_text(found: &DiscoveredInstallation) {
    let installation = found.installation();
    let bin = installation.bindir().map_or("?", |path| path.as_str());
    println!("{}  {bin}", installation.version());
    println!("  found via {} at {}", found.source(), found.path());
    println!(
        "  SSL: {} ({:?})",
        installation.ssl(),
        installation.ssl_evidence()
    );
    if !installation.is_server() {
        println!("  no server: only packages for clients or for development are installed");
    }
    let missing = missing(found).join(", ");
    if !missing.is_empty() {
        println!("  missing: {missing}");
    }
}

fn print_json(found: &DiscoveredInstallation) {
    let installation = found.installation();
    let object = serde_json::json!({
        "version": installation.version().to_string(),
        "version_num": installation.version().num(),
        "bindir": installation.bindir().map(|path| path.as_str()),
        "source": found.source().to_string(),
        "path": found.path().as_str(),
        "server": installation.is_server(),
        "ssl": installation.ssl(),
        "missing": missing(found),
    });
    println!("{object}");
}

fn missing(found: &DiscoveredInstallation) -> Vec<&'static str> {
    found
        .installation()
        .missing_programs()
        .into_iter()
        .map(|program| program.name())
        .collect()
}

fn print_error(error: &dyn std::error::Error) {
    eprint!("{error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprint!(": {error}");
        cause = error.source();
    }
    eprintln!();
}
