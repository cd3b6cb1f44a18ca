//! `pgcluster check`: what the server would reject.

use pg_cluster::proc::{ConfigurationProblem, RunError};
use pg_cluster::{AccessErrorKind, Cluster};
use serde_json::json;

use super::{Words, ask_server, assignments};
use crate::answer::Answer;
use crate::failure::{Failure, Result};
use crate::words::{GREEN, RED, paint};

/// Check the configuration, or values for settings, with the server's own program
///
/// Without an assignment, all configuration files and pg_hba.conf are checked. Nothing is changed,
/// and no server is started.
#[derive(Clone, Debug, clap::Args)]
#[command(override_usage = "pgcluster check [OPTIONS] [DIR] [NAME=VALUE]...")]
#[command(after_help = "\
Exit status: 1 if the server would reject something.

Examples:
  pgcluster check data
  pgcluster check data shared_buffers=1GB work_mem=lots")]
pub(crate) struct Args {
    #[command(flatten)]
    words: Words,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let (cluster, words) = args.words.split()?;
    let mut problems = Vec::new();
    let mut restart = Vec::new();
    let pairs = assignments(words)?;
    for (name, value) in &pairs {
        let check = cluster.settings().check(name, value)?;
        problems.extend(check.problem.map(|problem| problem.to_string()));
        if check.needs_restart {
            restart.push(name);
        }
    }
    if pairs.is_empty() {
        problems.extend(of_settings(&cluster)?);
        problems.extend(of_access(&cluster)?);
    }
    let json = json!({"accepted": problems.is_empty(), "problems": problems,
        "needs_restart": restart});
    if problems.is_empty() {
        return Ok(Answer::new(paint(GREEN, "accepted"), json));
    }
    let lines = problems
        .iter()
        .map(|problem| format!("{}\n", paint(RED, problem)));
    Ok(Answer::new(lines.collect::<String>(), json).with_code(1))
}

/// The problems that the server's program reports.
pub(crate) fn of_settings(cluster: &Cluster) -> Result<Vec<String>> {
    let Err(failure) = ask_server(cluster, "port") else {
        return Ok(Vec::new());
    };
    let Some(error) = failure
        .downcast_ref::<RunError>()
        .filter(|error| error.status().is_some())
    else {
        return Err(failure);
    };
    let complaint = String::from_utf8_lossy(error.stderr()).into_owned();
    let problems = ConfigurationProblem::read_all_or_whole(&complaint);
    Ok(problems.iter().map(ToString::to_string).collect())
}

/// The lines of pg_hba.conf that the server would reject.
pub(crate) fn of_access(cluster: &Cluster) -> Result<Vec<String>> {
    let Err(error) = cluster.hba().validate() else {
        return Ok(Vec::new());
    };
    match error.kind() {
        AccessErrorKind::Rejected(problems) => {
            Ok(problems.iter().map(ToString::to_string).collect())
        }
        _ => Err(Failure::new(error)),
    }
}
