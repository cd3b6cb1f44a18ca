//! `pgcluster rewind`: the way back of a primary that was replaced.

use camino::Utf8PathBuf;
use pg_cluster::RewindOptions;
use serde_json::json;

use crate::answer::Answer;
use crate::connection;
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::target::{self, Target};

/// Make a former primary a standby of the one that replaced it, with pg_rewind
///
/// Changes that only the former primary has are lost. Its server is stopped first.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgcluster rewind data --to copy && pgcluster start data")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Data directory of the new primary, whose server runs
    #[arg(long, value_name = "OTHER")]
    to: Utf8PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let primary = target::running(&args.to)?;
    let other = primary.data_directory();
    let nowhere = || Failure::new(format!("the server of {other} listens nowhere"));
    let upstream = connection::of(&primary)?.ok_or_else(nowhere)?;
    let cluster = args.target.cluster()?;
    let directory = cluster.data_directory();
    {
        let _progress = Progress::of(format!("rewinding {directory}"));
        cluster.rewind_to(&upstream, &RewindOptions::new())?;
    }
    Ok(Answer::new(
        format!("{directory} is a standby of {other}"),
        json!({"data_directory": directory.as_str(), "primary": upstream.uri()}),
    ))
}
