//! Reading a file whose place somebody else may have given to something that waits or never ends.

use std::fs::{self, File};
use std::io::{self, Read};

use camino::Utf8Path;

/// The first `limit` bytes of a regular file, or all of it.
pub(crate) fn read_start(path: &Utf8Path, limit: u64) -> io::Result<Vec<u8>> {
    // Before it is opened, for opening a pipe waits. One who swaps them in between can have that.
    if !fs::metadata(path)?.is_file() {
        let reason = "it is not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    let mut start = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut start)?;
    Ok(start)
}
