//! A data directory packed into one file: to be cloned by reading one file instead of a thousand.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};

use super::manifest::{Content, Entry, Extent, Hash, Manifest, Stamp, is_of_database};
use crate::error::{TempErrorKind, at};

pub(super) const PACK: &str = "pack";
pub(super) const LARGE: &str = "large";
/// Files with more data than this are kept by themselves.
const LARGE_SIZE: u64 = 8 << 20;
/// Zeros are left out in blocks of this size, the unit in which file systems and tmpfs keep holes.
const BLOCK: usize = 4096;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Packs the data directory of a stopped server into `stage`.
pub(super) fn pack(data: &Utf8Path, stage: &Utf8Path) -> Result<Manifest, TempErrorKind> {
    let mut entries = Vec::new();
    collect(data, Utf8Path::new(""), &mut entries)?;
    entries.sort_by_key(|entry| entry.is_of_database());
    let path = stage.join(PACK);
    fs::create_dir(stage.join(LARGE)).map_err(at(stage))?;
    let mut pack = Pack {
        file: BufWriter::with_capacity(1 << 20, File::create(&path).map_err(at(&path))?),
        length: 0,
        large: 0,
    };
    for entry in &mut entries {
        let source = data.join(&entry.path);
        pack.add(&source, stage, entry).map_err(at(&source))?;
    }
    let stamp = pack.finish(&path).map_err(at(&path))?;
    Ok(Manifest { stamp, entries })
}

/// Walks a directory in a fixed order; parents come before their children.
fn collect(
    data: &Utf8Path,
    below: &Utf8Path,
    entries: &mut Vec<Entry>,
) -> Result<(), TempErrorKind> {
    let directory = data.join(below);
    let mut found = fs::read_dir(&directory)
        .and_then(Iterator::collect::<io::Result<Vec<_>>>)
        .map_err(at(&directory))?;
    found.sort_by_key(fs::DirEntry::file_name);
    for entry in found {
        let name = entry.file_name().into_string();
        let name = name.map_err(|_| TempErrorKind::NotClonable(directory.clone()))?;
        let path = below.join(name);
        let info = entry.metadata().map_err(at(data.join(&path)))?;
        // Links lead to tablespaces or to a log outside: clones would share them.
        if path.as_str().contains('\n') || !(info.is_dir() || info.is_file()) {
            return Err(TempErrorKind::NotClonable(data.join(path)));
        }
        if is_left_out(&path) {
            continue;
        }
        let content = if info.is_dir() {
            Content::Directory
        } else {
            Content::Packed {
                size: info.len(),
                extents: Vec::new(),
            }
        };
        let is_directory = info.is_dir();
        entries.push(Entry {
            path: path.clone(),
            mode: info.permissions().mode() & 0o777,
            content,
        });
        if is_directory {
            collect(data, &path, entries)?;
        }
    }
    Ok(())
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

struct Pack {
    file: BufWriter<File>,
    length: u64,
    large: u32,
}

impl Pack {
    fn add(&mut self, source: &Utf8Path, stage: &Utf8Path, entry: &mut Entry) -> io::Result<()> {
        let Content::Packed { size, extents } = &mut entry.content else {
            return Ok(());
        };
        let mut file = File::open(source)?;
        if *size > LARGE_SIZE && data_size(&mut file)? > LARGE_SIZE {
            let number = self.large;
            self.large += 1;
            let target = stage.join(LARGE).join(number.to_string());
            let mut target = File::create(target)?;
            let size = io::copy(&mut File::open(source)?, &mut target)?;
            target.sync_all()?;
            entry.content = Content::Large { size, number };
            return Ok(());
        }
        let mut file = File::open(source)?;
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

    fn finish(self, path: &Utf8Path) -> io::Result<Stamp> {
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        let info = file.metadata()?;
        let hash = hash(File::open(path)?)?;
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

/// Where a large file is kept.
pub(super) fn large(template: &Utf8Path, number: u32) -> Utf8PathBuf {
    template.join(LARGE).join(number.to_string())
}
