//! `pgcluster psql`, `pgcluster pg_dump`...: the programs of PostgreSQL, connected.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use camino::Utf8PathBuf;
use clap::ArgMatches;
use pg_cluster::conf::hba::{Attempt, Method};
use pg_cluster::install::Component;
use pg_cluster::{
    AccessDecision, Account, Cluster, ConnectionInfo, Installation, Program, Request,
};

use crate::answer::Answer;
use crate::connection;
use crate::failure::{Failure, Result};
use crate::target;

/// Returns whether the program has its own command: `start` starts the server.
pub(crate) fn is_offered(program: Program) -> bool {
    !matches!(
        program,
        Program::Postgres | Program::Postmaster | Program::Ipcclean
    )
}

/// The program that is the command, and its arguments.
pub(crate) fn named(matches: &ArgMatches) -> Option<(Program, Vec<OsString>)> {
    let (name, of_program) = matches.subcommand()?;
    let program = name.parse().ok().filter(|program| is_offered(*program))?;
    let arguments = of_program.get_many("arguments").unwrap_or_default();
    Some((program, arguments.cloned().collect()))
}

/// Replaces this process by the program. Without a cluster it connects by its arguments and the
/// environment.
pub(crate) fn run(
    program: Program,
    directory: Option<Utf8PathBuf>,
    arguments: Vec<OsString>,
) -> Result<Answer> {
    let of_environment = || std::env::var("PGDATA").ok().filter(|path| !path.is_empty());
    let directory = directory.or_else(|| of_environment().map(Utf8PathBuf::from));
    let mut command = match directory {
        Some(directory) => of_cluster(program, &directory)?,
        None => {
            let installation = Installation::find(&Request::newest())?;
            Command::new(installation.require(program)?)
        }
    };
    command.args(arguments);
    let error = command.exec();
    Err(Failure::new(NotExecuted(program.name(), error)))
}

fn of_cluster(program: Program, directory: &camino::Utf8Path) -> Result<Command> {
    let connects = program.component() == Component::Client;
    let cluster = match connects {
        true => target::running(directory)?,
        false => target::open(directory)?,
    };
    let mut command = Command::new(cluster.installation().require(program)?);
    let account = match connects {
        true => {
            let info = connection::of(&cluster)?.ok_or_else(|| {
                let directory = cluster.data_directory();
                Failure::new(format!("the server of {directory} listens nowhere"))
            })?;
            let account = account_of_peer(&cluster, &info);
            let variables = connection::variables(&info, cluster.data_directory());
            connection::connect(&mut command, variables);
            account
        }
        false => {
            command.env("PGDATA", cluster.data_directory());
            cluster.account().cloned()
        }
    };
    if let Some(account) = account {
        command.uid(account.uid()).gid(account.gid());
        if let Some(home) = account.home() {
            command.env("HOME", home);
        }
    }
    Ok(command)
}

/// The account of the server, if the caller is root and the server lets the user in by nothing but
/// the name of the account, as Debian's do.
fn account_of_peer(cluster: &Cluster, info: &ConnectionInfo) -> Option<Account> {
    let account = cluster.account()?;
    info.socket_directory()?;
    let attempt = Attempt::local(info.database()?, info.user()?);
    let hba = cluster.hba();
    let decision = hba.explain(&attempt, &hba.facts().ok()?).ok()?;
    match decision {
        AccessDecision::Rule(rule) if rule.method() == Method::Peer => Some(account.clone()),
        _ => None,
    }
}

/// The program could not be executed.
#[derive(Debug, thiserror::Error)]
#[error("failed to run {0}")]
struct NotExecuted(&'static str, #[source] std::io::Error);
