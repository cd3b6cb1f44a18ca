//! `pgcluster set`: changes of postgresql.conf.

use pg_cluster::Validation;

use super::{Words, assignments, outcome, required};
use crate::answer::Answer;
use crate::failure::Result;

/// Change settings in postgresql.conf: all or none, and only if the server would accept them
///
/// Every other byte of the file stays as it is.
#[derive(Clone, Debug, clap::Args)]
#[command(override_usage = "pgcluster set [OPTIONS] [DIR] <NAME=VALUE>...")]
#[command(after_help = "\
Examples:
  pgcluster set data work_mem=64MB log_statement=all --reload")]
pub(crate) struct Args {
    #[command(flatten)]
    words: Words,
    /// Make a running server read its configuration again
    #[arg(long)]
    reload: bool,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let (cluster, words) = args.words.split()?;
    let pairs = assignments(required(words, "NAME=VALUE")?)?;
    let settings = cluster.settings().validated(Validation::Server);
    let written = settings.update(pairs.iter().map(|(name, value)| (name, value.as_str())))?;
    let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    let outcome = outcome(&cluster, &written, &names, args.reload)?;
    Ok(Answer::new(outcome.text, outcome.json))
}
