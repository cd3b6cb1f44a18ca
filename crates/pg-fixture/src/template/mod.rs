//! Templates: data directories that were made once, to be cloned.
//!
//! ```text
//! CACHE/templates/HASH/key         all that the template depends on, compared word by word
//!                      manifest    files, sizes, modes, and where their data are in the pack
//!                      pack        the data of all files but their zeros
//!                      large/N     files that are big enough to be cloned by the file system
//!                      used        noted when it was used last
//! CACHE/building/HASH/             locked by the process that builds that template in `stage`
//! ```
//!
//! One pack instead of a thousand files saves opening them. It is trusted as long as its size and
//! time of change are those in the manifest; if only the time differs, as after a cache was
//! restored from an archive, its content is compared by a hash.
//!
//! What keeps other users from choosing what is cloned is that the cache belongs to its user alone,
//! and is used through directories that are held open since that was checked. No hash could do it:
//! the manifest lies beside the pack, and who could change one could change the other. So the
//! hashes are fast ones, against accidents.

mod cache;
mod identity;
mod key;
mod manifest;
mod pack;
mod recipe;
mod unpack;
mod workers;

use std::fs::File;
use std::sync::atomic::AtomicBool;

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::Directory;

use crate::error::{TempErrorKind, at};

pub(crate) use self::cache::{
    CACHE_VARIABLE, Cache, Entry, lock_private, private_subdirectory, read, replace,
};
pub(crate) use self::identity::Identity;
pub(crate) use self::key::Key;
use self::manifest::Manifest;
pub(crate) use self::pack::{Contents, refuse_links};
pub(crate) use self::recipe::{Extension, Made, Recipe, Setup};
pub(crate) use self::unpack::{CloneError, Cloning};

/// A template that was found in the cache and is held open.
#[derive(Debug)]
pub(crate) struct Template {
    /// For messages, and for file systems that clone by path.
    path: Utf8PathBuf,
    directory: Directory,
    manifest: Manifest,
    pack: File,
    /// Where in the manifest the files of databases begin.
    first_of_databases: usize,
    /// Until it turns out that they are on different file systems, or on one that cannot.
    can_reflink: AtomicBool,
}

impl Template {
    /// Packs these files into a directory of the caller, for this process only.
    pub(crate) fn pack(contents: &Contents, path: &Utf8Path) -> Result<Self, TempErrorKind> {
        let directory = Directory::open(path).map_err(at(path))?;
        let manifest = contents.pack(&directory, path, pack::Use::Fleeting)?;
        Ok(Self {
            pack: directory.open_file(pack::PACK).map_err(at(path))?,
            path: path.to_owned(),
            directory,
            first_of_databases: manifest.first_of_databases(),
            manifest,
            can_reflink: AtomicBool::new(true),
        })
    }

    /// Returns the smallest size of a clone, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.manifest.size()
    }
}
