//! Following the log of a server: places in it, what was written since, waiting for a message.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
#[cfg(doc)]
use pg_proc::Log;
use pg_proc::{CollectedLog, Deadline, ServerMessage};

use crate::cluster::{Cluster, OwnServer};

/// The number of bytes of a log that are read at a time.
const STEP: usize = 256 << 10;

/// A place in the log of a server that this process has started, from [`Cluster::log_mark`]. The
/// default is the beginning of the log.
///
/// A mark belongs to one start of the server. In the log of a later start it means the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogMark {
    /// The start that the mark belongs to; none for the beginning of any.
    start: Option<StartNumber>,
    position: u64,
}

impl LogMark {
    /// The beginning of the log.
    pub const fn beginning() -> Self {
        Self {
            start: None,
            position: 0,
        }
    }
}

/// Distinguishes the servers that this process has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StartNumber(u64);

impl StartNumber {
    pub(crate) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed))
    }
}

/// The output of a server in its log since a [mark](LogMark).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogExcerpt {
    /// The text. Bytes that are not UTF-8 are replaced.
    pub text: String,
    /// The number of bytes that were dropped from memory before they could be read: see
    /// [`Log::Tail`].
    pub missed: u64,
    /// The end of the text, for the next excerpt.
    pub end: LogMark,
}

/// The log of a server cannot be read, or a message did not come.
#[derive(Debug, thiserror::Error)]
#[error("failed to follow the log of the server of {data_directory}")]
pub struct LogError {
    data_directory: Utf8PathBuf,
    #[source]
    kind: LogErrorKind,
}

/// The reason of a [`LogError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogErrorKind {
    /// This object has not started a server.
    #[error("this object has not started a server")]
    NotStarted,
    /// The log is [inherited](Log::Inherit) or [discarded](Log::Null).
    #[error("the log is not kept")]
    NotKept,
    /// The server has a log collector, which writes to this file.
    #[error("the log collector of the server writes to {0}")]
    Collected(Utf8PathBuf),
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Read(#[source] io::Error),
    /// No message matched within the time.
    #[error(
        "none of {examined} messages matched within {waited:.1?}{}",
        missed_too(*.missed)
    )]
    TimedOut {
        /// The time that was waited.
        waited: Duration,
        /// The number of messages that were examined.
        examined: usize,
        /// The number of bytes that were dropped from memory before they could be examined.
        missed: u64,
    },
    /// The server has exited, and no message matched.
    #[error("the server has exited, and none of its {examined} messages matched")]
    Exited {
        /// The number of messages that were examined.
        examined: usize,
    },
}

fn missed_too(missed: u64) -> String {
    match missed {
        0 => String::new(),
        missed => format!(", and {missed} bytes of the log were dropped from memory"),
    }
}

impl LogError {
    /// The data directory.
    pub fn data_directory(&self) -> &Utf8Path {
        &self.data_directory
    }

    /// The reason.
    pub fn kind(&self) -> &LogErrorKind {
        &self.kind
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match &self.kind {
            LogErrorKind::NotKept => Some("start the server with Log::Tail or Log::File".into()),
            LogErrorKind::Collected(_) => Some("set logging_collector to off".into()),
            LogErrorKind::TimedOut { missed: 1.., .. } => {
                Some("start the server with a longer Log::Tail, or with Log::File".into())
            }
            _ => None,
        }
    }
}

impl Cluster {
    /// The current end of the log of the server that this object has started last.
    ///
    /// # Errors
    ///
    /// Fails if this object has not started a server, or the log is not kept or cannot be read.
    pub fn log_mark(&self) -> Result<LogMark, LogError> {
        let server = self.logging_server()?;
        let position = server.process.log_end().map_err(|e| self.unreadable(e))?;
        Ok(server.mark(position))
    }

    /// The output of the server in its log since a mark.
    ///
    /// # Errors
    ///
    /// Fails as [`log_mark`](Self::log_mark) does.
    pub fn log_since(&self, mark: LogMark) -> Result<LogExcerpt, LogError> {
        let server = self.logging_server()?;
        let begin = server.position(mark);
        let mut end = begin;
        // Later output is excluded: a server may write faster than this reads.
        let last = server.process.log_end().map_err(|e| self.unreadable(e))?;
        let (mut bytes, mut missed) = (Vec::new(), 0);
        while end < last {
            let part = server.process.read_log(end, STEP);
            let part = part.map_err(|error| self.unreadable(error))?;
            if part.bytes.is_empty() {
                break;
            }
            missed += part.position.saturating_sub(end);
            end = part.end();
            bytes.extend(part.bytes);
        }
        Ok(LogExcerpt {
            text: String::from_utf8_lossy(&bytes).into_owned(),
            missed,
            end: server.mark(end),
        })
    }

    /// Waits until the server has logged a message that `matches` accepts, and returns it. The
    /// messages that were logged since the mark are examined first.
    ///
    /// The caller sleeps until the server writes; nothing is polled where the system reports that.
    /// The messages are read as by [`ServerMessage::read_all`], in whole lines.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster: pg_cluster::Cluster = todo!();
    /// let before = cluster.log_mark()?;
    /// // ... something that leads to a checkpoint ...
    /// cluster.wait_for_log(before, Duration::from_secs(60), |message| {
    ///     message.contains("checkpoint complete")
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the wait times out, as soon as the server has exited without such a message, if the
    /// server has a log collector (`logging_collector`), and as [`log_mark`](Self::log_mark) does.
    pub fn wait_for_log(
        &self,
        mark: LogMark,
        timeout: Duration,
        mut matches: impl FnMut(&ServerMessage) -> bool,
    ) -> Result<ServerMessage, LogError> {
        let server = self.logging_server()?;
        let deadline = Deadline::after(timeout);
        let mut position = server.position(mark);
        let (mut missed, mut examined) = (0, 0);
        let mut rest = Vec::new();
        let mut last = None;
        loop {
            let part = server.process.read_log(position, STEP);
            let part = part.map_err(|error| self.unreadable(error))?;
            if part.bytes.is_empty() {
                let more = server.process.wait_log(position, deadline);
                if more.map_err(|error| self.unreadable(error))? {
                    continue;
                }
                if !deadline.is_over() {
                    return Err(self.log_error(LogErrorKind::Exited { examined }));
                }
                last = Some(position);
            }
            missed += part.position.saturating_sub(position);
            position = part.end();
            rest.extend(part.bytes);
            let end = rest.iter().rposition(|&byte| byte == b'\n');
            let lines: Vec<u8> = rest.drain(..end.map_or(0, |end| end + 1)).collect();
            for message in ServerMessage::read_all(&String::from_utf8_lossy(&lines)) {
                examined += 1;
                if matches(&message) {
                    return Ok(message);
                }
            }
            if !deadline.is_over() {
                continue;
            }
            // A server that never pauses must not keep the caller.
            let last = match last {
                Some(last) => last,
                None => *last.insert(server.process.log_end().map_err(|e| self.unreadable(e))?),
            };
            if position >= last {
                return Err(self.log_error(LogErrorKind::TimedOut {
                    waited: timeout,
                    examined,
                    missed,
                }));
            }
        }
    }

    fn logging_server(&self) -> Result<Arc<OwnServer>, LogError> {
        let not_started = || self.log_error(LogErrorKind::NotStarted);
        let server = self.server().ok_or_else(not_started)?;
        if !server.process.keeps_log() {
            return Err(self.log_error(LogErrorKind::NotKept));
        }
        // The postmaster removes the record of an earlier collector when it starts.
        match CollectedLog::find(self.data_directory()) {
            Some(collected) => {
                let path = collected.path().to_owned();
                Err(self.log_error(LogErrorKind::Collected(path)))
            }
            None => Ok(server),
        }
    }

    fn unreadable(&self, error: io::Error) -> LogError {
        self.log_error(LogErrorKind::Read(error))
    }

    pub(crate) fn log_error(&self, kind: LogErrorKind) -> LogError {
        LogError {
            data_directory: self.data_directory().to_owned(),
            kind,
        }
    }
}

impl OwnServer {
    fn mark(&self, position: u64) -> LogMark {
        LogMark {
            start: Some(self.number),
            position,
        }
    }

    fn position(&self, mark: LogMark) -> u64 {
        match mark.start {
            Some(number) if number == self.number => mark.position,
            _ => 0,
        }
    }
}
