//! Reading files of a data directory, where anything may stand in the place of a file: who opens a FIFO waits until somebody opens its
//! other end, and a device may have no end.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

pub(crate) fn open(path: impl AsRef<Path>) -> io::Result<File> {
    let found = fs::metadata(&path)?;
    if found.is_file() || found.is_dir() {
        // Of a directory reading fails, and says so.
        return File::open(path);
    }
    let message = "it is not a regular file";
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// The content, or its first `limit` bytes.
pub(crate) fn read(path: impl AsRef<Path>, limit: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.take(limit as u64).read_to_end(&mut content)?;
    Ok(content)
}
