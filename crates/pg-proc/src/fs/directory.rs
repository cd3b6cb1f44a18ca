//! A directory held open, so that no link can lead elsewhere.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use camino::Utf8Path;
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use super::entry::Entry;
use super::walk::Walk;

/// A directory that is held open: what is done here is done in this directory, whatever is put at
/// its path meanwhile.
///
/// Names are those of entries, without a slash.
#[derive(Debug)]
pub struct Directory(File);

impl Directory {
    /// Opens the directory that a path names. Each component of the path is held open while the
    /// next one is examined. A link is followed only if root, the caller or the owner of its target
    /// made it.
    ///
    /// # Errors
    ///
    /// Fails if the directory cannot be opened, the path is not a directory, or a link on it is a
    /// [`ForeignLink`](crate::ForeignLink).
    pub fn open(path: impl AsRef<Utf8Path>) -> io::Result<Self> {
        let path = path.as_ref().as_std_path();
        Self::again(&Walk::from_current_directory().directory(path)?)
    }

    pub(crate) fn again(directory: &impl AsFd) -> io::Result<Self> {
        Self::in_directory(directory.as_fd(), OsStr::new("."))
    }

    pub(super) fn in_directory(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened: OwnedFd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
        Ok(Self(opened.into()))
    }

    /// Opens the directory that a path names, and makes it if it is missing. Its parent directory
    /// has to exist. Only its owner can enter the new directory.
    ///
    /// # Errors
    ///
    /// Fails as [`open`](Self::open) does, or if the system refuses to make the directory.
    pub fn create(path: impl AsRef<Utf8Path>) -> io::Result<MadeDirectory> {
        let mut made = Vec::new();
        let directory = create(path.as_ref(), &mut made)?;
        Ok(MadeDirectory { directory, made })
    }

    /// Opens the directory that a path names, and makes it, with its parents, if it is missing.
    /// Only the owner can enter the new directories, unless a mode is given for the parents. The
    /// umask does not change the mode.
    ///
    /// # Errors
    ///
    /// Fails as [`open`](Self::open) does, or if the system refuses to make a directory. The
    /// directories that were made before that stay.
    pub fn create_all(
        path: impl AsRef<Utf8Path>,
        parents: Option<u32>,
    ) -> io::Result<MadeDirectory> {
        let mut made = Vec::new();
        let directory = create_all(path.as_ref(), parents, &mut made)?;
        Ok(MadeDirectory { directory, made })
    }

    /// Opens one of its directories, but no link to one.
    ///
    /// # Errors
    ///
    /// Fails if the directory cannot be opened, or is not a directory.
    pub fn subdirectory(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        Self::in_directory(self.0.as_fd(), name.as_ref())
    }

    /// Opens one of its directories, or the directory to which a link in it leads, by the rule of
    /// [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// Fails as [`open`](Self::open) does.
    pub fn follow(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        let mut walk = Walk::from(self.0.as_fd());
        Self::again(&walk.directory(Path::new(name.as_ref()))?)
    }

    /// Finds what an entry, or the link of that name, leads to.
    ///
    /// # Errors
    ///
    /// Fails as [`Entry::find`] does.
    pub fn entry(&self, name: impl AsRef<OsStr>) -> io::Result<Entry> {
        Entry::find_in(&self.0, name.as_ref())
    }

    /// Returns whether there is an entry of this name.
    ///
    /// # Errors
    ///
    /// Fails if the directory cannot be searched.
    pub fn contains(&self, name: impl AsRef<OsStr>) -> io::Result<bool> {
        match rustix::fs::statat(&self.0, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Returns whether the other one is the same directory.
    ///
    /// # Errors
    ///
    /// Fails if the system refuses.
    pub fn is_same(&self, other: &Self) -> io::Result<bool> {
        let (this, other) = (self.0.metadata()?, other.0.metadata()?);
        Ok((this.dev(), this.ino()) == (other.dev(), other.ino()))
    }

    /// Makes a directory in it, which only its owner can enter.
    ///
    /// # Errors
    ///
    /// Fails if a file of this name exists, or the system refuses.
    pub fn make(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        rustix::fs::mkdirat(&self.0, name.as_ref(), Mode::RWXU)?;
        self.subdirectory(name)
    }

    /// Opens one of its regular files for reading, but no link to one. A pipe is not waited for.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be opened, or is not a regular file
    /// ([`InvalidInput`](io::ErrorKind::InvalidInput)).
    pub fn open_file(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let flags = flags | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.0, name.as_ref(), flags, Mode::empty())?;
        let file = File::from(opened);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is not a regular file",
            )),
        }
    }

    /// Makes a file in it, for writing, which only its owner may read.
    ///
    /// # Errors
    ///
    /// Fails if a file or a link of this name exists, or the system refuses.
    pub fn create_file(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let flags = flags | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(rustix::fs::openat(&self.0, name.as_ref(), flags, mode)?.into())
    }

    /// The names of what is in it, in any order.
    ///
    /// # Errors
    ///
    /// Fails if the directory cannot be read.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// The ID of the user to whom it belongs.
    ///
    /// # Errors
    ///
    /// Fails if the system refuses.
    pub fn owner(&self) -> io::Result<u32> {
        Ok(self.0.metadata()?.uid())
    }

    /// The open directory itself, as for its mode, its owner, and to write it to disk.
    pub fn as_file(&self) -> &File {
        &self.0
    }

    /// Moves an entry into another directory of the same file system, over what is there.
    ///
    /// # Errors
    ///
    /// Fails if the entry does not exist, or the system refuses.
    pub fn move_to(&self, name: impl AsRef<OsStr>, other: &Self) -> io::Result<()> {
        let name = name.as_ref();
        Ok(rustix::fs::renameat(&self.0, name, &other.0, name)?)
    }

    pub(super) fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes an entry: a directory with all its contents. Links are not followed. A missing entry
    /// is not an error, because another process may be removing the same directory.
    ///
    /// # Errors
    ///
    /// Fails if an entry cannot be removed. The entries before it in the order have been removed.
    pub fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = name.as_ref();
        let refused = match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // For a directory, Linux returns the first of these errors, and POSIX specifies the
            // second.
            Err(errno @ (Errno::ISDIR | Errno::PERM)) => errno,
            Err(errno) => return Err(errno.into()),
        };
        let directory = match self.subdirectory(name) {
            Ok(directory) => directory,
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Err(refused.into()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        for name in directory.names()? {
            directory.remove(name)?;
        }
        match rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// A directory, and the directories that had to be made for it.
#[derive(Debug)]
pub struct MadeDirectory {
    directory: Directory,
    /// From the top down.
    made: Vec<Entry>,
}

impl MadeDirectory {
    /// The directory.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Returns whether the directory itself was made.
    pub fn is_new(&self) -> bool {
        !self.made.is_empty()
    }

    /// Takes over from an earlier attempt at the same path what that one had made.
    pub fn adopt(&mut self, earlier: Self) {
        self.made.splice(0..0, earlier.made);
    }

    /// Removes the directories that were made, from the bottom up, as long as they are empty. Other
    /// processes may have put files into the parents meanwhile.
    ///
    /// # Errors
    ///
    /// Fails if a directory is not empty, or the system refuses. The directories above it stay.
    pub fn remove(&self) -> io::Result<()> {
        for entry in self.made.iter().rev() {
            match entry.remove_empty_directory() {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(())
    }
}

fn create_all(
    path: &Utf8Path,
    parents: Option<u32>,
    made: &mut Vec<Entry>,
) -> io::Result<Directory> {
    match Directory::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    // The topmost is made first.
    if let Some(parent) = path.parent().filter(|parent| *parent != "") {
        let before = made.len();
        let parent = create_all(parent, parents, made)?;
        if let (Some(mode), true) = (parents, made.len() > before) {
            parent.0.set_permissions(Permissions::from_mode(mode))?;
        }
    }
    create(path, made)
}

/// A dangling link is refused: the account that made it would choose the place of the new file.
fn create(path: &Utf8Path, made: &mut Vec<Entry>) -> io::Result<Directory> {
    let entry = Entry::named(path)?;
    match entry.make_directory()? {
        Some(directory) => {
            made.push(entry);
            Ok(directory)
        }
        None => Directory::open(path),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// The path leads somewhere else by the time something is done.
    #[test]
    fn a_replaced_directory_is_not_removed() {
        let room = tempfile::tempdir().unwrap();
        let path = |name: &str| Utf8Path::from_path(room.path()).unwrap().join(name);
        for name in ["held", "held/sub", "held/sub/sub", "other", "other/sub"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("file"), name).unwrap();
        }
        symlink(path("other"), path("held/sub/link")).unwrap();
        let held = Directory::open(path("held")).unwrap();
        fs::rename(path("held"), path("aside")).unwrap();
        symlink(path("other"), path("held")).unwrap();
        assert!(held.subdirectory("file").is_err());

        held.make("new").unwrap();
        held.move_to("file", &held.subdirectory("new").unwrap())
            .unwrap();
        assert_eq!(fs::read(path("aside/new/file")).unwrap(), b"held");
        held.remove("sub").unwrap();
        held.remove("sub").unwrap();

        use std::io::Write as _;
        held.create_file("made").unwrap().write_all(b"x").unwrap();
        assert_eq!(fs::read(path("aside/made")).unwrap(), b"x");
        symlink(path("other/file"), path("aside/link")).unwrap();
        for name in ["link", "new", "nothing"] {
            assert!(held.open_file(name).is_err(), "{name}");
        }
        assert!(held.open_file("made").is_ok());
        for name in ["link", "made"] {
            assert!(held.create_file(name).is_err(), "{name}");
            held.remove(name).unwrap();
        }
        assert_eq!(held.names().unwrap(), ["new"]);
        assert_eq!(fs::read(path("other/sub/file")).unwrap(), b"other/sub");
        assert_eq!(fs::read(path("other/file")).unwrap(), b"other");
    }
}
