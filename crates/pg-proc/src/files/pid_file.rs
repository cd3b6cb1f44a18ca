//! `postmaster.pid`: the lock file of a data directory.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use camino::{Utf8Path, Utf8PathBuf};
use thiserror::Error;

use crate::fs::regular_file::{self, Unreadable};
use crate::pid::Pid;
use crate::shared_memory_id::SharedMemoryId;

/// Longest file that is read. PostgreSQL itself rewrites at most 8 KiB (`AddToDataDirLockFile`).
const LIMIT: usize = 64 * 1024;

/// The content of `postmaster.pid`, or of the lock file of a socket.
///
/// The file is a claim, not a proof. After a crash it remains, with `ready` if the server was
/// ready, and its process ID may belong to another process by then.
/// [`Postmaster::find`](crate::Postmaster::find) checks the claim.
///
/// | line | 10 and later | 9.1 to 9.6 | 9.0 and older |
/// |---|---|---|---|
/// | 1 | process, negative for a single-user backend | the same | the same |
/// | 2 | data directory | the same | the same |
/// | 3 | start time, seconds since 1970 | the same | shared memory key and id |
/// | 4 | port | the same | |
/// | 5 | first socket directory | the same | |
/// | 6 | first listen address | the same | |
/// | 7 | shared memory key and id | the same | |
/// | 8 | status | | |
///
/// A server fills the lines in while it starts, so every one from the second on can be absent for a
/// moment; a line is believed only once its newline is there. (`src/include/utils/pidfile.h`;
/// `CreateLockFile` and `AddToDataDirLockFile` in `src/backend/utils/init/miscinit.c`.)
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PidFile {
    /// The process that holds the lock.
    pub pid: Pid,
    /// The kind of server that the process is.
    pub kind: ServerKind,
    /// The data directory, as it was given to the server.
    pub data_directory: Option<Utf8PathBuf>,
    /// Seconds since 1970 when the server began to run, by the clock of that moment.
    pub start_time: Option<i64>,
    /// TCP port, and the number in the name of the socket.
    pub port: Option<u16>,
    /// First of `unix_socket_directories`; none when the server has no socket.
    pub socket_directory: Option<Utf8PathBuf>,
    /// First of `listen_addresses`, as it is written there (`*` too); none when the server does not
    /// listen on TCP.
    pub listen_address: Option<String>,
    /// The System V shared memory segment by which servers notice each other.
    pub shared_memory: Option<SharedMemoryId>,
    /// The status of the server; never present before PostgreSQL 10.
    pub status: Option<Status>,
}

/// The two kinds of process that take the lock of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[expect(
    clippy::exhaustive_enums,
    reason = "the sign of a number has two values"
)]
pub enum ServerKind {
    /// A postmaster, which takes connections.
    Postmaster,
    /// `postgres --single` or bootstrap mode: no connections, none of the signals of a postmaster.
    SingleUser,
}

/// Line 8 of `postmaster.pid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Status {
    /// Starting, or recovering after a crash.
    Starting,
    /// Accepts connections (a hot standby too).
    Ready,
    /// Up as a standby that does not accept connections.
    Standby,
    /// Shutting down.
    Stopping,
}

impl Status {
    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Standby => "standby",
            Self::Stopping => "stopping",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl PidFile {
    /// Name of the file within a data directory.
    pub const NAME: &'static str = "postmaster.pid";

    /// Reads `postmaster.pid` of a data directory; none if the file does not exist.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, is not a regular file, or has content that a server does
    /// not write: empty (a server that crashed or is only just starting), torn, overflowing.
    pub fn read(data_directory: impl AsRef<Utf8Path>) -> Result<Option<Self>, PidFileError> {
        let data_directory = data_directory.as_ref();
        Self::read_file(data_directory.join(Self::NAME))
    }

    /// Reads a lock file by its own path; none if the file does not exist.
    ///
    /// # Errors
    ///
    /// Fails as [`read`](Self::read) does.
    pub fn read_file(path: impl AsRef<Utf8Path>) -> Result<Option<Self>, PidFileError> {
        let path = path.as_ref();
        let failed = |kind| PidFileError {
            path: Some(path.to_owned()),
            kind,
        };
        match read_bytes(path) {
            Ok(None) => Ok(None),
            Ok(Some(bytes)) => Self::parse(&bytes).map(Some).map_err(|e| failed(e.kind)),
            Err(kind) => Err(failed(kind)),
        }
    }

    /// Reads the content of a lock file.
    ///
    /// ```
    /// use pg_proc::{PidFile, ServerKind, Status};
    ///
    /// let content = "4711\n/srv/pg\n1700000000\n5433\n/tmp\n\n  5433001    32769\nready   \n";
    /// let file = PidFile::parse(content.as_bytes())?;
    /// assert_eq!(file.pid.as_raw(), 4711);
    /// assert_eq!(file.kind, ServerKind::Postmaster);
    /// assert_eq!(file.port, Some(5433));
    /// assert_eq!(file.listen_address, None);
    /// assert_eq!(file.status, Some(Status::Ready));
    /// # Ok::<(), pg_proc::PidFileError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if a server does not write such content.
    pub fn parse(content: &[u8]) -> Result<Self, PidFileError> {
        parse(content).map_err(|kind| PidFileError { path: None, kind })
    }

    /// The start time of line 3; none before 9.1.
    pub fn started_at(&self) -> Option<SystemTime> {
        let seconds = u64::try_from(self.start_time?).ok()?;
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }
}

/// A lock file cannot be read, or was not written by a server.
#[derive(Debug, Error)]
#[error("failed to read {}", .path.as_ref().map_or("a lock file", |path| path.as_str()))]
pub struct PidFileError {
    pub(crate) path: Option<Utf8PathBuf>,
    #[source]
    pub(crate) kind: PidFileErrorKind,
}

impl PidFileError {
    /// The file; none if the caller passed the content.
    pub fn path(&self) -> Option<&Utf8Path> {
        self.path.as_deref()
    }

    /// The reason.
    pub const fn kind(&self) -> &PidFileErrorKind {
        &self.kind
    }
}

/// The reason why a lock file cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PidFileErrorKind {
    /// The file could not be opened or read.
    #[error("the file cannot be opened or read")]
    Read(#[source] io::Error),
    /// The path is a directory, a pipe or a device.
    #[error("the path is not a regular file")]
    NotRegular,
    /// The file is longer than any that a server writes.
    #[error("the file is longer than {LIMIT} bytes")]
    TooLong,
    /// The file is empty: the server has only just started, or crashed at that moment.
    #[error("the file is empty")]
    Empty,
    /// The first line has no line feed, so its number may be incomplete.
    #[error("the first line is incomplete")]
    Torn,
    /// A line is not what a server writes there.
    #[error("line {line} is {found:?}, not {expected}")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// The content of that line in a file that a server wrote.
        expected: &'static str,
        /// The beginning of the line.
        found: String,
    },
}

impl From<Unreadable> for PidFileErrorKind {
    fn from(problem: Unreadable) -> Self {
        match problem {
            Unreadable::Io(e) => Self::Read(e),
            Unreadable::NotRegular => Self::NotRegular,
            Unreadable::TooLong => Self::TooLong,
        }
    }
}

pub(crate) fn read_bytes(path: &Utf8Path) -> Result<Option<Vec<u8>>, PidFileErrorKind> {
    Ok(regular_file::read(path, LIMIT)?)
}

fn parse(content: &[u8]) -> Result<PidFile, PidFileErrorKind> {
    if content.len() > LIMIT {
        return Err(PidFileErrorKind::TooLong);
    }
    if content.is_empty() {
        return Err(PidFileErrorKind::Empty);
    }
    let Some(end) = content.iter().rposition(|&b| b == b'\n') else {
        return Err(PidFileErrorKind::Torn);
    };
    let lines = Lines(content[..end].split(|&b| b == b'\n').collect());

    let (pid, kind) = lines.required(1, "a process ID", |text| {
        let (digits, kind) = match text.strip_prefix('-') {
            Some(digits) => (digits, ServerKind::SingleUser),
            None => (text, ServerKind::Postmaster),
        };
        Some((digits.parse::<Pid>().ok()?, kind))
    })?;
    let mut file = PidFile {
        pid,
        kind,
        data_directory: lines.optional(2, "a path", path)?,
        start_time: None,
        port: lines.optional(4, "a port from 1 to 65535", port)?,
        socket_directory: lines.optional(5, "a path", path)?,
        listen_address: lines.optional(6, "an address", |text| Some(text.to_owned()))?,
        shared_memory: lines.optional(
            7,
            "a shared memory key and id",
            SharedMemoryId::from_line,
        )?,
        status: lines.optional(8, "a status", status)?,
    };
    match lines.optional(3, "a start time or a shared memory key and id", third_line)? {
        Some(ThirdLine::StartTime(seconds)) => file.start_time = Some(seconds),
        Some(ThirdLine::SharedMemory(id)) => file.shared_memory = Some(id),
        None => {}
    }
    Ok(file)
}

struct Lines<'a>(Vec<&'a [u8]>);

impl Lines<'_> {
    fn required<T>(
        &self,
        line: usize,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, PidFileErrorKind> {
        let bytes = self.0.get(line - 1).copied().unwrap_or_default();
        std::str::from_utf8(bytes)
            .ok()
            .filter(|text| !text.contains('\0'))
            .and_then(read)
            .ok_or_else(|| {
                let found = String::from_utf8_lossy(bytes).chars().take(60).collect();
                PidFileErrorKind::Line {
                    line,
                    expected,
                    found,
                }
            })
    }

    /// A line that is absent or empty has no value.
    fn optional<T>(
        &self,
        line: usize,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, PidFileErrorKind> {
        match self.0.get(line - 1) {
            None | Some([]) => Ok(None),
            Some(_) => self.required(line, expected, read).map(Some),
        }
    }
}

fn path(text: &str) -> Option<Utf8PathBuf> {
    Some(Utf8PathBuf::from(text))
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|&port| port > 0)
}

enum ThirdLine {
    StartTime(i64),
    SharedMemory(SharedMemoryId),
}

fn third_line(text: &str) -> Option<ThirdLine> {
    match text.parse() {
        Ok(seconds) if seconds >= 0 => Some(ThirdLine::StartTime(seconds)),
        _ => SharedMemoryId::from_line(text).map(ThirdLine::SharedMemory),
    }
}

fn status(text: &str) -> Option<Status> {
    [
        Status::Starting,
        Status::Ready,
        Status::Standby,
        Status::Stopping,
    ]
    .into_iter()
    .find(|status| status.as_str() == text.trim_end_matches(' '))
}
