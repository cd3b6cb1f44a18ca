//! `torture [--minutes N] [--seed S] [--only SCENARIO] [--jobs N] [--list]`: faults at random
//! moments, until the time is over.
//!
//! Everything random in a run follows from its seed: the order of the scenarios, and in each case
//! what is done and after what delay. What the machine makes of a delay is its own affair, so a
//! case that is repeated need not fail again.
//!
//! `cargo xtask torture` runs this with the servers that it finds.
#![allow(clippy::print_stdout, reason = "this is how it tells")]

#[cfg(target_os = "linux")]
mod linux;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    println!("NOT RUN: torture tells processes and memory apart by Linux's means");
    ExitCode::SUCCESS
}
