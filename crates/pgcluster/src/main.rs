//! Controls local PostgreSQL clusters from the command line: `pgcluster --help`.

mod answer;
mod cli;
mod commands;
mod connection;
mod facts;
mod failure;
mod machine;
mod progress;
mod table;
mod target;
mod temporary;
mod words;

use std::process::ExitCode;

use crate::answer::Form;

fn main() -> ExitCode {
    let matches = cli::command().get_matches();
    let form = match matches.get_flag("json") {
        true => Form::Json,
        false => Form::Text,
    };
    match commands::run(&matches, form) {
        Ok(answer) => answer.print(form),
        Err(failure) => failure.print(form),
    }
}
