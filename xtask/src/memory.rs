//! The directory for files in memory.

use camino::Utf8Path;

/// Returns the directory for shared memory if all users can write to it, programs can be run from
/// it, and it has this much free space.
#[cfg(target_os = "linux")]
pub(crate) fn with_room(bytes: u64) -> Option<&'static Utf8Path> {
    use std::os::unix::fs::MetadataExt as _;
    let directory = Utf8Path::new("/dev/shm");
    let system = rustix::fs::statvfs(directory.as_std_path()).ok()?;
    let is_open = std::fs::metadata(directory).is_ok_and(|found| found.mode() & 0o1777 == 0o1777);
    let is_fit = is_open
        && !system
            .f_flag
            .contains(rustix::fs::StatVfsMountFlags::NOEXEC)
        && system.f_bavail.saturating_mul(system.f_frsize) >= bytes;
    is_fit.then_some(directory)
}

/// Other systems have no such directory.
#[cfg(not(target_os = "linux"))]
pub(crate) fn with_room(_bytes: u64) -> Option<&'static Utf8Path> {
    None
}
