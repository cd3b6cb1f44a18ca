//! Replacing a file whole: a reader sees the old bytes or the new ones, whatever happens in
//! between.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

use super::directory::Directory;
use super::entry::Entry;

/// New content for a file, complete and durable, but not yet in its place.
///
/// It stands beside the file under one fixed name, which a [lock](crate::DirectoryLock) of the
/// directory makes safe: what a killed writer left there is overwritten by the next one, so
/// leftovers never pile up. Reading the old content, writing the new one and putting it into its
/// place all happen in the same directory, which is held open.
#[derive(Debug)]
pub struct Replacement {
    directory: Directory,
    name: OsString,
    staged: OsString,
    path: PathBuf,
    committed: bool,
}

impl Replacement {
    /// Writes what is to replace the content of `file`, which was [opened](Entry::open_file) from
    /// `entry`, beside it, with the mode, the owner and the group of `file`. `suffix` makes the
    /// name of the new file; a dot is put before it. Returns when the content is on disk.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written, or cannot be given that owner, group and mode. The new
    /// file is then removed.
    pub fn stage(entry: &Entry, file: &File, suffix: &str, content: &[u8]) -> io::Result<Self> {
        let old = file.metadata()?;
        let mut staged = OsString::from(".");
        staged.push(entry.name());
        staged.push(suffix);
        let directory = entry.parent()?;
        directory.remove_file(&staged)?;
        // O_EXCL does not follow a link.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut file: File = rustix::fs::openat(directory.as_file(), &staged, flags, mode)?.into();
        let replacement = Self {
            directory,
            name: entry.name().to_owned(),
            path: entry.path().with_file_name(&staged),
            staged,
            committed: false,
        };
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
        file.write_all(content)?;
        file.sync_all()?;
        Ok(replacement)
    }

    /// The path of the new content until [`commit`](Self::commit), for programs that are to read
    /// it.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Puts the new content into its place, and waits until the directory is on disk.
    ///
    /// # Errors
    ///
    /// Fails if the system refuses. The old content is then still in place, unless the only failure
    /// was to write the directory to disk.
    pub fn commit(mut self) -> io::Result<()> {
        let directory = self.directory.as_file();
        rustix::fs::renameat(directory, &self.staged, directory, &self.name)?;
        self.committed = true;
        directory.sync_all()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.committed {
            let _ = self.directory.remove_file(&self.staged);
        }
    }
}
