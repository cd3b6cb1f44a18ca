//! `pgcluster unset`: settings back to their defaults.

use pg_cluster::Validation;
use pg_cluster::conf::Removal;

use super::{Words, outcome, required};
use crate::answer::Answer;
use crate::failure::Result;

/// Comment settings out in postgresql.conf, so that their defaults hold
#[derive(Clone, Debug, clap::Args)]
#[command(override_usage = "pgcluster unset [OPTIONS] [DIR] <NAME>...")]
#[command(after_help = "\
Examples:
  pgcluster unset data work_mem --reload")]
pub(crate) struct Args {
    #[command(flatten)]
    words: Words,
    /// Delete the lines instead
    #[arg(long)]
    delete: bool,
    /// Make a running server read its configuration again
    #[arg(long)]
    reload: bool,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let (cluster, names) = args.words.split()?;
    let names: Vec<&str> = required(names, "NAME")?
        .iter()
        .map(String::as_str)
        .collect();
    let removal = match args.delete {
        true => Removal::Delete,
        false => Removal::CommentOut,
    };
    let settings = cluster.settings().validated(Validation::Server);
    let written = settings.edit(|session| {
        for name in &names {
            session.remove(name, removal);
        }
        Ok(())
    })?;
    let outcome = outcome(&cluster, &written, &names, args.reload)?;
    Ok(Answer::new(outcome.text, outcome.json))
}
