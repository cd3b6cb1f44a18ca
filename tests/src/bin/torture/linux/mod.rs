//! Processes, namespaces and memory as Linux shows them.

mod crashes;
mod databases;
mod disks;
mod hostile;
mod identity;
mod keeper;
mod kills;
mod planted;
mod replicas;
mod rivals;
mod rng;
mod run;
mod scenarios;
mod scene;
mod states;
mod tally;
mod temps;
mod victim;
mod worlds;

use std::process::ExitCode;

pub(crate) fn main() -> ExitCode {
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
