//! `torture [--minutes N] [--seed S] [--only SCENARIO] [--jobs N] [--list]`: faults at random moments, until the time is over.
//!
//! Everything random in a run follows from its seed: the order of the scenarios, and in each case what is done and after what
//! delay. What the machine makes of a delay is its own affair, so a case that is repeated need not fail again.
//!
//! `cargo xtask torture` runs this with the servers that it finds.
#![allow(clippy::print_stdout, reason = "this is how it tells")]
#![cfg_attr(not(target_os = "linux"), allow(unused))]

#[cfg(target_os = "linux")]
mod crashes;
#[cfg(target_os = "linux")]
mod disks;
#[cfg(target_os = "linux")]
mod hostile;
#[cfg(target_os = "linux")]
mod identity;
#[cfg(target_os = "linux")]
mod keeper;
#[cfg(target_os = "linux")]
mod kills;
#[cfg(target_os = "linux")]
mod rivals;
#[cfg(target_os = "linux")]
mod rng;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod scenarios;
#[cfg(target_os = "linux")]
mod scene;
#[cfg(target_os = "linux")]
mod tally;
#[cfg(target_os = "linux")]
mod temps;
#[cfg(target_os = "linux")]
mod victim;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["keep" | "case" | "victim", ..] = arguments[..] {
        // Each of them ends with the one that started it.
        let signal = Some(rustix::process::Signal::KILL);
        let _ = rustix::process::set_parent_process_death_signal(signal);
    }
    match arguments[..] {
        ["probe"] => keeper::probe(),
        ["keep", scenario, seed] => keeper::keep(scenario, seed),
        ["case", scenario, seed] => run::case(scenario, seed),
        ["victim", ref arguments @ ..] => match victim::run(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                println!("{error}");
                ExitCode::FAILURE
            }
        },
        ["--list"] => scenarios::list(),
        ref arguments => match run::Options::parse(arguments) {
            Ok(options) => run::run(&options),
            Err(problem) => {
                println!("torture: {problem}");
                ExitCode::FAILURE
            }
        },
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    println!("NOT RUN: torture tells processes and memory apart by Linux's means");
    ExitCode::SUCCESS
}
