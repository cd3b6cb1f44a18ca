//! `pgcluster list`: the clusters and servers of this machine.

use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::failure::Result;
use crate::machine::{self, Known};
use crate::table::{Cell, table};
use crate::words::{DIM, rounded, state_style};

/// List the clusters and servers of this machine, of all users
///
/// A cluster is listed if its server runs, if PGDATA names it, or if it is where Debian, Red Hat or
/// the images of PostgreSQL keep theirs.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
As an ordinary user, what cannot be seen of another user's server is left out.

Examples:
  pgcluster list
  pgcluster list --json | jq -r '.clusters[] | select(.temporary) | .data_directory'")]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Result<Answer> {
    let (clusters, problem) = machine::clusters();
    let header = [
        "VERSION",
        "STATE",
        "PID",
        "PORT",
        "OWNER",
        "SINCE",
        "DIRECTORY",
    ];
    let mut text = match clusters.is_empty() {
        true => "no clusters and no servers were found\n".to_owned(),
        false => table(header, clusters.iter().map(row).collect()),
    };
    if let Some(problem) = &problem {
        text.push_str(&format!("{problem}\n"));
    }
    let objects: Vec<Value> = clusters.iter().map(object).collect();
    Ok(Answer::new(
        text,
        json!({"clusters": objects, "problem": problem}),
    ))
}

fn row(known: &Known) -> [Cell; 7] {
    let or_dash = |text: Option<String>| match text {
        Some(text) => Cell::from(text),
        None => Cell::styled("-", DIM),
    };
    let since = known.started_at.and_then(|at| at.elapsed().ok());
    let note = match (known.temporary, &known.name) {
        (true, _) => " (temporary)".to_owned(),
        (false, Some(name)) => format!(" ({name})"),
        (false, None) => String::new(),
    };
    let directory = known.data_directory.as_ref();
    let directory = directory.map_or("?".to_owned(), |path| format!("{path}{note}"));
    [
        or_dash(known.version.clone()),
        Cell::styled(known.state, state_style(known.state)),
        or_dash(known.pid.map(|pid| pid.to_string())),
        or_dash(known.port.map(|port| port.to_string())),
        or_dash(known.owner.clone()),
        or_dash(since.map(rounded)),
        directory.into(),
    ]
}

fn object(known: &Known) -> Value {
    let seconds = |at: std::time::SystemTime| Some(at.duration_since(UNIX_EPOCH).ok()?.as_secs());
    json!({
        "data_directory": known.data_directory.as_ref().map(|path| path.as_str()),
        "version": known.version,
        "state": known.state,
        "pid": known.pid.map(|pid| pid.as_raw()),
        "port": known.port,
        "uri": known.uri,
        "owner": known.owner,
        "started_at": known.started_at.and_then(seconds),
        "temporary": known.temporary,
        "name": known.name,
    })
}
