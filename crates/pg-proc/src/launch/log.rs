//! Where the output of a server goes, and reading its end.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use camino::Utf8PathBuf;
use rustix::event::{PollFd, PollFlags};

use crate::fs::regular_file;
use crate::launch::tail::BoundedTail;
use crate::maker::Maker;

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
    /// A thread of the owner reads as long as any process of the server is running, so the server
    /// does not wait for a reader. A server that outlives its owner writes into a pipe without a
    /// reader. PostgreSQL ignores SIGPIPE, but programs that it runs may not, so a server with such
    /// a log cannot be [detached](crate::Server::detach).
    ///
    /// A forked copy of the owner that outlives it, as in a daemon, has no such thread and keeps
    /// the pipe open: the server blocks once the pipe is full (64 KiB on Linux). Use a file there.
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
                let file = match regular_file::open_regular_file(path) {
                    // A terminal or a pipe has given away what was written.
                    Err(e) if e.kind() == io::ErrorKind::InvalidInput => return Ok(Vec::new()),
                    other => other?,
                };
                // The account may have put a link there to what only the caller may read.
                let found = file.metadata()?.uid();
                if owner.is_some_and(|owner| owner != found) {
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
                regular_file::read_tail(file, *offset, limit)
            }
        }
    }
}

/// The end of a stream, kept in memory by a thread of its own.
///
/// A process that was forked has no such thread, and reads nothing: what is in the stream is for
/// the thread of the process that made this. It knows what was read until it was forked.
#[derive(Debug)]
pub(crate) struct Tail {
    kept: Arc<Mutex<Kept>>,
    /// Dropped to end the thread while the other end of the stream is still open.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
    maker: Maker,
}

impl Tail {
    pub(crate) fn drain(stream: OwnedFd, limit: usize) -> io::Result<Self> {
        let (stopped, stop) = crate::sys::pipe()?;
        crate::sys::set_nonblocking(&stream)?;
        let watched = stream.try_clone()?;
        let kept = Arc::new(Mutex::new(Kept {
            stream,
            tail: BoundedTail::new(limit),
        }));
        let shared = Arc::clone(&kept);
        let thread = std::thread::Builder::new()
            .name("pg-proc log".to_owned())
            .spawn(move || drain(&watched, &stopped, &shared))?;
        Ok(Self {
            kept,
            stop: Some(stop),
            thread: Some(thread),
            maker: Maker::this_process(),
        })
    }

    /// With all that was written before this call, whether or not the thread has come to it: a
    /// server that has just ended has said why.
    fn last(&self, limit: usize) -> Vec<u8> {
        if self.maker.is_this_process() {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.take_what_is_there();
            return kept.tail.last(limit);
        }
        // The thread may have held the lock when this process was forked.
        match self.kept.try_lock() {
            Ok(kept) => kept.tail.last(limit),
            Err(_) => Vec::new(),
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        drop(self.stop.take());
        match self.thread.take() {
            Some(thread) if self.maker.is_this_process() => {
                // It cannot have panicked; if it has, there is nothing to mend.
                let _ = thread.join();
            }
            // Not even its handle can be given back where there is no such thread.
            other => std::mem::forget(other),
        }
    }
}

/// What was read, and where more comes from: read under one lock, so that the bytes stay in their
/// order.
#[derive(Debug)]
struct Kept {
    stream: OwnedFd,
    tail: BoundedTail,
}

impl Kept {
    fn take_what_is_there(&mut self) -> bool {
        self.tail.take_from(&self.stream, |_| {})
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
