//! Reading regular files only: another user may have put a pipe or a device in their place.

use std::fs::{self, File};
use std::io::{self, Read as _};

use camino::Utf8Path;
use rustix::fs::{Mode, OFlags};

/// Returns the first `limit` bytes of a regular file, or all of it.
///
/// A pipe or a device is not waited for, even if it takes the place of the file meanwhile.
pub(crate) fn read_start(path: &Utf8Path, limit: u64) -> io::Result<Vec<u8>> {
    // Opening alone has an effect on some devices.
    require_regular(&fs::metadata(path)?)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path.as_std_path(), flags, Mode::empty())?);
    require_regular(&file.metadata()?)?;
    let mut start = Vec::new();
    file.take(limit).read_to_end(&mut start)?;
    Ok(start)
}

fn require_regular(metadata: &fs::Metadata) -> io::Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let reason = "not a regular file";
    Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
}
