//! `pgcluster run`: a temporary cluster for the length of a command.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};

use pg_cluster::proc::run_in_foreground;

use crate::answer::Answer;
use crate::connection;
use crate::failure::{Failure, Result};
use crate::temporary::Temporary;

/// Run a command with a temporary server, and remove the server when the command has exited
///
/// The variables DATABASE_URL, PGHOST, PGPORT, PGUSER and PGDATABASE lead the command to the
/// server. The command has the terminal and standard input, and receives Ctrl-C. The server runs
/// until the command has exited. pgcluster exits with the status of the command.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgcluster run -- cargo nextest run
  pgcluster run --version 16 --set wal_level=logical -- npm test
  pgcluster run --setup 'sqlx migrate run' --key migrations -- cargo test
  pgcluster run --standbys 1 -- sh -c 'psql $STANDBY_URL_1'
  pgcluster run --tcp -- ./gradlew test     # for clients that know no sockets
  pgcluster run -- sh -c 'pgcluster psql'   # a shell in a fresh server")]
pub(crate) struct Args {
    #[command(flatten)]
    temporary: Temporary,
    /// Command with its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true)]
    #[arg(allow_hyphen_values = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let servers = args.temporary.start()?;
    let server = servers.primary();
    let mut words = args.command.iter();
    let program = words
        .next()
        .ok_or_else(|| Failure::usage("there is no command"))?;
    let mut command = Command::new(program);
    command.args(words);
    let data_directory = server.cluster().data_directory();
    let variables = connection::variables(server.connection_info(), data_directory);
    connection::connect(&mut command, variables);
    for (number, uri) in (1..).zip(servers.standbys()) {
        command.env(format!("STANDBY_URL_{number}"), uri);
    }
    match run_in_foreground(command) {
        Ok(status) => Ok(Answer::silent(exit_code(status))),
        Err(error) => Err(Failure::new(NotRun {
            program: program.to_string_lossy().into_owned(),
            error,
        })),
    }
}

/// As shells have it.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// The command could not be executed.
#[derive(Debug, thiserror::Error)]
#[error("failed to run {program}")]
struct NotRun {
    program: String,
    #[source]
    error: io::Error,
}
