//! Where the output of a server goes, and reading its end.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use camino::Utf8PathBuf;
use rustix::event::{PollFd, PollFlags};

use crate::fs::regular_file::{self, Unreadable};

/// Where a server's standard output and standard error go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Log {
    /// Appended to this file. Created with mode 0600 if it is not there, by the account that the
    /// server runs as and with that account's rights. What belongs to another account is written,
    /// but not read.
    File(Utf8PathBuf),
    /// To the standard error of the calling process, as it is at the start.
    Inherit,
    /// Nowhere.
    Null,
    /// The last so many bytes are kept in memory.
    ///
    /// A thread reads for as long as anything of the server lives, so the server never waits for a
    /// reader. When the owner ends, the reader ends with it: then a server that lives on would
    /// write into a pipe without a reader. PostgreSQL ignores SIGPIPE and carries on, but programs
    /// that it runs may not, so a server with such a log cannot be
    /// [detached](crate::Server::detach).
    Tail(usize),
}

/// Reading end of a server's log, of this start only.
#[derive(Debug)]
pub(crate) enum LogReader {
    File {
        path: Utf8PathBuf,
        offset: u64,
        /// The account that the server runs as, if it is not the caller's.
        owner: Option<u32>,
    },
    Memory(Tail),
    None,
}

impl LogReader {
    /// At most `limit` bytes from the end of what this start has written.
    pub(crate) fn tail(&self, limit: usize) -> io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Memory(tail) => Ok(tail.last(limit)),
            Self::File {
                path,
                offset,
                owner,
            } => {
                let mut file = match regular_file::open(path) {
                    Ok(file) => file,
                    Err(Unreadable::Io(e)) => return Err(e),
                    // A terminal or a pipe has given away what was written.
                    Err(_) => return Ok(Vec::new()),
                };
                let found = file.metadata()?;
                // The account may have put a link there to what only the caller may read.
                if owner.is_some_and(|owner| owner != found.uid()) {
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
                let end = found.len();
                // A file that has shrunk was truncated or replaced: all of it is new.
                let begin = if end < *offset { 0 } else { *offset };
                let wanted = u64::try_from(limit).unwrap_or(u64::MAX);
                let from = begin.max(end.saturating_sub(wanted));
                file.seek(SeekFrom::Start(from))?;
                let mut bytes = Vec::new();
                file.take(wanted).read_to_end(&mut bytes)?;
                Ok(bytes)
            }
        }
    }
}

/// The end of a stream, kept in memory by a thread of its own.
#[derive(Debug)]
pub(crate) struct Tail {
    kept: Arc<Mutex<Kept>>,
    /// Dropped to end the thread while somebody still holds the other end of the stream.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Tail {
    pub(crate) fn drain(stream: OwnedFd, limit: usize) -> io::Result<Self> {
        let (stopped, stop) = crate::sys::pipe()?;
        crate::sys::set_nonblocking(&stream)?;
        let watched = stream.try_clone()?;
        let kept = Arc::new(Mutex::new(Kept {
            stream,
            bytes: VecDeque::new(),
            limit,
        }));
        let shared = Arc::clone(&kept);
        let thread = std::thread::Builder::new()
            .name("pg-proc log".to_owned())
            .spawn(move || drain(&watched, &stopped, &shared))?;
        Ok(Self {
            kept,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// With all that was written before this call, whether or not the thread has come to it: a
    /// server that has just ended has said why.
    fn last(&self, limit: usize) -> Vec<u8> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.take_what_is_there();
        let bytes = &kept.bytes;
        bytes
            .iter()
            .skip(bytes.len().saturating_sub(limit))
            .copied()
            .collect()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked; if it has, there is nothing to mend.
            let _ = thread.join();
        }
    }
}

/// What was read, and where more comes from: read under one lock, so that the bytes stay in their
/// order.
struct Kept {
    stream: OwnedFd,
    bytes: VecDeque<u8>,
    limit: usize,
}

/// How much was read; nobody who looks at a server wants to see all of its log as numbers.
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("bytes", &self.bytes.len())
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl Kept {
    /// Reads until there is nothing more for now; whether there may be more later.
    fn take_what_is_there(&mut self) -> bool {
        let mut buffer = [0; 8192];
        // More than a pipe holds; one who writes without a pause must not hold the lock for ever.
        for _ in 0..64 {
            match rustix::io::read(&self.stream, &mut buffer) {
                Ok(0) => return false,
                Ok(n) => {
                    self.bytes.extend(buffer.iter().take(n));
                    let excess = self.bytes.len().saturating_sub(self.limit);
                    self.bytes.drain(..excess);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
        true
    }
}

fn drain(stream: &OwnedFd, stopped: &OwnedFd, kept: &Mutex<Kept>) {
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(stopped.as_fd(), PollFlags::IN),
        ];
        match rustix::event::poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        let [stream_ready, stop_asked] = fds.map(|fd| !fd.revents().is_empty());
        let goes_on = stream_ready
            && kept
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take_what_is_there();
        if !goes_on && (stream_ready || stop_asked) {
            return;
        }
    }
}
