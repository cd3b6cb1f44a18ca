//! Reading regular files in directories of other users, who may have put anything in their place:
//! nothing there keeps the reader waiting, or uses up the memory of the machine.

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use camino::Utf8Path;
use rustix::fs::{Mode, OFlags};

use super::entry::Entry;

pub(crate) enum Unreadable {
    Io(io::Error),
    /// A directory, pipe, socket or device.
    NotRegular,
    TooLong,
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidInput => Self::NotRegular,
            _ => Self::Io(error),
        }
    }
}

/// Opens a file for reading if it is a regular file. The call does not wait for a pipe or a device,
/// and does not knowingly open one. A link is followed only if root, the caller or the owner of its
/// target made it.
///
/// # Errors
///
/// Fails if the file cannot be opened, is not a regular file
/// ([`InvalidInput`](io::ErrorKind::InvalidInput)), or a link on the path is a
/// [`ForeignLink`](crate::ForeignLink).
pub fn open_regular_file(path: impl AsRef<Utf8Path>) -> io::Result<File> {
    Entry::find(path)?.open_file()
}

/// Opens a regular file, or the null device, for reading, and follows all links. The call does not
/// wait for a pipe or another device. It is meant for the rights of the caller itself, or [those of
/// an account](crate::Account::with_rights), because links then give access to no additional file.
///
/// # Errors
///
/// Fails if the file cannot be opened, is a directory
/// ([`IsADirectory`](io::ErrorKind::IsADirectory)), or is of another type
/// ([`InvalidInput`](io::ErrorKind::InvalidInput)).
pub fn open_any_file(path: impl AsRef<Path>) -> io::Result<File> {
    // Opening alone has an effect on some devices. One that is put there meanwhile is opened.
    require_file(&std::fs::metadata(path.as_ref())?)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file: File = rustix::fs::open(path.as_ref(), flags, Mode::empty())?.into();
    require_file(&file.metadata()?)?;
    Ok(file)
}

fn require_file(found: &Metadata) -> io::Result<()> {
    let is_null = || std::fs::metadata("/dev/null").is_ok_and(|null| null.rdev() == found.rdev());
    let kind = found.file_type();
    match kind.is_file() || (kind.is_char_device() && is_null()) {
        true => Ok(()),
        false if kind.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        )),
    }
}

/// The content; none if the file does not exist.
pub(crate) fn read(path: &Utf8Path, limit: usize) -> Result<Option<Vec<u8>>, Unreadable> {
    let file = match open_regular_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    match read_all(&file, limit as u64) {
        Err(e) if e.kind() == io::ErrorKind::FileTooLarge => Err(Unreadable::TooLong),
        read => Ok(Some(read?)),
    }
}

/// Reads a whole file up to this number of bytes.
///
/// # Errors
///
/// Fails if the file cannot be read, or is longer than the limit
/// ([`FileTooLarge`](io::ErrorKind::FileTooLarge)).
pub fn read_all(file: &File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// Reads at most `limit` bytes from the end of what a file has beyond its first `before` bytes. A
/// file that is shorter than that was begun anew: all of it is read.
///
/// # Errors
///
/// Fails if the file cannot be read.
pub fn read_tail(mut file: File, before: u64, limit: usize) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    let begin = if length < before { 0 } else { before };
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    file.seek(SeekFrom::Start(begin.max(length.saturating_sub(limit))))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
