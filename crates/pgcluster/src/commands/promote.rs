//! `pgcluster promote`: a primary of a standby.

use std::time::Duration;

use serde_json::json;

use crate::answer::Answer;
use crate::failure::Result;
use crate::progress::Progress;
use crate::target::Target;

/// Promote a standby to a primary, and wait until it accepts writes
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgcluster promote standby --timeout 10")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Seconds in which the server has to become a primary
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let cluster = args.target.cluster()?;
    let pid = cluster.promote()?;
    {
        let _progress = Progress::of(format!("promoting {}", cluster.data_directory()));
        cluster.wait_until_promoted(Duration::from_secs(args.timeout))?;
    }
    Ok(Answer::new(
        format!("server {pid} is a primary"),
        json!({"data_directory": cluster.data_directory().as_str(), "pid": pid.as_raw()}),
    ))
}
