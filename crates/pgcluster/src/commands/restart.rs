//! `pgcluster restart`: stop and start.

use pg_cluster::Cluster;
use pg_cluster::proc::PostmasterOpts;

use super::start::{Options, started_answer};
use super::stop::Plan;
use crate::answer::Answer;
use crate::failure::Result;
use crate::progress::Progress;
use crate::target::Target;

/// Stop the server of a cluster and start it again, with the settings of its command line
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
A server that is not running is started.

Examples:
  pgcluster restart data
  pgcluster restart data --mode immediate --set shared_buffers=1GB")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    plan: Plan,
    #[command(flatten)]
    options: Options,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let cluster = args.target.cluster()?;
    let given = args.options.start_options()?;
    // Before the settings of this call, which win.
    let mut options = given.clone();
    for (name, value) in on_command_line(&cluster) {
        if given.value_of(&name).is_none() {
            options = options.setting(name, value);
        }
    }
    let started = {
        let _progress = Progress::of(format!("restarting {}", cluster.data_directory()));
        cluster.restart(&args.plan.stop_plan(args.options.timeout), &options)?
    };
    started_answer(
        &cluster,
        &format!("restarted as server {}", started.pid()),
        true,
    )
}

/// The settings that the running server was given on its command line: `pg_ctl restart` repeats
/// them too. The data directory and the configuration file are passed by each start anyway.
fn on_command_line(cluster: &Cluster) -> Vec<(String, String)> {
    if !cluster.is_running().unwrap_or(false) {
        return Vec::new();
    }
    let opts = PostmasterOpts::read(cluster.data_directory())
        .ok()
        .flatten();
    let arguments = opts.map(|opts| opts.arguments).unwrap_or_default();
    let mut settings = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let assignment = match argument.as_str() {
            "-c" => rest.next().map(String::as_str),
            "-p" => {
                settings.extend(rest.next().map(|port| ("port".to_owned(), port.clone())));
                None
            }
            "-D" => {
                rest.next();
                None
            }
            other => other
                .strip_prefix("--")
                .or_else(|| other.strip_prefix("-c")),
        };
        let pair = assignment.and_then(|text| text.split_once('='));
        if let Some((name, value)) = pair {
            settings.push((name.replace('-', "_"), value.to_owned()));
        }
    }
    settings.retain(|(name, _)| !matches!(name.as_str(), "config_file" | "data_directory"));
    settings
}
