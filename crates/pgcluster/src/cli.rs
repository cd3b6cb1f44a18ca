//! The command line.

use camino::Utf8PathBuf;
use clap::{Arg, ArgAction, CommandFactory as _, Parser, Subcommand, value_parser};
use pg_cluster::Program;

use crate::commands;

/// Local PostgreSQL clusters: temporary ones for a test run, durable ones from init to removal.
#[derive(Clone, Debug, Parser)]
#[command(name = "pgcluster", version, max_term_width = 100)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// Print JSON, of the form that docs/command.md describes
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Cluster for `pgcluster psql` and the other programs of PostgreSQL [env: PGDATA=]
    #[arg(short = 'D', long = "dir", value_name = "DIR")]
    pub(crate) directory: Option<Utf8PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands, in the order of the help.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    Run(commands::run::Args),
    Temp(commands::temp::Args),
    Init(commands::init::Args),
    Start(commands::start::Args),
    Stop(commands::stop::Args),
    Restart(commands::restart::Args),
    Reload(commands::reload::Args),
    Promote(commands::promote::Args),
    Status(commands::status::Args),
    Remove(commands::remove::Args),
    Shell(commands::shell::Args),
    Get(commands::settings::get::Args),
    Set(commands::settings::set::Args),
    Unset(commands::settings::unset::Args),
    Explain(commands::settings::explain::Args),
    Check(commands::settings::check::Args),
    Diff(commands::settings::diff::Args),
    Hba(commands::hba::Args),
    Standby(commands::standby::Args),
    Rewind(commands::rewind::Args),
    List(commands::list::Args),
    Installations(commands::installations::Args),
    Doctor(commands::doctor::Args),
    Completions(commands::completions::Args),
    Man(commands::man::Args),
}

const AFTER_HELP: &str = "\
The programs of PostgreSQL are commands too: `pgcluster -D DIR pg_dump app` runs the pg_dump of the
installation that serves DIR, connected to its server.

Exit status: 0 success, 1 failure, 2 wrong usage, 3 no server is running. That of `run` is the
command's, or 128 and the number of the signal that ended it.

Environment: PGDATA is DIR where none is given, PGINSTALLATION the installation to use, and
PG_CLUSTER_CACHE the directory of the templates. NO_COLOR turns colors off.

Examples:
  pgcluster run -- cargo test             # a server for the length of a command
  pgcluster init data && pgcluster start data
  pgcluster status data --json
  pgcluster -D data psql -c 'SELECT 1'";

/// The whole command line: the commands, and one for each program of PostgreSQL.
pub(crate) fn command() -> clap::Command {
    let programs = Program::all().filter(|program| commands::program::is_offered(*program));
    programs.fold(Cli::command(), |command, program| {
        command.subcommand(of_program(program.name()))
    })
}

/// Takes any arguments, `--help` too.
fn of_program(name: &'static str) -> clap::Command {
    let arguments = Arg::new("arguments")
        .value_name("ARGUMENT")
        .value_parser(value_parser!(std::ffi::OsString))
        .action(ArgAction::Append)
        .num_args(0..)
        .trailing_var_arg(true)
        .allow_hyphen_values(true);
    clap::Command::new(name)
        .about(format!(
            "Run {name} of the cluster's installation, connected"
        ))
        .hide(true)
        .disable_help_flag(true)
        .arg(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every help once, in `texts/help.txt`. After a change, `PG_UPDATE_TEXTS=1 cargo test` writes
    /// that file anew.
    #[test]
    fn the_help_is_the_one_that_was_reviewed() {
        let mut command = command().term_width(100);
        command.build();
        let mut text = String::new();
        render(&mut command, &mut text);
        if std::env::var_os("PG_UPDATE_TEXTS").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/texts/help.txt");
            std::fs::write(path, &text).unwrap();
            return;
        }
        assert_eq!(text, include_str!("../texts/help.txt"));
    }

    fn render(command: &mut clap::Command, text: &mut String) {
        let name = command.get_display_name().unwrap_or("pgcluster").to_owned();
        let help = command.render_long_help().to_string();
        let lines = help.lines().map(|line| format!("{}\n", line.trim_end()));
        text.push_str(&format!(
            "==> {name} --help\n{}\n",
            lines.collect::<String>()
        ));
        let shown =
            |command: &&mut clap::Command| !command.is_hide_set() && command.get_name() != "help";
        for subcommand in command.get_subcommands_mut().filter(shown) {
            render(subcommand, text);
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples() {
        for command in command()
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
        {
            let after = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let has_own = command.has_subcommands();
            assert!(
                after.contains("Examples:") || has_own,
                "{}",
                command.get_name()
            );
        }
    }
}
