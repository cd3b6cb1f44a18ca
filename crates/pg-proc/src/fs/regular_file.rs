//! Reading a file whose place somebody else may have given to anything: whoever may write into a
//! data directory must not be able to keep its administrator waiting, or to use up the memory of
//! the machine.

use std::fs::{self, File, Metadata, OpenOptions};
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

/// Opens a file for reading if it is a regular one. Neither a pipe nor a device is waited for, or
/// opened knowingly.
///
/// # Errors
///
/// It cannot be opened, or is something else ([`InvalidInput`](io::ErrorKind::InvalidInput)).
pub fn open_regular_file(path: impl AsRef<Utf8Path>) -> io::Result<File> {
    open(path.as_ref()).map_err(|unreadable| match unreadable {
        Unreadable::Io(e) => e,
        _ => io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"),
    })
}

pub(crate) fn open(path: &Utf8Path) -> Result<File, Unreadable> {
    let require_regular = |meta: io::Result<Metadata>| match meta {
        Ok(meta) if meta.is_file() => Ok(()),
        Ok(_) => Err(Unreadable::NotRegular),
        Err(e) => Err(Unreadable::Io(e)),
    };
    // Opening alone has an effect on some devices.
    require_regular(fs::metadata(path))?;
    let file = OpenOptions::new()
        .read(true)
        // A pipe may have taken its place: opening it would wait for one who writes.
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(Unreadable::Io)?;
    require_regular(file.metadata())?;
    Ok(file)
}

/// The content; none when there is no such file.
pub(crate) fn read(path: &Utf8Path, limit: usize) -> Result<Option<Vec<u8>>, Unreadable> {
    let file = match open(path) {
        Err(Unreadable::Io(e)) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
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
