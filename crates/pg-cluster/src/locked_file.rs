//! A configuration file that nobody else edits meanwhile, and that is replaced as a whole.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::{
    Account, Deadline, Directory, DirectoryLock, Entry, ForeignLink, LockError, Replacement,
};

use crate::Cluster;

/// How long to wait for other editors of the same file.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
/// Ends the name of the new content while it stands beside the old one.
const SUFFIX: &str = ".pg-cluster-new";
/// How long the file may be: what a [`Resolver`](pgconf_parse::Resolver) reads at most.
const MAX_TEXT: u64 = 16 << 20;

/// An open file and the lock of its directory.
///
/// Everything is done in this directory, with this file: in a directory of another account, a path
/// may lead elsewhere at each look.
pub(crate) struct LockedFile {
    entry: Entry,
    file: File,
    _lock: DirectoryLock,
}

/// Why a file was not opened for a change.
pub(crate) enum Refused {
    /// The file or its directory cannot be read.
    Read(io::Error),
    /// A link, or a setting, leads to this file, and the file's owner did not make it.
    ForeignLink(Utf8PathBuf),
    /// The directory cannot be locked.
    Lock(LockError),
    /// The path leads to something else, such as the null device.
    NotAFile(io::Error),
}

impl LockedFile {
    /// Opens the file of this path and locks the directory that it is in.
    pub(crate) fn acquire(cluster: &Cluster, path: &Utf8Path) -> Result<Self, Refused> {
        let entry = Entry::find(path).map_err(of_reading)?;
        let directory = entry.parent().map_err(of_reading)?;
        let place = lossy(entry.path().parent().unwrap_or(Path::new("/")));
        let lock = DirectoryLock::acquire_held(&directory, place, Deadline::after(LOCK_PATIENCE))
            .map_err(Refused::Lock)?;
        let file = entry.open_file().map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => Refused::NotAFile(error),
            _ => of_reading(error),
        })?;
        require_leave_of_server(cluster, path, &entry, &file)?;
        Ok(Self {
            entry,
            file,
            _lock: lock,
        })
    }

    /// The content that the file had when it was opened.
    pub(crate) fn read(&self) -> io::Result<Vec<u8>> {
        pg_proc::read_all(&self.file, MAX_TEXT)
    }

    /// Writes other content beside the file, with the file's owner and mode.
    pub(crate) fn stage(&self, content: &[u8]) -> io::Result<Replacement> {
        Replacement::stage(&self.entry, &self.file, SUFFIX, content)
    }
}

/// A server's command line or configuration can name any file. Neither may make root change a file
/// of another user, no more than a link in the data directory may.
fn require_leave_of_server(
    cluster: &Cluster,
    path: &Utf8Path,
    entry: &Entry,
    file: &File,
) -> Result<(), Refused> {
    let given = cluster.given_config_file().and_then(Utf8Path::parent);
    let directory = path.parent();
    if directory == Some(cluster.data_directory()) || given.is_some() && directory == given {
        return Ok(());
    }
    let look = || {
        let server = Directory::open(cluster.data_directory())?.owner()?;
        Ok((server, file.metadata()?.uid()))
    };
    let (server, owner) = look().map_err(Refused::Read)?;
    let is_ours = Account::current_uid() == server;
    match server == 0 || server == owner || is_ours {
        true => Ok(()),
        false => Err(Refused::ForeignLink(lossy(entry.path()))),
    }
}

fn of_reading(error: io::Error) -> Refused {
    match ForeignLink::of(&error) {
        Some(link) => Refused::ForeignLink(link.leads_to().to_owned()),
        None => Refused::Read(error),
    }
}

pub(crate) fn lossy(path: &Path) -> Utf8PathBuf {
    path.to_string_lossy().into_owned().into()
}
