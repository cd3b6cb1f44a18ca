//! `pgcluster installations`: the PostgreSQL of this machine.

use pg_cluster::install::DiscoveredInstallation;
use pg_cluster::{Discovery, Report};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::failure::{Failure, Result};
use crate::table::{Cell, table};
use crate::words::{DIM, YELLOW};

/// List the PostgreSQL installations of this machine, the one that is used by default first
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgcluster installations
  pgcluster installations --explain    # which places were searched
  PGINSTALLATION=/opt/pg17 pgcluster installations")]
pub(crate) struct Args {
    /// Print each place that was searched, and what was found there
    #[arg(long)]
    explain: bool,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let discovery = Discovery::new();
    if args.explain {
        return Ok(explain(&discovery));
    }
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for outcome in discovery.all() {
        match outcome {
            Ok(installation) => found.push(installation),
            Err(error) => errors.push(error),
        }
    }
    if found.is_empty() {
        return Err(match errors.into_iter().next() {
            Some(error) => Failure::new(error),
            None => Failure::new("no PostgreSQL installation was found").with_hint(
                "`pgcluster installations --explain` lists the places that were searched",
            ),
        });
    }
    let errors: Vec<String> = errors
        .iter()
        .map(|error| Report::new(error).to_string())
        .collect();
    let rows = found.iter().map(row).collect();
    let mut text = table(["VERSION", "DIRECTORY", "FOUND BY", "REMARK"], rows);
    for error in &errors {
        text.push_str(&format!("{error}\n"));
    }
    let json = json!({
        "installations": found.iter().map(object).collect::<Vec<Value>>(),
        "errors": errors,
    });
    Ok(Answer::new(text, json).with_code(u8::from(!errors.is_empty())))
}

fn row(found: &DiscoveredInstallation) -> [Cell; 4] {
    let installation = found.installation();
    let remark = match (installation.is_server(), missing(found)) {
        (false, _) => "no server".to_owned(),
        (true, missing) if !missing.is_empty() => format!("without {}", missing.join(", ")),
        _ => String::new(),
    };
    [
        installation.version().into(),
        installation
            .bindir()
            .map_or("", |path| path.as_str())
            .into(),
        Cell::styled(found.source().to_string(), DIM),
        Cell::styled(remark, YELLOW),
    ]
}

fn object(found: &DiscoveredInstallation) -> Value {
    let installation = found.installation();
    json!({
        "version": installation.version().without_vendor().to_string(),
        "version_string": installation.version_string(),
        "version_num": installation.version().num(),
        "bindir": installation.bindir().map(|path| path.as_str()),
        "source": found.source().to_string(),
        "path": found.path().as_str(),
        "server": installation.is_server(),
        "ssl": installation.ssl(),
        "missing": missing(found),
    })
}

fn missing(found: &DiscoveredInstallation) -> Vec<&'static str> {
    let missing = found.installation().missing_programs().into_iter();
    missing.map(|program| program.name()).collect()
}

fn explain(discovery: &Discovery) -> Answer {
    let places = discovery.explain();
    let object = |place: &pg_cluster::install::SearchedPlace| {
        let outcomes = place.outcomes().iter().map(ToString::to_string);
        json!({
            "source": place.source().to_string(),
            "place": place.place(),
            "outcomes": outcomes.collect::<Vec<_>>(),
        })
    };
    let json = places.searched().iter().map(object).collect::<Vec<Value>>();
    Answer::new(places.to_string(), json!({ "searched": json }))
}
