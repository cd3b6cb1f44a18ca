//! The commands, one file for each.

pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod hba;
pub(crate) mod init;
pub(crate) mod installations;
pub(crate) mod list;
pub(crate) mod man;
pub(crate) mod program;
pub(crate) mod promote;
pub(crate) mod reload;
pub(crate) mod remove;
pub(crate) mod restart;
pub(crate) mod rewind;
pub(crate) mod run;
pub(crate) mod settings;
pub(crate) mod shell;
pub(crate) mod standby;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod temp;

use clap::{ArgMatches, FromArgMatches as _};

use crate::answer::{Answer, Form};
use crate::cli::{Cli, Command};
use crate::failure::Result;

/// Runs the command that the arguments name.
pub(crate) fn run(matches: &ArgMatches, form: Form) -> Result<Answer> {
    if let Some((program, arguments)) = program::named(matches) {
        let directory = matches.get_one("directory").cloned();
        return program::run(program, directory, arguments);
    }
    let cli = Cli::from_arg_matches(matches).unwrap_or_else(|error| error.exit());
    match &cli.command {
        Command::Run(args) => run::run(args),
        Command::Temp(args) => temp::run(args, form),
        Command::Init(args) => init::run(args),
        Command::Start(args) => start::run(args),
        Command::Stop(args) => stop::run(args),
        Command::Restart(args) => restart::run(args),
        Command::Reload(args) => reload::run(args),
        Command::Promote(args) => promote::run(args),
        Command::Status(args) => status::run(args),
        Command::Remove(args) => remove::run(args),
        Command::Shell(args) => shell::run(args),
        Command::Get(args) => settings::get::run(args),
        Command::Set(args) => settings::set::run(args),
        Command::Unset(args) => settings::unset::run(args),
        Command::Explain(args) => settings::explain::run(args),
        Command::Check(args) => settings::check::run(args),
        Command::Diff(args) => settings::diff::run(args),
        Command::Hba(args) => hba::run(args),
        Command::Standby(args) => standby::run(args),
        Command::Rewind(args) => rewind::run(args),
        Command::List(args) => list::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Installations(args) => installations::run(args),
        Command::Completions(args) => Ok(completions::run(args)),
        Command::Man(args) => man::run(args),
    }
}
