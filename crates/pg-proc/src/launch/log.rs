//! Where the output of a server goes, and reading its end.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use camino::Utf8PathBuf;
use rustix::event::{PollFd, PollFlags};

use crate::fs::regular_file;
use crate::launch::tail::BoundedTail;
use crate::maker::Maker;
use crate::sys;

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
    /// The same holds if a forked copy of the owner outlives it, as in a daemon: nothing more is
    /// kept. Before Linux 5.9, and on other systems, the copy keeps the pipe open, and the server
    /// blocks once the pipe is full (64 KiB on Linux). Use a file there.
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
/// That thread alone has the reading end, where the system allows it: it is closed when the process
/// exits, whatever copies of the process live on. In a forked process there is no such thread, and
/// nothing is read. It knows what was read until it was forked.
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

    /// With all that was written before this call, whether or not the thread has come to it: a
    /// server that has just ended has said why.
    fn last(&self, limit: usize) -> Vec<u8> {
        if !self.maker.is_this_process() {
            // The thread may have held the lock when this process was forked.
            let kept = self.shared.kept.try_lock();
            return kept.map_or_else(|_| Vec::new(), |kept| kept.tail.last(limit));
        }
        let mut kept = self.shared.lock();
        let before = kept.answers;
        // A thread that reads from now on reads all of it.
        let is_asked = !kept.has_ended && sys::write(&self.commands, &[READ]).is_ok();
        while is_asked && !kept.has_ended && kept.answers == before {
            let waited = self.shared.answered.wait(kept);
            kept = waited.unwrap_or_else(PoisonError::into_inner);
        }
        kept.tail.last(limit)
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
            // Not even its handle can be given back where there is no such thread.
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
