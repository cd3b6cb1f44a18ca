//! The cache of fetched servers: one per user, shared by all checkouts, outside of `target`.
//!
//! ```text
//! NAME/                   a complete package, which was renamed to this path
//!     MANIFEST            the hash of the archive, and the size and path of each file
//! .partial/NAME/RANDOM/   a download in progress, or left behind by a killed run
//! .lock/NAME              locked by the run that fetches NAME
//! ```
//!
//! The run that holds the lock of NAME owns `.partial/NAME` and may replace `NAME`. Lock files are
//! never removed: a run that waits for a removed file would acquire a lock without effect.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use super::{FetchError, Package};

const MANIFEST: &str = "MANIFEST";
const NAME: &str = "pg-cluster-tests";

pub(crate) struct Cache {
    root: Utf8PathBuf,
}

/// The lock of the directories of one package. It is released when the value is dropped or the
/// process exits.
pub(crate) struct PackageLock {
    _file: File,
}

/// A package that is being fetched.
pub(crate) struct Partial {
    _directory: TempDir,
    pub(crate) path: Utf8PathBuf,
}

impl Cache {
    /// Opens the cache of this user and creates it if necessary. The cache is `$PG_TESTS_CACHE`,
    /// else `$XDG_CACHE_HOME/pg-cluster-tests`, else in the platform's cache directory in `$HOME`.
    ///
    /// A server does not run as root, so root's cache must be readable by another account. If the
    /// home directory is closed to other users, as `/root` is, the system's cache directory is
    /// used.
    pub(crate) fn open() -> Result<Cache, FetchError> {
        let is_root = rustix::process::geteuid().is_root();
        let root = match absolute_from_env("PG_TESTS_CACHE") {
            Some(root) => root,
            None => default_root(is_root)?,
        };
        if is_root {
            if let Some(directory) = closed_ancestor(&root) {
                return Err(FetchError::Unreadable {
                    directory,
                    cache: root,
                });
            }
        }
        create_open_directory(&root)?;
        Ok(Cache { root })
    }

    #[cfg(test)]
    pub(crate) fn at(root: &Utf8Path) -> Cache {
        Cache {
            root: root.to_owned(),
        }
    }

    pub(crate) fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// Returns the directory of programs of a complete package.
    pub(crate) fn find(&self, package: &Package) -> Option<Utf8PathBuf> {
        let directory = self.directory(package);
        is_complete(&directory, package).then(|| directory.join(package.bin()))
    }

    /// Returns the directory of a complete package.
    pub(crate) fn directory(&self, package: &Package) -> Utf8PathBuf {
        self.root.join(package.slug())
    }

    /// Acquires the lock of a package. If another run holds it, calls `on_wait` once and waits.
    pub(crate) fn lock(
        &self,
        package: &Package,
        on_wait: impl FnOnce(),
    ) -> Result<PackageLock, FetchError> {
        let (file, path) = self.lock_file(&package.slug())?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            on_wait();
            rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
                .map_err(io::Error::from)
                .map_err(FetchError::io("lock", path))?;
        }
        Ok(PackageLock { _file: file })
    }

    /// Creates a directory for a package, which is removed when dropped. Directories left behind by
    /// killed runs are removed. The name is new, because the client of a killed run may still be
    /// writing.
    pub(crate) fn start_partial(
        &self,
        package: &Package,
        _lock: &PackageLock,
    ) -> Result<Partial, FetchError> {
        let parent = self.partial(&package.slug());
        remove_tree(&parent)?;
        create_open_directory(&parent)?;
        let directory = tempfile::tempdir_in(&parent).map_err(FetchError::io("create", &parent))?;
        let path = parent.join(
            directory
                .path()
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .as_ref(),
        );
        Ok(Partial {
            _directory: directory,
            path,
        })
    }

    /// Renames a directory within a partial one to the complete directory of the package.
    pub(crate) fn publish(
        &self,
        package: &Package,
        tree: &Utf8Path,
        _lock: &PackageLock,
    ) -> Result<(), FetchError> {
        write_manifest(tree, package)?;
        let directory = self.directory(package);
        remove_tree(&directory)?;
        fs::rename(tree, &directory).map_err(FetchError::io("create", &directory))
    }

    /// Removes the files left behind by killed runs. Active runs hold their locks.
    pub(crate) fn prune(&self) -> Result<(), FetchError> {
        let partials = self.root.join(".partial");
        let entries = match fs::read_dir(&partials) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(FetchError::io("read", partials)(error)),
        };
        for entry in entries.flatten() {
            let Ok(slug) = entry.file_name().into_string() else {
                continue;
            };
            let (file, _) = self.lock_file(&slug)?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                remove_tree(&self.partial(&slug))?;
            }
        }
        Ok(())
    }

    fn partial(&self, slug: &str) -> Utf8PathBuf {
        self.root.join(".partial").join(slug)
    }

    fn lock_file(&self, slug: &str) -> Result<(File, Utf8PathBuf), FetchError> {
        let directory = self.root.join(".lock");
        create_open_directory(&directory)?;
        let path = directory.join(slug);
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(FetchError::io("open", &path))?;
        Ok((file, path))
    }
}

/// Creates a directory and its parents, which all users can enter regardless of the umask.
pub(crate) fn create_open_directory(path: &Utf8Path) -> Result<(), FetchError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_open_directory(parent)?;
    }
    match fs::create_dir(path) {
        // Another run created it first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o755))),
    }
    .map_err(FetchError::io("create", path))
}

fn default_root(is_root: bool) -> Result<Utf8PathBuf, FetchError> {
    let in_home = absolute_from_env("XDG_CACHE_HOME").or_else(|| {
        let home = absolute_from_env("HOME")?;
        Some(home.join(if cfg!(target_os = "macos") {
            "Library/Caches"
        } else {
            ".cache"
        }))
    });
    if !is_root {
        return Ok(in_home.ok_or(FetchError::NoCache)?.join(NAME));
    }
    match in_home {
        Some(parent) if closed_ancestor(&parent).is_none() => Ok(parent.join(NAME)),
        _ if cfg!(target_os = "macos") => Ok(Utf8PathBuf::from("/Library/Caches").join(NAME)),
        _ => Ok(Utf8PathBuf::from("/var/cache").join(NAME)),
    }
}

fn absolute_from_env(name: &str) -> Option<Utf8PathBuf> {
    let path = Utf8PathBuf::from(std::env::var(name).ok()?);
    path.is_absolute().then_some(path)
}

/// Returns the first ancestor of `path` that other accounts cannot enter. Directories that do not
/// exist yet will be created open.
pub(crate) fn closed_ancestor(path: &Utf8Path) -> Option<Utf8PathBuf> {
    let mut ancestors: Vec<_> = path.ancestors().collect();
    ancestors.reverse();
    let is_closed = |path: &Utf8Path| fs::metadata(path).is_ok_and(|data| data.mode() & 0o001 == 0);
    ancestors
        .into_iter()
        .find(|path| is_closed(path))
        .map(Utf8Path::to_owned)
}

/// Compares the size of each file with the manifest. Old files may have been cleaned up, or the
/// machine may have crashed before the contents reached the disk.
fn is_complete(directory: &Utf8Path, package: &Package) -> bool {
    let Ok(manifest) = fs::read_to_string(directory.join(MANIFEST)) else {
        return false;
    };
    let mut lines = manifest.lines();
    lines.next() == Some(&package.hash.to_string())
        && lines.all(|line| {
            let Some((size, path)) = line.split_once(' ') else {
                return false;
            };
            fs::symlink_metadata(directory.join(path))
                .is_ok_and(|data| size.parse() == Ok(data.len()))
        })
}

fn write_manifest(tree: &Utf8Path, package: &Package) -> Result<(), FetchError> {
    let mut manifest = format!("{}\n", package.hash);
    let mut directories = vec![tree.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = directory
            .read_dir_utf8()
            .map_err(FetchError::io("read", &directory))?;
        for entry in entries {
            let entry = entry.map_err(FetchError::io("read", &directory))?;
            let path = entry.path();
            let data = fs::symlink_metadata(path).map_err(FetchError::io("read", path))?;
            if data.is_dir() {
                directories.push(path.to_owned());
            } else if let Ok(relative) = path.strip_prefix(tree) {
                manifest.push_str(&format!("{} {relative}\n", data.len()));
            }
        }
    }
    let path = tree.join(MANIFEST);
    File::create(&path)
        .and_then(|mut file| file.write_all(manifest.as_bytes()))
        .map_err(FetchError::io("write", &path))
}

fn remove_tree(path: &Utf8Path) -> Result<(), FetchError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FetchError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::Client;

    struct Fixture {
        _directory: TempDir,
        cache: Cache,
        package: Package,
    }

    /// Creates a cache with one complete package of one file.
    fn fixture() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::try_from(directory.path().to_owned()).unwrap();
        fs::write(root.join("archive"), "x").unwrap();
        let package = Package::made_up(Client::Npm, &root.join("archive"));
        let cache = Cache::at(&root.join("cache"));
        let lock = cache
            .lock(&package, || unreachable!("no other run uses this cache"))
            .unwrap();
        let partial = cache.start_partial(&package, &lock).unwrap();
        let tree = partial.path.join("tree");
        create_open_directory(&tree.join(package.bin())).unwrap();
        fs::write(tree.join(package.bin()).join("postgres"), "program").unwrap();
        cache.publish(&package, &tree, &lock).unwrap();
        Fixture {
            _directory: directory,
            cache,
            package,
        }
    }

    #[test]
    fn a_damaged_package_is_not_complete() {
        let damages: [fn(&Fixture, &Utf8Path); 4] = [
            |_, bin| fs::remove_file(bin.join("postgres")).unwrap(),
            |_, bin| fs::write(bin.join("postgres"), "prog").unwrap(),
            |it, _| fs::remove_file(it.cache.directory(&it.package).join(MANIFEST)).unwrap(),
            // Truncated, as by a crash.
            |it, _| fs::write(it.cache.directory(&it.package).join(MANIFEST), "").unwrap(),
        ];
        for damage in damages {
            let fixture = fixture();
            let bin = fixture.cache.find(&fixture.package).unwrap();
            assert!(bin.join("postgres").exists());
            damage(&fixture, &bin);
            assert_eq!(fixture.cache.find(&fixture.package), None);
        }
    }

    #[test]
    fn another_pin_does_not_find_the_old_archive() {
        let Fixture {
            _directory,
            cache,
            mut package,
        } = fixture();
        package.hash = crate::postgres::pins::Hash::Sha512(vec![0; 64]);
        assert_eq!(cache.find(&package), None);
    }

    #[test]
    fn pruning_removes_the_files_of_killed_runs_only() {
        let Fixture {
            _directory,
            cache,
            package,
        } = fixture();
        let partials = cache.root().join(".partial");
        let lock = cache.lock(&package, || {}).unwrap();
        let partial = cache.start_partial(&package, &lock).unwrap();
        cache.prune().unwrap();
        assert!(partial.path.exists());
        // A killed process does not run destructors. The system releases its lock.
        std::mem::forget(partial);
        drop(lock);
        cache.prune().unwrap();
        assert_eq!(partials.read_dir().unwrap().count(), 0);
        assert!(cache.find(&package).is_some());
    }

    #[test]
    fn a_closed_parent_is_found_at_any_depth() {
        let directory = tempfile::tempdir().unwrap();
        let closed = Utf8PathBuf::try_from(directory.path().join("a/closed")).unwrap();
        create_open_directory(&closed).unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let deep = closed.join("not/there/yet");
        let elsewhere = closed_ancestor(&deep);
        assert_ne!(elsewhere.as_deref(), Some(&*closed));
        fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
        assert_eq!(closed_ancestor(&deep), elsewhere.or(Some(closed)));
    }
}
