//! Reading of regular files. A pipe or device that another user put in place of a file is rejected.

use std::fs::{self, File};
use std::io::{self, Read as _};

use camino::Utf8Path;
use rustix::fs::{Mode, OFlags};

/// Opens a regular file.
///
/// The function does not block on a pipe or a device, even if it replaces the file meanwhile.
pub(crate) fn open(path: &Utf8Path) -> io::Result<File> {
    // The type is checked before opening, because opening has an effect on some devices.
    require_regular(&fs::metadata(path)?)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path.as_std_path(), flags, Mode::empty())?);
    require_regular(&file.metadata()?)?;
    Ok(file)
}

/// Returns up to `limit` bytes from the start of a regular file, opened as by [`open`].
pub(crate) fn read_start(path: &Utf8Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    open(path)?.take(limit).read_to_end(&mut start)?;
    Ok(start)
}

fn require_regular(metadata: &fs::Metadata) -> io::Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let reason = "not a regular file";
    Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
}
