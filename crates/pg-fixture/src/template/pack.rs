//! A data directory packed into one file: to be cloned by reading one file instead of a thousand.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use camino::Utf8Path;
use pg_proc::Directory;

use super::identity::{CONTROL_FILE, address_of_segment, is_segment, u64_at};
use super::manifest::{Content, Entry, Extent, Hash, Manifest, Stamp, is_of_database};
use crate::error::{TempErrorKind, at};

pub(super) const PACK: &str = "pack";
pub(super) const LARGE: &str = "large";
/// Files with more data than this are kept by themselves.
const LARGE_SIZE: u64 = 8 << 20;
/// Zeros are left out in blocks of this size, the unit in which file systems and tmpfs keep holes.
const BLOCK: usize = 4096;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Packs the data directory of a stopped server into `stage`, whose path is for messages.
///
/// The directory belongs to the server's account, which may put a link to any file there: what root
/// reads, it reads by descriptors.
pub(super) fn pack(
    data: &Utf8Path,
    stage: &Directory,
    path: &Utf8Path,
) -> Result<Manifest, TempErrorKind> {
    let held = Directory::open(data).map_err(at(data))?;
    let mut entries = Vec::new();
    collect(&held, data, Utf8Path::new(""), &mut entries)?;
    leave_out_spent_wal(&held, &mut entries);
    entries.sort_by_key(Entry::is_of_database);
    let make = || Ok((stage.create_file(PACK)?, stage.make(LARGE)?));
    let (file, large) = make().map_err(at(path))?;
    let mut pack = Pack {
        file: BufWriter::with_capacity(1 << 20, file),
        length: 0,
        large,
        count: 0,
    };
    for entry in &mut entries {
        pack.add(&held, entry).map_err(at(data.join(&entry.path)))?;
    }
    let stamp = pack.finish(stage).map_err(at(path))?;
    Ok(Manifest { stamp, entries })
}

/// Walks a directory in a fixed order; parents come before their children.
fn collect(
    directory: &Directory,
    data: &Utf8Path,
    below: &Utf8Path,
    entries: &mut Vec<Entry>,
) -> Result<(), TempErrorKind> {
    let mut names = directory.names().map_err(at(data.join(below)))?;
    names.sort();
    for name in names {
        let name = name.into_string();
        let name = name.map_err(|_| TempErrorKind::NotClonable(data.join(below)))?;
        let path = below.join(&name);
        if path.as_str().contains('\n') {
            return Err(TempErrorKind::NotClonable(data.join(path)));
        }
        if is_left_out(&path) {
            continue;
        }
        let (file, subdirectory) = match directory.subdirectory(&name) {
            Ok(found) => (None, Some(found)),
            // Links lead to tablespaces or to a log outside: clones would share them.
            Err(_) => match directory.open_file(&name) {
                Ok(file) => (Some(file), None),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(at(data.join(path))(error));
                }
                Err(_) => return Err(TempErrorKind::NotClonable(data.join(path))),
            },
        };
        let opened = file
            .as_ref()
            .or(subdirectory.as_ref().map(Directory::as_file));
        let info = match opened {
            Some(file) => file.metadata().map_err(at(data.join(&path)))?,
            None => continue,
        };
        entries.push(Entry {
            path: path.clone(),
            mode: info.permissions().mode() & 0o777,
            content: match subdirectory {
                Some(_) => Content::Directory,
                None => Content::Packed {
                    size: info.len(),
                    extents: Vec::new(),
                },
            },
        });
        if let Some(subdirectory) = subdirectory {
            collect(&subdirectory, data, &path, entries)?;
        }
    }
    Ok(())
}

/// Opens a directory by its path below another one, through no link.
pub(super) fn open_below(root: &Directory, path: &Utf8Path) -> io::Result<Directory> {
    path.components()
        .try_fold(root.subdirectory(".")?, |directory, name| {
            directory.subdirectory(name.as_str())
        })
}

fn open_file_below(root: &Directory, path: &Utf8Path) -> io::Result<File> {
    let parent = open_below(root, path.parent().unwrap_or(Utf8Path::new("")))?;
    parent.open_file(path.file_name().unwrap_or_default())
}

/// What the server makes anew: caches, and what tells of a process.
fn is_left_out(path: &Utf8Path) -> bool {
    let is_cache = path.file_name() == Some("pg_internal.init")
        && (path.starts_with("global") || is_of_database(path));
    let is_of_process = ["postmaster.pid", "postmaster.opts", "current_logfiles"];
    is_cache
        || is_of_process.contains(&path.as_str())
        || path.parent() == Some(Utf8Path::new("pg_stat_tmp"))
}

/// Leaves out the WAL that no clone reads: the segments before the one with the checkpoint of the
/// shutdown, and those that wait under a later name to be written again (`InstallXLogFileSegment`
/// in src/backend/access/transam/xlog.c). Replication slots, the archiver and the summarizer may
/// need older ones: where there is anything of theirs, everything stays.
fn leave_out_spent_wal(data: &Directory, entries: &mut Vec<Entry>) {
    const READERS: [&str; 3] = ["pg_replslot", "pg_wal/archive_status", "pg_wal/summaries"];
    let parent = |entry: &Entry| entry.path.parent().map(Utf8Path::to_owned);
    let has_readers = entries
        .iter()
        .filter_map(parent)
        .any(|path| READERS.iter().any(|&reader| path == reader));
    let Some(checkpoint) = last_checkpoint(data).filter(|_| !has_readers) else {
        return;
    };
    let is_needed = |entry: &Entry| {
        let Content::Packed { size, .. } = entry.content else {
            return true;
        };
        let first = first_block(data, &entry.path).ok();
        let address = first.as_ref().and_then(|block| address_of_segment(block));
        let begins_at = address_by_name(&entry.path, size);
        address.is_none_or(|address| {
            begins_at == Some(address) && address.saturating_add(size) > checkpoint
        })
    };
    let has_checkpoint = |entry: &Entry| {
        let Content::Packed { size, .. } = entry.content else {
            return false;
        };
        let begins_at = address_by_name(&entry.path, size);
        begins_at.is_some_and(|begin| (begin..begin.saturating_add(size)).contains(&checkpoint))
    };
    let segments = entries.iter().filter(|entry| is_segment(&entry.path));
    if segments
        .clone()
        .any(|entry| has_checkpoint(entry) && is_needed(entry))
    {
        entries.retain(|entry| !is_segment(&entry.path) || is_needed(entry));
    }
}

/// `checkPoint` in the control file of a server that was shut down
/// (src/include/catalog/pg_control.h), whose place is known where integers of 64 bits are aligned
/// to as many.
fn last_checkpoint(data: &Directory) -> Option<u64> {
    const STATE: usize = 16;
    const SHUT_DOWN: u32 = 1;
    const CHECKPOINT: usize = 32;
    let control = first_block(data, Utf8Path::new(CONTROL_FILE)).ok()?;
    let is_shut_down = control.get(STATE..STATE + 4)? == SHUT_DOWN.to_ne_bytes();
    (cfg!(target_pointer_width = "64") && is_shut_down).then(|| u64_at(&control, CHECKPOINT))?
}

fn first_block(data: &Directory, path: &Utf8Path) -> io::Result<[u8; BLOCK]> {
    let mut block = [0; BLOCK];
    fill(&mut open_file_below(data, path)?, &mut block)?;
    Ok(block)
}

/// `XLogFromFileName` in src/include/access/xlog_internal.h.
fn address_by_name(path: &Utf8Path, segment_size: u64) -> Option<u64> {
    let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let name = path.file_name()?;
    let high = number(name.get(8..16)?)?.checked_shl(32)?;
    number(name.get(16..24)?)?
        .checked_mul(segment_size)?
        .checked_add(high)
}

struct Pack {
    file: BufWriter<File>,
    length: u64,
    /// For files that are kept by themselves, and how many there are.
    large: Directory,
    count: u32,
}

impl Pack {
    fn add(&mut self, data: &Directory, entry: &mut Entry) -> io::Result<()> {
        let Content::Packed { size, extents } = &mut entry.content else {
            return Ok(());
        };
        let mut file = open_file_below(data, &entry.path)?;
        if *size > LARGE_SIZE && data_size(&mut file)? > LARGE_SIZE {
            let number = self.count;
            self.count += 1;
            let mut target = self.large.create_file(number.to_string())?;
            let size = io::copy(&mut open_file_below(data, &entry.path)?, &mut target)?;
            target.sync_all()?;
            entry.content = Content::Large { size, number };
            return Ok(());
        }
        let mut file = open_file_below(data, &entry.path)?;
        let mut block = [0; BLOCK];
        let mut offset = 0;
        loop {
            let length = fill(&mut file, &mut block)?;
            let bytes = block.get(..length).unwrap_or_default();
            if Some(bytes) != ZEROS.get(..length) {
                self.write(bytes, offset, extents)?;
            }
            offset += length as u64;
            if length < BLOCK {
                break;
            }
        }
        *size = offset;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], offset: u64, extents: &mut Vec<Extent>) -> io::Result<()> {
        let length = bytes.len() as u64;
        match extents.last_mut() {
            Some(last) if last.offset + last.length == offset => last.length += length,
            _ => extents.push(Extent {
                offset,
                length,
                position: self.length,
            }),
        }
        self.file.write_all(bytes)?;
        self.length += length;
        Ok(())
    }

    fn finish(self, stage: &Directory) -> io::Result<Stamp> {
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        let info = file.metadata()?;
        let hash = hash(stage.open_file(PACK)?)?;
        Ok(Stamp {
            size: info.len(),
            changed: Stamp::changed(&info),
            hash,
        })
    }
}

fn data_size(file: &mut File) -> io::Result<u64> {
    let mut block = [0; BLOCK];
    let mut size = 0;
    loop {
        let length = fill(file, &mut block)?;
        if block.get(..length) != ZEROS.get(..length) {
            size += length as u64;
        }
        if length < BLOCK {
            return Ok(size);
        }
    }
}

fn fill(file: &mut File, block: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = block.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// The hash of a whole pack, read from its beginning.
pub(super) fn hash(mut pack: File) -> io::Result<Hash> {
    let mut hash = Hash::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let length = fill(&mut pack, &mut buffer)?;
        hash.add(buffer.get(..length).unwrap_or_default());
        if length < buffer.len() {
            return Ok(hash);
        }
    }
}
