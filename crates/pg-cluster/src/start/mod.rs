//! Starting a server.

mod diagnosis;
mod error;
mod options;
mod preconditions;

use std::sync::Arc;
use std::time::Duration;

use pg_install::Program;
use pg_proc::{
    Deadline, Log, Orphans, Ownership, Pid, Postmaster, Server, ServerOptions, SocketPath,
    SpawnErrorKind, Status, WaitErrorKind,
};

pub use self::error::{StartError, StartErrorKind};
pub use self::options::{StartOptions, StartWait};
use crate::cluster::OwnServer;
use crate::log_file::{CollectedLog, TAIL, tail_of};
use crate::state::Occupant;
use crate::{Cluster, Escalation, StopMode, listening};

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
        let _alone = self.lock_starting();
        match self
            .occupant()
            .map_err(|error| failed(StartErrorKind::Find(error)))?
        {
            Occupant::Server(postmaster) => {
                let wait = |error| failed(StartErrorKind::Wait(error));
                if postmaster.has_lost_lock_file() {
                    return Err(failed(StartErrorKind::LockFileLost(postmaster.pid())));
                }
                if !is_stopping(&postmaster) {
                    let ready = match options.wait {
                        StartWait::Ready => postmaster.wait_ready(options.deadline()).map(|_| ()),
                        StartWait::Spawned => Ok(()),
                    };
                    match ready {
                        Ok(()) => return Ok(Started::AlreadyRunning(postmaster.pid())),
                        // It had been told to stop, and had not begun to.
                        Err(error) if matches!(error.kind, WaitErrorKind::Ended(_)) => {}
                        Err(error) => return Err(wait(error)),
                    }
                }
                postmaster.wait_gone(options.deadline()).map_err(wait)?;
            }
            Occupant::SingleUser(pid) | Occupant::OtherUsers(pid) => {
                return Err(failed(StartErrorKind::Held(pid)));
            }
            Occupant::Nobody => {}
        }
        preconditions::check(self, options).map_err(failed)?;
        // Children of a killed server hold its shared memory until they notice. If they do not, the
        // server will say so.
        if let Ok(orphans) = Orphans::find(self.data_directory()) {
            let _ = orphans.wait_gone(options.timeout.min(ORPHAN_PATIENCE));
        }
        let server = Arc::new(OwnServer {
            collected_before: CollectedLog::find(self.data_directory()),
            process: self.spawn(options).map_err(failed)?,
            options: options.clone(),
        });
        let pid = server.process.pid();
        self.set_server(Some(Arc::clone(&server)));
        if options.wait == StartWait::Ready {
            let waited = self.wait_for(&server, options.deadline());
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
            return self.wait_for(&server, deadline);
        }
        match self
            .occupant()
            .map_err(|error| failed(StartErrorKind::Find(error)))?
        {
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
            Err(error) if matches!(error.kind, WaitErrorKind::Ended(_)) => {
                Err(diagnosis::of_end(self, server))
            }
            Err(error) => Err(
                StartError::new(self.data_directory(), StartErrorKind::Wait(error))
                    .with_log(server.log_tail().unwrap_or_default()),
            ),
        }
    }

    fn spawn(&self, options: &StartOptions) -> Result<Server, StartErrorKind> {
        let mut command = self
            .command_in_any_language(Program::Postgres)
            .map_err(StartErrorKind::MissingProgram)?
            // What the server takes relative paths against.
            .current_dir(self.data_directory())
            .args(self.server_arguments(options));
        for (name, value) in &options.environment {
            command = command.env(name, value);
        }
        let log = options
            .log
            .clone()
            .unwrap_or_else(|| match options.ownership {
                Ownership::Bound(_) => Log::Tail(TAIL),
                Ownership::Detached => Log::File(self.data_directory().join(LOG_FILE)),
            });
        let mut server_options = ServerOptions::new(self.data_directory())
            .log(log)
            .ownership(options.ownership.clone());
        let listening = listening::before_start(self, options);
        for directory in &listening.socket_directories {
            if let Ok(socket) = SocketPath::new(directory, listening.port) {
                server_options = server_options.socket(socket);
            }
        }
        if let Some(tenancy) = &options.tenancy {
            server_options = server_options.tenancy(tenancy.clone());
        }
        command
            .spawn_server(&server_options)
            .map_err(|error| match error.kind {
                SpawnErrorKind::Running(pid) | SpawnErrorKind::Held(pid) => {
                    StartErrorKind::Held(pid)
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
