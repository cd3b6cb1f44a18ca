//! `pgcluster start`: a server that outlives this program.

use std::time::Duration;

use camino::Utf8PathBuf;
use pg_cluster::{Cluster, Log, Ownership, StartOptions, Started};
use serde_json::json;

use crate::answer::Answer;
use crate::connection;
use crate::facts::Facts;
use crate::failure::Result;
use crate::progress::Progress;
use crate::target::Target;
use crate::temporary::assignment;

/// Start the server of a cluster, and wait until it accepts connections
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgcluster start data
  pgcluster start data --port 5433 --socket-dir data --log server.log
  pgcluster start 16/main       # Debian's cluster of that name")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    options: Options,
}

/// The options of a start.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Port, for this start
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Directory of the socket, for this start
    #[arg(long, value_name = "DIR")]
    socket_dir: Option<Utf8PathBuf>,
    /// Setting for this start; can be repeated
    #[arg(long = "set", short = 's', value_name = "NAME=VALUE", value_parser = assignment)]
    settings: Vec<(String, String)>,
    /// File that the server's output is appended to [default: server.log in the data directory]
    #[arg(long, value_name = "FILE")]
    log: Option<Utf8PathBuf>,
    /// Seconds in which the server has to become ready, and to exit if it is restarted
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) timeout: u64,
}

impl Options {
    pub(crate) fn start_options(&self) -> Result<StartOptions> {
        let mut options = StartOptions::new()
            .ownership(Ownership::Detached)
            .timeout(Duration::from_secs(self.timeout))
            .settings(self.settings.clone());
        if let Some(port) = self.port {
            options = options.port(port);
        }
        if let Some(directory) = &self.socket_dir {
            options = options.socket_directory(camino::absolute_utf8(directory)?);
        }
        if let Some(log) = &self.log {
            options = options.log(Log::File(camino::absolute_utf8(log)?));
        }
        Ok(options)
    }
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let cluster = args.target.cluster()?;
    let started = {
        let _progress = Progress::of(format!("starting {}", cluster.data_directory()));
        cluster.start(&args.options.start_options()?)?
    };
    match started {
        Started::AlreadyRunning(pid) => started_answer(
            &cluster,
            &format!("server {pid} was running already"),
            false,
        ),
        started => started_answer(&cluster, &format!("started server {}", started.pid()), true),
    }
}

/// The status, with the word that is new.
pub(crate) fn started_answer(cluster: &Cluster, what: &str, is_new: bool) -> Result<Answer> {
    let address = connection::of(cluster)?;
    let at = address.map(|address| format!(" at {}", address.uri()));
    let mut status = Facts::of(cluster)?.json();
    status["started"] = json!(is_new);
    Ok(Answer::new(
        format!("{what}{}", at.unwrap_or_default()),
        status,
    ))
}
