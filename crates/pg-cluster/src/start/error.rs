//! Why a server did not start.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::process::ExitStatus;

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::{MajorVersion, MissingProgramError, Version};
use pg_proc::{FindError, MAX_SOCKET_PATH, Pid, SpawnError, WaitError, WaitErrorKind};

use crate::ConfigurationProblem;

/// A server did not start.
///
/// Its [`Debug`](fmt::Debug) shows the last lines of the log as they are, for those who `unwrap` it
/// in a test.
#[derive(thiserror::Error)]
#[error("failed to start the server of {data_directory}")]
pub struct StartError {
    data_directory: Utf8PathBuf,
    #[source]
    kind: StartErrorKind,
    log: String,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartErrorKind {
    /// The directory is no complete data directory.
    #[error("the directory is not initialised")]
    NotInitialized,
    /// The data directory is of another major version than the installation.
    #[error("the data directory is of PostgreSQL {data}, the server is {server}")]
    MajorVersion {
        /// By `PG_VERSION`.
        data: MajorVersion,
        /// The installation's version.
        server: Version,
    },
    /// The server refuses a data directory that others than its owner can write to, or that belongs
    /// to somebody else.
    #[error("the server refuses {path}, whose owner is user {owner} and whose mode is {mode:04o}")]
    Permissions {
        /// The directory.
        path: Utf8PathBuf,
        /// The user id of its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// A path or a file cannot be used by the account of the server.
    #[error("{path} cannot be used")]
    Unusable {
        /// The path.
        path: Utf8PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// The directory of the Unix socket does not exist, or the server cannot create a file in it.
    #[error("the socket directory {path} cannot be used")]
    SocketDirectory {
        /// The directory.
        path: Utf8PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// A setting for this start has a name that no setting can have.
    #[error("`{0}` is no name of a setting")]
    SettingName(String),
    /// The path of the Unix socket is longer than the system allows.
    #[error("the socket path {path} has {} bytes, more than {MAX_SOCKET_PATH}", .path.as_str().len())]
    SocketPathTooLong {
        /// Directory and file.
        path: Utf8PathBuf,
    },
    /// Another process holds the data directory: a server that was started at the same time, a
    /// single-user process, or a process of another user.
    #[error("process {0} holds the data directory")]
    Held(Pid),
    /// A server runs in the data directory, whose lock file was removed or replaced.
    #[error("server process {0} serves the data directory without its lock file")]
    LockFileLost(Pid),
    /// Somebody else listens on that address, a TCP address with port or the path of a Unix socket.
    #[error("the address {0} is in use")]
    AddressInUse(String),
    /// The server does not accept its configuration.
    #[error("the server rejects its configuration: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Configuration(Vec<ConfigurationProblem>),
    /// The system gave no shared memory, or that of an earlier server is still in use.
    #[error("shared memory could not be had: {0}")]
    SharedMemory(String),
    /// A file system is full.
    #[error("no space is left on the file system of {0}")]
    DiskFull(Utf8PathBuf),
    /// The server died while it recovered from a crash.
    #[error("recovery failed: {0}")]
    Recovery(String),
    /// The server ended for a reason that only its log tells, if anything does.
    #[error("the server ended{}: {message}", .status.map(|status| format!(" with {status}")).unwrap_or_default())]
    Ended {
        /// Its exit status, if it was seen.
        status: Option<ExitStatus>,
        /// The last line of its log that says more than where it comes from.
        message: String,
    },
    /// There is no server to wait for.
    #[error("there is no server")]
    NotRunning,
    /// It did not become ready in time, or ended while it was waited for.
    #[error("it did not become ready")]
    Wait(#[source] WaitError),
    /// The installation has no `postgres`.
    #[error("the installation is incomplete")]
    MissingProgram(#[source] MissingProgramError),
    /// The program could not be executed.
    #[error("the program could not be run")]
    Spawn(#[source] SpawnError),
    /// It cannot be found out whether there is a server.
    #[error("the state of the data directory cannot be found out")]
    Find(#[source] FindError),
}

impl StartError {
    pub(crate) fn new(data_directory: &Utf8Path, kind: StartErrorKind) -> Self {
        Self {
            data_directory: data_directory.to_owned(),
            kind,
            log: String::new(),
        }
    }

    pub(crate) fn with_log(self, log: String) -> Self {
        Self { log, ..self }
    }

    /// The cluster's data directory.
    pub fn data_directory(&self) -> &Utf8Path {
        &self.data_directory
    }

    /// Why the server did not start.
    pub fn kind(&self) -> &StartErrorKind {
        &self.kind
    }

    /// The end of what the server wrote to its log since this start, through its
    /// `logging_collector` too. Empty if it wrote nothing or nobody can read it.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// Whether the server only took too long.
    pub fn is_timeout(&self) -> bool {
        matches!(&self.kind, StartErrorKind::Wait(error) if matches!(error.kind, WaitErrorKind::TimedOut(_)))
    }

    /// What may help, where something is known.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match &self.kind {
            StartErrorKind::NotInitialized => "`Cluster::init` makes a data directory",
            StartErrorKind::MajorVersion { data, .. } => {
                return Some(
                    format!("use an installation of PostgreSQL {data}, or pg_upgrade").into(),
                );
            }
            StartErrorKind::Permissions { .. } => {
                "the directory has to belong to the account that the server runs as, with mode 0700 or 0750"
            }
            StartErrorKind::Unusable { .. } => {
                "under root the server runs as another account, which has to be able to enter every directory on the way: see \
                 `Cluster::account`"
            }
            StartErrorKind::SocketDirectory { .. } => {
                "`StartOptions::socket_directory` takes another place for the socket; what the server takes by itself is often open \
                 only to a distribution's own account"
            }
            StartErrorKind::SocketPathTooLong { .. } => {
                "`StartOptions::socket_directory` takes a shorter one, such as a directory in /tmp"
            }
            StartErrorKind::LockFileLost(_) => {
                "`Cluster::stop_and_wait` stops it; a server that has lost its lock file takes no new start beside it, and shuts \
                 down by itself within a minute"
            }
            StartErrorKind::AddressInUse(_) => {
                "`StartOptions::port` takes another port; without `listen_addresses` only the Unix socket is used"
            }
            StartErrorKind::SharedMemory(message) if message.contains("pre-existing") => {
                "`Cluster::kill` ends what a server that was killed has left"
            }
            StartErrorKind::Wait(_) if self.is_timeout() => {
                "`StartOptions::timeout` gives it more time"
            }
            StartErrorKind::MissingProgram(error) => return error.hint(),
            StartErrorKind::Spawn(error) => return error.hint(),
            _ => return None,
        };
        Some(hint.into())
    }
}

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
