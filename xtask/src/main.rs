//! Development tasks: `cargo xtask --help`.
//!
//! This file only dispatches. Each subcommand has its own file.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod cross;
mod demo;
mod fuzz;
mod memory;
mod oracle;
mod postgres;
mod sample;
mod test;
mod tidy;
mod torture;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about, version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the benchmarks, which compare with lower bounds and with other libraries
    Bench(bench::Args),
    /// Check all crates for other operating systems and processors
    Cross(cross::Args),
    /// Show the life of a cluster on a real server, from creation to removal
    Demo(demo::Args),
    /// Fuzz the parsers with libFuzzer
    Fuzz(fuzz::Args),
    /// Record again how real servers read `pg_hba.conf` and `pg_ident.conf`
    Oracle(oracle::Args),
    /// Fetch and list PostgreSQL servers for tests
    Postgres(postgres::Args),
    /// Run the tests of the sample project, with `cargo test` and with nextest
    Sample(sample::Args),
    /// Run unit, doc and integration tests against fetched and installed servers
    Test(test::Args),
    /// Check layers, dependency budgets, rules for Rust, names, links, changelogs and licenses
    Tidy(tidy::Args),
    /// Provoke faults at random moments for a given time, and count the losses
    Torture(torture::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Bench(args) => bench::run(&args),
        Command::Cross(args) => cross::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Oracle(args) => oracle::run(&args),
        Command::Postgres(args) => postgres::run(args),
        Command::Sample(args) => sample::run(&args),
        Command::Test(args) => test::run(args),
        Command::Tidy(args) => tidy::run(args),
        Command::Torture(args) => torture::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            if let Some(hint) = postgres::hint(&error) {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}
