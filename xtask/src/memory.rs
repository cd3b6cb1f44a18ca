//! Where files are kept in memory.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use camino::Utf8Path;
use rustix::fs::StatVfsMountFlags;

/// The directory for shared memory if anybody can write there, programs can be run from there, and
/// so many bytes are free.
pub(crate) fn with_room(bytes: u64) -> Option<&'static Utf8Path> {
    let directory = Utf8Path::new("/dev/shm");
    let system = rustix::fs::statvfs(directory.as_std_path()).ok()?;
    let is_open = fs::metadata(directory).is_ok_and(|found| found.mode() & 0o1777 == 0o1777);
    let is_fit = is_open
        && !system.f_flag.contains(StatVfsMountFlags::NOEXEC)
        && system.f_bavail.saturating_mul(system.f_frsize) >= bytes;
    is_fit.then_some(directory)
}
