//! Reading a file whose place somebody else may have given to anything: whoever may write into a data directory must not be
//! able to keep its administrator waiting, or to use up the memory of the machine.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use camino::Utf8Path;
use nix::libc;

pub(crate) enum Unreadable {
    Io(io::Error),
    /// A directory, pipe, socket or device.
    NotRegular,
    TooLong,
}

/// None when there is no such file.
pub(crate) fn open(path: &Utf8Path) -> Result<Option<File>, Unreadable> {
    let file = OpenOptions::new()
        .read(true)
        // Opening a pipe would wait for one who writes.
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path);
    let file = match file {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Unreadable::Io(e)),
    };
    let is_regular = file.metadata().map_err(Unreadable::Io)?.is_file();
    is_regular
        .then_some(Some(file))
        .ok_or(Unreadable::NotRegular)
}

/// The content; none when there is no such file.
pub(crate) fn read(path: &Utf8Path, limit: usize) -> Result<Option<Vec<u8>>, Unreadable> {
    let Some(file) = open(path)? else {
        return Ok(None);
    };
    let mut bytes = Vec::with_capacity(512);
    file.take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(Unreadable::Io)?;
    if bytes.len() > limit {
        return Err(Unreadable::TooLong);
    }
    Ok(Some(bytes))
}
