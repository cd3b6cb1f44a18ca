//! The destination of a server's output, and reading its end.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use camino::Utf8PathBuf;
use rustix::event::{PollFd, PollFlags};

use crate::deadline::Deadline;
use crate::fs::regular_file;
use crate::launch::tail::BoundedTail;
use crate::maker::Maker;
use crate::postmaster::watcher::Watcher;
use crate::sys::{self, Means};

/// The destination of a server's standard output and standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Log {
    /// Appends to this file. If it does not exist, it is created with mode 0600 by the account that
    /// the server runs as, with the rights of that account. A file of another account is written,
    /// but not read.
    File(Utf8PathBuf),
    /// To the standard error of the calling process, as it is at the start.
    Inherit,
    /// Nowhere.
    Null,
    /// Keeps this number of bytes from the end in memory.
    ///
    /// A thread of the owner reads as long as any process of the server is running, so the server
    /// does not wait for a reader. A server that outlives its owner writes into a pipe without a
    /// reader. PostgreSQL ignores SIGPIPE, but programs that it runs may not, so a server with such
    /// a log cannot be [detached](crate::Server::detach).
    ///
    /// The same holds if a forked copy of the owner outlives it, as in a daemon: nothing more is
    /// kept. Before Linux 5.9, and on other systems, the copy keeps the pipe open, and the server
    /// blocks once the pipe is full (64 KiB on Linux). Use a file there.
    Tail(usize),
}

/// A part of a server's log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogPart {
    /// The position of the first of the bytes: the number of bytes that the server had written
    /// since its start. It is greater than the requested position if the bytes between are not kept
    /// any more.
    pub position: u64,
    /// The bytes, which may begin and end within a line.
    pub bytes: Vec<u8>,
}

impl LogPart {
    /// The position after the last of the bytes.
    pub fn end(&self) -> u64 {
        self.position + self.bytes.len() as u64
    }
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
                let Some(file) = open_own(path, *owner)? else {
                    return Ok(Vec::new());
                };
                regular_file::read_tail(file, *offset, limit)
            }
        }
    }

    /// Returns whether the output of the server can be read.
    pub(crate) fn is_kept(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// The number of bytes written by this start.
    pub(crate) fn end(&self) -> io::Result<u64> {
        match self {
            Self::None => Ok(0),
            Self::Memory(tail) => Ok(tail.total()),
            Self::File {
                path,
                offset,
                owner,
            } => match open_own(path, *owner)? {
                Some(file) => Ok(length_since(&file, *offset)?.1),
                None => Ok(0),
            },
        }
    }

    /// At most `limit` bytes from this position on.
    pub(crate) fn since(&self, position: u64, limit: usize) -> io::Result<LogPart> {
        let nothing = LogPart {
            position,
            bytes: Vec::new(),
        };
        match self {
            Self::None => Ok(nothing),
            Self::Memory(tail) => Ok(tail.since(position, limit)),
            Self::File {
                path,
                offset,
                owner,
            } => {
                let Some(mut file) = open_own(path, *owner)? else {
                    return Ok(nothing);
                };
                let (begin, length) = length_since(&file, *offset)?;
                let position = position.min(length);
                file.seek(SeekFrom::Start(begin + position))?;
                let mut bytes = Vec::new();
                let limit = u64::try_from(limit).unwrap_or(u64::MAX);
                file.take(limit).read_to_end(&mut bytes)?;
                Ok(LogPart { position, bytes })
            }
        }
    }

    /// Waits until more than this many bytes are available, and returns whether they are. Returns
    /// false as soon as `has_ended` is true, which `end` reports, and no more bytes can arrive.
    pub(crate) fn wait(
        &self,
        position: u64,
        deadline: Deadline,
        end: Option<BorrowedFd<'_>>,
        has_ended: impl Fn() -> bool,
    ) -> io::Result<bool> {
        match self {
            Self::None => Ok(false),
            Self::Memory(tail) => Ok(tail.wait(position, deadline)),
            Self::File { path, .. } => {
                let mut watcher = None;
                loop {
                    // Asked first: what it has written before its end counts.
                    let ended = has_ended();
                    if self.end()? > position {
                        return Ok(true);
                    }
                    if ended || deadline.is_over() {
                        return Ok(false);
                    }
                    match &watcher {
                        // Once more, now that nothing can be missed.
                        None => watcher = Some(Watcher::of_directory(path, Means::Native)),
                        Some(watcher) => watcher.pause(end, true, deadline.remaining()),
                    }
                }
            }
        }
    }
}

/// Opens the log; none if it is a terminal or a pipe, which has given away what was written.
fn open_own(path: &Utf8PathBuf, owner: Option<u32>) -> io::Result<Option<File>> {
    let file = match regular_file::open_regular_file(path) {
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => return Ok(None),
        other => other?,
    };
    // The account may have put a link there to what only the caller may read.
    let found = file.metadata()?.uid();
    if owner.is_some_and(|owner| owner != found) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(Some(file))
}

/// The offset in the file at which the output of this start begins, and its length. A file that is
/// shorter than at the start has been truncated and is read from its beginning.
fn length_since(file: &File, offset: u64) -> io::Result<(u64, u64)> {
    let length = file.metadata()?.len();
    let begin = if length < offset { 0 } else { offset };
    Ok((begin, length - begin))
}

/// The end of a stream, kept in memory by a dedicated thread.
///
/// Where the system allows it, only that thread has the reading end. It is closed when the process
/// exits, even if forked copies of the process still run. A forked process does not have the thread
/// and reads nothing; it keeps the bytes that were read before the fork.
#[derive(Debug)]
pub(crate) struct Tail {
    shared: Arc<Shared>,
    /// A byte asks the thread for all that is there, or to end.
    commands: OwnedFd,
    thread: Option<JoinHandle<()>>,
    maker: Maker,
}

#[derive(Debug)]
struct Shared {
    kept: Mutex<Kept>,
    /// Notified whenever an answer is given, and when the thread ends.
    answered: Condvar,
}

#[derive(Debug)]
struct Kept {
    tail: BoundedTail,
    answers: u64,
    has_ended: bool,
}

const READ: u8 = b'r';
const END: u8 = b'e';

impl Tail {
    pub(crate) fn drain(stream: OwnedFd, limit: usize) -> io::Result<Self> {
        let (orders, commands) = sys::pipe()?;
        sys::set_nonblocking(&stream)?;
        let shared = Arc::new(Shared {
            kept: Mutex::new(Kept {
                tail: BoundedTail::new(limit),
                answers: 0,
                has_ended: false,
            }),
            answered: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        let thread = sys::spawn_with("pg-proc log", [stream, orders], move |descriptors| {
            let [stream, orders] = descriptors;
            drain(&stream, &orders, &of_thread);
            let mut kept = of_thread.lock();
            kept.has_ended = true;
            drop(kept);
            of_thread.answered.notify_all();
        })?;
        Ok(Self {
            shared,
            commands,
            thread: Some(thread),
            maker: Maker::this_process(),
        })
    }

    /// Includes everything written before this call, even if the thread has not read it yet. A
    /// server that has just exited has written the reason.
    fn last(&self, limit: usize) -> Vec<u8> {
        self.look(|tail| tail.last(limit)).unwrap_or_default()
    }

    fn total(&self) -> u64 {
        self.look(BoundedTail::total).unwrap_or_default()
    }

    fn since(&self, position: u64, limit: usize) -> LogPart {
        let (position, bytes) = self
            .look(|tail| tail.since(position, limit))
            .unwrap_or((position, Vec::new()));
        LogPart { position, bytes }
    }

    /// None in a process that was forked while the lock was held.
    fn look<T>(&self, look: impl FnOnce(&BoundedTail) -> T) -> Option<T> {
        if !self.maker.is_this_process() {
            // The thread may have held the lock when this process was forked.
            let kept = self.shared.kept.try_lock().ok()?;
            return Some(look(&kept.tail));
        }
        let mut kept = self.shared.lock();
        let before = kept.answers;
        // A thread that reads from now on reads all of it.
        let is_asked = !kept.has_ended && sys::write(&self.commands, &[READ]).is_ok();
        while is_asked && !kept.has_ended && kept.answers == before {
            let waited = self.shared.answered.wait(kept);
            kept = waited.unwrap_or_else(PoisonError::into_inner);
        }
        Some(look(&kept.tail))
    }

    /// Waits until more than this many bytes were read; false if there are none to come.
    fn wait(&self, position: u64, deadline: Deadline) -> bool {
        let is_there = self.total() > position;
        if is_there || !self.maker.is_this_process() {
            return is_there;
        }
        let mut kept = self.shared.lock();
        while kept.tail.total() <= position && !kept.has_ended && !deadline.is_over() {
            // The thread notifies of whatever it reads.
            kept = match deadline.remaining() {
                None => {
                    let waited = self.shared.answered.wait(kept);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
                Some(left) => {
                    let waited = self.shared.answered.wait_timeout(kept, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        kept.tail.total() > position
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        match self.thread.take() {
            Some(thread) if self.maker.is_this_process() => {
                let _ = sys::write(&self.commands, &[END]);
                // It cannot have panicked; if it has, there is nothing to mend.
                let _ = thread.join();
            }
            // Where the system cannot run such a thread, its handle cannot be returned either.
            other => std::mem::forget(other),
        }
    }
}

fn drain(stream: &OwnedFd, orders: &OwnedFd, shared: &Shared) {
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(orders.as_fd(), PollFlags::IN),
        ];
        match rustix::event::poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        let [_, is_ordered] = fds.map(|fd| !fd.revents().is_empty());
        let mut order = [0; 64];
        let orders = match is_ordered {
            true => rustix::io::read(orders, &mut order).unwrap_or(0),
            false => 0,
        };
        let mut kept = shared.lock();
        let goes_on = kept.tail.take_from(stream, |_| {});
        kept.answers += 1;
        drop(kept);
        shared.answered.notify_all();
        if !goes_on || order[..orders].contains(&END) || (is_ordered && orders == 0) {
            return;
        }
    }
}
