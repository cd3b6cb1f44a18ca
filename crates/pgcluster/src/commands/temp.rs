//! `pgcluster temp`: a temporary cluster for the length of standard input.

use std::io;

use serde_json::json;

use crate::answer::{Answer, Form};
use crate::connection;
use crate::failure::Result;
use crate::temporary::Temporary;

/// Run a temporary server until standard input ends
///
/// When the server is ready, one line is printed: the URI of the connection, or an object with
/// --json. A program in any language can start this command with a pipe as standard input and read
/// that line. Server and files are removed when the pipe is closed, or when the program exits.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgcluster temp                  # until Ctrl-D
  pgcluster temp --json --tcp     # as a child with a pipe

With --json, one line with uri, host, port, user, database, data_directory, version,
pid and standbys, which is a list of URIs.")]
pub(crate) struct Args {
    #[command(flatten)]
    temporary: Temporary,
}

pub(crate) fn run(args: &Args, form: Form) -> Result<Answer> {
    let servers = args.temporary.start()?;
    let server = servers.primary();
    let info = server.connection_info();
    let cluster = server.cluster();
    let mut object = connection::json(info);
    object.insert(
        "data_directory".to_owned(),
        json!(cluster.data_directory().as_str()),
    );
    object.insert(
        "version".to_owned(),
        json!(
            cluster
                .installation()
                .version()
                .without_vendor()
                .to_string()
        ),
    );
    object.insert(
        "pid".to_owned(),
        json!(cluster.pid()?.map(|pid| pid.as_raw())),
    );
    object.insert("standbys".to_owned(), json!(servers.standbys()));
    Answer::new(info.uri(), object.into()).write(form)?;
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(Answer::silent(0))
}
