//! `pgcluster hba add`: a new rule.

use pg_cluster::conf::hba::{NewRule, Place};
use serde_json::json;

use crate::answer::Answer;
use crate::failure::{Failure, Result};
use crate::target::Target;

/// Add a rule to pg_hba.conf, by default before all other rules
///
/// Nothing is written if the server would reject the file.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgcluster hba add data --rule 'host app bob 10.0.0.0/8 scram-sha-256' --reload
  pgcluster hba add data --rule 'local all all peer' --last")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Line, as in the file
    #[arg(long, value_name = "LINE")]
    rule: String,
    /// After all other rules
    #[arg(long, conflicts_with = "before")]
    last: bool,
    /// Before the rule at this line of the file
    #[arg(long, value_name = "NUMBER")]
    before: Option<usize>,
    /// Make a running server read its configuration again
    #[arg(long)]
    reload: bool,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let cluster = args.target.cluster()?;
    let hba = cluster.hba();
    let rule = NewRule::parse(&args.rule, hba.server())
        .map_err(|problem| Failure::usage(format!("`{}`: {problem}", args.rule)))?;
    let mut line = 0;
    hba.edit(|document| {
        let first = document.lines().next();
        let place = match (args.before, first) {
            (Some(line), _) => Place::Before(line),
            (None, Some(first)) if !args.last => Place::Before(first),
            _ => Place::End,
        };
        line = document.insert(place, &rule)?;
        Ok(())
    })?;
    let reloaded = args.reload && cluster.is_running()?;
    if reloaded {
        cluster.reload()?;
    }
    let file = cluster.hba_file();
    Ok(Answer::new(
        format!("added line {line} to {file}"),
        json!({"file": file.as_str(), "line": line, "reloaded": reloaded}),
    ))
}
