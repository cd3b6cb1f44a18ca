//! The directory of templates.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::{Account, Deadline, DirectoryLock, TryLock};

use super::manifest::{Manifest, Stamp};
use super::{Key, Template, pack, unpack};
use crate::error::{TempErrorKind, at};
use crate::storage;
use pg_cluster::ClusterError;

/// Names the directory of the cache.
pub(crate) const CACHE_VARIABLE: &str = "PG_CLUSTER_CACHE";
const KEY: &str = "key";
const MANIFEST: &str = "manifest";
/// Templates that nobody has used for so long are removed.
const UNUSED: Duration = Duration::from_secs(30 * 86_400);
/// At most this many are kept.
const MOST: usize = 50;
/// How old the note of a template's last use may get before it is renewed.
const NOTE: Duration = Duration::from_secs(3600);

/// Where the templates are.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    directory: Utf8PathBuf,
}

impl Cache {
    /// Opens the cache, whose directories are made if need be: `$PG_CLUSTER_CACHE`, else
    /// `pg-cluster` in `$XDG_CACHE_HOME`, else in `~/.cache`, on macOS in `~/Library/Caches`; else,
    /// since the accounts of services and containers often have no home where they may write,
    /// `pg-cluster-UID` in the directory for temporary files.
    pub(crate) fn open(given: Option<&Utf8Path>) -> Result<Self, TempErrorKind> {
        if let Some(named) = given.map(Utf8Path::to_owned).or_else(named_directory) {
            return Self::open_at(named);
        }
        match home_directory().map(Self::open_at) {
            Some(Err(TempErrorKind::File(..))) | None => Self::open_at(temporary_directory()?),
            Some(opened) => opened,
        }
    }

    fn open_at(top: Utf8PathBuf) -> Result<Self, TempErrorKind> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        let directory = top.join("templates");
        for path in [&top, &directory, &top.join("building")] {
            builder.create(path).map_err(at(path))?;
            require_private(path)?;
        }
        Ok(Self { directory: top })
    }

    pub(crate) fn directory(&self) -> &Utf8Path {
        &self.directory
    }

    fn template(&self, key: &Key) -> Utf8PathBuf {
        self.directory.join("templates").join(key.name())
    }

    /// The template of this key, if there is a sound one.
    pub(crate) fn find(&self, key: &Key) -> Option<Template> {
        let directory = self.template(key);
        if fs::read_to_string(directory.join(KEY)).ok()? != key.text() {
            return None;
        }
        let path = directory.join(MANIFEST);
        let mut manifest = Manifest::parse(&fs::read_to_string(&path).ok()?)?;
        let pack = File::open(directory.join(pack::PACK)).ok()?;
        let info = pack.metadata().ok()?;
        if !manifest
            .entries
            .iter()
            .all(|entry| unpack::is_safe(&entry.path))
        {
            return None;
        }
        if info.len() != manifest.stamp.size {
            return None;
        }
        let changed = Stamp::changed(&info);
        if changed != manifest.stamp.changed {
            let again = File::open(directory.join(pack::PACK)).ok()?;
            if pack::hash(again).ok()? != manifest.stamp.hash {
                return None;
            }
            manifest.stamp.changed = changed;
            let _ = replace(&path, manifest.to_text().as_bytes());
        }
        note_use(&directory);
        let first_of_databases = manifest
            .entries
            .partition_point(|entry| !entry.is_of_database());
        Some(Template {
            directory,
            manifest,
            pack,
            first_of_databases,
            can_reflink: AtomicBool::new(true),
        })
    }

    /// The template of this key; if there is none, or only a damaged one, it is built by whoever
    /// comes first, while others wait.
    ///
    /// `fill` makes a data directory, and hands it to the function that it is given.
    pub(crate) fn find_or_build(
        &self,
        key: &Key,
        fill: impl Fn(&dyn Fn(&Utf8Path) -> Result<(), TempErrorKind>) -> Result<(), TempErrorKind>,
    ) -> Result<Template, TempErrorKind> {
        if let Some(template) = self.find(key) {
            return Ok(template);
        }
        let _building = self.lock(key)?;
        if let Some(template) = self.find(key) {
            return Ok(template);
        }
        self.prune();
        fill(&|data| self.store(key, data))?;
        self.find(key).ok_or_else(|| {
            let path = self.template(key);
            at(path)(io::ErrorKind::InvalidData.into())
        })
    }

    /// Takes a template that was found to be damaged while it was cloned out of the way.
    pub(crate) fn discard(&self, key: &Key) -> Result<(), TempErrorKind> {
        let _building = self.lock(key)?;
        let _ = fs::remove_file(self.template(key).join(KEY));
        Ok(())
    }

    fn workshop(&self, key: &Key) -> Utf8PathBuf {
        self.directory.join("building").join(key.name())
    }

    fn lock(&self, key: &Key) -> Result<DirectoryLock, TempErrorKind> {
        let workshop = self.workshop(key);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&workshop)
            .map_err(at(&workshop))?;
        DirectoryLock::acquire(&workshop, Deadline::never()).map_err(TempErrorKind::Lock)
    }

    /// Packs a data directory, and moves it into place whole. The lock is held.
    fn store(&self, key: &Key, data: &Utf8Path) -> Result<(), TempErrorKind> {
        let workshop = self.workshop(key);
        clear(&workshop).map_err(at(&workshop))?;
        let stage = workshop.join("stage");
        DirBuilder::new()
            .mode(0o700)
            .create(&stage)
            .map_err(at(&stage))?;
        let manifest = pack::pack(data, &stage)?;
        let write = || {
            write_synced(&stage.join(KEY), key.text().as_bytes())?;
            write_synced(&stage.join(MANIFEST), manifest.to_text().as_bytes())?;
            File::open(&stage)?.sync_all()?;
            let place = self.template(key);
            match fs::rename(&place, workshop.join("old")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs::rename(&stage, &place)?;
            File::open(self.directory.join("templates"))?.sync_all()?;
            clear(&workshop)
        };
        write().map_err(at(&stage))
    }

    /// Removes templates that nobody has used for long, the least recently used ones of too many,
    /// and what dead builders have left. Failing at that is no reason to fail.
    fn prune(&self) {
        let mut templates = used(&self.directory.join("templates"));
        templates.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
        for (index, (used, path)) in templates.iter().enumerate() {
            let is_old = used.elapsed().is_ok_and(|age| age > UNUSED);
            if (is_old || index >= MOST)
                && path.join(KEY).is_file()
                && path.join(MANIFEST).is_file()
            {
                let _ = fs::remove_file(path.join(KEY));
                let _ = fs::remove_dir_all(path);
            }
        }
        for (_, path) in used(&self.directory.join("building")) {
            if let Ok(TryLock::Acquired(_lock)) = DirectoryLock::try_acquire(&path) {
                // The directory stays: somebody may be about to lock it.
                let _ = clear(&path);
            }
        }
    }
}

/// Directories in a directory of ours that have names like ours, with the time of their last use.
fn used(directory: &Utf8Path) -> Vec<(SystemTime, Utf8PathBuf)> {
    let Ok(entries) = directory.read_dir_utf8() else {
        return Vec::new();
    };
    let ours = entries.flatten().filter(|entry| {
        let name = entry.file_name();
        name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    ours.filter_map(|entry| {
        let path = entry.path();
        let note = fs::metadata(path.join("used"))
            .or_else(|_| fs::metadata(path))
            .ok()?;
        Some((note.modified().ok()?, path.to_owned()))
    })
    .collect()
}

fn note_use(directory: &Utf8Path) {
    let path = directory.join("used");
    let is_fresh = fs::metadata(&path)
        .and_then(|info| info.modified())
        .is_ok_and(|time| time.elapsed().is_ok_and(|age| age < NOTE));
    if !is_fresh {
        let _ = fs::write(path, "");
    }
}

/// Empties a workshop: all that is in there is made by us.
fn clear(workshop: &Utf8Path) -> io::Result<()> {
    for name in ["stage", "old"] {
        match fs::remove_dir_all(workshop.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn write_synced(path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn replace(path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension(crate::root::random_name());
    write_synced(&fresh, bytes)?;
    fs::rename(fresh, path)
}

fn require_private(path: &Utf8Path) -> Result<(), TempErrorKind> {
    let found = fs::symlink_metadata(path).map_err(at(path))?;
    let user = Account::current().map(|account| account.uid());
    let is_ours = user.is_ok_and(|user| user == found.uid());
    if !is_ours || !found.is_dir() || found.mode() & 0o022 != 0 {
        return Err(TempErrorKind::NotPrivate {
            path: path.to_owned(),
            owner: found.uid(),
            mode: found.mode() & 0o7777,
        });
    }
    Ok(())
}

/// What the environment asks for, and no other will do.
fn named_directory() -> Option<Utf8PathBuf> {
    variable(CACHE_VARIABLE).or_else(|| Some(variable("XDG_CACHE_HOME")?.join("pg-cluster")))
}

fn home_directory() -> Option<Utf8PathBuf> {
    let account = || Account::current().ok()?.home().map(Utf8Path::to_owned);
    let caches = if cfg!(target_os = "macos") {
        "Library/Caches"
    } else {
        ".cache"
    };
    let home = variable("HOME").or_else(account)?;
    Some(home.join(caches).join("pg-cluster"))
}

/// Somebody else may have made a directory of this name, which is then refused as not private.
fn temporary_directory() -> Result<Utf8PathBuf, TempErrorKind> {
    let account =
        Account::current().map_err(|error| TempErrorKind::Cluster(ClusterError::Account(error)))?;
    Ok(storage::disk(None).join(format!("pg-cluster-{}", account.uid())))
}

fn variable(name: &str) -> Option<Utf8PathBuf> {
    let path = env::var(name).ok().map(Utf8PathBuf::from);
    path.filter(|path| path.is_absolute())
}
