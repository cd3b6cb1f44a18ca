//! Making a data directory from a template.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::{Account, Directory};

use super::Template;
use super::manifest::{Content, Entry, Extent};
use super::pack;
use crate::error::{TempErrorKind, at};

/// How much of the pack is read at once: it stays in the processor's cache until it is written.
const BATCH: u64 = 256 << 10;
/// More threads than this get into each other's way in the kernel.
const THREADS: usize = 4;

/// Why a template could not be cloned.
#[derive(Debug)]
pub(crate) enum CloneError {
    /// The template is not what its manifest says.
    Damaged,
    /// The new directory could not be written.
    Target(TempErrorKind),
}

impl Template {
    /// Writes what the server reads when it starts, and all directories.
    pub(crate) fn clone_start(
        &self,
        target: &Utf8Path,
        account: Option<&Account>,
    ) -> Result<(), CloneError> {
        let job = Job::new(self, target, account);
        let entries = self
            .manifest
            .entries
            .get(..self.first_of_databases)
            .unwrap_or_default();
        let mut files = Vec::new();
        for entry in entries {
            if entry.content == Content::Directory {
                job.directory(entry)?;
            } else {
                files.push(entry);
            }
        }
        job.run(&batches(&files), 1)
    }

    /// Writes the files of the databases.
    pub(crate) fn clone_databases(
        &self,
        target: &Utf8Path,
        account: Option<&Account>,
    ) -> Result<(), CloneError> {
        let entries = self
            .manifest
            .entries
            .get(self.first_of_databases..)
            .unwrap_or_default();
        let files: Vec<&Entry> = entries.iter().collect();
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .clamp(1, THREADS);
        Job::new(self, target, account).run(&batches(&files), threads)
    }
}

/// Files whose data lie one after the other in the pack.
struct Batch<'a> {
    files: &'a [&'a Entry],
    range: Range<u64>,
}

fn batches<'a>(files: &'a [&'a Entry]) -> Vec<Batch<'a>> {
    let mut batches = Vec::new();
    let (mut first, mut range) = (0, 0..0);
    for (index, entry) in files.iter().enumerate() {
        let Some(of_entry) = pack_range(entry) else {
            continue;
        };
        if range.is_empty() {
            range = of_entry;
        } else if of_entry.end - range.start > BATCH {
            let files = files.get(first..index).unwrap_or_default();
            batches.push(Batch { files, range });
            (first, range) = (index, of_entry);
        } else {
            range.end = of_entry.end;
        }
    }
    let files = files.get(first..).unwrap_or_default();
    batches.push(Batch { files, range });
    batches
}

fn pack_range(entry: &Entry) -> Option<Range<u64>> {
    let Content::Packed { extents, .. } = &entry.content else {
        return None;
    };
    let last = extents.last()?;
    Some(extents.first()?.position..last.position.checked_add(last.length)?)
}

struct Job<'a> {
    template: &'a Template,
    target: &'a Utf8Path,
    owner: Option<(u32, u32)>,
    next: AtomicUsize,
    failed: AtomicBool,
}

impl<'a> Job<'a> {
    fn new(template: &'a Template, target: &'a Utf8Path, account: Option<&Account>) -> Self {
        Self {
            template,
            target,
            owner: account.map(|account| (account.uid(), account.gid())),
            next: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
        }
    }

    fn run(&self, batches: &[Batch<'_>], threads: usize) -> Result<(), CloneError> {
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads)
                .map_while(|_| {
                    let builder = std::thread::Builder::new().name("pg-cluster clone".to_owned());
                    builder.spawn_scoped(scope, || self.work(batches)).ok()
                })
                .collect();
            let own = self.work(batches);
            others
                .into_iter()
                .map(|thread| thread.join().unwrap_or(Err(CloneError::Damaged)))
                .fold(own, Result::and)
        })
    }

    fn work(&self, batches: &[Batch<'_>]) -> Result<(), CloneError> {
        let mut buffer = Vec::new();
        while let Some(batch) = batches.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if self.failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.batch(batch, &mut buffer)
                .inspect_err(|_| self.failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    }

    fn batch(&self, batch: &Batch<'_>, buffer: &mut Vec<u8>) -> Result<(), CloneError> {
        let length = batch.range.end - batch.range.start;
        if length > self.template.manifest.stamp.size {
            return Err(CloneError::Damaged);
        }
        buffer.resize(usize::try_from(length).map_err(|_| CloneError::Damaged)?, 0);
        self.template
            .pack
            .read_exact_at(buffer, batch.range.start)
            .map_err(|_| CloneError::Damaged)?;
        for entry in batch.files {
            match &entry.content {
                Content::Directory => self.directory(entry)?,
                Content::Packed { size, extents } => {
                    let path = self.target.join(&entry.path);
                    let parts =
                        parts(extents, batch.range.start, buffer).ok_or(CloneError::Damaged)?;
                    self.packed(&path, entry.mode, *size, &parts)
                        .map_err(|error| CloneError::Target(at(path)(error)))?;
                }
                Content::Large { size, number } => self.large(entry, *size, *number)?,
            }
        }
        Ok(())
    }

    fn directory(&self, entry: &Entry) -> Result<(), CloneError> {
        let path = self.target.join(&entry.path);
        let make = || {
            DirBuilder::new().mode(0o700).create(&path)?;
            if self.owner.is_none() && entry.mode == 0o700 {
                return Ok(());
            }
            // The account may have put a link in its place by now.
            let directory = Directory::open(&path)?;
            if let Some((uid, gid)) = self.owner {
                fchown(directory.as_file(), Some(uid), Some(gid))?;
            }
            if entry.mode != 0o700 {
                let mode = Permissions::from_mode(entry.mode);
                directory.as_file().set_permissions(mode)?;
            }
            Ok(())
        };
        make().map_err(|error| CloneError::Target(at(&path)(error)))
    }

    fn packed(
        &self,
        path: &Utf8Path,
        mode: u32,
        size: u64,
        parts: &[(u64, &[u8])],
    ) -> io::Result<()> {
        let file = self.create(path, mode)?;
        let mut end = 0;
        for (offset, bytes) in parts {
            file.write_all_at(bytes, *offset)?;
            end = offset + bytes.len() as u64;
        }
        if end < size {
            file.set_len(size)?;
        }
        Ok(())
    }

    fn create(&self, path: &Utf8Path, mode: u32) -> io::Result<File> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        if let Some((uid, gid)) = self.owner {
            fchown(&file, Some(uid), Some(gid))?;
        }
        if mode != 0o600 {
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        Ok(file)
    }

    /// Lets the file system share the blocks where it can; else the kernel copies them.
    fn large(&self, entry: &Entry, size: u64, number: u32) -> Result<(), CloneError> {
        let source = pack::large(&self.template.directory, number);
        let target = self.target.join(&entry.path);
        let mut from = File::open(&source).map_err(|_| CloneError::Damaged)?;
        if from.metadata().map_or(0, |info| info.len()) != size {
            return Err(CloneError::Damaged);
        }
        let failed = |error| CloneError::Target(at(&target)(error));
        // What is made by path could be another file by the time it is given to an account. The
        // copy shares blocks too on Linux.
        if self.owner.is_none() && self.template.can_reflink.load(Ordering::Relaxed) {
            if reflink_copy::reflink(&source, &target).is_ok() {
                let mode = Permissions::from_mode(entry.mode);
                return fs::set_permissions(&target, mode).map_err(failed);
            }
            self.template.can_reflink.store(false, Ordering::Relaxed);
            let _ = fs::remove_file(&target);
        }
        let mut to = self.create(&target, entry.mode).map_err(failed)?;
        io::copy(&mut from, &mut to).map_err(failed)?;
        Ok(())
    }
}

/// The extents' bytes in what was read from the pack.
fn parts<'a>(extents: &[Extent], start: u64, buffer: &'a [u8]) -> Option<Vec<(u64, &'a [u8])>> {
    let part = |extent: &Extent| {
        let from = usize::try_from(extent.position.checked_sub(start)?).ok()?;
        let to = from.checked_add(usize::try_from(extent.length).ok()?)?;
        Some((extent.offset, buffer.get(from..to)?))
    };
    extents.iter().map(part).collect()
}

/// All paths in a template that is cloned are below the target.
pub(super) fn is_safe(path: &Utf8PathBuf) -> bool {
    path.components()
        .all(|component| matches!(component, camino::Utf8Component::Normal(_)))
}
