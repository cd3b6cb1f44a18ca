use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use camino::Utf8PathBuf;
use rustix::event::{PollFd, PollFlags};

/// Where a server's standard output and standard error go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Log {
    /// Appended to this file. Created with mode 0600 if it is not there, by the account that the
    /// server runs as and with that account's rights.
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
    File { path: Utf8PathBuf, offset: u64 },
    Memory(Tail),
    None,
}

/// What is known of a log, as bytes.
impl LogReader {
    /// At most `limit` bytes from the end of what this start has written.
    pub(crate) fn tail(&self, limit: usize) -> io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Memory(tail) => Ok(tail.last(limit)),
            Self::File { path, offset } => {
                let mut file = File::open(path)?;
                let end = file.metadata()?.len();
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
    kept: Arc<Mutex<VecDeque<u8>>>,
    /// Dropped to end the thread while somebody still holds the other end of the stream.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Tail {
    pub(crate) fn drain(stream: OwnedFd, limit: usize) -> io::Result<Self> {
        let (stopped, stop) = crate::sys::pipe()?;
        let kept = Arc::new(Mutex::new(VecDeque::new()));
        let shared = Arc::clone(&kept);
        let thread = std::thread::Builder::new()
            .name("pg-proc log".to_owned())
            .spawn(move || drain(&stream, &stopped, &shared, limit))?;
        Ok(Self {
            kept,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    fn last(&self, limit: usize) -> Vec<u8> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter()
            .skip(kept.len().saturating_sub(limit))
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

fn drain(stream: &OwnedFd, stopped: &OwnedFd, kept: &Mutex<VecDeque<u8>>, limit: usize) {
    let mut buffer = [0; 8192];
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
        if !stream_ready {
            if stop_asked {
                return;
            }
            continue;
        }
        match rustix::io::read(stream, &mut buffer) {
            Ok(0) => return,
            Ok(n) => {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(buffer.iter().take(n));
                let excess = kept.len().saturating_sub(limit);
                kept.drain(..excess);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
