//! `pgcluster stop`: the end of a server.

use std::time::Duration;

use clap::ValueEnum;
use pg_cluster::{Signal, StopPlan, Stopped};
use serde_json::json;

use crate::answer::Answer;
use crate::failure::Result;
use crate::progress::Progress;
use crate::target::Target;

/// Stop the server of a cluster, and wait until all its processes have exited
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
A server that is not running is stopped already: exit status 0.

Examples:
  pgcluster stop data
  pgcluster stop data --mode smart --timeout 300
  pgcluster stop data --escalate    # fast, then immediate, then kill")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    plan: Plan,
    /// Seconds in which the server has to exit
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

/// The options of a stop.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Plan {
    /// Shutdown mode, which decides what happens to connected clients
    #[arg(long, value_enum, default_value_t = Mode::Fast)]
    mode: Mode,
    /// Fast shutdown, then immediate shutdown, then SIGKILL
    #[arg(long, conflicts_with = "mode")]
    escalate: bool,
}

/// A shutdown mode (PostgreSQL manual, "Shutting Down the Server").
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// Waits for clients to leave
    Smart,
    /// Ends their sessions
    Fast,
    /// Exits without a checkpoint; the next start recovers
    Immediate,
    /// SIGKILL
    Kill,
}

impl Plan {
    pub(crate) fn stop_plan(&self, timeout: u64) -> StopPlan {
        let signal = match self.mode {
            _ if self.escalate => return StopPlan::escalating(),
            Mode::Smart => Signal::Smart,
            Mode::Fast => Signal::Fast,
            Mode::Immediate => Signal::Immediate,
            Mode::Kill => Signal::Kill,
        };
        StopPlan::new(signal, Duration::from_secs(timeout))
    }
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let cluster = args.target.cluster()?;
    let directory = cluster.data_directory();
    let stopped = {
        let _progress = Progress::of(format!("stopping {directory}"));
        cluster.stop(&args.plan.stop_plan(args.timeout))?
    };
    Ok(match stopped {
        Stopped::By { pid, signal, .. } => Answer::new(
            format!("stopped server {pid} ({signal})"),
            json!({
                "data_directory": directory.as_str(),
                "stopped": pid.as_raw(),
                "by": signal.to_string(),
            }),
        ),
        _ => Answer::new(
            "no server was running",
            json!({"data_directory": directory.as_str(), "stopped": null, "by": null}),
        ),
    })
}
