//! Templates: data directories that were made once, to be cloned.
//!
//! ```text
//! CACHE/templates/HASH/key         all that the template depends on, compared word by word
//!                      manifest    files, sizes, modes, and where their data are in the pack
//!                      pack        the data of all files but their zeros
//!                      large/N     files that are big enough to be cloned by the file system
//!                      used        noted when it was used last
//! CACHE/building/HASH/             locked by whoever builds that template; `stage` is renamed into place
//! ```
//!
//! One pack instead of a thousand files saves opening them. It is trusted as long as its size and
//! time of change are those in the manifest; if only the time differs, as after a cache was
//! restored from an archive, its content is compared by a hash.

mod build;
mod cache;
mod key;
mod manifest;
mod pack;
mod unpack;

use std::fs::File;
use std::sync::atomic::AtomicBool;

use camino::Utf8PathBuf;

pub(super) use self::build::{Recipe, Setup};
pub(super) use self::cache::CACHE_VARIABLE;
pub(super) use self::cache::Cache;
pub(super) use self::key::Key;
use self::manifest::Manifest;
pub(super) use self::unpack::CloneError;

/// A template that was found in the cache and is held open.
#[derive(Debug)]
pub(super) struct Template {
    directory: Utf8PathBuf,
    manifest: Manifest,
    pack: File,
    /// Where in the manifest the files of databases begin.
    first_of_databases: usize,
    /// Until it turns out that they are on different file systems, or on one that cannot.
    can_reflink: AtomicBool,
}

impl Template {
    /// How many bytes a clone takes at least.
    pub(super) fn size(&self) -> u64 {
        self.manifest.size()
    }
}
