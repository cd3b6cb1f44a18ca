//! Making a data directory from a template.

use std::fs::{self, File, Permissions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, fchown};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::{Account, Directory};

use super::Template;
use super::identity::{CONTROL_FILE, Identity};
use super::manifest::{Content, Entry, Extent};
use super::pack::{LARGE, open_below};
use super::workers::in_threads;
use crate::error::{TempErrorKind, at};
use crate::temp_cluster::SystemIdentifier;

/// The number of bytes of the pack that are read at once. They stay in the processor's cache until
/// they are written.
pub(super) const BATCH: u64 = 256 << 10;
/// The same for the few files that a server reads when it starts: each thread is to have some.
const FIRST_BATCH: u64 = 64 << 10;

/// The reason why a template could not be cloned.
#[derive(Debug)]
pub(crate) enum CloneError {
    /// The template is not what its manifest says.
    Damaged,
    /// The new directory could not be written.
    Target(Box<TempErrorKind>),
}

/// A data directory that is being made from a template.
///
/// It belongs to the server's account, which may put a link at any place in it: what root makes
/// there, it makes in directories that it holds open.
#[derive(Debug)]
pub(crate) struct Cloning<'a> {
    template: &'a Template,
    /// For messages, and for file systems that clone by path.
    path: &'a Utf8Path,
    held: Directory,
    owner: Option<(u32, u32)>,
    /// None for a clone that keeps the template's.
    identity: Option<Identity>,
}

impl<'a> Cloning<'a> {
    /// Writes what the server reads when it starts, and all directories.
    pub(crate) fn begin(
        template: &'a Template,
        path: &'a Utf8Path,
        account: Option<&Account>,
        identity: Option<Identity>,
    ) -> Result<Self, CloneError> {
        let cloning = Self {
            template,
            path,
            held: Directory::open(path)
                .map_err(|error| CloneError::Target(Box::new(at(path)(error))))?,
            owner: account.map(|account| (account.uid(), account.gid())),
            identity,
        };
        let entries = template.manifest.entries.get(..template.first_of_databases);
        let mut files = Vec::new();
        for entry in entries.unwrap_or_default() {
            if entry.content == Content::Directory {
                cloning.directory(entry)?;
            } else {
                files.push(entry);
            }
        }
        cloning.run(&batches(&files, FIRST_BATCH))?;
        Ok(cloning)
    }

    /// Writes the files of the databases.
    pub(crate) fn databases(&self) -> Result<(), CloneError> {
        let template = self.template;
        let entries = template.manifest.entries.get(template.first_of_databases..);
        let files: Vec<&Entry> = entries.unwrap_or_default().iter().collect();
        self.run(&batches(&files, BATCH))
    }

    fn run(&self, batches: &[Batch<'_>]) -> Result<(), CloneError> {
        let job = Job {
            cloning: self,
            batches,
            next: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
        };
        in_threads("pg-cluster clone", || CloneError::Damaged, || job.work())
    }

    fn directory(&self, entry: &Entry) -> Result<(), CloneError> {
        let make = || {
            let parent = open_below(&self.held, parent(entry))?;
            let made = parent.make(name(entry))?;
            if let Some((uid, gid)) = self.owner {
                fchown(made.as_file(), Some(uid), Some(gid))?;
            }
            if entry.mode != 0o700 {
                let mode = Permissions::from_mode(entry.mode);
                made.as_file().set_permissions(mode)?;
            }
            Ok(())
        };
        make().map_err(self.failed(entry))
    }

    fn failed(&self, entry: &Entry) -> impl FnOnce(io::Error) -> CloneError {
        let path = self.path.join(&entry.path);
        |error| CloneError::Target(Box::new(at(path)(error)))
    }

    fn create(&self, parent: &Directory, entry: &Entry) -> io::Result<File> {
        let file = parent.create_file(name(entry))?;
        if let Some((uid, gid)) = self.owner {
            fchown(&file, Some(uid), Some(gid))?;
        }
        if entry.mode != 0o600 {
            file.set_permissions(Permissions::from_mode(entry.mode))?;
        }
        Ok(file)
    }

    fn packed(
        &self,
        parent: &Directory,
        entry: &Entry,
        size: u64,
        parts: &[(u64, &[u8])],
    ) -> io::Result<()> {
        let file = self.create(parent, entry)?;
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

    /// Lets the file system share the blocks where it can; else the kernel copies them.
    fn large(
        &self,
        parent: &Directory,
        entry: &Entry,
        size: u64,
        number: u32,
    ) -> Result<(), CloneError> {
        let template = self.template;
        let mut from = template
            .directory
            .subdirectory(LARGE)
            .and_then(|large| large.open_file(number.to_string()))
            .map_err(|_| CloneError::Damaged)?;
        if from.metadata().map_or(0, |info| info.len()) != size {
            return Err(CloneError::Damaged);
        }
        // What is made by path could be another file by the time it is given to an account. The
        // copy shares blocks too on Linux.
        if self.owner.is_none() && template.can_reflink.load(Ordering::Relaxed) {
            let source = template.path.join(LARGE).join(number.to_string());
            let target = self.path.join(&entry.path);
            if reflink_copy::reflink(&source, &target).is_ok() {
                let mode = Permissions::from_mode(entry.mode);
                return fs::set_permissions(&target, mode).map_err(self.failed(entry));
            }
            template.can_reflink.store(false, Ordering::Relaxed);
            let _ = fs::remove_file(&target);
        }
        let mut to = self.create(parent, entry).map_err(self.failed(entry))?;
        io::copy(&mut from, &mut to).map_err(self.failed(entry))?;
        Ok(())
    }
}

impl Template {
    /// The identifier of a clone, or of several that are to be of one family; none if it is the
    /// template's, or the control file is of a newer form than this crate knows.
    pub(crate) fn identity(
        &self,
        choice: SystemIdentifier,
    ) -> Result<Option<Identity>, CloneError> {
        if choice == SystemIdentifier::OfTemplate {
            return Ok(None);
        }
        let mut entries = self.manifest.entries.iter();
        let control = entries.find(|entry| entry.path == CONTROL_FILE);
        let Some(range) = control.and_then(pack_range) else {
            return Ok(None);
        };
        let mut bytes = vec![0; length_of(&range, self)?];
        self.pack
            .read_exact_at(&mut bytes, range.start)
            .map_err(|_| CloneError::Damaged)?;
        Ok(Identity::fresh(&bytes))
    }
}

fn parent(entry: &Entry) -> &Utf8Path {
    entry.path.parent().unwrap_or(Utf8Path::new(""))
}

fn name(entry: &Entry) -> &str {
    entry.path.file_name().unwrap_or_default()
}

/// Files whose data lie one after the other in the pack.
struct Batch<'a> {
    files: &'a [&'a Entry],
    range: Range<u64>,
}

fn batches<'a>(files: &'a [&'a Entry], size: u64) -> Vec<Batch<'a>> {
    let mut batches = Vec::new();
    let (mut first, mut range) = (0, 0..0);
    for (index, entry) in files.iter().enumerate() {
        let Some(of_entry) = pack_range(entry) else {
            continue;
        };
        if range.is_empty() {
            range = of_entry;
        } else if of_entry.start != range.end || of_entry.end - range.start > size {
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

/// Batches that several threads write.
struct Job<'a> {
    cloning: &'a Cloning<'a>,
    batches: &'a [Batch<'a>],
    next: AtomicUsize,
    failed: AtomicBool,
}

impl Job<'_> {
    fn work(&self) -> Result<(), CloneError> {
        let mut buffer = Vec::new();
        while let Some(batch) = self.batches.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if self.failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.batch(batch, &mut buffer)
                .inspect_err(|_| self.failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    }

    fn batch(&self, batch: &Batch<'_>, buffer: &mut Vec<u8>) -> Result<(), CloneError> {
        let cloning = self.cloning;
        buffer.resize(length_of(&batch.range, cloning.template)?, 0);
        cloning
            .template
            .pack
            .read_exact_at(buffer, batch.range.start)
            .map_err(|_| CloneError::Damaged)?;
        // Files of one directory follow each other.
        let mut above: Option<(&Utf8Path, Directory)> = None;
        for entry in batch.files {
            if above
                .as_ref()
                .is_none_or(|(path, _)| *path != parent(entry))
            {
                let opened =
                    open_below(&cloning.held, parent(entry)).map_err(cloning.failed(entry))?;
                above = Some((parent(entry), opened));
            }
            let Some((_, above)) = &above else { continue };
            match &entry.content {
                Content::Directory => cloning.directory(entry)?,
                Content::Packed { size, extents } => {
                    if let Some(identity) = cloning.identity {
                        let first = first_bytes(extents, batch.range.start, buffer);
                        identity.write(&entry.path, first.unwrap_or_default());
                    }
                    let parts =
                        parts(extents, batch.range.start, buffer).ok_or(CloneError::Damaged)?;
                    cloning
                        .packed(above, entry, *size, &parts)
                        .map_err(cloning.failed(entry))?;
                }
                Content::Large { size, number } => cloning.large(above, entry, *size, *number)?,
            }
        }
        Ok(())
    }
}

/// The length of a part of the pack, which is no longer than the whole.
fn length_of(range: &Range<u64>, template: &Template) -> Result<usize, CloneError> {
    let length = range.end.saturating_sub(range.start);
    usize::try_from(length)
        .ok()
        .filter(|_| length <= template.manifest.stamp.size)
        .ok_or(CloneError::Damaged)
}

/// The bytes with which a file begins, in what was read from the pack; none if they are zeros.
fn first_bytes<'a>(extents: &[Extent], start: u64, buffer: &'a mut [u8]) -> Option<&'a mut [u8]> {
    let first = extents.first().filter(|extent| extent.offset == 0)?;
    let from = usize::try_from(first.position.checked_sub(start)?).ok()?;
    let to = from.checked_add(usize::try_from(first.length).ok()?)?;
    buffer.get_mut(from..to)
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::template::manifest::Manifest;
    use crate::template::pack::{Contents, PACK, Use};

    /// A template of a data directory with these files, which lies in `room`.
    fn template(room: &Utf8Path, files: &[(&str, &str)]) -> Template {
        let data = room.join("data");
        for (name, text) in files {
            let path = data.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let path = room.join("template");
        fs::create_dir(&path).unwrap();
        let directory = Directory::open(&path).unwrap();
        let manifest: Manifest = Contents::of(&data)
            .and_then(|contents| contents.pack(&directory, &path, Use::Lasting))
            .unwrap();
        Template {
            first_of_databases: manifest.first_of_databases(),
            pack: directory.open_file(PACK).unwrap(),
            path,
            directory,
            manifest,
            can_reflink: AtomicBool::new(false),
        }
    }

    /// The server's account owns the clone from the first moment on, and root writes to it.
    #[test]
    fn nothing_is_written_through_a_link_that_took_the_place_of_a_directory() {
        let room = tempfile::tempdir().unwrap();
        let room = Utf8Path::from_path(room.path()).unwrap();
        let template = template(room, &[("PG_VERSION", "18"), ("base/1/112", "table")]);
        let clone = |name: &str| {
            let path = room.join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let sound = clone("sound");
        let cloning = Cloning::begin(&template, &sound, None, None).unwrap();
        cloning.databases().unwrap();
        assert_eq!(fs::read(sound.join("base/1/112")).unwrap(), b"table");

        let (attacked, elsewhere) = (clone("attacked"), clone("elsewhere"));
        let cloning = Cloning::begin(&template, &attacked, None, None).unwrap();
        fs::remove_dir(attacked.join("base/1")).unwrap();
        symlink(&elsewhere, attacked.join("base/1")).unwrap();
        assert!(matches!(cloning.databases(), Err(CloneError::Target(_))));
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    }

    #[test]
    fn what_a_link_leads_to_is_not_packed() {
        let room = tempfile::tempdir().unwrap();
        let room = Utf8Path::from_path(room.path()).unwrap();
        fs::write(room.join("secret"), "secret").unwrap();
        fs::create_dir(room.join("data")).unwrap();
        symlink(room.join("secret"), room.join("data/PG_VERSION")).unwrap();
        let outcome = Contents::of(&room.join("data"));
        assert!(matches!(outcome, Err(TempErrorKind::NotClonable(_))));
    }
}
