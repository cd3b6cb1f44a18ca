//! The options of temporary clusters, which `run` and `temp` share.

use std::io;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use camino::Utf8PathBuf;
use pg_cluster::{ConnectionInfo, Request, Utf8Path};
use pg_fixture::{Listen, ReplicaSet, TempCluster, TempClusterBuilder};

use crate::connection;
use crate::failure::Result;
use crate::progress::Progress;

/// The options of a temporary cluster.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Temporary {
    /// PostgreSQL version: `16`, `>=14,<17`, `15.4`, `newest`
    #[arg(long, value_name = "REQUEST", default_value = "any")]
    version: Request,
    /// Superuser that clients connect as
    #[arg(long, value_name = "NAME", default_value = "postgres")]
    user: String,
    /// Database that clients connect to, created if need be
    #[arg(long, value_name = "NAME", default_value = "postgres")]
    database: String,
    /// Listen on 127.0.0.1 too, at a free port, and connect that way: for clients that know no
    /// sockets
    #[arg(long)]
    tcp: bool,
    /// Setting of the server; can be repeated
    #[arg(long = "set", short = 's', value_name = "NAME=VALUE", value_parser = assignment)]
    settings: Vec<(String, String)>,
    /// Standbys that follow the server: STANDBY_URL_1, STANDBY_URL_2...
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    standbys: usize,
    /// Shell command that prepares the database, such as migrations; can be repeated
    #[arg(long, value_name = "CMD")]
    setup: Vec<String>,
    /// File or directory that the setup depends on: the result is kept, and used again until one of
    /// them changes; can be repeated. Without it the setup runs each time
    #[arg(long, value_name = "PATH", requires = "setup")]
    key: Vec<Utf8PathBuf>,
}

/// An assignment on the command line.
pub(crate) fn assignment(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it is not NAME=VALUE".to_owned()),
    }
}

impl Temporary {
    /// Makes the cluster, with all setup done.
    pub(crate) fn start(&self) -> Result<Servers> {
        let progress = Shared::new("making a temporary cluster");
        let mut builder = TempCluster::builder()
            .version(self.version.clone())
            .user(&self.user)
            .database(&self.database)
            .settings(self.settings.clone());
        if self.tcp {
            builder = builder.listen(Listen::Loopback);
        }
        if !self.key.is_empty() {
            builder = self.with_kept_setup(builder, &progress);
        }
        let servers = match self.standbys {
            0 => Servers::One(Box::new(builder.start()?)),
            standbys => Servers::Set(Box::new(builder.standbys(standbys).start()?)),
        };
        progress.stop();
        if self.key.is_empty() {
            for command in &self.setup {
                let server = servers.primary();
                let data_directory = server.cluster().data_directory();
                set_up(command, server.connection_info(), data_directory)?;
            }
        }
        Ok(servers)
    }

    /// The steps are part of the template. Their key is the command, in a step of its own that does
    /// nothing, and the content of what it depends on.
    fn with_kept_setup(
        &self,
        mut builder: TempClusterBuilder,
        progress: &Shared,
    ) -> TempClusterBuilder {
        for command in &self.setup {
            let nothing = |_: &ConnectionInfo| Ok::<(), SetupError>(());
            let (step, progress) = (command.clone(), progress.clone());
            builder = builder.setup(command.clone(), nothing).setup_from(
                self.key.clone(),
                move |info: &ConnectionInfo| {
                    // Its output must not be mixed with ours.
                    progress.stop();
                    set_up(&step, info, Utf8Path::new(""))
                },
            );
        }
        builder
    }
}

/// A temporary server, alone or with standbys.
#[derive(Debug)]
pub(crate) enum Servers {
    One(Box<TempCluster>),
    Set(Box<ReplicaSet>),
}

impl Servers {
    /// The one that takes writes.
    pub(crate) fn primary(&self) -> &TempCluster {
        match self {
            Self::One(server) => server,
            Self::Set(set) => set.primary(),
        }
    }

    /// The connection URIs of the standbys.
    pub(crate) fn standbys(&self) -> Vec<String> {
        match self {
            Self::One(_) => Vec::new(),
            Self::Set(set) => set.standbys().map(|standby| standby.uri()).collect(),
        }
    }
}

/// Runs a step in a shell. Its output goes to standard error: standard output is for the connection
/// or the command.
fn set_up(
    command: &str,
    info: &ConnectionInfo,
    data_directory: &Utf8Path,
) -> std::result::Result<(), SetupError> {
    let failed = |kind| SetupError {
        command: command.to_owned(),
        kind,
    };
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(io::stderr());
    connection::connect(&mut shell, connection::variables(info, data_directory));
    let status = shell
        .status()
        .map_err(|error| failed(SetupErrorKind::Shell(error)))?;
    match status.success() {
        true => Ok(()),
        false => Err(failed(SetupErrorKind::Failed(status))),
    }
}

/// A setup step failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to set the database up with `{command}`")]
struct SetupError {
    command: String,
    #[source]
    kind: SetupErrorKind,
}

#[derive(Debug, thiserror::Error)]
enum SetupErrorKind {
    #[error("the shell cannot be run")]
    Shell(#[source] io::Error),
    #[error("the command failed, {0}")]
    Failed(ExitStatus),
}

/// A progress that a setup step stops from the thread in which it runs.
#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<Option<Progress>>>);

impl Shared {
    fn new(what: &str) -> Self {
        Self(Arc::new(Mutex::new(Some(Progress::of(what)))))
    }

    fn stop(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
