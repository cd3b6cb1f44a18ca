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
    Deadline, Found, Log, Orphans, Ownership, Pid, Postmaster, Server, ServerOptions, SocketPath,
    SpawnErrorKind, Status, WaitErrorKind,
};

pub use self::error::{StartError, StartErrorKind, TakenAddress};
pub use self::options::{StartOptions, StartWait};
pub(crate) use self::turn::{Taken, Turn};
use crate::cluster::OwnServer;
use crate::listening::Listening;
use crate::log_file::{CollectedLog, TAIL, tail_of};
use crate::state::Occupant;
use crate::{Cluster, Escalation, StopMode};

/// What [`Cluster::start`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Started {
    /// It started this server.
    Now(Pid),
    /// Nothing: this server was running already, with whatever settings it has.
    AlreadyRunning(Pid),
}

impl Started {
    /// The process number of the server.
    pub fn pid(self) -> Pid {
        match self {
            Self::Now(pid) | Self::AlreadyRunning(pid) => pid,
        }
    }
}

/// How long a start waits for the children of a server that was killed.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(10);
/// The log of a detached server in its data directory, where the caller does not say.
const LOG_FILE: &str = "server.log";

impl Cluster {
    /// Starts the server, and waits until it is ready unless the options say otherwise. If there is
    /// a server already, whoever started it, nothing is started. One that is shutting down is
    /// waited for, and followed by a new one.
    ///
    /// What can be known beforehand is checked beforehand: that the directory is a cluster of this
    /// major version which the account may use, and that the socket's path is not too long.
    ///
    /// # Errors
    ///
    /// [`StartError`] with the reason as far as it can be told, and the log of this start. No
    /// server of this start is left then: one that does not become ready in time is stopped. One
    /// that was running before, and does not become ready, is left alone.
    ///
    /// # Races
    ///
    /// If several start the same cluster at once, one succeeds, and the others are told that it
    /// [holds the directory](StartErrorKind::Held) or that it [was running already](Started::AlreadyRunning).
    ///
    /// # Cleanup
    ///
    /// See [`Cluster`] for what becomes of the server when its owner ends.
    pub fn start(&self, options: &StartOptions) -> Result<Started, StartError> {
        let failed = |kind| StartError::new(self.data_directory(), kind);
        let begun = Instant::now();
        let Some(_alone) = self.lock_starting(options.timeout) else {
            return Err(failed(StartErrorKind::Busy(options.timeout)));
        };
        // What another thread has taken of the time is gone.
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
                        // It had been told to stop, and had not begun to.
                        Err(error) if matches!(error.kind(), WaitErrorKind::Exited(_)) => {}
                        Err(error) => return Err(wait(error)),
                    }
                }
                postmaster.wait_gone(deadline()).map_err(wait)?;
            }
            Occupant::SingleUser(pid) | Occupant::OtherUsers(pid) => {
                return Err(failed(StartErrorKind::Held(pid)));
            }
            Occupant::Nobody => {}
        }
        let listening = preconditions::check(self, options).map_err(failed)?;
        // Children of a killed server hold its shared memory until they notice. If they do not, the
        // server will say so.
        if let Ok(orphans) = Orphans::find(self.data_directory()) {
            let _ = orphans.wait_gone(left.min(ORPHAN_PATIENCE));
        }
        let server = Arc::new(OwnServer {
            collected_before: CollectedLog::find(self.data_directory()),
            process: self.spawn(options, &listening, left).map_err(failed)?,
            options: options.clone(),
        });
        let pid = server.process.pid();
        self.set_server(Some(Arc::clone(&server)));
        if options.wait == StartWait::Ready {
            let waited = self.wait_for(&server, deadline());
            if waited.is_err() {
                give_up(&server.process);
            }
            waited?;
        }
        Ok(Started::Now(pid))
    }

    /// Waits until the server, whoever started it, accepts connections, or is a
    /// [standby](crate::State::Standby) that never will.
    ///
    /// # Errors
    ///
    /// At once if there is no server, or somebody else holds the directory; as soon as it ends
    /// while it is waited for, with the reason as far as it can be told, also if it had ended
    /// before; a timeout, which leaves the server alone. The time that recovery takes is counted.
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
            Occupant::SingleUser(pid) | Occupant::OtherUsers(pid) => {
                Err(failed(StartErrorKind::Held(pid)))
            }
            Occupant::Nobody => {
                let has_failed = self.exit_status().is_some_and(|status| !status.success());
                Err(match self.server().filter(|_| has_failed) {
                    Some(server) => diagnosis::of_end(self, &server),
                    None => failed(StartErrorKind::NotRunning),
                })
            }
        }
    }

    /// The exit status of the server that this object has started last; none while it runs, and
    /// none if this object started none.
    pub fn exit_status(&self) -> Option<std::process::ExitStatus> {
        let server = self.server()?;
        if !server.process.postmaster().is_alive() {
            // Its end is seen a moment before its status.
            let _ = server.process.wait_gone(Duration::from_secs(1));
        }
        server.process.exit_status()
    }

    /// The end of the server's log, at most 64 KiB: of what the server that this object has started
    /// last has written, through its `logging_collector` too, or, if it has started none, of
    /// `server.log` in the data directory, where
    /// [detached](Ownership::Detached) servers write. None if there is no such log, or it goes where it cannot be read.
    pub fn log_tail(&self) -> Option<String> {
        match self.server() {
            Some(server) => server.log_tail(),
            None => tail_of(&self.data_directory().join(LOG_FILE)),
        }
    }

    /// Waits for a server of ours, and says why it has not started.
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
            // What the server takes relative paths against.
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
        if let Some(pid) = bystander_of_socket(listening) {
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
            // A relative `data_directory` in that file would be taken against wherever the server
            // is started.
            setting("data_directory", self.data_directory().as_str());
        }
        for (name, value) in &options.settings {
            setting(name, value);
        }
        arguments
    }
}

/// A process that the lock file of a socket names, which is not the server that left it: that
/// server's data directory is held by nobody, and nobody listens.
fn bystander_of_socket(listening: &Listening) -> Option<Pid> {
    let mut sockets = listening
        .socket_directories
        .iter()
        .filter_map(|directory| SocketPath::new(directory, listening.port).ok());
    sockets.find_map(|socket| {
        let lock = socket.read_lock().ok().flatten()?;
        let found = Postmaster::find(lock.data_directory.as_ref()?).ok()?;
        let is_left_over =
            matches!(found, Found::Nothing | Found::Stale(_)) && !diagnosis::is_served(socket);
        is_left_over.then_some(lock.pid)
    })
}

fn is_stopping(postmaster: &Postmaster) -> bool {
    postmaster.status().ok().flatten() == Some(Status::Stopping)
}

/// A server that could not be waited for must not go on behind the caller's back.
fn give_up(server: &Server) {
    let plan = Escalation::new(StopMode::Fast, Duration::from_secs(2))
        .then(StopMode::Immediate, Duration::from_secs(2))
        .then(StopMode::Kill, Duration::from_secs(2));
    for &(mode, patience) in plan.steps() {
        if server.exit_status().is_some() {
            return;
        }
        let _ = server.send(mode.signal());
        let _ = server.wait_gone(patience);
    }
}
