//! `pgcluster standby`: a new standby of a running server.

use camino::Utf8PathBuf;
use pg_cluster::{BaseBackupOptions, Cluster};
use serde_json::json;

use crate::answer::Answer;
use crate::connection;
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::target::{self, Target};

/// Make a new data directory that is a standby of a running server, with pg_basebackup
///
/// The copy has the configuration of the other cluster: on the same machine it needs another port
/// or another directory for its socket.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgcluster standby data copy --create-slot copy
  pgcluster start copy --port 5433")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// New data directory
    #[arg(value_name = "NEW")]
    new: Utf8PathBuf,
    /// Replication slot that is created for the standby
    #[arg(long, value_name = "NAME")]
    create_slot: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let primary = target::running(&args.target.directory)?;
    let directory = primary.data_directory();
    let nowhere = || Failure::new(format!("the server of {directory} listens nowhere"));
    let upstream = connection::of(&primary)?.ok_or_else(nowhere)?;
    let standby = Cluster::new(primary.installation().clone(), &args.new)?;
    let mut options = BaseBackupOptions::new();
    if let Some(slot) = &args.create_slot {
        options = options.create_slot(slot);
    }
    {
        let _progress = Progress::of(format!("copying {directory}"));
        standby.init_standby_of(&upstream, &options)?;
    }
    let new = standby.data_directory();
    Ok(Answer::new(
        format!("{new} is a standby of {directory}"),
        json!({"data_directory": new.as_str(), "primary": upstream.uri()}),
    ))
}
