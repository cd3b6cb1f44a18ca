//! The error of a start.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::{MajorVersion, MissingProgramError, Version};
use pg_proc::{
    AccountError, ConfigurationProblem, FindError, Pid, ServerMessage, Severity, SocketPathError,
    SpawnError, TakenAddress, WaitError, WaitErrorKind,
};

use crate::control_error::ControlError;
use crate::parts;

/// A server did not start.
///
/// Its [`Debug`](fmt::Debug) output, which `unwrap` prints in a test, ends with the last lines of
/// the log.
#[derive(thiserror::Error)]
#[error("failed to start the server of {data_directory}")]
pub struct StartError {
    data_directory: Utf8PathBuf,
    #[source]
    kind: StartErrorKind,
    log: String,
    /// The destination of the server's messages, if they cannot be read.
    log_destination: Option<String>,
}

/// The reason of a [`StartError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartErrorKind {
    /// The directory is not a data directory.
    #[error("the directory is not initialized")]
    NotInitialized,
    /// Parts of the data directory are missing: files, directories, and the configuration file.
    #[error("the data directory lacks {}", .0.join(", "))]
    Incomplete(Vec<String>),
    /// The server cannot be run as the account of the cluster.
    #[error("the server cannot be run as another account")]
    Account(#[source] AccountError),
    /// Another thread of this program was starting the server for the whole time.
    #[error("another thread was starting the server for {0:.1?}")]
    Busy(Duration),
    /// The server is running and stopped by a signal (SIGSTOP) or a debugger, or frozen.
    #[error("server process {0} is stopped by a signal or frozen")]
    Suspended(Pid),
    /// The data directory and the installation have different major versions.
    #[error("the data directory has version {data} of PostgreSQL, and the server has {server}")]
    MajorVersion {
        /// The version in `PG_VERSION`.
        data: MajorVersion,
        /// The installation's version.
        server: Version,
    },
    /// The data directory gives access to other accounts than its owner, or it belongs to another
    /// account. The server refuses such a directory.
    #[error("the server refuses {path}, whose owner is user {owner} and whose mode is {mode:04o}")]
    Permissions {
        /// The directory.
        path: Utf8PathBuf,
        /// The user ID of its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// A path or a file cannot be used by the account of the server.
    #[error("{path} cannot be used")]
    Unusable {
        /// The path.
        path: Utf8PathBuf,
        /// The error of the system.
        #[source]
        cause: io::Error,
    },
    /// The directory of the Unix socket does not exist, or the server cannot create a file in it.
    #[error("the socket directory {path} cannot be used")]
    SocketDirectory {
        /// The directory.
        path: Utf8PathBuf,
        /// The error of the system.
        #[source]
        cause: io::Error,
    },
    /// A setting for this start has a name that no setting can have.
    #[error("`{0}` is not the name of a setting")]
    SettingName(String),
    /// The path of the Unix socket is longer than the system allows.
    #[error(transparent)]
    SocketPath(SocketPathError),
    /// Another process holds the data directory: a server that was started at the same time, a
    /// single-user process, or a process of another user.
    #[error("process {0} holds the data directory")]
    Held(Pid),
    /// A server runs in the data directory, whose lock file was removed or replaced.
    #[error("server process {0} serves the data directory without its lock file")]
    LockFileLost(Pid),
    /// Another process listens on that address.
    #[error("the address {0} is in use")]
    AddressInUse(TakenAddress),
    /// The lock file of a socket names a process that is not the server of that socket.
    #[error(
        "the lock file {path} was left by a server that has exited, and process {pid} has its PID \
         now"
    )]
    StaleSocketLock {
        /// The lock file.
        path: Utf8PathBuf,
        /// The process that the lock file names.
        pid: Pid,
    },
    /// A host name in `listen_addresses` cannot be resolved.
    #[error("the host name `{host}` in listen_addresses cannot be resolved")]
    Unresolved {
        /// The name.
        host: String,
        /// The error of the resolver.
        #[source]
        cause: io::Error,
    },
    /// The server does not accept its configuration.
    #[error("the server rejects its configuration: {}", list(.0))]
    Configuration(Vec<ConfigurationProblem>),
    /// Shared memory could not be allocated, or the shared memory of an earlier server is still in
    /// use.
    #[error("shared memory cannot be used: {0}")]
    SharedMemory(ServerMessage),
    /// A file system is full.
    #[error("no space is left on the file system of {0}")]
    DiskFull(Utf8PathBuf),
    /// The server failed to recover from a crash.
    #[error("recovery failed: {0}")]
    Recovery(ServerMessage),
    /// Recovery reached its target, and `recovery_target_action` is `shutdown`.
    #[error("the server reached its recovery target and shut down, as recovery_target_action says")]
    RecoveryTarget,
    /// The server exited for another reason.
    #[error(
        "the server exited{}: {}",
        .status.map(|status| format!(" with {status}")).unwrap_or_default(),
        .message.as_ref().map_or("it wrote nothing to its log".to_owned(), ToString::to_string)
    )]
    Ended {
        /// Its exit status, if it is known.
        status: Option<ExitStatus>,
        /// The gravest message in its log, or the last one; none if the log is empty.
        message: Option<ServerMessage>,
    },
    /// The server that runs could not be stopped for a [restart](crate::Cluster::restart).
    #[error("the running server did not stop")]
    Stop(#[source] ControlError),
    /// No server is running that could be waited for.
    #[error("no server is running")]
    NotRunning,
    /// The server did not become ready in time, or exited.
    #[error("the server did not become ready")]
    Wait(#[source] WaitError),
    /// The installation has no `postgres`.
    #[error("the installation is incomplete")]
    MissingProgram(#[source] MissingProgramError),
    /// The program could not be executed.
    #[error("the program could not be run")]
    Spawn(#[source] SpawnError),
    /// It cannot be determined whether a server is running.
    #[error("the state of the data directory cannot be determined")]
    Find(#[source] FindError),
}

impl StartError {
    pub(crate) fn new(data_directory: &Utf8Path, kind: StartErrorKind) -> Self {
        Self {
            data_directory: data_directory.to_owned(),
            kind,
            log: String::new(),
            log_destination: None,
        }
    }

    pub(crate) fn with_log(self, log: String) -> Self {
        Self { log, ..self }
    }

    pub(crate) fn with_log_destination(self, log_destination: Option<String>) -> Self {
        Self {
            log_destination,
            ..self
        }
    }

    /// The cluster's data directory.
    pub fn data_directory(&self) -> &Utf8Path {
        &self.data_directory
    }

    /// The reason.
    pub fn kind(&self) -> &StartErrorKind {
        &self.kind
    }

    /// The end of the log since this start, including what the `logging_collector` has written.
    /// Empty if the server wrote nothing or its log cannot be read.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// Returns whether the server took too long to become ready.
    pub fn is_timeout(&self) -> bool {
        let StartErrorKind::Wait(error) = &self.kind else {
            return false;
        };
        matches!(error.kind(), WaitErrorKind::TimedOut(_))
    }

    /// Advice, if there is any: from this library and from the server's own `HINT`.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match (self.advice(), self.server_hint()) {
            (Some(advice), Some(hint)) => Some(format!("{advice}; the server says: {hint}").into()),
            (Some(hint), None) | (None, Some(hint)) => Some(hint),
            (None, None) => None,
        }
    }

    fn server_hint(&self) -> Option<Cow<'_, str>> {
        let message = match &self.kind {
            StartErrorKind::Configuration(problems) => {
                return ConfigurationProblem::hints(problems).map(Cow::Owned);
            }
            StartErrorKind::SharedMemory(message) | StartErrorKind::Recovery(message) => message,
            StartErrorKind::Ended { message, .. } => message.as_ref()?,
            _ => return None,
        };
        message.hint.as_deref().map(Cow::Borrowed)
    }

    fn advice(&self) -> Option<Cow<'_, str>> {
        let hint = match &self.kind {
            StartErrorKind::Incomplete(missing) => parts::advice(missing),
            StartErrorKind::Account(error) => return error.hint(),
            StartErrorKind::Busy(_) => "`StartOptions::timeout` limits this wait",
            StartErrorKind::Suspended(_) => {
                "SIGCONT resumes the process (`kill -CONT`, `docker unpause`); `Cluster::kill` \
                 kills it"
            }
            StartErrorKind::StaleSocketLock { path, .. } => {
                let socket = path.as_str().trim_end_matches(".lock");
                return Some(format!("remove {socket} and {path}").into());
            }
            StartErrorKind::Unresolved { .. } => {
                "add the name to `/etc/hosts`, or give `StartOptions::listen_addresses` a numeric \
                 address such as 127.0.0.1"
            }
            StartErrorKind::RecoveryTarget => {
                "`recovery_target_action = 'promote'` or `'pause'` keeps the server running; to \
                 start without recovery, remove `recovery.signal` (`recovery.conf` up to \
                 PostgreSQL 11)"
            }
            StartErrorKind::Configuration(problems) => return configuration_advice(problems),
            StartErrorKind::SharedMemory(message) if message.contains("/PostgreSQL.") => {
                "make `/dev/shm` larger (`docker run --shm-size`), or use \
                 `dynamic_shared_memory_type = mmap`"
            }
            StartErrorKind::SharedMemory(message) if message.contains("shmget(") => {
                "the System V limits are reached, and no disk is full: `ipcs -m` lists segments, \
                 `ipcrm` removes those of processes that have exited, `sysctl kernel.shmmni \
                 kernel.shmall` shows the limits"
            }
            StartErrorKind::Ended { message, .. }
                if self.log_destination.is_some() && !message.as_ref().is_some_and(is_grave) =>
            {
                let destination = self.log_destination.as_deref().unwrap_or_default();
                return Some(format!("the server's messages go to {destination}").into());
            }
            StartErrorKind::NotInitialized => "`Cluster::init` creates a data directory",
            StartErrorKind::MajorVersion { data, .. } => {
                return Some(
                    format!("use an installation of PostgreSQL {data}, or pg_upgrade").into(),
                );
            }
            StartErrorKind::Permissions { .. } => {
                "the directory has to belong to the account that the server runs as, with mode \
                 0700 or 0750; mount a file system without owners and modes (vfat, drvfs, CIFS) \
                 with `uid=` and `umask=077`"
            }
            StartErrorKind::Unusable { .. } => {
                "under root the server runs as another account, which needs access to every \
                 directory of the path: see `Cluster::account`"
            }
            StartErrorKind::SocketDirectory { .. } => {
                "choose another one with `StartOptions::socket_directory`; often only the account \
                 of a distribution may use the default of the server"
            }
            StartErrorKind::SocketPath(_) => {
                "choose a shorter one with `StartOptions::socket_directory`, such as a directory \
                 in /tmp"
            }
            StartErrorKind::LockFileLost(_) => {
                "`Cluster::stop` stops it; a server that has lost its lock file shuts down by \
                 itself within a minute"
            }
            StartErrorKind::AddressInUse(_) => {
                "choose another port with `StartOptions::port`, or use only a Unix socket with \
                 `StartOptions::socket_only`"
            }
            StartErrorKind::SharedMemory(message) if message.contains(PRE_EXISTING) => {
                "`Cluster::kill` kills the child processes left behind by a crashed postmaster"
            }
            StartErrorKind::Wait(_) if self.is_timeout() => {
                "`StartOptions::timeout` gives the server more time"
            }
            StartErrorKind::Stop(error) => return error.hint(),
            StartErrorKind::MissingProgram(error) => return error.hint(),
            StartErrorKind::Spawn(error) => return error.hint(),
            _ => return None,
        };
        Some(hint.into())
    }
}

/// The server's words for shared memory that processes of an earlier server still use
/// (`CreateLockFile` and `CreateSharedMemoryAndSemaphores`).
pub(crate) const PRE_EXISTING: &str = "pre-existing shared memory block";

/// All problems on one line.
pub(crate) fn list(problems: &[ConfigurationProblem]) -> String {
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

fn is_grave(message: &ServerMessage) -> bool {
    message.severity >= Some(Severity::Error)
}

fn configuration_advice(problems: &[ConfigurationProblem]) -> Option<Cow<'static, str>> {
    let says = |words: &str| {
        problems
            .iter()
            .any(|problem| problem.message.contains(words))
    };
    let advice = if says(LIBRARIES) {
        "install the package with the library for this major version, or remove it from the list"
    } else if says("unix_socket_group") {
        "the group has to exist, and the account of the server has to be one of its members"
    } else if says("stats_temp_directory") {
        "create the directory for the account of the server, or remove the setting: its default is \
         in the data directory"
    } else if (says("\"TimeZone\"") || says("\"log_timezone\"") || says("time zone"))
        && !Utf8Path::new("/usr/share/zoneinfo/UTC").exists()
    {
        "this machine has no time zone database: install the package `tzdata`"
    } else if problems.iter().any(is_missing_file) {
        "restore the file; `initdb` creates one in every data directory"
    } else {
        return None;
    };
    Some(advice.into())
}

fn is_missing_file(problem: &ConfigurationProblem) -> bool {
    problem.message == MISSING_FILE
}

/// The setting that lists the libraries that a server loads at its start.
pub(crate) const LIBRARIES: &str = "shared_preload_libraries";
/// The problem of a missing `pg_hba.conf`.
pub(crate) const MISSING_FILE: &str = "the file is missing";

impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LINES: usize = 20;
        let lines: Vec<&str> = self.log.lines().collect();
        let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
        f.debug_struct("StartError")
            .field("data_directory", &self.data_directory)
            .field("kind", &self.kind)
            .field("log", &format_args!("\n{last}\n"))
            .finish()
    }
}
