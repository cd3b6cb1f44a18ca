//! Ending a server.

mod escalation;

use std::borrow::Cow;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::{
    Deadline, FindError, Orphans, Pid, Postmaster, SignalError, WaitError, WaitErrorKind,
};

pub use self::escalation::{Escalation, StopMode};
use crate::Cluster;
use crate::state::{AnyPostmaster, Occupant};

/// What [`Cluster::stop_and_wait`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stopped {
    /// There was no server.
    NotRunning,
    /// The server is gone.
    By {
        /// The step after which it went: the gentlest that was enough.
        mode: StopMode,
        /// Its process number.
        pid: Pid,
        /// The time from the first step until it was gone.
        took: Duration,
    },
}

impl Cluster {
    /// Asks the server to stop once its clients have disconnected: SIGTERM, a smart shutdown.
    /// Returns at once, with the PID of the server that was asked; none if there is no server.
    ///
    /// # Errors
    ///
    /// If the server cannot be found out about or may not be signalled.
    ///
    /// # Races
    ///
    /// The signal reaches the identified server or nobody: see [`Postmaster`](pg_proc::Postmaster).
    /// It takes a moment to act: who calls [`start`](Self::start) next may be told that the server
    /// is running already. [`stop_and_wait`](Self::stop_and_wait) leaves no doubt.
    pub fn stop(&self) -> Result<Option<Pid>, StopError> {
        self.ask(StopMode::Smart)
    }

    /// Asks the server to disconnect its clients and stop: SIGINT, a fast shutdown. Returns at
    /// once.
    ///
    /// # Errors
    ///
    /// As [`stop`](Self::stop).
    pub fn shutdown(&self) -> Result<Option<Pid>, StopError> {
        self.ask(StopMode::Fast)
    }

    /// Asks the server to leave without a checkpoint: SIGQUIT, an immediate shutdown. Returns at
    /// once. The next start recovers.
    ///
    /// # Errors
    ///
    /// As [`stop`](Self::stop).
    pub fn quit(&self) -> Result<Option<Pid>, StopError> {
        self.ask(StopMode::Immediate)
    }

    /// Kills the postmaster and all its children with SIGKILL, waits until they are gone, and
    /// releases the shared memory that they leave. The next start recovers, and can follow at once.
    ///
    /// # Errors
    ///
    /// As [`stop`](Self::stop), or if something of the server is still there after ten seconds.
    pub fn kill(&self) -> Result<Option<Pid>, StopError> {
        let kill = Escalation::new(StopMode::Kill, Duration::from_secs(10));
        Ok(match self.stop_and_wait(&kill)? {
            Stopped::NotRunning => None,
            Stopped::By { pid, .. } => Some(pid),
        })
    }

    /// Stops the server, step by step harder, and waits until nothing of it is left. Children of a
    /// postmaster that has crashed are killed, whatever the steps are: without it they can do
    /// nothing in good order.
    ///
    /// # Errors
    ///
    /// As [`stop`](Self::stop); or a timeout, if the last step's patience ended before the server
    /// did.
    pub fn stop_and_wait(&self, escalation: &Escalation) -> Result<Stopped, StopError> {
        let failed = |kind| StopError::new(self.data_directory(), kind);
        let Some(postmaster) = self.to_be_stopped()? else {
            self.end_orphans(|orphans| orphans.kill(escalation.duration()))?;
            if escalation
                .steps()
                .iter()
                .any(|&(mode, _)| mode == StopMode::Kill)
            {
                release(self.data_directory());
            }
            return Ok(Stopped::NotRunning);
        };
        let (pid, begun) = (postmaster.pid(), Instant::now());
        for &(mode, patience) in escalation.steps() {
            let deadline = Deadline::after(patience);
            let gone = if mode == StopMode::Kill {
                postmaster.kill(deadline)
            } else {
                match postmaster.send(mode.signal()) {
                    Err(error) if !error.is_gone() => {
                        return Err(failed(StopErrorKind::Signal(error)));
                    }
                    _ => postmaster.wait_gone(deadline),
                }
            };
            match gone {
                Ok(()) => {
                    self.wait_for_last_words(pid);
                    if mode == StopMode::Kill {
                        release(self.data_directory());
                    }
                    return Ok(Stopped::By {
                        mode,
                        pid,
                        took: begun.elapsed(),
                    });
                }
                Err(error) if matches!(error.kind(), WaitErrorKind::TimedOut(_)) => {}
                Err(error) => return Err(failed(StopErrorKind::Kill(error))),
            }
        }
        Err(failed(of_timeout(&postmaster, begun.elapsed())))
    }

    /// Waits until there is no server, nor anything left of one.
    ///
    /// # Errors
    ///
    /// A timeout; or the server cannot be found out about.
    pub fn wait_until_stopped(&self, timeout: Duration) -> Result<(), StopError> {
        let failed = |kind| StopError::new(self.data_directory(), kind);
        let begun = Instant::now();
        if let Some(postmaster) = self.to_be_stopped()? {
            let pid = postmaster.pid();
            postmaster
                .wait_gone(Deadline::after(timeout))
                .map_err(|_| failed(of_timeout(&postmaster, begun.elapsed())))?;
            self.wait_for_last_words(pid);
            return Ok(());
        }
        self.end_orphans(|orphans| orphans.wait_gone(timeout))
    }

    /// A postmaster that crashed, or was killed, has left its children behind. Where there is no
    /// directory, there are none.
    fn end_orphans(
        &self,
        end: impl FnOnce(Orphans) -> Result<(), WaitError>,
    ) -> Result<(), StopError> {
        let Ok(orphans) = Orphans::find(self.data_directory()) else {
            return Ok(());
        };
        end(orphans).map_err(|error| {
            let kind = match error.kind() {
                WaitErrorKind::TimedOut(_) => StopErrorKind::Timeout {
                    pid: error.pid(),
                    waited: error.waited(),
                    holders: Vec::new(),
                },
                _ => StopErrorKind::Kill(error),
            };
            StopError::new(self.data_directory(), kind)
        })
    }

    /// The log collector outlives its postmaster for a moment. Of a server that somebody else has
    /// started nobody tells when it is gone.
    fn wait_for_last_words(&self, pid: Pid) {
        if let Some(own) = self.server().filter(|own| own.process.pid() == pid) {
            let _ = own.process.wait_gone(LAST_WORDS);
        }
    }

    fn ask(&self, mode: StopMode) -> Result<Option<Pid>, StopError> {
        let failed = |kind| StopError::new(self.data_directory(), kind);
        let Some(postmaster) = self.to_be_stopped()? else {
            return Ok(None);
        };
        match postmaster.send(mode.signal()) {
            Ok(()) => Ok(Some(postmaster.pid())),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(failed(StopErrorKind::Signal(error))),
        }
    }
}

/// More than a log collector is given.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a killed server leaves in shared memory. The next start would release it as well, but there
/// may be none.
fn release(data_directory: &Utf8Path) {
    // It may have ended in good order before it was killed, or another one may have been started.
    let _ = pg_proc::release_shared_memory(data_directory);
    let _ = pg_proc::remove_dead_socket(data_directory);
}

/// Why a server did not stop in time.
fn of_timeout(postmaster: &Postmaster, waited: Duration) -> StopErrorKind {
    if postmaster.is_suspended() {
        return StopErrorKind::Suspended(postmaster.pid());
    }
    // These end when they are told to (`PostmasterStateMachine` in
    // src/backend/postmaster/postmaster.c).
    const OBEDIENT: [&str; 9] = [
        "background writer",
        "bgwriter",
        "writer process",
        "walwriter",
        "wal writer",
        "autovacuum launcher",
        "stats collector",
        "logger",
        "launcher",
    ];
    let mut holders = postmaster.child_titles();
    holders.retain(|(_, title)| !OBEDIENT.iter().any(|name| title.contains(name)));
    StopErrorKind::Timeout {
        pid: postmaster.pid(),
        waited,
        holders,
    }
}

fn held_by(holders: &[(Pid, String)]) -> String {
    let names: Vec<String> = holders
        .iter()
        .map(|(pid, title)| format!("process {pid} (`{title}`)"))
        .collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(", waiting for {}", names.join(", ")),
    }
}

impl Cluster {
    /// The server; an error if somebody else holds the directory whom no signal of ours would end
    /// in good order.
    fn to_be_stopped(&self) -> Result<Option<AnyPostmaster>, StopError> {
        let failed = |kind| StopError::new(self.data_directory(), kind);
        match self.occupant() {
            Ok(Occupant::Nobody) => Ok(None),
            Ok(Occupant::Server(postmaster)) => Ok(Some(postmaster)),
            Ok(Occupant::SingleUser(pid) | Occupant::OtherUsers(pid)) => {
                Err(failed(StopErrorKind::Held(pid)))
            }
            Err(error) => Err(failed(StopErrorKind::Find(error))),
        }
    }
}

/// A server could not be stopped.
#[derive(Debug, thiserror::Error)]
#[error("failed to stop the server of {data_directory}")]
pub struct StopError {
    data_directory: Utf8PathBuf,
    #[source]
    kind: StopErrorKind,
}

/// Why a server could not be stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StopErrorKind {
    /// It cannot be found out whether there is one.
    #[error("it cannot be found out about")]
    Find(#[source] FindError),
    /// A single-user process, or a process of another user, holds the directory. It was not
    /// touched.
    #[error("process {0} holds the data directory and is no server that could be stopped")]
    Held(Pid),
    /// It cannot be signalled.
    #[error("it cannot be signalled")]
    Signal(#[source] SignalError),
    /// It or its children could not be killed.
    #[error("it cannot be killed")]
    Kill(#[source] WaitError),
    /// It is still there.
    #[error("process {pid} is still there after {waited:.1?}{}", held_by(.holders))]
    Timeout {
        /// The server, or a child of one that has crashed.
        pid: Pid,
        /// How long it was waited for.
        waited: Duration,
        /// The processes that a shutdown waits for, with their titles: clients, senders of the
        /// write-ahead log, the archiver. Known on Linux only.
        holders: Vec<(Pid, String)>,
    },
    /// It is still there, and stopped by a signal (SIGSTOP) or a debugger: it obeys none of the
    /// signals for a shutdown.
    #[error("process {0} is stopped by a signal")]
    Suspended(Pid),
}

impl StopError {
    pub(crate) fn new(data_directory: &Utf8Path, kind: StopErrorKind) -> Self {
        Self {
            data_directory: data_directory.to_owned(),
            kind,
        }
    }

    /// The cluster's data directory.
    pub fn data_directory(&self) -> &Utf8Path {
        &self.data_directory
    }

    /// What went wrong.
    pub fn kind(&self) -> &StopErrorKind {
        &self.kind
    }

    /// Whether the server only took too long.
    pub fn is_timeout(&self) -> bool {
        matches!(
            self.kind,
            StopErrorKind::Timeout { .. } | StopErrorKind::Suspended(_)
        )
    }

    /// What may help, where something is known.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match &self.kind {
            StopErrorKind::Held(_) => {
                "stop that process as its own user, or end it if it is `postgres --single`"
            }
            StopErrorKind::Signal(error) => return error.hint(),
            StopErrorKind::Suspended(_) => {
                "SIGCONT lets it go on (`kill -CONT`, `docker unpause`), and it obeys the signals then; `Cluster::kill` ends it"
            }
            StopErrorKind::Timeout { .. } => {
                "`Escalation::escalating` ends in a stop that no client can delay"
            }
            StopErrorKind::Find(_) | StopErrorKind::Kill(_) => return None,
        };
        Some(hint.into())
    }
}
