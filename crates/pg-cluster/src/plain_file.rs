//! Reading files of a data directory, where anything may stand in the place of a file: who opens a FIFO waits until somebody opens its
//! other end.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

pub(crate) fn open(path: impl AsRef<Path>) -> io::Result<File> {
    let kind = fs::metadata(&path)?.file_type();
    if kind.is_fifo() || kind.is_socket() {
        let message = "it is a FIFO or a socket";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    File::open(path)
}

pub(crate) fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.read_to_end(&mut content)?;
    Ok(content)
}
