//! `pgcluster man`: manual pages.

use std::fs;

use camino::Utf8PathBuf;
use clap_mangen::Man;

use crate::answer::Answer;
use crate::cli;
use crate::failure::Result;

/// Print the manual page, or write those of all commands into a directory
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgcluster man | man -l -
  pgcluster man --into ~/.local/share/man/man1")]
pub(crate) struct Args {
    /// Existing directory for pgcluster.1, pgcluster-run.1...
    #[arg(long, value_name = "DIR")]
    into: Option<Utf8PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let mut command = cli::command();
    command.build();
    let Some(directory) = &args.into else {
        return Ok(Answer::verbatim(page(command)?));
    };
    // Building has given them their names with a hyphen.
    let shown = command
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help");
    for command in shown.cloned().chain([command.clone()]) {
        let name = command.get_display_name().unwrap_or("pgcluster").to_owned();
        fs::write(directory.join(format!("{name}.1")), page(command)?)?;
    }
    Ok(Answer::silent(0))
}

fn page(command: clap::Command) -> Result<String> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}
