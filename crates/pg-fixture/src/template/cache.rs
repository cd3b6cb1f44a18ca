//! The directory of templates.

use std::env;
use std::fs::DirBuilder;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::{Account, Directory, DirectoryLock, TryLock};

use super::manifest::{Manifest, Stamp};
use super::{Key, Made, Template, pack, unpack};
use crate::error::{TempErrorKind, at};
use crate::root::random_name;
use crate::storage;

/// Names the directory of the cache.
pub(crate) const CACHE_VARIABLE: &str = "PG_CLUSTER_CACHE";
const TEMPLATES: &str = "templates";
const BUILDING: &str = "building";
const KEY: &str = "key";
const MANIFEST: &str = "manifest";
const USED: &str = "used";
const STAGE: &str = "stage";
const OLD: &str = "old";
/// Templates that have not been used for this long are removed.
const UNUSED: Duration = Duration::from_secs(30 * 86_400);
/// At most this many are kept.
const MOST: usize = 50;
/// The age at which the time of a template's last use is renewed.
const NOTE: Duration = Duration::from_secs(3600);
/// No key and no manifest is longer, in bytes.
const LONGEST: u64 = 256 << 20;

/// Where the templates are. Its directories are held open: whatever is put at their paths
/// meanwhile, what was found to be private is what is used.
#[derive(Debug)]
pub(crate) struct Cache {
    path: Utf8PathBuf,
    held: Directory,
    templates: Directory,
    building: Directory,
}

/// The contents of the cache for a key.
pub(crate) enum Entry<'a> {
    /// A sound template.
    Found(Template),
    /// Room for one, kept for this process until it is dropped.
    Vacant(Slot<'a>),
}

/// The place of a template that is to be made. Other processes that need the same one wait.
pub(crate) struct Slot<'a> {
    cache: &'a Cache,
    key: &'a Key,
    lock: DirectoryLock,
}

impl Cache {
    /// Opens the cache, whose directories are made if need be: `$PG_CLUSTER_CACHE`, else
    /// `pg-cluster` in `$XDG_CACHE_HOME`, else in `~/.cache`, on macOS in `~/Library/Caches`; else,
    /// since the accounts of services and containers often have no home where they may write,
    /// `pg-cluster-UID` in a directory for temporary files.
    pub(crate) fn open(given: Option<&Utf8Path>) -> Result<Self, TempErrorKind> {
        if let Some(named) = given.map(Utf8Path::to_owned).or_else(named_directory) {
            return Self::open_at(named);
        }
        // Another user may have made a directory of this name, which is then refused as not
        // private.
        let temporary = storage::disks(None)
            .into_iter()
            .map(|directory| directory.join(format!("pg-cluster-{}", Account::current_uid())));
        let mut outcome = None;
        for candidate in home_directory().into_iter().chain(temporary) {
            match outcome.insert(Self::open_at(candidate)) {
                Err(TempErrorKind::File(..)) => {}
                _ => break,
            }
        }
        outcome.unwrap_or_else(|| Err(TempErrorKind::Option("there is no storage".to_owned())))
    }

    fn open_at(path: Utf8PathBuf) -> Result<Self, TempErrorKind> {
        make_private(&path).map_err(at(&path))?;
        let held = Directory::open(&path).map_err(at(&path))?;
        require_private(&held, &path)?;
        Ok(Self {
            templates: private_subdirectory(&held, &path, TEMPLATES)?,
            building: private_subdirectory(&held, &path, BUILDING)?,
            held,
            path,
        })
    }

    /// The directory itself, for notes beside the templates.
    pub(crate) fn held(&self) -> &Directory {
        &self.held
    }

    pub(crate) fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// What there is for this key. If there is nothing, or only something damaged, the caller is
    /// to make it, and until then others who need it wait; for as long as `patience` if another
    /// process makes it already.
    pub(crate) fn entry<'a>(
        &'a self,
        key: &'a Key,
        patience: Duration,
    ) -> Result<Entry<'a>, TempErrorKind> {
        if let Some(template) = self.find(key) {
            return Ok(Entry::Found(template));
        }
        let lock = self.lock(key, patience)?;
        if let Some(template) = self.find(key) {
            return Ok(Entry::Found(template));
        }
        self.prune();
        Ok(Entry::Vacant(Slot {
            cache: self,
            key,
            lock,
        }))
    }

    /// The template of this key, if there is a sound one.
    fn find(&self, key: &Key) -> Option<Template> {
        let directory = self.templates.subdirectory(key.name()).ok()?;
        if read(&directory, KEY).ok()? != key.text() {
            return None;
        }
        let mut manifest = Manifest::parse(&read(&directory, MANIFEST).ok()?)?;
        let pack = directory.open_file(pack::PACK).ok()?;
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
            let again = directory.open_file(pack::PACK).ok()?;
            if pack::hash(again).ok()? != manifest.stamp.hash {
                return None;
            }
            manifest.stamp.changed = changed;
            let _ = replace(&directory, MANIFEST, manifest.to_text().as_bytes());
        }
        note_use(&directory);
        let first_of_databases = manifest.first_of_databases();
        Some(Template {
            path: self.path.join(TEMPLATES).join(key.name()),
            directory,
            manifest,
            pack,
            first_of_databases,
            can_reflink: AtomicBool::new(true),
        })
    }

    /// Takes a template that was found to be damaged while it was cloned out of the way.
    pub(crate) fn discard(&self, key: &Key, patience: Duration) -> Result<(), TempErrorKind> {
        let _lock = self.lock(key, patience)?;
        if let Ok(directory) = self.templates.subdirectory(key.name()) {
            let _ = directory.remove(KEY);
        }
        Ok(())
    }

    /// A directory of this name for each key, in which its builder works.
    fn lock(&self, key: &Key, patience: Duration) -> Result<DirectoryLock, TempErrorKind> {
        let name = key.name();
        let path = self.path.join(BUILDING).join(&name);
        subdirectory(&self.building, &name).map_err(at(&path))?;
        lock_private(&path, patience)
    }

    /// Removes templates that have not been used for a long time, the least recently used ones of
    /// too many, and files that killed builders have left. Errors are ignored.
    fn prune(&self) {
        let mut templates = used(&self.templates);
        templates.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
        for (index, (used, name)) in templates.iter().enumerate() {
            let is_old = used.elapsed().is_ok_and(|age| age > UNUSED);
            if !is_old && index < MOST {
                continue;
            }
            let Ok(template) = self.templates.subdirectory(name) else {
                continue;
            };
            if template.open_file(KEY).is_ok() && template.open_file(MANIFEST).is_ok() {
                let _ = template.remove(KEY);
                let _ = self.templates.remove(name);
            }
        }
        for (_, name) in used(&self.building) {
            let path = self.path.join(BUILDING).join(name);
            if let Ok(TryLock::Acquired(lock)) = DirectoryLock::try_acquire(&path) {
                // The directory stays: another process may be about to lock it.
                let _ = clear(lock.directory());
            }
        }
    }
}

impl Slot<'_> {
    /// Packs a data directory, and moves it into place whole.
    pub(crate) fn store(&self, made: &Made) -> Result<Template, TempErrorKind> {
        let name = self.key.name();
        let path = self.cache.path.join(BUILDING).join(&name);
        let workshop = self.lock.directory();
        let stage = clear(workshop)
            .and_then(|()| workshop.make(STAGE)?.make(&name))
            .map_err(at(&path))?;
        let manifest =
            pack::Contents::of(made.data_directory())?.pack(&stage, &path, pack::Use::Lasting)?;
        let write = || {
            write_synced(&stage, KEY, self.key.text().as_bytes())?;
            write_synced(&stage, MANIFEST, manifest.to_text().as_bytes())?;
            stage.as_file().sync_all()?;
            let templates = &self.cache.templates;
            match templates.move_to(&name, &workshop.make(OLD)?) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            workshop.subdirectory(STAGE)?.move_to(&name, templates)?;
            templates.as_file().sync_all()?;
            clear(workshop)
        };
        write().map_err(at(&path))?;
        self.cache.find(self.key).ok_or_else(|| {
            let place = self.cache.path.join(TEMPLATES).join(&name);
            at(place)(io::ErrorKind::InvalidData.into())
        })
    }
}

/// Directories in a directory of ours that have names like ours, with the time of their last use.
fn used(directory: &Directory) -> Vec<(SystemTime, String)> {
    let names = directory.names().unwrap_or_default();
    let ours = names
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
    ours.filter_map(|name| {
        let found = directory.subdirectory(&name).ok()?;
        let note = found
            .open_file(USED)
            .and_then(|file| file.metadata())
            .or_else(|_| found.as_file().metadata())
            .ok()?;
        Some((note.modified().ok()?, name))
    })
    .collect()
}

fn note_use(directory: &Directory) {
    let is_fresh = directory
        .open_file(USED)
        .and_then(|file| file.metadata()?.modified())
        .is_ok_and(|time| time.elapsed().is_ok_and(|age| age < NOTE));
    if !is_fresh {
        let _ = directory.remove(USED);
        let _ = directory.create_file(USED);
    }
}

/// Empties a workshop: all that is in there is made by us.
fn clear(workshop: &Directory) -> io::Result<()> {
    workshop.remove(STAGE)?;
    workshop.remove(OLD)
}

pub(crate) fn read(directory: &Directory, name: &str) -> io::Result<String> {
    let mut text = String::new();
    directory
        .open_file(name)?
        .take(LONGEST)
        .read_to_string(&mut text)?;
    Ok(text)
}

fn write_synced(directory: &Directory, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = directory.create_file(name)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Puts a new file in the place of another one, whole: it is written in a directory of its own.
pub(crate) fn replace(directory: &Directory, name: &str, bytes: &[u8]) -> io::Result<()> {
    let room = random_name();
    let fresh = directory.make(&room)?;
    let written = write_synced(&fresh, name, bytes).and_then(|()| fresh.move_to(name, directory));
    directory.remove(&room)?;
    written
}

/// Makes a directory, with its parents, where it is missing.
fn make_private(path: &Utf8Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn subdirectory(directory: &Directory, name: &str) -> io::Result<Directory> {
    match directory.make(name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => directory.subdirectory(name),
        made => made,
    }
}

/// A subdirectory that this user alone can change, made if it is missing.
pub(crate) fn private_subdirectory(
    directory: &Directory,
    path: &Utf8Path,
    name: &str,
) -> Result<Directory, TempErrorKind> {
    let path = path.join(name);
    let found = subdirectory(directory, name).map_err(at(&path))?;
    require_private(&found, &path)?;
    Ok(found)
}

/// Locks a directory of the cache. It is locked by its path, so what is locked is checked again.
pub(crate) fn lock_private(
    path: &Utf8Path,
    patience: Duration,
) -> Result<DirectoryLock, TempErrorKind> {
    let lock = DirectoryLock::acquire(path, patience).map_err(TempErrorKind::Lock)?;
    require_private(lock.directory(), path)?;
    Ok(lock)
}

fn require_private(directory: &Directory, path: &Utf8Path) -> Result<(), TempErrorKind> {
    let found = directory.as_file().metadata().map_err(at(path))?;
    if found.uid() == Account::current_uid() && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(TempErrorKind::NotPrivate {
        path: path.to_owned(),
        owner: found.uid(),
        mode: found.mode() & 0o7777,
    })
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

fn variable(name: &str) -> Option<Utf8PathBuf> {
    let path = env::var(name).ok().map(Utf8PathBuf::from);
    path.filter(|path| path.is_absolute())
}
