//! Directories of temporary clusters: made, marked, guarded.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown,
};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::{Account, Directory, DirectoryGuard, DirectoryLock, GuardOptions, TryLock};

use crate::error::{TempErrorKind, at};
use crate::storage::{self, is_fit_for_sockets};

/// Begins the name of every directory of ours.
pub(crate) const PREFIX: &str = "pgt-";
/// A directory with a file of this name that contains [`MARKER_TEXT`] may be removed.
pub(crate) const MARKER: &str = ".pg-cluster-temporary";
/// The subdirectory with the server's sockets.
const SOCKETS: &str = "s";
const MARKER_TEXT: &[u8] = b"This directory is removed when the program that made it ends.\n";
/// The mode of a directory between its creation and its marker: nobody else makes a private
/// directory sticky.
const UNMARKED: u32 = 0o1700;

/// A directory of ours, locked for as long as this value lives, so that others can tell that it is
/// in use. Until a guard watches it, dropping this removes it.
#[derive(Debug)]
pub(crate) struct Root {
    path: Utf8PathBuf,
    is_guarded: bool,
    _lock: DirectoryLock,
}

impl Root {
    /// Makes a directory with a short, fresh name.
    ///
    /// Under root it stays root's, so that the server's account can touch nothing but its own
    /// directories below.
    pub(crate) fn create(
        storage: &Utf8Path,
        account: Option<&Account>,
    ) -> Result<Self, TempErrorKind> {
        let path = fresh_directory(storage).map_err(at(storage))?;
        Self::mark(&path, account)
            .map_err(at(&path))
            .inspect_err(|_| {
                let _ = remove(&path);
            })
    }

    fn mark(path: &Utf8Path, account: Option<&Account>) -> io::Result<Self> {
        // Who looks for remains may hold it for a moment.
        let lock =
            DirectoryLock::acquire(path, Duration::from_secs(1)).map_err(io::Error::other)?;
        let marker = path.join(MARKER);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(marker)?
            .write_all(MARKER_TEXT)?;
        let mode = if account.is_some() { 0o711 } else { 0o700 };
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        Ok(Self {
            path: path.to_owned(),
            is_guarded: false,
            _lock: lock,
        })
    }

    pub(crate) fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Has these directories removed when the guard is dropped or this process exits, in whatever
    /// way, and whatever else the options say.
    pub(crate) fn guard<'a>(
        roots: impl IntoIterator<Item = &'a mut Self>,
        options: GuardOptions,
    ) -> Result<DirectoryGuard, TempErrorKind> {
        let roots: Vec<&mut Self> = roots.into_iter().collect();
        let guard = roots
            .iter()
            .fold(options, |options, root| {
                options.remove_marked(&root.path, MARKER)
            })
            .guard()
            .map_err(TempErrorKind::Guard)?;
        for root in roots {
            root.is_guarded = true;
        }
        Ok(guard)
    }

    /// A private subdirectory of the account.
    pub(crate) fn subdirectory(
        &self,
        name: &str,
        account: Option<&Account>,
    ) -> Result<Utf8PathBuf, TempErrorKind> {
        let path = self.path.join(name);
        private_directory(&path, account).map_err(at(&path))?;
        Ok(path)
    }

    /// Makes the directory the caller's: nothing of ours will remove it.
    pub(crate) fn give_away(&self) -> io::Result<()> {
        fs::remove_file(self.path.join(MARKER))
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if !self.is_guarded {
            let _ = remove(&self.path);
        }
    }
}

/// Removes a directory of ours. The marker goes last: what is not finished now is found again.
pub(crate) fn remove(path: &Utf8Path) -> io::Result<()> {
    let root = Directory::open(path)?;
    for name in root.names()? {
        if name != MARKER {
            root.remove(name)?;
        }
    }
    root.remove(MARKER)?;
    fs::remove_dir(path)
}

/// Where the sockets of a server are: in its root, or in a root of their own if the path of that
/// one cannot be that of a socket.
#[derive(Debug)]
pub(crate) struct SocketDirectory {
    path: Utf8PathBuf,
    root: Option<Root>,
}

impl SocketDirectory {
    pub(crate) fn make(root: &Root, account: Option<&Account>) -> Result<Self, TempErrorKind> {
        if is_fit_for_sockets(root.path()) {
            let path = root.subdirectory(SOCKETS, account)?;
            return Ok(Self { path, root: None });
        }
        let mut outcome = None;
        for storage in storage::short() {
            let made = Root::create(&storage, account)
                .and_then(|root| Ok((root.subdirectory(SOCKETS, account)?, root)));
            match outcome.insert(made) {
                Err(TempErrorKind::File(..)) => {}
                _ => break,
            }
        }
        let (path, root) = outcome
            .unwrap_or_else(|| Err(TempErrorKind::Option("there is no storage".to_owned())))?;
        Ok(Self {
            path,
            root: Some(root),
        })
    }

    pub(crate) fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Its own root, where it has one.
    pub(crate) fn root(&mut self) -> Option<&mut Root> {
        self.root.as_mut()
    }

    /// The path, and its own root, where it has one.
    pub(crate) fn into_parts(self) -> (Utf8PathBuf, Option<Root>) {
        (self.path, self.root)
    }
}

/// A directory that only its owner, the account, can enter.
pub(crate) fn private_directory(path: &Utf8Path, account: Option<&Account>) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    match account {
        Some(account) => chown(path, Some(account.uid()), Some(account.gid())),
        None => Ok(()),
    }
}

fn fresh_directory(parent: &Utf8Path) -> io::Result<Utf8PathBuf> {
    loop {
        let path = parent.join(format!("{PREFIX}{}", random_name()));
        match DirBuilder::new().mode(UNMARKED).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => return Ok(path),
        }
    }
}

/// Eight characters from the randomness that std keeps for hash maps; names need to be fresh, not
/// secret.
pub(crate) fn random_name() -> String {
    let mut bits = RandomState::new().build_hasher().finish();
    let letter = |_| {
        let digit = u32::try_from(bits % 36).unwrap_or_default();
        bits /= 36;
        char::from_digit(digit, 36).unwrap_or('0')
    };
    (0..8).map(letter).collect()
}

/// The state of a directory whose maker has exited.
pub(crate) enum Remains {
    /// Not ours, or in use.
    None,
    /// Marked by us; locked now against others who would remove it.
    Marked(DirectoryLock),
    /// Made, but its maker did not live to mark it: it is empty.
    Unmarked,
}

/// Looks at a directory that has a name like ours. Only what belongs to this user is looked at at
/// all.
pub(crate) fn remains(path: &Utf8Path, user: u32) -> io::Result<Remains> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() || found.uid() != user {
        return Ok(Remains::None);
    }
    let TryLock::Acquired(lock) = DirectoryLock::try_acquire(path).map_err(io::Error::other)?
    else {
        return Ok(Remains::None);
    };
    if has_marker(path, user)? {
        return Ok(Remains::Marked(lock));
    }
    let is_old = found
        .modified()?
        .elapsed()
        .is_ok_and(|age| age.as_secs() > 10);
    if found.mode() & 0o7777 == UNMARKED && is_old {
        return Ok(Remains::Unmarked);
    }
    Ok(Remains::None)
}

/// Returns whether the marker exists, is a file of this user, and has the expected text.
fn has_marker(path: &Utf8Path, user: u32) -> io::Result<bool> {
    let marker = path.join(MARKER);
    match fs::symlink_metadata(&marker) {
        Ok(found) if found.is_file() && found.uid() == user => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    let file = pg_proc::open_regular_file(&marker)?;
    Ok(pg_proc::read_all(&file, 200)? == MARKER_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_had_a_guard_goes_with_its_value() {
        let room = tempfile::tempdir().unwrap();
        let room = Utf8Path::from_path(room.path()).unwrap();
        let root = Root::create(room, None).unwrap();
        fs::write(root.subdirectory("data", None).unwrap().join("file"), "").unwrap();
        drop(root);
        assert_eq!(fs::read_dir(room).unwrap().count(), 0);
    }

    #[test]
    fn only_marked_directories_of_the_dead_are_remains() {
        let room = tempfile::tempdir().unwrap();
        let room = Utf8Path::from_path(room.path()).unwrap();
        let user = fs::metadata(room).unwrap().uid();
        let mut root = Root::create(room, None).unwrap();
        // As one whose guard was killed with its maker.
        root.is_guarded = true;
        let path = root.path().to_owned();
        assert!(
            matches!(remains(&path, user).unwrap(), Remains::None),
            "in use"
        );
        assert!(
            matches!(remains(&path, user + 1).unwrap(), Remains::None),
            "somebody else's"
        );
        drop(root);
        assert!(matches!(remains(&path, user).unwrap(), Remains::Marked(_)));
        fs::write(path.join(MARKER), "something else").unwrap();
        assert!(
            matches!(remains(&path, user).unwrap(), Remains::None),
            "not our marker"
        );
        fs::remove_file(path.join(MARKER)).unwrap();
        assert!(
            matches!(remains(&path, user).unwrap(), Remains::None),
            "no marker"
        );
    }
}
