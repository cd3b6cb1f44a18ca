//! `current_logfiles`: the file that a server's log collector writes to.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};

use crate::fs::regular_file::{open_regular_file, read_tail};

/// The longest part of `current_logfiles` that is read, in bytes: the file has at most three lines.
const LIMIT: u64 = 64 << 10;

/// At most `limit` bytes from the end of a log file in a data directory or below, if the owner of
/// the directory owns the file.
///
/// # Errors
///
/// Fails if the file or the directory cannot be read, or the file belongs to another account
/// ([`PermissionDenied`](io::ErrorKind::PermissionDenied)).
pub fn read_log_tail(
    path: &Utf8Path,
    data_directory: &Utf8Path,
    limit: usize,
) -> io::Result<Vec<u8>> {
    read_tail(open(path, data_directory)?, 0, limit)
}

/// The account of the server can put a link to any file there, which root would read.
fn open(path: &Utf8Path, data_directory: &Utf8Path) -> io::Result<File> {
    let file = open_regular_file(path)?;
    if file.metadata()?.uid() != fs::metadata(data_directory)?.uid() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(file)
}

/// The file that the log collector of a server (`logging_collector`) writes to, and its length when
/// it was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectedLog {
    data_directory: Utf8PathBuf,
    path: Utf8PathBuf,
    length: u64,
}

impl CollectedLog {
    /// Reads `current_logfiles`, the collector's own record (src/backend/postmaster/syslogger.c).
    /// If the collector writes several formats, this is the file in plain text. None if the server
    /// does not have a collector that writes files.
    pub fn find(data_directory: impl AsRef<Utf8Path>) -> Option<Self> {
        let data_directory = data_directory.as_ref();
        let mut record = String::new();
        open_regular_file(data_directory.join("current_logfiles"))
            .and_then(|file| file.take(LIMIT).read_to_string(&mut record))
            .ok()?;
        let mut files = record.lines().filter_map(|line| line.split_once(' '));
        let first = files.next()?;
        let plain = files.find(|(form, _)| *form == "stderr");
        let (_, path) = plain.filter(|_| first.0 != "stderr").unwrap_or(first);
        let path = data_directory.join(path);
        let length = fs::metadata(&path).map_or(0, |found| found.len());
        Some(Self {
            data_directory: data_directory.to_owned(),
            path,
            length,
        })
    }

    /// The path of the file.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// At most `limit` bytes from the end of what was written since `before` was found.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or does not belong to the owner of the data directory.
    pub fn read_since(&self, before: Option<&Self>, limit: usize) -> io::Result<Vec<u8>> {
        let before = before.filter(|before| before.path == self.path);
        let file = open(&self.path, &self.data_directory)?;
        read_tail(file, before.map_or(0, |it| it.length), limit)
    }
}
