//! `pgcluster status`: what a cluster is doing.

use crate::answer::{Answer, NOT_RUNNING};
use crate::facts::{Facts, process};
use crate::failure::Result;
use crate::target::Target;

/// Show what a cluster is doing, and how to reach its server
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Exit status: 3 if no server is running.

Examples:
  pgcluster status data
  pgcluster status data --json | jq -r .uri")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let facts = Facts::of(&args.target.cluster()?)?;
    let answer = Answer::new(facts.text(), facts.json());
    Ok(match process(facts.state) {
        Some(_) => answer,
        None => answer.with_code(NOT_RUNNING),
    })
}
