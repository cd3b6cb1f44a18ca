//! Opening a file of a data directory, whose owner may be somebody else than the one who looks at it.

use std::fs::{self, File};
use std::io;

use camino::Utf8Path;

/// Not a pipe, which would wait for one who writes, nor a device, which may have no end.
pub(crate) fn open(path: &Utf8Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        let reason = "it is not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    File::open(path)
}
