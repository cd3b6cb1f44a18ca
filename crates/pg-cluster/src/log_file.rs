//! The end of a log file that a server of an earlier program, or of another one, has written.

use std::io::{Read as _, Seek as _, SeekFrom};

use camino::Utf8Path;

use crate::plain_file;

/// How much of a log is kept in memory, or read, where the caller does not say.
pub(crate) const TAIL: usize = 64 << 10;

/// At most [`TAIL`] bytes from the end of the file; none if it cannot be read.
pub(crate) fn tail_of(path: &Utf8Path) -> Option<String> {
    let mut file = plain_file::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL as u64)))
        .ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL as u64).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
