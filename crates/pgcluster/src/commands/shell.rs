//! `pgcluster shell`: psql of a cluster.

use std::ffi::OsString;

use pg_cluster::Program;

use super::program;
use crate::answer::Answer;
use crate::failure::Result;
use crate::target::Target;

/// Run psql of a cluster, connected
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgcluster shell data
  pgcluster shell data -- -c 'SELECT version()'")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Arguments for psql
    #[arg(last = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let directory = args.target.directory.clone();
    program::run(Program::Psql, Some(directory), args.arguments.clone())
}
