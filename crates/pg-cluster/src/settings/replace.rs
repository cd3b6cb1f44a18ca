//! Replacing a file whole: whoever reads it sees the old bytes or the new ones, whatever happens in
//! between.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};

use camino::{Utf8Path, Utf8PathBuf};

/// New content for a file, complete and durable, but not yet in its place.
///
/// It stands beside the file under one fixed name, which the caller's lock on the directory makes
/// safe: what a killed writer left there is overwritten by the next one, so that leftovers never
/// pile up.
#[derive(Debug)]
pub(super) struct Replacement {
    target: Utf8PathBuf,
    staged: Utf8PathBuf,
    committed: bool,
}

impl Replacement {
    /// Writes `content` beside `target`, with the mode and the owner of `target`, and waits until
    /// it is on disk.
    ///
    /// Fails for what is not a regular file. A symbolic link has to be resolved first.
    pub(super) fn stage(target: &Utf8Path, content: &[u8]) -> io::Result<Self> {
        let old = fs::symlink_metadata(target)?;
        // A link may lead to /dev/null, which root could replace.
        if !old.is_file() {
            let reason = "it is not a regular file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let staged = target.with_file_name(format!(".{name}.pg-cluster-new"));
        match fs::remove_file(&staged) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // `create_new` is O_EXCL: in a directory of somebody else's, a planted link is not
        // followed.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&staged)?;
        let replacement = Self {
            target: target.to_owned(),
            staged,
            committed: false,
        };
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))?;
        file.write_all(content)?;
        file.sync_all()?;
        Ok(replacement)
    }

    /// Where the new content stands until [`commit`](Self::commit).
    pub(super) fn staged(&self) -> &Utf8Path {
        &self.staged
    }

    /// Puts the new content into its place, and waits until the directory is on disk.
    pub(super) fn commit(mut self) -> io::Result<()> {
        fs::rename(&self.staged, &self.target)?;
        self.committed = true;
        match self.target.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.committed {
            let _ = fs::remove_file(&self.staged);
        }
    }
}
