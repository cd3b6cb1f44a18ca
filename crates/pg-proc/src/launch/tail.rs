//! The end of a stream, kept in memory.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

/// The last bytes of a stream, up to the limit.
pub(crate) struct BoundedTail {
    bytes: VecDeque<u8>,
    limit: usize,
    /// The number of bytes that were dropped to keep the limit.
    dropped: u64,
}

impl BoundedTail {
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            limit,
            dropped: 0,
        }
    }

    /// Reads what a stream that does not block has for now, shows it, and returns whether more may
    /// come.
    pub(crate) fn take_from(&mut self, stream: &OwnedFd, mut show: impl FnMut(&[u8])) -> bool {
        let mut buffer = [0; 16 * 1024];
        // More than a pipe holds. A program that writes without a pause must not delay the deadline
        // of the reader, or block others from its lock.
        for _ in 0..128 {
            match rustix::io::read(stream, &mut buffer) {
                Ok(0) => return false,
                Ok(n) => {
                    show(buffer.get(..n).unwrap_or_default());
                    self.bytes.extend(buffer.iter().take(n));
                    let excess = self.bytes.len().saturating_sub(self.limit);
                    self.bytes.drain(..excess);
                    self.dropped += excess as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return errno == Errno::AGAIN,
            }
        }
        true
    }

    /// At most this number of the last bytes.
    pub(crate) fn last(&self, limit: usize) -> Vec<u8> {
        let skipped = self.bytes.len().saturating_sub(limit);
        self.bytes.iter().skip(skipped).copied().collect()
    }

    /// The number of bytes that have been read.
    pub(crate) fn total(&self) -> u64 {
        self.dropped + self.bytes.len() as u64
    }

    /// At most `limit` bytes from a position in the stream on, or from the first byte that is still
    /// kept, and the position of the first of them.
    pub(crate) fn since(&self, position: u64, limit: usize) -> (u64, Vec<u8>) {
        let skipped = position.saturating_sub(self.dropped);
        let skipped = usize::try_from(skipped)
            .unwrap_or(usize::MAX)
            .min(self.bytes.len());
        let bytes = self.bytes.iter().skip(skipped).take(limit).copied();
        (self.dropped + skipped as u64, bytes.collect())
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes.into()
    }
}

/// The length only: a log printed as numbers is of no use.
impl fmt::Debug for BoundedTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedTail")
            .field("bytes", &self.bytes.len())
            .field("limit", &self.limit)
            .finish()
    }
}
