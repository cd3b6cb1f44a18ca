//! `pgcluster reload`: the configuration files, read again.

use serde_json::json;

use crate::answer::Answer;
use crate::failure::Result;
use crate::target::Target;

/// Make the server of a cluster read its configuration files again
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgcluster set data work_mem=64MB && pgcluster reload data")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let cluster = args.target.cluster()?;
    let pid = cluster.reload()?;
    Ok(Answer::new(
        format!("server {pid} reads its configuration again"),
        json!({"data_directory": cluster.data_directory().as_str(), "pid": pid.as_raw()}),
    ))
}
