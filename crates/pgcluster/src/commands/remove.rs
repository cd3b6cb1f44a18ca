//! `pgcluster remove`: the end of a cluster.

use serde_json::json;

use crate::answer::Answer;
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::target::{self, Target};

/// Remove a cluster with all its data; its server has to be stopped
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgcluster stop data && pgcluster remove data
  pgcluster remove data --force")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Stop a running server first
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let cluster = target::open(&args.target.directory)?;
    let directory = cluster.data_directory();
    if let Some(pid) = cluster.pid()?
        && !args.force
    {
        let failure = Failure::new(format!("server {pid} is running in {directory}"));
        return Err(failure.with_hint("stop it first, or add `--force`"));
    }
    {
        let _progress = Progress::of(format!("removing {directory}"));
        cluster.remove()?;
    }
    Ok(Answer::new(
        format!("removed {directory}"),
        json!({"data_directory": directory.as_str(), "removed": true}),
    ))
}
