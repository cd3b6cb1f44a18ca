//! A directory held open, so that no link can lead elsewhere.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use camino::Utf8Path;
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use rustix::io::Errno;

/// A directory that is held open: what is done here is done in it, whatever somebody puts at its
/// path meanwhile.
///
/// Names are those of entries, without a slash.
#[derive(Debug)]
pub struct Directory(File);

impl Directory {
    /// Opens a directory, but no link to one.
    ///
    /// # Errors
    ///
    /// It cannot be opened, or is something else.
    pub fn open(path: impl AsRef<Utf8Path>) -> io::Result<Self> {
        open_at(
            CWD,
            path.as_ref().as_std_path().as_os_str(),
            OFlags::NOFOLLOW,
        )
    }

    pub(crate) fn again(file: &File) -> io::Result<Self> {
        open_at(file, OsStr::new("."), OFlags::empty())
    }

    /// Opens one of its directories.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn subdirectory(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        open_at(&self.0, name.as_ref(), OFlags::NOFOLLOW)
    }

    /// Opens one of its directories, or the directory to which a link in it leads.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn follow(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        open_at(&self.0, name.as_ref(), OFlags::empty())
    }

    /// Makes a directory in it, which nobody but its owner can enter.
    ///
    /// # Errors
    ///
    /// There is something of this name, or the system refuses.
    pub fn make(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        rustix::fs::mkdirat(&self.0, name.as_ref(), Mode::RWXU)?;
        self.subdirectory(name)
    }

    /// Opens one of its regular files for reading, but no link to one. A pipe is not waited for.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, or is not a regular file
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

    /// Makes a file in it, for writing, which nobody but its owner may read.
    ///
    /// # Errors
    ///
    /// If there is anything of this name, a link included, or the system refuses.
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
    /// It cannot be read.
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

    /// The number of the user to whom it belongs.
    ///
    /// # Errors
    ///
    /// The system refuses.
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
    /// There is no such entry, or the system refuses.
    pub fn move_to(&self, name: impl AsRef<OsStr>, other: &Self) -> io::Result<()> {
        let name = name.as_ref();
        Ok(rustix::fs::renameat(&self.0, name, &other.0, name)?)
    }

    /// Removes an entry, a directory with all that is in it. Links are not followed. One that is
    /// not there is no error: somebody else may be removing the same.
    ///
    /// # Errors
    ///
    /// Something cannot be removed. What stood before it in the order is gone.
    pub fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = name.as_ref();
        let refused = match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // Of a directory Linux says the one, and POSIX the other.
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

fn open_at(parent: impl std::os::fd::AsFd, name: &OsStr, flags: OFlags) -> io::Result<Directory> {
    let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened: OwnedFd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    Ok(Directory(opened.into()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// The path leads somewhere else by the time something is done.
    #[test]
    fn what_took_its_place_is_left_alone() {
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
        assert!(Directory::open(path("held")).is_err());
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
