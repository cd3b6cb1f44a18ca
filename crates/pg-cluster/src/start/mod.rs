//! Starting a server.

mod diagnosis;
mod error;
mod options;
mod preconditions;
mod turn;

use std::sync::Arc;
use std::time::{Duration, Instant};

use pg_install::Program;
use pg_proc::{
    CollectedLog, Deadline, Log, Orphans, Ownership, Pid, Postmaster, Server, ServerOptions,
    Signal, SpawnErrorKind, Status, StopPlan, WaitErrorKind,
};

pub(crate) use self::error::list;
pub use self::error::{StartError, StartErrorKind};
pub use self::options::{StartOptions, StartWait};
pub(crate) use self::turn::{Taken, Turn};
use crate::Cluster;
use crate::cluster::OwnServer;
use crate::listening::Listening;
use crate::log::StartNumber;
use crate::state::Occupant;

/// The outcome of [`Cluster::start`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Started {
    /// The server with this process ID was started.
    Now(Pid),
    /// The server with this process ID was running already, with its own settings.
    AlreadyRunning(Pid),
}

impl Started {
    /// The process ID of the server.
    pub fn pid(self) -> Pid {
        match self {
            Self::Now(pid) | Self::AlreadyRunning(pid) => pid,
        }
    }
}

/// The default number of bytes of a log that are kept in memory or read.
pub(crate) const TAIL: usize = 64 << 10;
/// The longest wait of a start for child processes left behind by a crashed postmaster.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(10);
/// The log of a detached server in its data directory, by default.
const LOG_FILE: &str = "server.log";

impl Cluster {
    /// Starts the server, and waits until it is ready unless the options specify otherwise. If a
    /// server is running already, whichever process started it, no second one is started. If it is
    /// shutting down, this waits until it has exited, and starts a new one.
    ///
    /// Before the start this checks that the directory is a cluster of the installation's major
    /// version, that the account may use it, and that the path of the socket is not too long.
    ///
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// use pg_cluster::{StartOptions, Started};
    ///
    /// match cluster.start(&StartOptions::new().socket_only(cluster.data_directory()))? {
    ///     Started::Now(pid) => println!("started process {pid}"),
    ///     running => println!("process {} was running", running.pid()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails with a [`StartError`], which has the reason as far as it can be determined, and the
    /// log of this start. A server of this start that does not become ready in time is stopped. A
    /// server that was running before and does not become ready is left alone.
    ///
    /// # Races
    ///
    /// If several processes start the same cluster at the same time, one succeeds. The others fail
    /// with [`StartErrorKind::Held`] or return [`Started::AlreadyRunning`].
    ///
    /// # Cleanup
    ///
    /// See [`Cluster`] for what happens to the server when its owner exits.
    pub fn start(&self, options: &StartOptions) -> Result<Started, StartError> {
        let failed = |kind| StartError::new(self.data_directory(), kind);
        let begun = Instant::now();
        let Some(_alone) = self.lock_starting(options.timeout) else {
            return Err(failed(StartErrorKind::Busy(options.timeout)));
        };
        // The wait for another thread counts.
        let left = options.timeout.saturating_sub(begun.elapsed());
        let deadline = || Deadline::after(left).while_recovering(options.recovery_patience);
        match self
            .occupant()
            .map_err(|error| failed(StartErrorKind::Find(error)))?
        {
            Occupant::Server(postmaster) => {
                if postmaster.is_suspended() {
                    return Err(failed(StartErrorKind::Suspended(postmaster.pid())));
                }
                let wait = |error| failed(StartErrorKind::Wait(error));
                if postmaster.has_lost_lock_file() {
                    return Err(failed(StartErrorKind::LockFileLost(postmaster.pid())));
                }
                if !is_stopping(&postmaster) {
                    let ready = match options.wait {
                        StartWait::Ready => postmaster.wait_ready(deadline()).map(|_| ()),
                        StartWait::Spawned => Ok(()),
                    };
                    match ready {
                        Ok(()) => return Ok(Started::AlreadyRunning(postmaster.pid())),
                        // It had been signalled, and had not begun to shut down.
                        Err(error) if matches!(error.kind(), WaitErrorKind::Exited(_)) => {}
                        Err(error) => return Err(wait(error)),
                    }
                }
                postmaster.wait_gone(deadline()).map_err(wait)?;
            }
            Occupant::SingleUser(pid) | Occupant::Unknown(pid) => {
                return Err(failed(StartErrorKind::Held(pid)));
            }
            Occupant::NoProcess => {}
        }
        let listening = preconditions::check(self, options).map_err(failed)?;
        // Child processes left behind by a crashed postmaster hold its shared memory until they
        // notice. If they do not, the server reports it.
        if let Ok(orphans) = Orphans::find(self.data_directory()) {
            let _ = orphans.wait_gone(left.min(ORPHAN_PATIENCE));
        }
        let server = Arc::new(OwnServer {
            collected_before: CollectedLog::find(self.data_directory()),
            process: self.spawn(options, &listening, left).map_err(failed)?,
            options: options.clone(),
            number: StartNumber::next(),
        });
        let pid = server.process.pid();
        self.set_server(Some(Arc::clone(&server)));
        if options.wait == StartWait::Ready {
            let waited = self.wait_for(&server, deadline());
            if waited.is_err() {
                let _ = self.carry_out(&give_up(), server.process.postmaster());
            }
            waited?;
        }
        Ok(Started::Now(pid))
    }

    /// Waits until the server, whichever process started it, accepts connections, or is a
    /// [standby](crate::State::Standby) that accepts none.
    ///
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use pg_cluster::{StartOptions, StartWait};
    ///
    /// cluster.start(&StartOptions::new().wait(StartWait::Spawned))?;
    /// // ... other work ...
    /// cluster.wait_until_started(Duration::from_secs(60))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the wait times out, even during recovery, and leaves the server alone. Fails at
    /// once if no server is running or a process that is not a postmaster holds the directory.
    /// Fails as soon as the server exits, with the reason as far as it can be determined.
    pub fn wait_until_started(&self, timeout: Duration) -> Result<(), StartError> {
        let deadline = Deadline::after(timeout);
        let failed = |kind| StartError::new(self.data_directory(), kind);
        if let Some(server) = self.living_server() {
            if server.process.postmaster().is_suspended() {
                return Err(failed(StartErrorKind::Suspended(server.process.pid())));
            }
            return self.wait_for(&server, deadline);
        }
        match self
            .occupant()
            .map_err(|error| failed(StartErrorKind::Find(error)))?
        {
            Occupant::Server(postmaster) if postmaster.is_suspended() => {
                Err(failed(StartErrorKind::Suspended(postmaster.pid())))
            }
            Occupant::Server(postmaster) => postmaster
                .wait_ready(deadline)
                .map(|_| ())
                .map_err(|error| failed(StartErrorKind::Wait(error))),
            Occupant::SingleUser(pid) | Occupant::Unknown(pid) => {
                Err(failed(StartErrorKind::Held(pid)))
            }
            Occupant::NoProcess => {
                let has_failed = self.exit_status().is_some_and(|status| !status.success());
                Err(match self.server().filter(|_| has_failed) {
                    Some(server) => diagnosis::of_end(self, &server),
                    None => failed(StartErrorKind::NotRunning),
                })
            }
        }
    }

    /// The exit status of the server that this object has started last; none while it runs, or if
    /// this object has not started a server.
    pub fn exit_status(&self) -> Option<std::process::ExitStatus> {
        let server = self.server()?;
        if !server.process.postmaster().is_alive() {
            // The status is known a moment after the exit.
            let _ = server.process.wait_gone(Duration::from_secs(1));
        }
        server.process.exit_status()
    }

    /// At most 64 KiB from the end of the log of the server that this object has started last,
    /// including the output of its `logging_collector`. If this object has not started a server,
    /// the end of `server.log` in the data directory, the log of a [detached](Ownership::Detached)
    /// server. None if the log does not exist or cannot be read.
    pub fn log_tail(&self) -> Option<String> {
        match self.server() {
            Some(server) => server.log_tail(),
            None => {
                let path = self.data_directory().join(LOG_FILE);
                let bytes = pg_proc::read_log_tail(&path, self.data_directory(), TAIL).ok()?;
                Some(String::from_utf8_lossy(&bytes).into_owned())
            }
        }
    }

    /// Waits for a server of this object, and returns the reason if it does not start.
    fn wait_for(&self, server: &OwnServer, deadline: Deadline) -> Result<(), StartError> {
        match server.process.wait_ready(deadline) {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind(), WaitErrorKind::Exited(_)) => {
                Err(diagnosis::of_end(self, server))
            }
            Err(error) => Err(
                StartError::new(self.data_directory(), StartErrorKind::Wait(error))
                    .with_log(server.log_tail().unwrap_or_default()),
            ),
        }
    }

    fn spawn(
        &self,
        options: &StartOptions,
        listening: &Listening,
        left: Duration,
    ) -> Result<Server, StartErrorKind> {
        let command = self
            .command(Program::Postgres)
            .map_err(StartErrorKind::MissingProgram)?
            // The server resolves relative paths against it.
            .current_dir(self.data_directory())
            .args(self.server_arguments(options))
            .envs(
                options
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            );
        let log = options
            .log
            .clone()
            .unwrap_or_else(|| match options.ownership {
                Ownership::Bound(_) => Log::Tail(TAIL),
                Ownership::Detached => Log::File(self.data_directory().join(LOG_FILE)),
            });
        let mut server_options = ServerOptions::new(self.data_directory())
            .log(log)
            .turn_timeout(left)
            .ownership(options.ownership.clone());
        let bystander = |socket| pg_proc::bystander_of_socket(&socket);
        if let Some(pid) = listening.sockets().find_map(bystander) {
            server_options = server_options.bystander(pid);
        }
        if let Some(tenancy) = &options.tenancy {
            server_options = server_options.tenancy(tenancy.clone());
        }
        command
            .spawn_server(&server_options)
            .map_err(|error| match error.kind() {
                SpawnErrorKind::Running(pid) | SpawnErrorKind::Held(pid) => {
                    StartErrorKind::Held(*pid)
                }
                _ => StartErrorKind::Spawn(error),
            })
    }

    fn server_arguments(&self, options: &StartOptions) -> Vec<String> {
        let mut arguments = vec!["-D".to_owned(), self.data_directory().to_string()];
        let mut setting = |name: &str, value: &str| {
            arguments.push("-c".to_owned());
            arguments.push(format!("{name}={value}"));
        };
        if let Some(path) = self.given_config_file() {
            setting("config_file", path.as_str());
            // A relative `data_directory` in that file would be resolved against the directory in
            // which the server is started.
            setting("data_directory", self.data_directory().as_str());
        }
        for (name, value) in &options.settings {
            setting(name, value);
        }
        arguments
    }
}

fn is_stopping(postmaster: &Postmaster) -> bool {
    postmaster.status().ok().flatten() == Some(Status::Stopping)
}

/// The plan for a server that does not become ready: it must not go on running after the error.
fn give_up() -> StopPlan {
    StopPlan::new(Signal::Fast, Duration::from_secs(2))
        .then(Signal::Immediate, Duration::from_secs(2))
        .then(Signal::Kill, Duration::from_secs(2))
}
