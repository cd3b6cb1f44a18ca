//! `pgcluster hba`: who may connect.

mod add;
mod explain;
mod list;
mod remove;

use clap::Subcommand;

use crate::answer::Answer;
use crate::failure::Result;

/// Show and change the rules in pg_hba.conf, which decide who may connect
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    List(list::Args),
    Explain(explain::Args),
    Add(add::Args),
    Remove(remove::Args),
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    match &args.command {
        Command::List(args) => list::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Add(args) => add::run(args),
        Command::Remove(args) => remove::run(args),
    }
}
